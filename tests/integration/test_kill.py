"""`kill`: how a controller's exec passes on a signal, in a millisecond and without any help."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.room import (
    ARGOEXEC,
    SUBJECT,
    TERMINATION_LOG,
    container_file,
    environment,
    exit_code,
    first_child,
    in_room,
    start,
)

NAMES = {
    1: "hangup", 2: "interrupt", 3: "quit", 4: "illegal instruction", 5: "trace/breakpoint trap",
    6: "aborted", 7: "bus error", 8: "floating point exception", 9: "killed",
    10: "user defined signal 1", 11: "segmentation fault", 12: "user defined signal 2",
    13: "broken pipe", 14: "alarm clock", 15: "terminated",
}  # fmt: skip


def kill(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    options = {"env": environment(), "timeout": 20, **options}
    return subprocess.run([ARGOEXEC, "kill", *words], capture_output=True, **options)


@in_room
def test_every_signal_arrives_and_has_a_name() -> None:
    with subprocess.Popen([SUBJECT, "record", "64"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        for number in (n for n in range(1, 65) if n not in (9, 19)):
            result = kill(str(number), str(process.pid))
            name = NAMES.get(number, f"signal {number}")
            assert result.stdout == f"killing {process.pid} with {name}\n".encode()
            assert (result.returncode, result.stderr) == (0, b"")
            assert int(process.stdout.readline()) == number
        assert process.wait(10) == 0


@in_room
def test_exactly_that_process() -> None:
    """Not its group: that is the wrapper's business."""
    script = f"{SUBJECT} record 15 & exec {SUBJECT} record 10"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, process_group=0) as process:
        assert [process.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
        kill("10", str(process.pid))
        assert process.wait(10) == 0
        child = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
        for pid in child:
            if pid > 1 and open(f"/proc/{pid}/comm").read() == "subject\n":
                kill("15", str(pid))
        assert process.stdout.read().split() == [b"10", b"15"]


@in_room
def test_it_ends_a_process() -> None:
    for number in (9, 15):
        with subprocess.Popen(["sleep", "60"]) as process:
            assert kill(str(number), str(process.pid)).returncode == 0
            assert process.wait(10) == -number


WRONG = [
    ("0", "1"), ("65", "1"), ("-1", "1"), ("TERM", "1"), ("", "1"), ("15x", "1"), ("1" * 30, "1"),
    ("15", "0"), ("15", "-1"), ("15", "x"), ("15", ""), ("15", "99999999999"), ("15", "1.5"),
]  # fmt: skip


@in_room
def test_words_that_are_no_numbers() -> None:
    for words in WRONG:
        TERMINATION_LOG.write_text("")
        result = kill("--", *words)
        assert (result.returncode, result.stdout) == (64, b""), words
        assert result.stderr.startswith(b"Error: kill: "), words
        assert TERMINATION_LOG.read_text().startswith("kill: "), words


@in_room
def test_nobody_there_and_not_allowed() -> None:
    result = kill("15", "4000000")
    assert result.returncode == 64 and b"o such process" in result.stderr
    assert result.stdout == b"killing 4000000 with terminated\n"
    with subprocess.Popen(["sleep", "60"]) as process:
        result = kill("15", str(process.pid), user=8737, group=8737, extra_groups=[])
        assert result.returncode == 64 and b"not permitted" in result.stderr
        assert process.poll() is None
        process.kill()


@in_room
def test_nobody_reads_the_line() -> None:
    """The controller may have hung up: the signal counts."""
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    for stdout in (write_fd, None):
        with subprocess.Popen(["sleep", "60"]) as process:
            words = [ARGOEXEC, "kill", "15", str(process.pid)]
            closing = (lambda: os.close(1)) if stdout is None else None
            called = subprocess.run(words, env=environment(), stdout=stdout, preexec_fn=closing)
            assert called.returncode == 0
            assert process.wait(10) == -signal.SIGTERM


def kill_first(wrapper: int, *words: str) -> subprocess.CompletedProcess[bytes]:
    """As an exec in the container of that wrapper: 1 is the wrapper."""
    enter = ["nsenter", "--pid", "--target", str(wrapper), ARGOEXEC, "kill", *words]
    return subprocess.run(enter, env=environment(), capture_output=True, timeout=20)


@in_room
def test_the_first_process_of_a_container() -> None:
    with start(SUBJECT, "record", "15", is_init=True, stdout=subprocess.PIPE) as process:
        wrapper = first_child(process.pid)
        assert process.stdout.readline() == b"ready\n"
        result = kill_first(wrapper, "15", "1")
        assert (result.returncode, result.stdout) == (0, b"killing 1 with terminated\n")
        assert process.stdout.read() == b"15\n"
        assert process.wait(10) == 0


@pytest.mark.parametrize("number", [9])
@in_room
def test_what_the_kernel_drops_reaches_the_command(number: int) -> None:
    """`kill 9 1`: the wrapper cannot be killed from inside, but what it runs can."""
    with start(SUBJECT, "record", "64", is_init=True, stdout=subprocess.PIPE) as process:
        wrapper = first_child(process.pid)
        assert process.stdout.readline() == b"ready\n"
        result = kill_first(wrapper, str(number), "1")
        assert (result.returncode, result.stdout) == (0, b"killing 1 with killed\n")
        assert process.wait(10) == 137
    assert exit_code() == "137"
    assert not container_file("signal").exists()
