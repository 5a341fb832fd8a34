"""What the user's command finds itself with is what it would have without a wrapper."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.room import (
    ARGOEXEC,
    SUBJECT,
    TERMINATION_LOG,
    VRA,
    environment,
    exit_code,
    in_room,
    run,
    start,
    write_template,
)

PROCESS = ("pid", "parent", "group", "session", "foreground", "argv", "umask")


def shown(*words: str, **options: object) -> dict:
    result = subprocess.run(words, stdout=subprocess.PIPE, timeout=60, check=True, **options)
    return json.loads(result.stdout)


def prepare_oddly() -> None:
    """A process that differs from the usual in everything that a child inherits."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 8 << 20))
    os.setpriority(os.PRIO_PROCESS, 0, 3)
    Path("/proc/self/oom_score_adj").write_text("321")
    os.umask(0)
    os.chdir("/var/run")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGUSR2, 40):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGWINCH, 50, 64})


@pytest.mark.parametrize("oddly", [False, True])
@in_room
def test_nothing_differs_but_the_process_group(oddly: bool) -> None:
    write_template()
    env = environment(ODD='a=b "\\\n', EMPTY="", **{"not a name": "x"})
    options = {
        "env": env,
        "stdin": open("/dev/zero"),
        "stderr": open("/tmp/err", "w"),
        "preexec_fn": prepare_oddly if oddly else lambda: resource.setrlimit(4, (0, 0)),
        "restore_signals": not oddly,
    }
    os.umask(0)
    plain = shown(SUBJECT, "show", **options)
    wrapped = shown(ARGOEXEC, "emissary", "--", SUBJECT, "show", **options)
    # stdout is a pipe of its own in each run.
    plain["descriptors"].pop("1")
    assert wrapped["descriptors"].pop("1").split()[1:] == ["10600", "1"]
    assert set(wrapped["descriptors"]) == {"0", "2"}
    told = dict(line.split(":\t", 1) for line in wrapped["status"])
    assert {"Uid", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"} <= told.keys()
    assert wrapped["dumpable"] == 1 and all(wrapped["namespaces"])
    for what in plain.keys() - set(PROCESS):
        assert wrapped[what] == plain[what], what
    assert wrapped["group"] == wrapped["pid"]
    assert wrapped["session"] == plain["session"]
    assert wrapped["umask"] == 0
    if oddly:
        for internal in ("32", "33"):  # posix_spawn of glibc, thus make, leaves them ignored
            plain["handled"].pop(internal, None)
        assert plain["handled"] == {str(n): "ignored" for n in (1, 2, 12, 25, 40)}
        assert (plain["nice"], plain["oom_score_adj"], plain["cwd"]) == (3, 321, "/var/run")


@in_room
def test_the_streams_are_the_same_files() -> None:
    """Not captured: no pipe of ours in between, whatever kind of file it is."""
    with open("/tmp/out", "w+b") as out, open("/tmp/err", "w+b") as err:
        with start(SUBJECT, "show", stdout=out, stderr=err) as process:
            assert process.wait(10) == 0
        found = json.loads(Path("/tmp/out").read_bytes())["descriptors"]
        for fd, file in ((1, out), (2, err)):
            st = os.fstat(file.fileno())
            assert found[str(fd)].split()[0] == f"{st.st_dev:x}:{st.st_ino}"


@in_room
def test_descriptors_beyond_the_three_are_passed_on_as_they_are() -> None:
    read_fd, write_fd = os.pipe()
    result = run(SUBJECT, "show", pass_fds=(write_fd,))
    os.close(read_fd)
    assert set(json.loads(result.stdout)["descriptors"]) == {"0", "1", "2", str(write_fd)}


@in_room
def test_closed_standard_streams() -> None:
    """A descriptor of ours must not end up where the command expects its own."""
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        write_template()
        script = f"exec {ARGOEXEC} emissary -- sh -c 'ls /proc/self/fd >/tmp/fds; exit 5' {closed}"
        assert subprocess.run(["sh", "-c", script], env=environment()).returncode == 5, closed


def ignore_child_ends() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@in_room
def test_an_inherited_sigchld_that_is_ignored() -> None:
    """The kernel would reap the command for us then, and its end would be lost."""
    write_template()
    result = run(SUBJECT, "show", preexec_fn=ignore_child_ends, seconds=10)
    assert result.returncode == 0
    assert json.loads(result.stdout)["handled"]["17"] == "ignored"


# --- what is executed -------------------------------------------------------------------


def executable(path: str, content: bytes, mode: int = 0o755) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)
    os.chmod(path, mode)
    return path


