"""Signals on their way to the user's command: from the kernel, and from the file `signal`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.room import (
    SUBJECT,
    TERMINATION_LOG,
    container_file,
    exit_code,
    first_child,
    in_room,
    run,
    start,
    until,
)
from tests.signal_table import LAST



@contextlib.contextmanager
def recording(last: int = LAST, is_init: bool = False, **options: object) -> Iterator[tuple]:
    """A wrapper whose command writes down signals until `last`: its process, its pid."""
    options = {"stdout": subprocess.PIPE, "is_init": is_init, **options}
    with start(SUBJECT, "record", str(last), **options) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process, first_child(process.pid) if is_init else process.pid


def recorded(process: subprocess.Popen) -> list[int]:
    lines = process.stdout.read().split()
    assert process.wait(10) == 0
    return [int(line) for line in lines]


def pick_up(number: object) -> None:
    """Writes the signal file of main and waits until somebody has taken it."""
    path = container_file("signal")
    path.write_text(str(number))
    until(lambda: not path.exists())


@in_room
def test_a_burst_reaches_the_command_whole() -> None:
    """Real-time signals queue, and none of a thousand may get lost on the way. Standard signals
    that are pending together are one, as between any two processes."""
    with recording() as (process, wrapper):
        for number in [40] * 1000 + [32] * 10 + [33] * 10:
            os.kill(wrapper, number)
        got = [int(process.stdout.readline()) for _ in range(1020)]
        assert sorted(got) == [32] * 10 + [33] * 10 + [40] * 1000
        os.kill(wrapper, signal.SIGSTOP)
        for _ in range(100):
            os.kill(wrapper, signal.SIGUSR1)
        os.kill(wrapper, signal.SIGCONT)
        seen = [int(process.stdout.readline()) for _ in range(2)]
        assert sorted(seen) == [signal.SIGUSR1, signal.SIGCONT]
        os.kill(wrapper, LAST)
        assert recorded(process) == [LAST]


@in_room
def test_what_the_kernel_keeps_for_itself() -> None:
    with recording() as (process, wrapper):
        os.kill(wrapper, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{wrapper}/stat").read_text().rsplit(")", 1)[1][1] == "T")
        os.kill(wrapper, signal.SIGCONT)
        assert int(process.stdout.readline()) == signal.SIGCONT
        os.kill(wrapper, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    assert exit_code() is None


@in_room
def test_a_container_cannot_kill_its_first_process() -> None:
    """The kernel drops SIGKILL and SIGSTOP to PID 1 from inside; the rest is forwarded."""
    # No other process in the group: the forwarded signal would end it.
    script = "kill -KILL 1; kill -STOP 1; kill -USR1 1; while [ -z \"$seen\" ]; do :; done; exit 7"
    result = run("bash", "-c", "trap 'echo usr1; seen=1' USR1; " + script, is_init=True)
    assert (result.returncode, result.stdout) == (7, b"usr1\n")


@in_room
def test_the_whole_group_is_signalled() -> None:
    script = f"trap '' TERM; {SUBJECT} record 15 & {SUBJECT} record 15 & wait; wait; echo over"
    with start("bash", "-c", script, stdout=subprocess.PIPE) as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.read().split() == [b"15", b"15", b"over"]
        assert process.wait(10) == 0


@in_room
def test_a_second_signal_after_a_direct_one() -> None:
    """A stubborn command: SIGTERM by the kernel, then 9 by the file."""
    with recording() as (process, wrapper):
        os.kill(wrapper, signal.SIGTERM)
        assert int(process.stdout.readline()) == signal.SIGTERM
        os.kill(wrapper, signal.SIGTERM)
        assert int(process.stdout.readline()) == signal.SIGTERM
        pick_up(signal.SIGUSR1)
        assert int(process.stdout.readline()) == signal.SIGUSR1
        pick_up(9)
        assert process.wait(10) == 137
    assert exit_code() == "137"


@in_room
def test_who_asked_is_told_once() -> None:
    """Repeated, it is no news; SIGKILL after something milder is."""
    with recording(stderr=subprocess.PIPE) as (process, wrapper):
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(wrapper, number)
            assert int(process.stdout.readline()) == number
        pick_up(9)
        log = process.stderr.read().decode()
        assert process.wait(10) == 137
    said = [line.partition("msg=")[2] for line in log.splitlines() if "Received signal" in line]
    assert [line.partition(" ago=")[0] for line in said] == [
        f'"Received signal" signal=15 source=kernel pid={os.getpid()} uid=0',
        '"Received signal" signal=9 source=file pid=0 uid=-1',
    ], log
    assert "time=" in log


@in_room
def test_a_log_that_is_full_holds_up_no_signal() -> None:
    """Who asked is told when it is read again, with how long ago that was."""
    read_fd, write_fd = os.pipe()
    with recording(last=40, stderr=write_fd) as (process, wrapper):
        os.set_blocking(write_fd, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_fd, b"x" * 4096)
        os.set_blocking(write_fd, True)
        os.close(write_fd)
        began = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(wrapper, number)
            assert int(process.stdout.readline()) == number
        assert time.monotonic() - began < 0.9  # a line would be given a second
        with os.fdopen(read_fd, "rb") as reader:
            reader.read(65536)
            os.kill(wrapper, 40)
            log = reader.read().decode()
        assert recorded(process) == [40]
    assert re.findall(r"signal=15 source=kernel pid=\d+ uid=0 ago=([\d.]+m?s)", log), log
    assert log.count("Received signal") == 1


@in_room
def test_signals_by_file() -> None:
    with recording() as (process, _wrapper):
        for text in ("15", " 2\n", "32", "33", "1", "15"):
            pick_up(text)
            assert int(process.stdout.readline()) == int(text)
        pick_up(LAST)
        assert recorded(process) == [LAST]


JUNK = ["0", "65", "-9", "9x", "nine", "9" * 30, "9" * 1000, "1 5", "\0", "15\0", "0x9", "9.0"]


def empty_then_filled(path: Path) -> None:
    with path.open("w") as file:
        time.sleep(0.05)
        file.write("15")


def moved_in(path: Path) -> None:
    other = path.with_name("signal.tmp")
    other.write_text("15")
    other.rename(path)


def appended(path: Path) -> None:
    path.touch()
    time.sleep(0.05)
    with path.open("a") as file:
        file.write("15\n")


def digit_by_digit(path: Path) -> None:
    """Nothing but the writes themselves can tell: it stays open."""
    file = path.open("wb", buffering=0)
    for digit in (b"1", b"5"):
        file.write(digit)
        time.sleep(0.01)
    open_files.append(file)


def in_place_of_another(path: Path) -> None:
    """By who has the file of an earlier request open still."""
    file = path.open("wb", buffering=0)
    file.write(b"0")  # no signal
    until(lambda: not path.exists())
    os.pwrite(file.fileno(), b"15", 0)
    open_files.append(file)


open_files: list[BinaryIO] = []


@pytest.mark.parametrize(
    "write", [empty_then_filled, moved_in, appended, digit_by_digit, in_place_of_another]
)
@in_room
def test_ways_to_write_the_file(write) -> None:
    with recording(last=15) as (process, _wrapper):
        write(container_file("signal"))
        assert recorded(process) == [15]


def bind(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # zero


@in_room
def test_files_that_name_no_signal() -> None:
    with recording(last=15) as (process, _wrapper):
        for text in JUNK:
            pick_up(text)
        pick_up("\xff\xfe" * 100)
        path = container_file("signal")
        path.symlink_to("/proc/self/environ")
        until(lambda: not path.is_symlink())
        path.symlink_to("/nowhere")
        until(lambda: not path.is_symlink())
        for make in (os.mkfifo, Path.mkdir, bind, device):
            make(path)
            until(lambda: not os.path.lexists(path))
        full = path.with_name("full")
        full.mkdir()
        (full / "x").touch()
        full.rename(path)
        time.sleep(0.05)
        assert process.poll() is None and path.is_dir()  # not ours to empty
        path.rename(full)
        pick_up(15)
        assert recorded(process) == [15]


@in_room
def test_a_file_that_was_there_first() -> None:
    """Asked to stop before it began: the command never runs, and the code says why."""
    run("true")
    for number in (15, 2, 9):
        container_file("signal").write_text(str(number))
        result = run("sh", "-c", "echo ran")
        assert (result.returncode, result.stdout) == (128 + number, b"")
        assert exit_code() == str(128 + number)
    assert b"before the command was started" in TERMINATION_LOG.read_bytes()


@in_room
def test_other_signals_before_the_start_stop_nothing() -> None:
    run("true")
    container_file("signal").write_text("10")
    assert run("sh", "-c", "echo ran").stdout == b"ran\n"


# --- debugging pauses -------------------------------------------------------------------


@in_room
def test_a_pause_before_ends_by_a_file() -> None:
    env = {"ARGO_DEBUG_PAUSE_BEFORE": "true"}
    with start("sh", "-c", "echo ran", env=env, stdout=subprocess.PIPE) as process:
        until(container_file("").exists)
        time.sleep(0.05)
        assert process.poll() is None
        container_file("before").touch()
        assert process.stdout.read() == b"ran\n"
        assert process.wait(10) == 0
    assert run("sh", "-c", "echo again", env=env).stdout == b"again\n"


@in_room
def test_a_pause_after_ends_by_a_file() -> None:
    env = {"ARGO_DEBUG_PAUSE_AFTER": "true"}
    with start("sh", "-c", "echo ran; exit 4", env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(4) == b"ran\n"
        time.sleep(0.05)
        assert process.poll() is None and exit_code() is None
        container_file("after").touch()
        assert process.wait(10) == 4
    assert exit_code() == "4"


@pytest.mark.parametrize("is_init", [False, True])
@in_room
def test_sigterm_ends_a_pause_before(is_init: bool) -> None:
    env = {"ARGO_DEBUG_PAUSE_BEFORE": "true"}
    options = {"env": env, "stdout": subprocess.PIPE, "is_init": is_init}
    with start("sh", "-c", "echo ran", **options) as process:
        wrapper = first_child(process.pid) if is_init else process.pid
        until(container_file("").exists)
        os.kill(wrapper, signal.SIGTERM)
        assert process.stdout.read() == b""
        assert process.wait(10) == 143
    assert exit_code() == "143"


@in_room
def test_only_the_word_true_pauses() -> None:
    for value in ("false", "1", "True", ""):
        env = {"ARGO_DEBUG_PAUSE_BEFORE": value, "ARGO_DEBUG_PAUSE_AFTER": value}
        assert run("sh", "-c", "echo ran", env=env).stdout == b"ran\n"
