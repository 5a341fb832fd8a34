"""`stdin: true, tty: true` in the pod: a terminal in front of us, and one behind us."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator

import pytest

from tests.room import (
    SUBJECT,
    Wrapper,
    container_file,
    exit_code,
    first_child,
    in_room,
    start,
    until,
    write_template,
)

CONTROL_C, CONTROL_D, CONTROL_BACKSLASH = b"\x03", b"\x04", b"\x1c"


class Terminal:
    """A user's end of the pair."""

    def __init__(self, rows: int = 24, columns: int = 80):
        self.fd, self.slave_fd = pty.openpty()
        self.resize(rows, columns)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def settings(self) -> list:
        return termios.tcgetattr(self.slave_fd)

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def read_until(self, pattern: bytes, seconds: float = 10) -> re.Match[bytes]:
        """Takes what is shown up to and with the pattern."""
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], (pattern, self.seen)
            self.seen += os.read(self.fd, 65536)
        self.seen = self.seen[match.end() :]
        return match

    def read_rest(self) -> bytes:
        """What is shown and not read yet; nobody writes any more."""
        while select.select([self.fd], [], [], 0)[0]:
            self.seen += os.read(self.fd, 65536)
        return self.seen


def become_foreground() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def at_terminal(*command: str, terminal: Terminal, **options: object) -> Iterator[Wrapper]:
    fd = terminal.slave_fd
    options = {"stdin": fd, "stdout": fd, "stderr": fd, "preexec_fn": become_foreground, **options}
    with start(*command, flags=("--loglevel", "error"), **options) as process:
        yield process


@in_room
def test_the_command_has_a_terminal_of_its_own() -> None:
    terminal = Terminal(40, 132)
    with at_terminal(SUBJECT, "show", terminal=terminal) as process:
        found = json.loads(terminal.read_until(rb"\{.*\}\r\n").group())
        assert process.wait(10) == 0
    assert found["terminal"] == [1, 1, 1]
    assert (found["rows"], found["columns"]) == (40, 132)
    assert found["session"] == found["group"] == found["foreground"] == found["pid"]
    assert set(found["descriptors"]) == {"0", "1", "2"}
    inode = {text.split()[0] for text in found["descriptors"].values()}
    st = os.fstat(terminal.slave_fd)
    assert len(inode) == 1 and f"{st.st_dev:x}:{st.st_ino}" not in inode
    for internal in ("32", "33"):  # posix_spawn of glibc, thus make, leaves them ignored
        found["handled"].pop(internal, None)
    assert found["blocked"] == "0" * 16 and found["handled"] == {}


