"""User code that destroys what the executor needs, or uses up what the machine has."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.modes import MODES, in_mode, wrapper_of
from tests.room import (
    SUBJECT,
    VRA,
    Wrapper,
    container_file,
    exit_code,
    first_child,
    in_room,
    run,
    start,
    until,
    write_template,
)

CAPTURED = {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"}
ORDINARY_USER = 1234


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


# --- the files ---------------------------------------------------------------------------------

# What is done in /var/run/argo while the command runs. /tmp/victim is not to be touched.
REPLACEMENTS = {
    "all deleted": "rm -rf ctr template",
    "ctr a file": "rm -rf ctr; echo x >ctr",
    "ctr a link": "rm -rf ctr; ln -s /tmp/victim ctr",
    "ctr a link to nowhere": "rm -rf ctr; ln -s /nowhere ctr",
    "ctr a pipe": "rm -rf ctr; mkfifo ctr",
    "main a file": "rm -rf ctr/main; echo x >ctr/main",
    "main a link": "rm -rf ctr/main; ln -s /tmp/victim ctr/main",
    "main a link up": "rm -rf ctr/main; ln -s ../.. ctr/main",
    "main a link to /etc": "rm -rf ctr/main; ln -s /etc ctr/main",
    "main a pipe": "rm -rf ctr/main; mkfifo ctr/main",
    "main a device": "rm -rf ctr/main; mknod ctr/main c 1 5",
    "code a directory": "mkdir ctr/main/exitcode",
    "code a full directory": "mkdir -p ctr/main/exitcode/a/b",
    "code a link": "ln -s /tmp/victim/file ctr/main/exitcode",
    "code a pipe": "mkfifo ctr/main/exitcode",
    "code a device": "mknod ctr/main/exitcode c 1 7",
    "code a socket": "python3 -c 'import socket as s; "
    's.socket(s.AF_UNIX).bind("ctr/main/exitcode")\'',
    "code another": "printf 77777777 >ctr/main/exitcode",
    "code read-only": "touch ctr/main/exitcode; chmod 0 ctr/main/exitcode",
    "room for the code gone": "rm -f ctr/main/exitcode.tmp",
    "room a link": "ln -sf /tmp/victim/file ctr/main/exitcode.tmp",
    "room a pipe": "rm ctr/main/exitcode.tmp; mkfifo ctr/main/exitcode.tmp",
    "room a directory": "rm ctr/main/exitcode.tmp; mkdir ctr/main/exitcode.tmp",
    "signal a full directory": "mkdir -p ctr/main/signal/x",
    "nothing allowed": "chmod 0 ctr/main ctr",
}


@pytest.mark.parametrize("mode", ["inherited", "captured"])
@in_room
def test_everything_is_replaced(mode: str) -> None:
    """The exit code is in its place all the same, and nothing is written elsewhere."""
    victim = Path("/tmp/victim")
    victim.mkdir()
    (victim / "file").write_text("mine")
    before = sorted(os.listdir("/etc"))
    for what, script in REPLACEMENTS.items():
        with in_mode(mode, "sh", "-c", f"cd {VRA}; {script}; exit 9") as (process, _output):
            assert process.wait(10) == 9, what
        assert container_file("").is_dir() and not container_file("").is_symlink(), what
        assert exit_code() == "9" and not container_file("exitcode").is_symlink(), what
        assert os.listdir(victim) == ["file"] and (victim / "file").read_text() == "mine", what
        subprocess.run(["rm", "-rf", VRA / "ctr"], check=True)
    assert sorted(os.listdir("/etc")) == before


def become_ordinary() -> None:
    os.setgroups([])
    os.setgid(ORDINARY_USER)
    os.setuid(ORDINARY_USER)


@in_room
def test_what_is_not_ours_to_replace() -> None:
    """Another user's: the status is true, the missing code is logged."""
    container_file("").mkdir(parents=True)
    result = run("sh", "-c", "exit 9", preexec_fn=become_ordinary)
    assert result.returncode == 9 and exit_code() is None
    assert b"No room for the exit code" in result.stderr
    assert b"Failed to write exit code" in result.stderr