@in_room
def test_the_resolved_path_is_the_name_of_the_command() -> None:
    assert json.loads(run("env", SUBJECT, "show").stdout)["argv"][0] == SUBJECT
    found = run("sh", "-c", "echo $0; cat /proc/$$/cmdline", env={"PATH": "/nowhere:/usr/bin"})
    assert found.stdout.split(b"\n")[1].startswith(b"/usr/bin/sh\0-c\0")
    assert json.loads(run("../subject", "show", cwd="/tmp").stdout)["argv"][0] == "../subject"


START_FAILURES = {
    "not found": (["no-such-program"], 'exec: "no-such-program": executable file not found'),
    "no such path": (["/no/such/program"], "/no/such/program"),
    "not executable": (["/tmp/plain"], "ermission denied"),
    "directory": (["/tmp"], "/tmp"),
    "directory in PATH": (["folder"], "executable file not found"),
    "not executable in PATH": (["plain"], "executable file not found"),
    "junk": (["/tmp/junk"], "xec format error"),
    "no interpreter": (["/tmp/orphan"], "o such file"),
    "through a file": (["/tmp/plain/x"], "ot a directory"),
    "loop": (["/tmp/loop"], "oo many"),
    "empty name": ([""], "executable file not found"),
    "relative entry": (["local"], "relative to current directory"),
}


@in_room
def test_commands_that_cannot_be_started() -> None:
    executable("/tmp/plain", b"text", 0o644)
    executable("/tmp/junk", b"\0\1\2\3")
    executable("/tmp/orphan", b"#!/no/interpreter\n")
    executable("/tmp/work/local", b"#!/bin/sh\necho ran\n")
    os.mkdir("/tmp/folder")
    os.symlink("loop", "/tmp/loop")
    for what, (command, text) in START_FAILURES.items():
        TERMINATION_LOG.write_text("")
        Path("/var/run/argo/ctr/main/exitcode").unlink(missing_ok=True)
        path = "relative:/tmp:work" if what == "relative entry" else "/tmp:/usr/bin"
        result = run(*command, env={"PATH": path}, cwd="/tmp")
        assert (result.returncode, exit_code(), result.stdout) == (64, "64", b""), what
        message = TERMINATION_LOG.read_text()
        assert text in message, (what, message)
        assert f"Error: {message}\n{message}\n".encode() in result.stderr, what


@in_room
def test_an_empty_entry_of_path_is_refused() -> None:
    executable("/tmp/local", b"#!/bin/sh\necho ran\n")
    for path in (":/usr/bin", "/usr/bin:", "/usr/bin::/bin", ".", "./", "work/.."):
        os.makedirs("/tmp/work", exist_ok=True)
        result = run("local", env={"PATH": path}, cwd="/tmp")
        assert (result.returncode, result.stdout) == (64, b""), path
        assert b"relative to current directory" in result.stderr, path
    # Found through an absolute entry first: what follows does not matter.
    assert run("local", env={"PATH": "/tmp:."}, cwd="/tmp").stdout == b"ran\n"


@in_room
def test_no_path_at_all() -> None:
    write_template()
    result = subprocess.run(
        [ARGOEXEC, "emissary", "--", "true"], env={"ARGO_CONTAINER_NAME": "main"}, timeout=10
    )
    assert result.returncode == 64
    assert "executable file not found" in TERMINATION_LOG.read_text()


@in_room
def test_no_command() -> None:
    for words in (["emissary"], ["emissary", "--"]):
        result = subprocess.run(
            [ARGOEXEC, *words], env=environment(), capture_output=True, timeout=10
        )
        assert result.returncode == 64 and b"no command" in result.stderr


@in_room
def test_only_root_may_start_what_others_may_not() -> None:
    executable("/tmp/mine", b"#!/bin/sh\necho ran\n", 0o700)
    os.chmod(VRA, 0o777)
    result = run("/tmp/mine", user=8737, group=8737, extra_groups=[])
    assert result.returncode == 64 and exit_code() == "64"
    assert "ermission denied" in TERMINATION_LOG.read_text()


# --- the arguments file -----------------------------------------------------------------


