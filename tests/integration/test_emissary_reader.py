"""Whoever reads our output may be slow, or never come back: what the command wrote is not lost for
that, and what has to happen is not held up."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.modes import MODES, in_mode
from tests.room import (
    SUBJECT,
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
F_SETPIPE_SZ = 1031
# It fits into the pipes (64 KiB and 4), or terminals (12 KiB each), so the command is gone long
# before anybody reads.
WRITES = "head -c 18000 /dev/zero; printf last; exit 7"
WRITTEN = bytes(18000) + b"last"


def small_pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, F_SETPIPE_SZ, 4096)
    return read_fd, write_fd


def children(process: Wrapper) -> str:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()


@contextmanager
def stalled(grace: int, script: str = WRITES, kind: str = "pipe") -> Iterator[tuple[Wrapper, int]]:
    """A wrapper whose command has ended, but whose output nobody has read."""
    write_template(archiveLocation={"archiveLogs": True})
    env = {**CAPTURED, "ARGO_TERMINATION_GRACE_PERIOD_SECONDS": str(grace)}
    options = {"env": env, "stderr": open("/tmp/err", "wb")}
    if kind == "terminal":
        read_fd, write_fd = pty.openpty()
        tty.setraw(write_fd)
        options["stdin"] = write_fd
    else:
        read_fd, write_fd = small_pipe()
    began = Path("/tmp/began")  # the child itself may come and go between two looks
    with start("sh", "-c", f">{began}; {script}", stdout=write_fd, **options) as process:
        os.close(write_fd)
        until(began.exists)
        until(lambda: not children(process))
        yield process, read_fd


def read_all(fd: int) -> bytes:
    data = b""
    try:
        while chunk := os.read(fd, 65536):
            data += chunk
    except OSError:  # a terminal ends so
        pass
    return data


def dropped() -> list[int]:
    """What the log says about it: one line, or none."""
    lines = [line for line in Path("/tmp/err").read_text().splitlines() if "dropped" in line]
    return [int(re.search(r"bytes=(\d+)", line).group(1)) for line in lines]


def raw(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
@in_room
def test_a_reader_that_never_comes_back(kind: str) -> None:
    """A stop starts the time that it has; the kept copies are whole all the same."""
    with stalled(grace=2, kind=kind) as (process, read_fd):
        time.sleep(1.5)
        assert process.poll() is None  # nothing has asked for an end yet
        began = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 7
        assert 0.8 < time.monotonic() - began < 4
    seen = read_all(read_fd)
    assert WRITTEN.startswith(seen)
    assert dropped() == [len(WRITTEN) - len(seen)] and dropped()[0] > 0
    assert container_file("stdout").read_bytes() == WRITTEN
    assert container_file("combined").read_bytes() == WRITTEN
    assert exit_code() == "7"


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
@in_room
def test_a_reader_that_comes_back_in_time(kind: str) -> None:
    with stalled(grace=20, kind=kind) as (process, read_fd):
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        data = b""
        while len(data) < len(WRITTEN):
            data += os.read(read_fd, 100)
        assert process.wait(10) == 7
    assert data + read_all(read_fd) == WRITTEN
    assert dropped() == []


@in_room
def test_a_kill_after_the_end() -> None:
    with stalled(grace=100) as (process, _read_fd):
        began = time.monotonic()
        container_file("signal").write_text("9")
        assert process.wait(10) == 7
        assert time.monotonic() - began < 4
    assert len(dropped()) == 1
    assert container_file("stdout").read_bytes() == WRITTEN


@in_room
def test_a_kill_while_it_fills_the_pipe() -> None:
    """It ignores SIGTERM, writes for ever, and nobody reads."""
    write_template(archiveLocation={"archiveLogs": True})
    _read_fd, write_fd = small_pipe()
    with start("sh", "-c", "trap '' TERM; yes", stdout=write_fd, stderr=open("/tmp/err", "wb")) as process:
        until(lambda: container_file("combined").exists())
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)
        time.sleep(0.2)
        assert process.poll() is None
        began = time.monotonic()
        container_file("signal").write_text("9")
        assert process.wait(10) == 137
        assert time.monotonic() - began < 4
    assert exit_code() == "137" and len(dropped()) == 1


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_the_last_line_needs_no_end(mode: str) -> None:
    with in_mode(mode, "sh", "-c", "head -c 3000 /dev/zero; printf last") as (process, output):
        time.sleep(0.3)
        data = read_all(output.fileno())
        assert process.wait(10) == 0
    assert data == bytes(3000) + b"last"


@pytest.mark.parametrize("has_orphan", [False, True])
@in_room
def test_what_is_still_inside_a_terminal(has_orphan: bool) -> None:
    """Two ptys in a row hold a good deal, and only reading tells how much."""
    orphan = "trap '' HUP; sleep 60 & " if has_orphan else ""
    with in_mode("terminal", "sh", "-c", orphan + "seq 6000; printf last") as (process, output):
        wanted = b"".join(b"%d\n" % i for i in range(1, 6001)) + b"last"
        # The command blocks when the terminals are full; take just so much that it can end.
        data = output.read(1)
        child = first_child(process.pid)
        while Path(f"/proc/{child}").exists():
            data += output.read(512) if select.select([output], [], [], 0)[0] else b""
            time.sleep(0.02)
        time.sleep(0.3)
        data += read_all(output.fileno())
        assert process.wait(10) == 0
    assert raw(data) == wanted


# --- our own lines ---------------------------------------------------------------------------


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    try:
        while True:
            os.write(write_fd, b"x" * 4096)
    except BlockingIOError:
        return read_fd, write_fd


@pytest.mark.parametrize("is_blocking", [True, False])
@in_room
def test_a_log_that_nobody_reads(is_blocking: bool) -> None:
    """Its lines are lost, and nothing else is."""
    _read_fd, write_fd = full_pipe()
    os.set_blocking(write_fd, is_blocking)
    began = time.monotonic()
    with start(SUBJECT, "exit", "5", stderr=write_fd) as process:
        assert process.wait(20) == 5
    assert time.monotonic() - began < 10
    assert exit_code() == "5"


@pytest.mark.parametrize("is_blocking", [True, False])
@in_room
def test_a_log_that_is_read_late(is_blocking: bool) -> None:
    read_fd, write_fd = full_pipe()
    os.set_blocking(write_fd, is_blocking)
    with start(SUBJECT, "exit", "5", stderr=write_fd) as process:
        os.close(write_fd)
        time.sleep(0.4)
        text = read_all(read_fd).decode()
        assert process.wait(10) == 5
    assert 'msg="sub-process exited" exitCode=5' in text
    assert text.endswith("Error: exit status 5\n")


NONBLOCKING = """
import fcntl, os, sys
for fd in (1, 2):
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.fcntl(fd, fcntl.F_GETFL))
try:
    while True:
        os.write(int(sys.argv[1]), b"y" * 1024)
except BlockingIOError:
    os._exit(6)
"""


@pytest.mark.parametrize("fd", ["1", "2"])
@in_room
def test_a_command_that_makes_our_streams_nonblocking(fd: str) -> None:
    """They are shared: what it does to them, it does to us."""
    read_fd, write_fd = os.pipe()
    options = {"stdout": write_fd, "stderr": write_fd}
    with start("python3", "-c", NONBLOCKING, fd, **options) as process:
        os.close(write_fd)
        time.sleep(0.5)
        data = read_all(read_fd)
        assert process.wait(10) == 6
    assert data.startswith(b"y" * 60000) and data.endswith(b"Error: exit status 6\n")


@in_room
def test_a_captured_command_that_makes_its_stream_nonblocking() -> None:
    result = run("python3", "-c", NONBLOCKING, "1", env=CAPTURED, stderr=subprocess.DEVNULL)
    assert result.returncode == 6
    assert result.stdout == container_file("stdout").read_bytes() and result.stdout
