"""Captured output: all of it, everywhere it belongs, in time, whatever becomes of the reader."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.pod.sandbox import linux
from tests.room import container_file, exit_code, in_room, run, start, until, write_template

CAPTURED = {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"}
F_SETPIPE_SZ = 1031


def archive_logs() -> None:
    write_template(archiveLocation={"archiveLogs": True})


def kept(file: str = "stdout") -> bytes:
    return container_file(file).read_bytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Where our own stdout goes decides how bytes are moved: tee(2) between pipes, write(2) elsewhere.
OUTPUTS = ("pipe", "file", "null", "socket")


@pytest.mark.parametrize("output", OUTPUTS)
@in_room
def test_twenty_megabytes_with_every_byte(output: str) -> None:
    data = os.urandom(10 << 20) + bytes(10 << 20) + os.urandom(12345) + b"no newline"
    Path("/tmp/data").write_bytes(data)
    archive_logs()
    if output == "pipe":
        assert digest(run("cat", "/tmp/data", env=CAPTURED).stdout) == digest(data)
    elif output == "socket":
        assert digest(by_socket("cat", "/tmp/data")) == digest(data)
    else:
        path = "/tmp/out" if output == "file" else "/dev/null"
        with open(path, "wb") as out:
            assert run("cat", "/tmp/data", env=CAPTURED, stdout=out).returncode == 0
        assert output == "null" or digest(Path(path).read_bytes()) == digest(data)
    assert digest(kept()) == digest(kept("combined")) == digest(data)


def by_socket(*command: str) -> bytes:
    ours, theirs = socket.socketpair()
    with start(*command, env=CAPTURED, stdout=theirs) as process:
        theirs.close()
        data = b""
        while chunk := ours.recv(1 << 20):
            data += chunk
        assert process.wait(10) == 0
    return data


@in_room
def test_which_stream_goes_where() -> None:
    archive_logs()
    script = "printf out; printf err >&2; printf end"
    result = run("sh", "-c", script, env=CAPTURED)
    assert result.stdout == b"outend"
    assert result.stderr.startswith(b"err")
    assert kept() == b"outend"
    assert sorted(kept("combined")) == sorted(b"outerrend")


@in_room
def test_what_asks_for_a_copy() -> None:
    """The result is made of `stdout`, the archived log of `combined`: no more than is wanted."""
    run("echo", "x")
    assert not container_file("stdout").exists() and not container_file("combined").exists()
    run("echo", "x", env={"ARGO_INCLUDE_SCRIPT_OUTPUT": "false"})
    assert not container_file("stdout").exists()
    run("echo", "y", name="side", env=CAPTURED)
    assert container_file("stdout", "side").read_bytes() == b"y\n"
    assert not container_file("combined", "side").exists()
    archive_logs()
    run("echo", "x")
    assert kept("combined") == b"x\n" and not container_file("stdout").exists()


@in_room
def test_a_command_without_output() -> None:
    archive_logs()
    assert run("true", env=CAPTURED).returncode == 0
    assert kept() == kept("combined") == b""


@in_room
def test_a_command_that_closes_its_output_runs_on() -> None:
    result = run("sh", "-c", "printf x; exec >&- 2>&-; sleep 0.2; exit 9", env=CAPTURED)
    assert (result.returncode, result.stdout, kept()) == (9, b"x", b"x")


@in_room
def test_a_reader_that_stalls_loses_nothing() -> None:
    """Both ends: a pipe, where tee(2) is at work, and a socket, where write(2) is."""
    ours, theirs = socket.socketpair()
    read_fd, write_fd = os.pipe()
    script = "head -c 1000000 /dev/zero | tr '\\0' 'x'; echo last"
    with (
        start("sh", "-c", script, env=CAPTURED, name="a", stdout=write_fd) as one,
        start("sh", "-c", script, env=CAPTURED, name="b", stdout=theirs) as other,
    ):
        os.close(write_fd)
        theirs.close()
        time.sleep(3)
        assert one.poll() is None and other.poll() is None
        with os.fdopen(read_fd, "rb") as reader:
            by_pipe = reader.read()
        by_socket = b""
        while chunk := ours.recv(1 << 20):
            by_socket += chunk
        assert one.wait(10) == other.wait(10) == 0
    wanted = b"x" * 1000000 + b"last\n"
    for data in (by_pipe, by_socket):
        assert data == wanted
    for name in ("a", "b"):
        assert container_file("stdout", name).read_bytes() == wanted


@in_room
def test_a_reader_of_stderr_that_stalls_loses_nothing() -> None:
    """Our own lines go the same way: they come after what the command wrote, not into it."""
    archive_logs()
    read_fd, write_fd = os.pipe()
    script = "head -c 1000000 /dev/zero >&2; echo last >&2; echo out; exit 7"
    with start("sh", "-c", script, stdout=subprocess.DEVNULL, stderr=write_fd) as process:
        os.close(write_fd)
        time.sleep(3)
        assert process.poll() is None
        with os.fdopen(read_fd, "rb") as reader:
            seen = reader.read()
        assert process.wait(10) == 7
    wanted = bytes(1000000) + b"last\n"
    start_of_it = seen.index(b"\0")
    assert seen[start_of_it : start_of_it + len(wanted)] == wanted
    assert b"sub-process exited" in seen[start_of_it + len(wanted) :]
    # Two streams: in which order they were kept is open.
    assert kept("combined").replace(b"out\n", b"") == wanted


@in_room
def test_what_a_dead_command_wrote_waits_for_a_slow_reader() -> None:
    """It fits into the pipes, so the command is gone long before anybody reads."""
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, F_SETPIPE_SZ, 4096)
    script = "head -c 40000 /dev/zero; echo last"
    with start("sh", "-c", script, env=CAPTURED, stdout=write_fd) as process:
        os.close(write_fd)
        time.sleep(0.5)
        assert process.poll() is None
        with os.fdopen(read_fd, "rb") as reader:
            assert reader.read() == bytes(40000) + b"last\n"
        assert process.wait(10) == 0
    assert kept() == bytes(40000) + b"last\n"


@in_room
def test_a_stalled_reader_does_not_hold_back_signals() -> None:
    read_fd, write_fd = os.pipe()
    script = "trap 'echo asked >/tmp/asked; exit 5' TERM; while :; do echo xxxxxxxx; done"
    with start("bash", "-c", script, env=CAPTURED, stdout=write_fd) as process:
        os.close(write_fd)
        until(lambda: container_file("stdout").exists() and kept())
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGTERM)
        # Blocked in write(2), bash runs its trap; what it wrote still waits for the reader.
        until(Path("/tmp/asked").exists)
        with os.fdopen(read_fd, "rb") as reader:
            data = reader.read()
        assert process.wait(10) == 5
    assert data == kept()


@pytest.mark.parametrize("is_socket", [False, True])
@in_room
def test_a_reader_that_is_gone(is_socket: bool) -> None:
    """The log is lost, the copy is not, and the command does not even notice."""
    archive_logs()
    ours, theirs = socket.socketpair()
    read_fd, write_fd = os.pipe()
    script = "echo first; sleep 0.1; head -c 500000 /dev/zero; echo last; exit 6"
    output = theirs if is_socket else write_fd
    with start("bash", "-c", script, env=CAPTURED, stdout=output) as process:
        theirs.close()
        os.close(write_fd)
        if is_socket:
            assert ours.recv(6) == b"first\n"
        else:
            assert os.read(read_fd, 6) == b"first\n"
        ours.close()
        os.close(read_fd)
        assert process.wait(10) == 6
    assert kept() == kept("combined") == b"first\n" + bytes(500000) + b"last\n"


@in_room
def test_a_reader_that_leaves_while_we_wait_for_room() -> None:
    read_fd, write_fd = os.pipe()
    script = "head -c 500000 /dev/zero; exit 6"
    with start("sh", "-c", script, env=CAPTURED, stdout=write_fd) as process:
        os.close(write_fd)
        until(lambda: container_file("stdout").exists() and len(kept()) > 60000)
        time.sleep(0.05)
        os.close(read_fd)
        assert process.wait(10) == 6
    assert kept() == bytes(500000)


# --- orphans that keep the pipe -----------------------------------------------------------

ORPHANS = {
    "silent": "sleep 60 & echo mine",
    "one byte": "(sleep 0.03; printf x; exec sleep 60) & echo mine; sleep 0.01",
    "a word": "(sleep 0.03; echo word; exec sleep 60) & echo mine",
    "flood": "yes & echo mine",
    "flood elsewhere": "setsid yes & echo mine",
    "drops": "(while sleep 0.02; do printf x; done) & echo mine",
}


@pytest.mark.parametrize("which", ORPHANS)
@pytest.mark.parametrize("is_captured", [True, False])
@in_room
def test_an_orphan_does_not_delay_the_end(which: str, is_captured: bool) -> None:
    env = CAPTURED if is_captured else {}
    script = ORPHANS[which] + "; date +%s.%N >/tmp/end; exit 8"
    with open("/dev/null", "wb") as out:
        with start("bash", "-c", script, env=env, stdout=out) as process:
            assert process.wait(30) == 8
    delay = time.time() - float(Path("/tmp/end").read_text())
    assert delay < 0.4, f"{delay} s"
    assert exit_code() == "8"
    if is_captured:
        assert b"mine\n" in kept()


@pytest.mark.parametrize("stream", [1, 2])
@in_room
def test_an_orphan_that_holds_one_stream(stream: int) -> None:
    """Of an archived log: the other one has ended, and this one gets its 100 ms."""
    archive_logs()
    other = 3 - stream
    script = f"sleep 60 {other}>/dev/null & echo out; echo err >&2; date +%s.%N >/tmp/end; exit 8"
    result = run("bash", "-c", script)
    delay = time.time() - float(Path("/tmp/end").read_text())
    assert (result.returncode, result.stdout) == (8, b"out\n")
    assert 0.09 < delay < 0.5, f"{delay} s"
    assert sorted(kept("combined").split()) == [b"err", b"out"]


@in_room
def test_what_an_orphan_writes_in_time_is_kept() -> None:
    result = run("sh", "-c", "(sleep 0.02; echo late) & exit 0", env=CAPTURED)
    assert result.stdout == kept() == b"late\n"


# --- what users put in the place of our files ----------------------------------------------


@in_room
def test_files_that_cannot_be_opened() -> None:
    """A link or a pipe under our name: refused, not followed and not waited for."""
    for make in (lambda p: p.symlink_to("/tmp/target"), os.mkfifo, Path.mkdir):
        container_file("").mkdir(parents=True, exist_ok=True)
        path = container_file("stdout")
        make(path)
        result = run("sh", "-c", "echo ran", env=CAPTURED)
        assert result.returncode == 64 and exit_code() == "64"
        assert str(path).encode() in result.stderr
        assert not Path("/tmp/target").exists()
        subprocess.run(["rm", "-rf", path], check=True)


@in_room
def test_a_full_disk_stops_the_copy_not_the_log() -> None:
    linux.mount("tmpfs", "/var/run/argo", "tmpfs", 0, "size=256k,mode=777")
    result = run("sh", "-c", "head -c 1000000 /dev/zero; exit 3", env=CAPTURED)
    assert (result.returncode, len(result.stdout)) == (3, 1000000)
    assert b"The copy of the output is incomplete" in result.stderr
    assert b"no space left on device" in result.stderr
    # Its room was put aside at the start: whoever depends on it need not wait for ever.
    assert Path("/var/run/argo/ctr/main/exitcode").read_text() == "3"


@in_room
def test_copies_grow_from_run_to_run() -> None:
    """A container that is started again by the kubelet keeps what was logged before."""
    archive_logs()
    for text in ("a", "b"):
        run("printf", text, env=CAPTURED)
    assert kept("combined") == b"ab"


@in_room
def test_many_streams_of_one_pipe() -> None:
    """stdout and stderr may be one and the same file of ours."""
    archive_logs()
    script = "for i in $(seq 2000); do echo $i; echo $i >&2; done"
    result = run("bash", "-c", script, env=CAPTURED, stderr=subprocess.STDOUT)
    lines = sorted(line for line in result.stdout.split(b"\n") if line.isdigit())
    assert len(lines) == 4000
    assert sorted(kept("combined").split()) == lines