@in_room
def test_settings_are_raw_meanwhile_and_restored() -> None:
    terminal = Terminal()
    before = terminal.settings()
    for script, code in (("exit 3", 3), ("kill -9 $$", 137), ("exec /no/such/file", 127)):
        with at_terminal("sh", "-c", f"stty -echo; read x; {script}", terminal=terminal) as process:
            until(lambda: not terminal.settings()[3] & termios.ICANON)
            assert not terminal.settings()[3] & (termios.ECHO | termios.ISIG)
            assert not terminal.settings()[1] & termios.OPOST
            terminal.type(b"\r")
            assert process.wait(10) == code
        assert terminal.settings() == before
        assert exit_code() == str(code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@in_room
def test_settings_after_a_signal(number: int) -> None:
    terminal = Terminal()
    before = terminal.settings()
    with at_terminal("sleep", "60", terminal=terminal) as process:
        until(lambda: not terminal.settings()[3] & termios.ICANON)
        if number == signal.SIGKILL:
            container_file("signal").write_text("9")
        else:
            os.kill(process.pid, number)
        assert process.wait(10) == 128 + number
    assert terminal.settings() == before


@in_room
def test_settings_after_a_command_that_could_not_be_started() -> None:
    terminal = Terminal()
    before = terminal.settings()
    open("/tmp/junk", "wb").write(b"\0\1")
    os.chmod("/tmp/junk", 0o755)
    with at_terminal("/tmp/junk", terminal=terminal) as process:
        assert process.wait(10) == 64
    assert terminal.settings() == before
    assert b"exec format error" in terminal.read_rest()


@in_room
def test_typing_reaches_the_command() -> None:
    terminal = Terminal()
    script = "read x; echo \"got <$x>\"; read y || echo over"
    with at_terminal("sh", "-c", script, terminal=terminal) as process:
        terminal.type(b"hello\r")
        terminal.read_until(rb"got <hello>\r\n")
        terminal.type(CONTROL_D)
        terminal.read_until(rb"over\r\n")
        assert process.wait(10) == 0


@pytest.mark.parametrize("key, number", [(CONTROL_C, 2), (CONTROL_BACKSLASH, 3)])
@in_room
def test_keys_that_are_signals(key: bytes, number: int) -> None:
    """They mean the command's group and not the wrapper."""
    terminal = Terminal()
    with at_terminal(SUBJECT, "record", str(number), terminal=terminal) as process:
        terminal.read_until(rb"ready\r\n")
        terminal.type(key)
        terminal.read_until(rb"%d\r\n" % number)
        assert process.wait(10) == 0
    with at_terminal("sleep", "60", terminal=terminal) as process:
        child = first_child(process.pid)
        until(lambda: open(f"/proc/{child}/comm").read() == "sleep\n")
        until(lambda: not terminal.settings()[3] & termios.ICANON)
        terminal.type(key)
        assert process.wait(10) == 128 + number


@in_room
def test_the_window_size_follows() -> None:
    terminal = Terminal(10, 20)
    script = f"stty size; {SUBJECT} record {signal.SIGWINCH.value}; stty size"
    with at_terminal("sh", "-c", script, terminal=terminal) as process:
        terminal.read_until(rb"10 20\r\nready\r\n")
        terminal.resize(50, 100)
        terminal.read_until(rb"28\r\n50 100\r\n")
        assert process.wait(10) == 0


@in_room
def test_signals_are_forwarded_here_too() -> None:
    terminal = Terminal()
    with at_terminal(SUBJECT, "record", "64", terminal=terminal) as process:
        terminal.read_until(rb"ready\r\n")
        for number in (1, 10, 15, 32, 33, 64):
            os.kill(process.pid, number)
            terminal.read_until(rb"\b%d\r\n" % number)
        assert process.wait(10) == 0


@pytest.mark.parametrize("is_captured", [False, True])
@in_room
def test_everything_that_is_printed_arrives(is_captured: bool) -> None:
    terminal = Terminal()
    env = {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"} if is_captured else {}
    write_template(archiveLocation={"archiveLogs": is_captured})
    script = "seq 20000; printf last"
    with at_terminal("bash", "-c", script, terminal=terminal, env=env) as process:
        terminal.read_until(rb"20000\r\nlast$", seconds=30)
        assert process.wait(10) == 0
    if is_captured:
        wanted = b"".join(b"%d\r\n" % i for i in range(1, 20001)) + b"last"
        assert container_file("stdout").read_bytes() == wanted
        assert container_file("combined").read_bytes() == wanted


@in_room
def test_only_the_input_is_a_terminal() -> None:
    """Output into a file all the same: the command has its terminal, we write what it prints."""
    terminal = Terminal()
    with open("/tmp/out", "wb") as out:
        options = {"stdout": out, "stderr": out}
        with at_terminal(SUBJECT, "show", terminal=terminal, **options) as process:
            assert process.wait(10) == 0
    assert json.loads(open("/tmp/out").read())["terminal"] == [1, 1, 1]


@in_room
def test_a_terminal_that_hangs_up() -> None:
    """The user is gone: the command goes on until it is told otherwise."""
    terminal = Terminal()
    script = "trap '' HUP; echo a; sleep 0.3; exit 7"
    with at_terminal("sh", "-c", script, terminal=terminal) as process:
        terminal.read_until(rb"a\r\n")
        os.close(terminal.slave_fd)
        os.close(terminal.fd)
        assert process.wait(10) == 7
    assert exit_code() == "7"


@in_room
def test_an_orphan_that_keeps_the_terminal() -> None:
    terminal = Terminal()
    script = "trap '' HUP; (sleep 60) & echo mine; exit 8"
    began = time.monotonic()
    with at_terminal("bash", "-c", script, terminal=terminal) as process:
        terminal.read_until(rb"mine\r\n")
        assert process.wait(10) == 8
    assert time.monotonic() - began < 5


@in_room
def test_a_terminal_that_is_not_read() -> None:
    """A user who has pressed ctrl-S: signals still arrive."""
    terminal = Terminal()
    script = "trap 'exit 6' TERM; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"
    with at_terminal("bash", "-c", script, terminal=terminal) as process:
        terminal.read_until(rb"xxx\r\n")
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGTERM)
        until(lambda: terminal.read_rest() and process.poll() is not None)
        assert process.wait(10) == 6