@in_room
def test_a_directory_that_is_shut() -> None:
    """By its owner, who runs the wrapper too: opened again."""
    script = f"cd {VRA}; chmod 0 ctr/main ctr; exit 9"
    result = run("sh", "-c", script, preexec_fn=become_ordinary)
    assert (result.returncode, exit_code()) == (9, "9")


@in_room
def test_captured_files_between_attempts() -> None:
    """A member that removes what its attempt has left runs again all the same."""
    write_template(
        container=None,
        containerSet={"containers": [{"name": "main"}], "retryStrategy": {"retries": 2}},
        archiveLocation={"archiveLogs": True},
    )
    script = f"echo x; rm -rf {VRA}/ctr; exit 3"
    assert run("sh", "-c", script, env=CAPTURED).returncode == 3
    assert exit_code() == "3"


@in_room
def test_a_start_that_fails_after_an_attempt_that_failed() -> None:
    """The last attempt is the one that counts: 64, and not the code of the one before."""
    write_template(
        container=None,
        containerSet={"containers": [{"name": "main"}], "retryStrategy": {"retries": 2}},
    )
    script = Path("/tmp/once")
    script.write_text("#!/bin/sh\nprintf '\\000\\001' >/tmp/other\nmv /tmp/other $0\nexit 5\n")
    for path in (script, Path("/tmp/other")):
        path.touch()
        path.chmod(0o755)
    result = run(str(script))
    assert b"exitCode=5" in result.stderr
    assert (result.returncode, exit_code()) == (64, "64")


# --- processes that do not go ------------------------------------------------------------------


def stops(process: Wrapper, number: int) -> None:
    child = first_child(process.pid)
    until(lambda: state_of(child) == "T")
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.05)
    # As without a wrapper: SIGTERM has to wait until the command is allowed to go on.
    assert process.poll() is None and state_of(child) == "T"
    if number == signal.SIGKILL:
        container_file("signal").write_text("9")
        assert process.wait(10) == 137
    else:
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(10) == 143


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGCONT])
@pytest.mark.parametrize("stop", ["STOP", "TSTP", "TTIN"])
@in_room
def test_a_command_that_stops_itself(stop: str, number: int) -> None:
    with start("sh", "-c", f"kill -{stop} $$; sleep 60") as process:
        stops(process, number)


@in_room
def test_a_terminal_with_job_control() -> None:
    """A shell moves its jobs in and out of the foreground, and stops them by a key."""
    script = "set -m; cat & bg_pid=$!; kill -STOP $bg_pid; wait; jobs; kill -KILL $bg_pid; exit 6"
    with in_mode("terminal", "bash", "-c", script) as (process, output):
        text = b""
        while b"Stopped" not in text:
            text += output.read(100)
        assert process.wait(10) == 6


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_a_command_that_closes_everything(mode: str) -> None:
    with in_mode(mode, "bash", "-c", "exec <&- >&- 2>&-; sleep 0.2; exit 9") as (process, _output):
        assert process.wait(10) == 9
    assert exit_code() == "9"


@in_room
def test_a_command_that_opens_its_terminal_again() -> None:
    """Nobody had it open for a while: a pty would hang up for good."""
    script = "exec <&- >&- 2>&-; sleep 0.2; exec >/dev/tty; printf again; exit 9"
    with in_mode("terminal", "bash", "-c", script) as (process, output):
        assert output.read(5) == b"again"
        assert process.wait(10) == 9


AWAY = {
    "session": "setsid sleep 600",
    "twice": "(setsid sh -c 'sleep 600 & exit' &)",
    "ignoring": "setsid sh -c 'trap \"\" TERM HUP INT; sleep 600'",
    "stopped": "setsid sh -c 'kill -STOP $$'",
}


@pytest.mark.parametrize("which", AWAY)
@pytest.mark.parametrize("mode", MODES)
@in_room
def test_what_has_gone_away_delays_nothing(mode: str, which: str) -> None:
    """Holding every stream open; with its PID 1 the container ends."""
    script = f"{AWAY[which]} & sleep 0.1; echo mine; exit 4"
    with in_mode(mode, "bash", "-c", script, is_init=True) as (process, output):
        # To the end of the terminal or pipe: nobody has it open any more.
        try:
            while output.read(100):
                pass
        except OSError:
            assert mode == "terminal"
        assert process.wait(10) == 4
    assert exit_code() == "4"
    names = [path.read_text() for path in Path("/proc").glob("[0-9]*/comm")]
    assert "sleep\n" not in names and "sh\n" not in names


