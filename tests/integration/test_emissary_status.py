"""Every end that a command can have is the end of its wrapper, and what `exitcode` says."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.modes import MODES, status
from tests.room import (
    SUBJECT,
    container_file,
    exit_code,
    first_child,
    in_room,
    run,
    start,
    until,
)
from tests.signal_table import Effect, numbers

ENDING = numbers(effect=Effect.ENDS)
HARMLESS = numbers(effect=Effect.NOTHING)
STOPS = numbers(effect=Effect.STOPS)


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_every_exit_code(mode: str) -> None:
    ends = {code: status(mode, SUBJECT, "exit", str(code)) for code in range(256)}
    assert ends == {code: (code, str(code)) for code in range(256)}


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_every_signal_that_ends_the_command(mode: str) -> None:
    ends = {number: status(mode, SUBJECT, "die", str(number)) for number in ENDING}
    assert ends == {number: (128 + number, str(128 + number)) for number in ENDING}
    harmless = {number: status(mode, SUBJECT, "die", str(number)) for number in HARMLESS}
    assert harmless == {number: (0, "0") for number in HARMLESS}


@in_room
def test_a_stopped_command_is_still_running() -> None:
    for number in STOPS:
        with start(SUBJECT, "die", str(number)) as process:
            child = first_child(process.pid)
            stat = f"/proc/{child}/stat"
            until(lambda path=stat: open(path).read().rsplit(")", 1)[1].split()[0] == "T")
            assert process.poll() is None and exit_code() is None
            os.kill(process.pid, signal.SIGCONT)
            assert process.wait(10) == 0, number
        assert exit_code() == "0"
        container_file("exitcode").unlink()


@in_room
def test_ends_as_the_first_process_of_a_container() -> None:
    for code in (0, 1, 64, 137, 255):
        assert run(SUBJECT, "exit", str(code), is_init=True).returncode == code
        assert exit_code() == str(code)
    for number in (1, 9, 11, 15, 32, 33, 34, 64):
        assert run(SUBJECT, "die", str(number), is_init=True).returncode == 128 + number
        assert exit_code() == str(128 + number)


@in_room
def test_a_thousand_zombies() -> None:
    """Adopted and reaped, as PID 1 and not; the command's own end is not among them lost."""
    for is_init in (False, True):
        script = f"{SUBJECT} zombies 1000; exec {SUBJECT} record 15"
        options = {"stdout": subprocess.PIPE, "is_init": is_init}
        with start("sh", "-c", script, **options) as process:
            assert process.stdout.readline() == b"ready\n"
            wrapper = first_child(process.pid) if is_init else process.pid
            children = f"/proc/{wrapper}/task/{wrapper}/children"
            until(lambda path=children: len(open(path).read().split()) == 1)
            os.kill(wrapper, signal.SIGTERM)
            assert process.wait(10) == 0
        assert exit_code() == "0"


@in_room
def test_the_message_after_a_plain_failure() -> None:
    """Users know the last line of such a log."""
    result = run("sh", "-c", "echo mine; exit 3")
    assert result.stdout == b"mine\n"
    assert result.stderr.splitlines()[-1] == b"Error: exit status 3"
    assert open("/dev/termination-log").read() == ""
