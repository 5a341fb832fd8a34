"""`artifact-plugin-sidecar`: SIGTERM does not end it, its signal file does; how the plugin ended is in
`exitcode`, and the wrapper itself ends 0."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.room import (
    ARGOEXEC,
    SUBJECT,
    TERMINATION_LOG,
    VRA,
    Wrapper,
    container_file,
    environment,
    exit_code,
    first_child,
    in_room,
    until,
    write_template,
)

NAME = "artifact-plugin-p"
STUBBORN = "trap '' TERM; echo up; while :; do sleep 1000; done"


def start(*command: str, is_init: bool = False, env: dict[str, str] | None = None) -> Wrapper:
    words = [ARGOEXEC, "artifact-plugin-sidecar", "--", *command]
    if is_init:
        words = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", *words]
    pipe = subprocess.PIPE
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}
    return Wrapper(words, env=environment(NAME, **(env or {})), **options)


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    with start(*command, **options) as process:
        out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def ask(signo: int) -> None:
    container_file("signal", NAME).write_text(str(signo))


@pytest.mark.parametrize("is_init", [False, True])
@in_room
def test_exit_codes(is_init: bool) -> None:
    for code in (0, 1, 64, 143, 255):
        result = run(SUBJECT, "exit", str(code), is_init=is_init)
        assert (result.returncode, exit_code(NAME)) == (0, str(code))
        assert TERMINATION_LOG.read_text() == ""
    for signo in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        result = run("sh", "-c", f"kill -{int(signo)} $$", is_init=is_init)
        assert (result.returncode, exit_code(NAME)) == (0, str(128 + signo))


@in_room
def test_modes() -> None:
    """Other containers may run under other users."""
    os.umask(0o077)
    result = run("sh", "-c", "umask")
    assert result.stdout == b"0000\n"
    directory = container_file("", NAME)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o777
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o777
    assert stat.S_IMODE(container_file("exitcode", NAME).stat().st_mode) == 0o644


@pytest.mark.parametrize("is_init", [False, True])
@in_room
def test_sigterm_is_ignored_and_the_file_is_obeyed(is_init: bool) -> None:
    with start("sh", "-c", "echo up; exec sleep 1000", is_init=is_init) as process:
        assert process.stdout.readline() == b"up\n"
        wrapper = first_child(process.pid) if is_init else process.pid
        for _ in range(3):
            os.kill(wrapper, signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None and exit_code(NAME) is None
        begun = time.monotonic()
        ask(15)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 1
        assert b"Ignoring SIGTERM" in process.stderr.read()
    assert exit_code(NAME) == "143"
    assert not container_file("signal", NAME).exists()


@in_room
def test_the_file_is_obeyed_to_the_end() -> None:
    """Also after SIGTERM, and after a first signal that changed nothing."""
    with start("sh", "-c", STUBBORN) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        ask(15)
        until(lambda: not container_file("signal", NAME).exists())
        container_file("signal", NAME).write_text("")
        container_file("signal", NAME).write_text("no number")
        until(lambda: not container_file("signal", NAME).exists())
        time.sleep(0.1)
        assert process.poll() is None
        ask(9)
        assert process.wait(10) == 0
    assert exit_code(NAME) == "137"


@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 28, 34, 40, 64])
@in_room
def test_other_signals_are_passed_on_to_the_group(number: int) -> None:
    # The wrapper's stderr is a pipe of ours: nothing else tells when the trap is set.
    script = f"trap 'exit 7' {number}; echo up; while :; do sleep 0.05; done"
    with start("bash", "-c", script) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(number)
        assert process.wait(10) == 0
    assert exit_code(NAME) == "7"


@in_room
def test_its_end_was_asked_for_before_it_started() -> None:
    for signo in (15, 9):
        container_file("", NAME).mkdir(parents=True, exist_ok=True)
        ask(signo)
        result = run("echo", "ran")
        assert (result.returncode, result.stdout) == (0, b"")
        assert exit_code(NAME) == str(128 + signo)


@in_room
def test_it_cannot_be_started() -> None:
    for program, text in (("/nowhere", "no such file"), ("/etc", "is a directory"), ("zzz", "PATH")):
        result = run(program)
        assert (result.returncode, exit_code(NAME)) == (64, "64")
        assert text in TERMINATION_LOG.read_text()
        assert f"Error: {TERMINATION_LOG.read_text()}" in result.stderr.decode()


@in_room
def test_a_bad_name() -> None:
    for name in ("", "../x", "A"):
        result = run("echo", "ran", env={"ARGO_CONTAINER_NAME": name})
        assert (result.returncode, result.stdout) == (64, b"")
    assert os.listdir(VRA) == []


@in_room
def test_capture_only_by_the_variable() -> None:
    write_template(archiveLocation={"archiveLogs": True})
    result = run("sh", "-c", "echo out; echo err >&2")
    assert result.stdout == b"out\n"
    assert not container_file("stdout", NAME).exists()
    result = run("sh", "-c", "echo out; echo err >&2", env={"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"})
    assert result.stdout == b"out\n"
    assert container_file("stdout", NAME).read_text() == "out\n"
    assert sorted(container_file("combined", NAME).read_text().split()) == ["err", "out"]


@in_room
def test_orphans_are_reaped_and_do_not_hold_it_up() -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.05 &) ; done; sleep 0.5; (sleep 1000 &); exit 4"
    with start("sh", "-c", script, is_init=True) as process:
        wrapper = first_child(process.pid)
        plugin = first_child(wrapper)
        time.sleep(0.3)
        children = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
        assert children == [str(plugin)]
        assert process.wait(10) == 0
    assert exit_code(NAME) == "4"


class Wait:
    """The listening end of the channel, as `wait` has it."""

    def __init__(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(VRA / "wait.tmp"))
        self.listener.listen(8)
        (VRA / "wait.tmp").rename(VRA / "wait.sock")
        self.listener.settimeout(10)

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        assert NAME.encode() in connection.recv(256)
        return connection


@pytest.mark.parametrize("is_late", [False, True])
@in_room
def test_it_ends_when_wait_has_died(is_late: bool) -> None:
    wait = None if is_late else Wait()
    with start("sh", "-c", "echo up; exec sleep 1000") as process:
        assert process.stdout.readline() == b"up\n"
        wait = wait or Wait()
        connection = wait.accept()
        time.sleep(0.1)
        assert process.poll() is None
        wait.listener.close()
        connection.close()
        assert process.wait(10) == 0
    assert exit_code(NAME) == "143"


@in_room
def test_it_is_killed_when_wait_has_died() -> None:
    wait = Wait()
    env = {"ARGO_TERMINATION_GRACE_PERIOD_SECONDS": "1"}
    with start("sh", "-c", STUBBORN, env=env) as process:
        assert process.stdout.readline() == b"up\n"
        connection = wait.accept()
        wait.listener.close()
        connection.close()
        assert process.wait(10) == 0
    assert exit_code(NAME) == "137"


@in_room
def test_a_connection_that_ends_is_not_the_end_of_wait() -> None:
    wait = Wait()
    with start("sh", "-c", "echo up; exec sleep 1000") as process:
        assert process.stdout.readline() == b"up\n"
        for _ in range(3):
            wait.accept().close()
        connection = wait.accept()
        (VRA / "wait.sock").unlink()
        connection.close()
        time.sleep(0.2)
        assert process.poll() is None
        ask(15)
        assert process.wait(10) == 0
    assert exit_code(NAME) == "143"


@in_room
def test_kill_9_1_is_not_for_plugins() -> None:
    """The controller's last word after its grace period: uploads go on, as those of `wait` do."""
    with start("sh", "-c", "echo up; exec sleep 1000", is_init=True) as process:
        assert process.stdout.readline() == b"up\n"
        wrapper = first_child(process.pid)
        for number in ("15", "9"):
            # The leak checker wants a /proc of its own PID namespace.
            env = environment(NAME, ASAN_OPTIONS="detect_leaks=0")
            words = ["nsenter", "--pid", "--target", str(wrapper), ARGOEXEC, "kill", number, "1"]
            assert subprocess.run(words, env=env, capture_output=True).returncode == 0
        time.sleep(0.2)
        assert process.poll() is None
        assert not container_file("signal", NAME).exists()
        ask(15)
        assert process.wait(10) == 0


@in_room
def test_its_directory_is_removed_meanwhile() -> None:
    """Whoever shares /var/run/argo may do that; the end is told all the same."""
    with start("sh", "-c", "trap 'exit 3' USR1; echo up; while :; do sleep 0.05; done") as process:
        assert process.stdout.readline() == b"up\n"
        subprocess.run(["rm", "-rf", str(VRA / "ctr")], check=True)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == 0
    assert exit_code(NAME) == "3"