@in_room
def test_ignoring_sigterm_is_its_own_affair() -> None:
    with start("sh", "-c", "trap '' TERM INT HUP; echo ready; sleep 60", stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        for _ in range(3):
            os.kill(process.pid, signal.SIGTERM)
            container_file("signal").write_text("15")
        time.sleep(0.1)
        assert process.poll() is None
        container_file("signal").write_text("9")
        assert process.wait(10) == 137


# --- what the machine has ----------------------------------------------------------------------


def limited(which: int, number: int, is_ordinary: bool = False) -> Callable[[], None]:
    def apply() -> None:
        resource.setrlimit(which, (number, number))
        if is_ordinary:
            become_ordinary()

    return apply


@pytest.mark.parametrize("mode", ["inherited", "captured", "member"])
@in_room
def test_too_few_descriptors(mode: str) -> None:
    """It runs the command, or says what was missing; status and file agree where there is one."""
    outcomes = set()
    for number in range(4, 25):  # with fewer, the loader of a dynamic binary gives up
        container_file("exitcode").unlink(missing_ok=True)
        limit = limited(resource.RLIMIT_NOFILE, number)
        options = {"preexec_fn": limit, "stderr": open("/tmp/err", "wb")}
        with in_mode(mode, SUBJECT, "exit", "0", **options) as (process, _output):
            code = process.wait(10)
        assert code in (0, 64), number
        assert code == 0 or "too many open files" in Path("/tmp/err").read_text(), number
        assert exit_code() in (str(code), None), number
        outcomes.add(code)
    assert outcomes == {0, 64} and code == 0


@in_room
def test_no_process_left_to_start() -> None:
    limit = limited(resource.RLIMIT_NPROC, 0, is_ordinary=True)
    env = {"ASAN_OPTIONS": "detect_leaks=0"}  # by a thread, where there are sanitizers
    result = run(SUBJECT, "exit", "0", preexec_fn=limit, env=env)
    assert (result.returncode, exit_code()) == (64, "64")
    assert f"fork/exec {SUBJECT}: fork: resource temporarily unavailable" in result.stderr.decode()


FORK_BOMB = """
import os, signal
for _ in range(1000):
    try:
        if os.fork() == 0:
            signal.pause()
    except BlockingIOError:
        os._exit(6)
"""


@pytest.mark.parametrize("is_init", [False, True])
@in_room
def test_every_process_is_used_up(is_init: bool) -> None:
    """The wrapper starts none of its own: the end is the end."""
    prepare = limited(resource.RLIMIT_NPROC, 100, is_ordinary=not is_init)
    VRA.joinpath("ctr").mkdir()
    VRA.joinpath("ctr").chmod(0o777)
    if is_init:
        script = f"setpriv --reuid {ORDINARY_USER} --clear-groups python3 -c '{FORK_BOMB}'"
    else:
        script = f"exec python3 -c '{FORK_BOMB}'"
    with start("bash", "-c", script, env=CAPTURED, preexec_fn=prepare, is_init=is_init) as process:
        assert process.wait(20) == 6
    assert exit_code() == "6"


@in_room
def test_more_descriptors_than_the_command_may_have() -> None:
    """Its table is its own: the wrapper's is not touched."""
    script = "i=3; while eval \"exec $i</dev/null\" 2>/dev/null; do i=$((i+1)); done; exit 6"
    limit = limited(resource.RLIMIT_NOFILE, 64)
    assert run("bash", "-c", script, env=CAPTURED, preexec_fn=limit).returncode == 6
    assert exit_code() == "6"


@in_room
def test_zombies_do_not_delay_the_end() -> None:
    """A thousand of them at the moment at which the command itself ends."""
    for is_init in (False, True):
        script = f"{SUBJECT} zombies 1000; date +%s.%N >/tmp/end; exit 5"
        began = time.monotonic()
        with in_mode("captured", "bash", "-c", script, is_init=is_init) as (process, _output):
            assert wrapper_of(process, is_init)
            assert process.wait(20) == 5
            delay = time.time() - float(Path("/tmp/end").read_text())
        assert delay < 1, f"{delay} s"
        assert time.monotonic() - began < 20