def with_arguments(content: bytes | None, *command: str) -> subprocess.CompletedProcess:
    if content is not None:
        Path("/tmp/args").write_bytes(content)
    return run(*command, env={"ARGO_CONTAINER_ARGS_FILE": "/tmp/args"})


@in_room
def test_arguments_from_a_file() -> None:
    more = ["", "a b", "é\n", "$HOME"]
    result = with_arguments(json.dumps(more).encode(), SUBJECT, "show", "first")
    assert json.loads(result.stdout)["argv"] == [SUBJECT, "show", "first", *more]
    assert json.loads(with_arguments(b" [] \n", SUBJECT, "show").stdout)["argv"][1:] == ["show"]
    # Without a command the file names it too.
    assert with_arguments(json.dumps(["echo", "x"]).encode()).stdout == b"x\n"


@in_room
def test_arguments_that_are_too_long_for_the_kernel() -> None:
    largest, larger, huge = "a" * 131071, "b" * 131073, "c" * 500000
    more = [largest, larger, "short", huge]
    result = with_arguments(json.dumps(more).encode(), SUBJECT, "show")
    references = ["@/tmp/argo_arg_2.txt", "short", "@/tmp/argo_arg_4.txt"]
    assert json.loads(result.stdout)["argv"] == [SUBJECT, "show", largest, *references]
    assert Path("/tmp/argo_arg_2.txt").read_text() == larger
    assert Path("/tmp/argo_arg_4.txt").read_text() == huge
    assert os.stat("/tmp/argo_arg_4.txt").st_mode & 0o777 == 0o644


@in_room
def test_an_argument_of_exactly_the_limit() -> None:
    """131,072 bytes are not offloaded, but the kernel refuses them: a clear error, not a hang."""
    result = with_arguments(json.dumps(["x" * 131072]).encode(), SUBJECT, "show")
    assert (result.returncode, exit_code()) == (64, "64")
    assert b"rgument list too long" in result.stderr


@in_room
def test_arguments_files_that_are_none() -> None:
    none = [b"", b"{", b"{}", b'"x"', b"[1]", b"[null]", b'["a",]', b'["\\u0000"]', b"[" * 9999]
    for content in [None, *none]:
        Path("/tmp/args").unlink(missing_ok=True)
        result = with_arguments(content, SUBJECT, "show")
        assert (result.returncode, exit_code(), result.stdout) == (64, "64", b""), content
        assert "failed to read container args: " in TERMINATION_LOG.read_text()
        assert "/tmp/args" in TERMINATION_LOG.read_text(), content


# --- what the pod says --------------------------------------------------------------------


@in_room
def test_templates_that_cannot_be_read() -> None:
    for content in (b"", b"{", b"[]", b'{"name": "t"', b"\0" * 10, b'{"a":' * 5000):
        (VRA / "template").write_bytes(content)
        result = run("sh", "-c", "echo ran")
        assert (result.returncode, exit_code(), result.stdout) == (64, "64", b""), content[:20]
        assert "template" in TERMINATION_LOG.read_text(), content[:20]


@in_room
def test_the_template_may_come_by_the_environment() -> None:
    write_template()
    (VRA / "template").rename("/tmp/template")
    words = [ARGOEXEC, "emissary", "--", SUBJECT, "exit", "3"]
    env = environment(ARGO_TEMPLATE=Path("/tmp/template").read_text())
    assert subprocess.run(words, env=env, timeout=10).returncode == 3
    assert subprocess.run(words, env=environment(), timeout=10).returncode == 64


@in_room
def test_names_that_no_container_has() -> None:
    for name in ("", "..", "a/b", "Main", "x" * 64):
        result = run("sh", "-c", "echo ran", name=name)
        assert (result.returncode, result.stdout) == (64, b""), name
        assert "ARGO_CONTAINER_NAME" in TERMINATION_LOG.read_text()
    assert not (VRA / "ctr").exists()


@in_room
def test_modes_of_what_others_have_to_reach() -> None:
    """Containers of a pod may run under different users."""
    write_template(archiveLocation={"archiveLogs": True})
    old = os.umask(0o77)
    run("true", env={"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"})
    os.umask(old)
    modes = {"ctr": 0o777, "ctr/main": 0o777, "ctr/main/exitcode": 0o644}
    modes |= {"ctr/main/stdout": 0o666, "ctr/main/combined": 0o666}
    for path, mode in modes.items():
        assert os.stat(VRA / path).st_mode & 0o777 == mode, path
