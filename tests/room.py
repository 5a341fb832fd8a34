"""A room of its own for one test of the wrapper: everything that argoexec finds by absolute path.

    @in_room
    def test_exit_code() -> None:
        assert run(SUBJECT, "exit", "3").returncode == 3
        assert exit_code() == "3"

The body runs in a forked process, as PID 1 of a new PID namespace, in an empty tmpfs root with this
machine's /usr, a /proc, a small /dev and an empty /var/run/argo. When it ends the kernel ends every
process and drops every mount, so nothing that goes wrong in there is left behind.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.pod.sandbox import linux

ROOT = Path(__file__).resolve().parent.parent
VRA = Path("/var/run/argo")
ARGOEXEC = "/argoexec"
SUBJECT = "/subject"
TERMINATION_LOG = Path("/dev/termination-log")

# No test in a room takes a third of this, with sanitizers.
SECONDS = 40

# What the sanitizers read must reach the wrapper.
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")},
}

_DEVICES = ("null", "zero", "full", "urandom", "tty")


def binary() -> str:
    """The binary under test, outside a room."""
    return os.environ.get("ARGOEXEC", str(ROOT / "build/argoexec"))


# --- the room ---------------------------------------------------------------------------


def in_room(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test function in a room."""

    @functools.wraps(test)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="room-") as directory:
            failure = _run_apart(functools.partial(test, *args, **kwargs), directory)
        if failure:
            pytest.fail(failure, pytrace=False)

    return wrapped


def _run_apart(body: Callable[[], None], directory: str) -> str:
    """Why the body failed, or an empty text."""
    read_fd, write_fd = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        _keep(body, directory, write_fd)
    os.close(write_fd)
    try:
        with os.fdopen(read_fd, "rb") as reader:
            text = reader.read().decode(errors="replace")
        return text.removesuffix("done") if text.endswith("done") else text + "\nthe room collapsed"
    finally:
        os.kill(keeper, 9)
        os.waitpid(keeper, 0)


def _keep(body: Callable[[], None], directory: str, write_fd: int) -> None:
    """Makes the namespaces and waits for their first process, which dies with this one."""
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC)
    first = os.fork()
    if first == 0:
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)
        _live(body, directory, write_fd)
    os.close(write_fd)
    os.waitpid(first, 0)
    while True:
        time.sleep(3600)


def _live(body: Callable[[], None], directory: str, write_fd: int) -> None:
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS)
    try:
        _furnish(directory)
        body()
        os.write(write_fd, b"done")
    except BaseException:
        os.write(write_fd, (traceback.format_exc() + "done").encode())
    os._exit(0)


def _give_up(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"it hangs: {SECONDS} s have passed")


def _furnish(root: str) -> None:
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", root, "tmpfs", 0, "mode=755")
    for name in ("usr", "proc", "dev", "tmp", "etc", "var/run/argo", str(ROOT).lstrip("/")):
        os.makedirs(f"{root}/{name}")
    for name in ("bin", "sbin", "lib", "lib64"):
        os.symlink(f"usr/{name}", f"{root}/{name}")
    os.chmod(f"{root}/tmp", 0o1777)
    os.chmod(f"{root}/var/run/argo", 0o777)
    linux.bind("/usr", f"{root}/usr", readonly=True)
    linux.bind(str(ROOT), root + str(ROOT), readonly=True)
    for source, name in ((binary(), ARGOEXEC), (str(ROOT / "build/probes/subject"), SUBJECT)):
        Path(root + name).touch()
        linux.bind(source, root + name)
    linux.mount("proc", f"{root}/proc", "proc", 0)
    for name in _DEVICES:
        Path(f"{root}/dev/{name}").touch()
        linux.bind(f"/dev/{name}", f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/pts")
    linux.mount("devpts", f"{root}/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
    os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    Path(f"{root}/dev/termination-log").touch()
    os.chmod(f"{root}/dev/termination-log", 0o666)
    os.chroot(root)
    os.chdir("/")


# --- the wrapper in it ------------------------------------------------------------------


class Wrapper(subprocess.Popen[bytes]):
    """A running wrapper. As a context it is waited for, but killed if the test has failed."""

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, trace)


def write_template(**fields: Any) -> None:
    """The template of the pod; without fields one that asks for nothing."""
    (VRA / "template").write_text(json.dumps({"name": "t", "container": {}, **fields}))


def environment(name: str = "main", **more: str) -> dict[str, str]:
    """What a wrapper of the container `name` is given."""
    return {**_ENVIRONMENT, "ARGO_CONTAINER_NAME": name, **more}


def start(
    *command: str,
    name: str = "main",
    env: Mapping[str, str] | None = None,
    flags: tuple[str, ...] = (),
    is_init: bool = False,
    **options: Any,
) -> Wrapper:
    """Starts a wrapper; as PID 1 of a PID namespace below this one if is_init."""
    if not (VRA / "template").exists():
        write_template()
    words = [ARGOEXEC, "emissary", *flags, "--", *command]
    if is_init:
        words = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", *words]
    options = {"stdin": subprocess.DEVNULL, **options}
    return Wrapper(words, env=environment(name, **(env or {})), **options)


def run(*command: str, seconds: float = 60, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a wrapper to its end, its output kept."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with start(*command, **options) as process:
        out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def first_child(pid: int) -> int:
    """The pid of a process's first child, once there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until(lambda: children.read_text().strip())
    return int(children.read_text().split()[0])


def container_file(file: str, name: str = "main") -> Path:
    return VRA / "ctr" / name / file


def exit_code(name: str = "main") -> str | None:
    """What the file says; None if there is none."""
    path = container_file("exitcode", name)
    return path.read_text() if path.exists() else None


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Waits for a condition, and fails if it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.002)
