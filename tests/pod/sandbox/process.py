"""From fork to execve: what runs in the child that becomes a container's process.

The child reports through a close-on-exec pipe: a line `T<JSON>` right before execve (time, and
for a container its mount namespace and the I/O counters so far), then, only if that failed, a
line `E<message>`. End of file without an `E` line therefore means that the program runs.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time

import linux
import measure
import rootfs
import seccomp
from cgroups import Group


class StartError(Exception):
    """The program of a container cannot be started; the text is what a runtime would say."""


def run_container(plan: dict, group: Group, stdio: tuple[int, int], status: int) -> None:
    """Become the container's first process. Never returns."""
    try:
        _standard_streams(*stdio)
        os.setsid()
        linux.unshare(linux.CLONE_NEWNS)
        facts: dict = {"mount_namespace": os.readlink("/proc/self/ns/mnt")}
        doors = group.doors()
        if group.version == 2:
            # The cgroup namespace and its mount show the group that the process is in by then.
            group.enter(doors)
            linux.unshare(linux.CLONE_NEWCGROUP)
            doors = []
        rootfs.build(plan, group.directories, group.version)
        os.makedirs(plan["cwd"], 0o755, exist_ok=True)
        facts["io"] = measure.io_of(os.getpid())
        _execute(plan, plan["argv"], status, facts, doors)
    except BaseException as error:  # pylint: disable=broad-except
        _fail(status, error)


def run_inside(
    plan: dict, argv: list[str], group: Group, namespaces: list[int], stdio: tuple, status: int
) -> None:
    """Become one more process of a running container: its root, user, limits. Never returns."""
    try:
        _standard_streams(*stdio)
        os.setsid()
        doors = group.doors()
        for fd in namespaces:
            linux.setns(fd, 0)
        _execute(plan, argv, status, {}, doors)
    except BaseException as error:  # pylint: disable=broad-except
        _fail(status, error)


def run_pause(status: int) -> None:
    """PID 1 of a shared PID namespace: reaps children, ends on SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # With SIG_IGN for SIGCHLD the kernel reaps by itself, adopted orphans included.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.close(status)
    while True:
        signal.pause()


def _standard_streams(null: int, output: int) -> None:
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _fail(status: int, error: BaseException) -> None:
    text = str(error) if isinstance(error, (StartError, OSError)) else repr(error)
    line = text.replace("\n", " ").encode()[:3000]
    os.write(status, b"E" + line + b"\n")
    os._exit(128)


def _execute(plan: dict, argv: list[str], status: int, facts: dict, doors: list[int]) -> None:
    keep = set(plan["capabilities"])
    if "ALL" in keep:
        keep = set(linux.CAPABILITIES)
    linux.limit_bounding_set(keep)
    _reset_signals()
    os.umask(0o022)
    linux.cloexec_from(3)
    # As late as can be, so that our own work is not in the container's figures.
    Group.enter(doors)
    _become(plan, keep)
    os.chdir(plan["cwd"])
    env = dict(plan["env"])
    program = find_program(argv[0], env.get("PATH", ""))
    os.write(status, b"T" + json.dumps({**facts, "time": time.time()}).encode() + b"\n")
    try:
        os.execve(program, argv, env)
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise StartError(f'exec "{program}": {reason}') from error


def _become(plan: dict, keep: set[str]) -> None:
    """Drop to the user and the capabilities of the plan. PR_SET_PDEATHSIG is of no use here:
    the kernel clears it when the identity changes; the sandbox's PID namespace ends us."""
    # As long as we may; with no new privileges a runtime does it last, which is seen by nobody.
    seccomp.refuse(plan["seccomp"])
    # The pipes belong to the user, so that /dev/stdout can be opened again by name.
    for fd in (1, 2):
        os.fchown(fd, plan["uid"], -1)
    os.setgroups(plan["groups"])
    os.setresgid(plan["gid"], plan["gid"], plan["gid"])
    os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    linux.set_capabilities(keep if plan["uid"] == 0 else set())
    if plan["no_new_privs"]:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)


def _reset_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, which an exec would hand down."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except OSError:
                continue
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def find_program(name: str, path: str) -> str:
    """Look a command up as runc does; it raises StartError with runc's wording."""
    if "/" in name:
        problem = _problem(name)
        if problem:
            raise StartError(f'exec: "{name}": stat {name}: {problem}')
        return name
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if _problem(candidate) is None:
            return candidate
    raise StartError(f'exec: "{name}": executable file not found in $PATH')


def _problem(path: str) -> str | None:
    try:
        if os.path.isdir(path):
            return "is a directory"
        os.stat(path)
    except OSError as error:
        return os.strerror(error.errno or errno.EIO).lower()
    return None if os.access(path, os.X_OK, effective_ids=True) else "permission denied"
