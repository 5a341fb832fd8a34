"""The wrapper's end of handing outputs over, with a `wait` that says what it likes."""

from __future__ import annotations

import array
import os
import socket
import struct
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.integration.test_emissary_channel import MAGIC, accept, listen, message
from tests.room import SUBJECT, VRA, exit_code, first_child, in_room, start, write_template

OUTPUT, ANSWER = 3, 4
TAKEN, REFUSED, BUSY = 1, 2, 3
WORK = Path("/tmp/work")


def prepare(*paths: str) -> None:
    WORK.mkdir()
    outputs = [{"name": f"a{i}", "path": path} for i, path in enumerate(paths)]
    write_template(outputs={"artifacts": outputs})


def next_output(peer: socket.socket) -> tuple[str, int, int]:
    """Path, errno and descriptor (-1: none) of what the wrapper offers next."""
    size = array.array("i").itemsize
    data, rights, _flags, _address = peer.recvmsg(5000, socket.CMSG_SPACE(4 * size))
    magic, kind, number = struct.unpack("=IHH", data[:8])
    assert (magic, kind) == (MAGIC, OUTPUT)
    assert data.endswith(b"\0") and data.count(b"\0", 8) == 1
    fds = array.array("i")
    for _level, _type, content in rights:
        fds.frombytes(content)
    assert len(fds) == (0 if number else 1)
    return data[8:-1].decode(), number, fds[0] if fds else -1


def archives() -> set[str]:
    top = VRA / "outputs/artifacts"
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


@in_room
def test_a_descriptor_outlives_its_container() -> None:
    prepare("/tmp/work/d", "/tmp/work/f", "/tmp/work/none", "/tmp/work/d")
    (WORK / "d").mkdir()
    (WORK / "d/x").write_text("deep")
    (WORK / "f").write_text("file")
    server = listen()
    with start("true") as process:
        peer = accept(server)
        found = {}
        for _ in range(3):
            path, number, fd = next_output(peer)
            found[path] = (number, fd)
            assert exit_code() is None  # held until it is taken
            peer.send(message(ANSWER, BUSY))
            peer.send(message(ANSWER, TAKEN))
        assert process.wait(10) == 0
    assert set(found) == {"/tmp/work/d", "/tmp/work/f", "/tmp/work/none"}
    assert found["/tmp/work/none"] == (2, -1)
    assert os.read(found["/tmp/work/f"][1], 10) == b"file"
    assert os.listdir(found["/tmp/work/d"][1]) == ["x"]
    assert archives() == set()


@pytest.mark.parametrize(
    "answer",
    [
        message(ANSWER, REFUSED),
        message(ANSWER, 0),
        message(ANSWER, 77),
        message(OUTPUT, 0),
        b"x",
        None,
    ],
    ids=["refused", "no-verdict", "unknown-verdict", "output", "garbage", "gone"],
)
@in_room
def test_what_is_not_taken_is_packed(answer: bytes | None) -> None:
    prepare("/tmp/work/a", "/tmp/work/b")
    for name in "ab":
        (WORK / name).write_text(name)
    server = listen()
    with start("true") as process:
        peer = accept(server)
        assert next_output(peer)[0] == "/tmp/work/a"
        if answer:
            peer.send(answer)
        else:
            peer.close()
        if answer == message(ANSWER, REFUSED):
            assert next_output(peer)[0] == "/tmp/work/b"
            peer.send(message(ANSWER, TAKEN))
        assert process.wait(10) == 0
    expected = {"tmp/work/a.tgz", "tmp/work/b.tgz"}
    if answer == message(ANSWER, REFUSED):
        expected.remove("tmp/work/b.tgz")
    assert archives() == expected
    with tarfile.open(VRA / "outputs/artifacts/tmp/work/a.tgz") as tar:
        assert tar.getnames() == ["a"]


@in_room
def test_a_wait_that_comes_late() -> None:
    """It is waited for, for two seconds, once the command has ended."""
    prepare("/tmp/work/a")
    (WORK / "a").write_text("a")
    with start(SUBJECT, "exit", "3", stderr=subprocess.PIPE) as process:
        line = process.stderr.readline()
        while b"sub-process exited" not in line:
            line = process.stderr.readline()
        peer = accept(listen())
        assert next_output(peer)[0] == "/tmp/work/a"
        peer.send(message(ANSWER, TAKEN))
        assert process.wait(10) == 3
    assert archives() == set()


@in_room
def test_a_wait_that_does_not_come() -> None:
    prepare("/tmp/work/a")
    (WORK / "a").write_text("a")
    started = time.monotonic()
    with start("true") as process:
        assert process.wait(20) == 0
    assert time.monotonic() - started >= 2
    assert archives() == {"tmp/work/a.tgz"}


@in_room
def test_nobody_is_waited_for_without_reason() -> None:
    """No output, or a template whose outputs nobody beside main collects."""
    for template in ({"container": {}}, {"data": {}, "container": None}):
        paths = [] if "data" not in template else [{"name": "a", "path": "/tmp/none"}]
        write_template(outputs={"artifacts": paths}, **template)
        started = time.monotonic()
        with start("true") as process:
            assert process.wait(20) == 0
        assert time.monotonic() - started < 2


@in_room
def test_a_stop_meanwhile_changes_nothing() -> None:
    prepare("/tmp/work/a")
    (WORK / "a").write_text("a")
    server = listen()
    with start("true") as process:
        peer = accept(server)
        next_output(peer)
        for number in (15, 2, 3, 1):
            process.send_signal(number)
        peer.send(message(2, 15))
        peer.send(message(ANSWER, TAKEN))
        assert process.wait(10) == 0
    assert archives() == set() and exit_code() == "0"


@pytest.mark.parametrize("is_init", [False, True], ids=["child", "pid-1"])
@in_room
def test_only_pid_1_ends_the_others(is_init: bool) -> None:
    """Where it is not, whoever else runs there is none of its business."""
    prepare("/tmp/work/a")
    (WORK / "a").write_text("a")
    server = listen()
    script = "sleep 1000 >/dev/null 2>&1 &"
    with start("bash", "-c", script, is_init=is_init) as process:
        peer = accept(server)
        next_output(peer)
        # Orphans are its children in both cases.
        wrapper = first_child(process.pid) if is_init else process.pid
        left = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
        assert len(left) == (0 if is_init else 1)
        for pid in left:
            os.kill(int(pid), 9)
        peer.send(message(ANSWER, TAKEN))
        assert process.wait(10) == 0
