"""The wrapper's connection to `wait`: hello, signals, and what happens when the other end is not
there yet, goes, or talks nonsense."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.room import (
    ARGOEXEC,
    SUBJECT,
    VRA,
    Wrapper,
    container_file,
    environment,
    exit_code,
    in_room,
    run,
    start,
    until,
)

SOCKET = VRA / "wait.sock"
MAGIC = 0x54495031
HELLO, SIGNAL = 1, 2


def message(kind: int, number: int = 0, text: bytes = b"", magic: int = MAGIC) -> bytes:
    return struct.pack("=IHH64s", magic, kind, number, text)


def listen() -> socket.socket:
    """As `wait` does: what has the name can be connected to."""
    temporary = str(SOCKET) + ".tmp"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.bind(temporary)
    server.listen()
    server.settimeout(10)
    os.rename(temporary, SOCKET)
    return server


def accept(server: socket.socket, name: bytes = b"main") -> socket.socket:
    """A wrapper's connection, after its hello."""
    peer, _address = server.accept()
    peer.settimeout(10)
    assert peer.recv(100) == message(HELLO, 0, name)
    return peer


@contextlib.contextmanager
def recording(last: int = 15) -> Iterator[Wrapper]:
    with start(SUBJECT, "record", str(last), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process


def next_signal(process: Wrapper) -> int:
    return int(process.stdout.readline())


def by_file(process: Wrapper, number: int) -> None:
    container_file("signal").write_text(str(number))
    assert next_signal(process) == number


@in_room
def test_hello_signals_and_the_end() -> None:
    server = listen()
    with recording() as process:
        peer = accept(server)
        for number in (1, 10, 33, 64, 28, 15):
            peer.send(message(SIGNAL, number))
            assert next_signal(process) == number
        assert process.wait(10) == 0
        # The end of the connection comes after the exit code.
        assert peer.recv(100) == b"" and exit_code() == "0"


@in_room
def test_the_end_of_a_killed_wrapper() -> None:
    server = listen()
    with recording() as process:
        peer = accept(server)
        process.kill()
        assert peer.recv(100) == b""
        assert exit_code() is None
        process.wait(10)


@in_room
def test_wait_comes_later() -> None:
    with recording() as process:
        by_file(process, 10)
        server = listen()
        peer = accept(server)
        peer.send(message(SIGNAL, 12))
        assert next_signal(process) == 12
        peer.send(message(SIGNAL, 15))
        assert process.wait(10) == 0


def connect_as_soon_as_possible(process: subprocess.Popen) -> None:
    """Fails if the name is there before somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        while process.poll() is None:
            try:
                client.connect(str(SOCKET))
                return
            except FileNotFoundError:
                pass
    pytest.fail("it has ended")


@in_room
def test_a_socket_that_is_seen_is_ready() -> None:
    """A wrapper is woken by the name and tries once: too early, and it would never be heard of."""
    run("true")
    env = environment("wait", ARGO_POD_NAME="p", ARGO_DEADLINE="0001-01-01T00:00:00Z")
    for _ in range(100):
        words = [ARGOEXEC, "wait", "--server=https://127.0.0.1:1", "--namespace=argo"]
        with Wrapper(words, env=env, stderr=subprocess.DEVNULL) as process:
            connect_as_soon_as_possible(process)
            process.kill()
        SOCKET.unlink(missing_ok=True)


@in_room
def test_wait_dies_and_comes_back() -> None:
    with recording() as process:
        for _ in range(3):
            with listen() as server:
                peer = accept(server)
            peer.close()
            # The socket's file is still there, but nobody listens.
            by_file(process, 10)
        SOCKET.unlink()
        by_file(process, 12)
        by_file(process, 15)
        assert process.wait(10) == 0


@in_room
def test_a_signal_file_that_came_while_wait_was_there() -> None:
    """`wait` died before it could pass it on: the wrapper finds it."""
    server = listen()
    with recording() as process:
        peer = accept(server)
        container_file("signal").write_text("15")
        time.sleep(0.05)
        assert process.poll() is None
        server.close()
        peer.close()
        assert next_signal(process) == 15
        assert process.wait(10) == 0


GARBAGE = {
    "empty text": b"\0",
    "short": message(SIGNAL, 15)[:10],
    "long": message(SIGNAL, 15) + b"x",
    "huge": b"\xff" * 60000,
    "other magic": message(SIGNAL, 15, magic=1),
    "other kind": message(9, 15),
    "hello": message(HELLO, 15, b"main"),
    "signal 0": message(SIGNAL, 0),
    "signal 65": message(SIGNAL, 65),
    "signal 65535": message(SIGNAL, 65535),
    "no end of text": message(SIGNAL, 15, b"x" * 64),
}


def stir() -> bool:
    (VRA / "something").touch()
    (VRA / "something").unlink()
    return True


@in_room
def test_nonsense_from_the_other_end() -> None:
    server = listen()
    with recording() as process:
        for what, data in GARBAGE.items():
            peer = accept(server)
            peer.send(data)
            # Dropped; found again when something happens in the directory.
            assert peer.recv(100) == b"", what
            peer.close()
            until(lambda: stir() and select.select([server], [], [], 0)[0])
        peer = accept(server)
        assert process.poll() is None
        peer.send(message(SIGNAL, 15))
        assert process.stdout.read() == b"15\n"
        assert process.wait(10) == 0


@in_room
def test_a_flood_of_signals() -> None:
    server = listen()
    with recording(last=64) as process:
        peer = accept(server)
        for _ in range(500):
            peer.send(message(SIGNAL, 40))
        peer.send(message(SIGNAL, 64))
        assert process.stdout.read().split() == [b"40"] * 500 + [b"64"]
        assert process.wait(10) == 0


@pytest.mark.parametrize("kind", ["file", "directory", "link", "stream", "datagram", "full"])
@in_room
def test_something_else_in_the_place_of_the_socket(kind: str) -> None:
    """The command runs at once, and the file works."""
    server = None
    if kind == "file":
        SOCKET.write_text("x")
    elif kind == "directory":
        SOCKET.mkdir()
    elif kind == "link":
        SOCKET.symlink_to("/nowhere")
    elif kind == "full":
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server.bind(str(SOCKET))
        server.listen(0)
        waiting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        waiting.connect(str(SOCKET))
    else:
        type_ = socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM
        server = socket.socket(socket.AF_UNIX, type_)
        server.bind(str(SOCKET))
    with recording() as process:
        by_file(process, 10)
        by_file(process, 15)
        assert process.wait(10) == 0
    if server:
        server.close()


@in_room
def test_the_socket_is_deleted_while_connected() -> None:
    server = listen()
    with recording() as process:
        peer = accept(server)
        SOCKET.unlink()
        peer.send(message(SIGNAL, 15))
        assert next_signal(process) == 15
        assert process.wait(10) == 0


@in_room
def test_a_stop_that_comes_with_the_connection() -> None:
    """Asked while the wrapper was still getting ready (here: paused): the command never runs."""
    server = listen()
    env = {"ARGO_DEBUG_PAUSE_BEFORE": "true"}
    with start("sh", "-c", "echo ran", env=env, stdout=subprocess.PIPE) as process:
        peer = accept(server)
        peer.send(message(SIGNAL, 15))
        assert process.stdout.read() == b"" and process.wait(10) == 143
    assert exit_code() == "143"


@in_room
def test_nobody_there_costs_no_time() -> None:
    began = time.monotonic()
    for _ in range(20):
        assert run("true").returncode == 0
    assert (time.monotonic() - began) / 20 < 0.5


# --- a user who destroys what the executor needs --------------------------------------------


@pytest.mark.parametrize("has_wait", [False, True])
@in_room
def test_everything_is_deleted(has_wait: bool) -> None:
    server = listen() if has_wait else None
    result = run("sh", "-c", "rm -rf /var/run/argo/* /var/run/argo/.[a-z]*; exit 9")
    assert result.returncode == 9
    assert exit_code() == "9"
    if server:
        server.close()


@in_room
def test_a_command_that_writes_its_own_exit_code() -> None:
    script = "printf 77777777 >/var/run/argo/ctr/main/exitcode; exit 9"
    assert run("sh", "-c", script).returncode == 9
    assert exit_code() == "9"


@in_room
def test_what_a_session_of_its_own_does_not_delay() -> None:
    """Forked away with setsid, stdout and all: as PID 1 the wrapper takes it along."""
    away = "setsid sh -c 'echo $$ >/tmp/pid; exec sleep 60'"
    script = f"{away} & until [ -s /tmp/pid ]; do :; done; exit 4"
    env = {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"}
    began = time.monotonic()
    with start("sh", "-c", script, env=env, is_init=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == b""
        assert process.wait(10) == 4
    assert time.monotonic() - began < 5
    sleepers = [p for p in Path("/proc").glob("[0-9]*/comm") if p.read_text() == "sleep\n"]
    assert sleepers == []


@in_room
def test_a_command_that_signals_its_wrapper() -> None:
    """From inside, as PID 1: what it sends comes back to it; the wrapper lives on."""
    script = "trap 'echo term' TERM; kill -TERM 1; kill -KILL 1; sleep 0.1; kill -CHLD 1; exit 3"
    result = run("bash", "-c", script, is_init=True)
    assert (result.returncode, result.stdout) == (3, b"term\n")
    assert os.listdir("/var/run/argo/ctr") == ["main"]
