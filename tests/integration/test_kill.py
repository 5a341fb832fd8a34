"""`kill`: how a controller's exec passes on a signal, in a millisecond and without any help."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pod.sandbox import linux
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
    run,
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


def without_leak_check() -> dict[str, str]:
    """In a namespace that is about to end, the sanitizer's last look around would fail."""
    return {**environment(), "ASAN_OPTIONS": "detect_leaks=0"}


def kill_first(wrapper: int, *words: str) -> subprocess.CompletedProcess[bytes]:
    """As an exec in the container of that wrapper: 1 is the wrapper."""
    enter = ["nsenter", "--pid", "--target", str(wrapper), ARGOEXEC, "kill", *words]
    return subprocess.run(enter, env=without_leak_check(), capture_output=True, timeout=20)


@in_room
def test_the_first_process_of_a_container() -> None:
    with start(SUBJECT, "record", "15", is_init=True, stdout=subprocess.PIPE) as process:
        wrapper = first_child(process.pid)
        assert process.stdout.readline() == b"ready\n"
        result = kill_first(wrapper, "15", "1")
        # With its first process everything in a namespace ends, `kill` too if it is still there.
        assert result.returncode in (0, -signal.SIGKILL)
        assert result.stdout == b"killing 1 with terminated\n"
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
        assert result.returncode in (0, -signal.SIGKILL)
        assert result.stdout == b"killing 1 with killed\n"
        assert process.wait(10) == 137
    assert exit_code() == "137"
    assert not container_file("signal").exists()


# --- PID 1 is not the wrapper: pods with a shared PID namespace ---------------------------------
#
# The room's first process, which runs the test, stands for the pause process: it says what it gets.


@contextlib.contextmanager
def pause_process(number: int = signal.SIGTERM) -> Iterator[list[int]]:
    received: list[int] = []
    signal.signal(number, lambda got, _frame: received.append(got))
    yield received
    signal.signal(number, signal.SIG_DFL)


def assert_as_asked(pause: list[int], **options: object) -> None:
    """Whatever lies there: PID 1 gets the signal."""
    count = len(pause)
    result = kill("15", "1", **options)
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(pause) == count + 1


def start_recorder(name: str, **options: object) -> Wrapper:
    """A wrapper whose command tells its signals and ends with SIGTERM."""
    process = start(SUBJECT, "record", "15", name=name, stdout=subprocess.PIPE, **options)
    assert process.stdout.readline() == b"ready\n"
    return process


def as_user(number: int) -> dict[str, object]:
    return {"user": number, "group": number, "extra_groups": []}


@in_room
def test_each_container_has_its_role() -> None:
    """Under its own user, who may signal nobody else; the record is not of the wrong owner."""
    with pause_process() as pause:
        main = start_recorder("main", **as_user(1000))
        side = start_recorder("side", **as_user(2000))
        for name, process, user in (("side", side, 2000), ("main", main, 1000)):
            for number in (10, 12, 64, 15):
                result = kill(str(number), "1", env=environment(name), **as_user(user))
                assert (result.returncode, result.stderr) == (0, b"")
                assert result.stdout.startswith(b"killing 1 with ")
                assert int(process.stdout.readline()) == number
            assert process.wait(10) == 0
            assert exit_code(name) == "0"
            assert main.poll() is None or name == "main"
        assert pause == []


def hide_proc() -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.umount("/proc")


def make_all_read_only() -> None:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)


@pytest.mark.parametrize("hide", [hide_proc, make_all_read_only])
@in_room
def test_a_role_is_found_without(hide: Callable[[], None]) -> None:
    with pause_process() as pause:
        main = start_recorder("main", **as_user(1000))
        for number in (10, 15):
            result = kill(str(number), "1", preexec_fn=hide)
            # The sanitizer of leaks, where it is built in, cannot do without /proc.
            assert result.returncode == 0 or b"LeakSanitizer has encountered" in result.stderr
            assert int(main.stdout.readline()) == number
        assert main.wait(10) == 0
        assert pause == []


@in_room
def test_a_role_that_has_ended() -> None:
    """Its container is about to be removed: the others shall not end with it."""
    with pause_process() as pause:
        assert run(SUBJECT, "exit", "3").returncode == 3
        for number in ("15", "9"):
            result = kill(number, "1")
            assert (result.returncode, result.stderr) == (0, b"")
        assert not container_file("signal").exists()
        assert TERMINATION_LOG.read_text() == ""
        assert pause == []


@in_room
def test_what_the_kernel_would_drop_does_not_reach_a_role() -> None:
    with start_recorder("wait") as process:
        for number in ("9", "19"):
            assert kill(number, "1", env=environment("wait")).returncode == 0
        assert not container_file("signal", "wait").exists()
        assert kill("10", "1", env=environment("wait")).returncode == 0
        assert process.stdout.readline() == b"10\n"
        assert kill("15", "1", env=environment("wait")).returncode == 0
        assert process.wait(10) == 0
    with start_recorder("main") as process:
        assert kill("9", "1").returncode == 0
        assert process.wait(10) == 137
    assert exit_code() == "137"
    assert not container_file("signal").exists()


@in_room
def test_nothing_to_go_by() -> None:
    """Plain kill(2), as ever."""
    with pause_process() as pause, start_recorder("main") as main:
        assert_as_asked(pause, env=environment("other"))
        for name in ("", "a/b", "..", "../ctr/main", "main\n", "MAIN", "x" * 64):
            assert_as_asked(pause, env=environment(name))
        env = environment()
        del env["ARGO_CONTAINER_NAME"]
        assert_as_asked(pause, env=env)
        os.rename(VRA, "/gone")
        assert_as_asked(pause)
        os.symlink("/gone", VRA)
        assert kill("15", "1").returncode == 0  # the mount point itself is nobody's but the pod's
        assert main.wait(10) == 0
        assert len(pause) == 10


def forge_fifo(path: Path) -> None:
    os.mkfifo(path)


def forge_link(path: Path) -> None:
    path.symlink_to("../other/pid")


def forge_folder(path: Path) -> None:
    path.mkdir()


def forge_lock(path: Path) -> None:
    """Of a process that is no role."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.lockf(fd, fcntl.LOCK_EX)


def forge_device(path: Path) -> None:
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(5, 0))


def bear_the_mark() -> None:
    policy = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
    os.sched_setscheduler(0, policy, os.sched_param(0))


def fork_forger(forge: Callable[[], object]) -> int:
    """A process that has done that, and waits for a signal."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        forge()
        os.write(write_fd, b"!")
        while True:
            signal.pause()
    assert os.read(read_fd, 1) == b"!"
    return child


@pytest.mark.parametrize("forge", [forge_fifo, forge_link, forge_folder, forge_lock, forge_device])
@in_room
def test_a_forged_record(forge: Callable[[Path], None]) -> None:
    with pause_process() as pause, start_recorder("main") as main, start_recorder("other") as other:
        path = container_file("pid")
        path.unlink()
        child = fork_forger(lambda: forge(path))
        assert_as_asked(pause)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        assert main.poll() is None and other.poll() is None
        main.send_signal(15)
        other.send_signal(15)


@in_room
def test_a_forger_that_looks_like_a_role_gets_the_signal_itself() -> None:
    with pause_process() as pause, start_recorder("main") as main:
        path = container_file("pid")
        path.unlink()
        child = fork_forger(lambda: (bear_the_mark(), forge_lock(path)))
        assert kill("15", "1").returncode == 0
        assert os.waitpid(child, 0)[1] == signal.SIGTERM
        assert main.poll() is None and pause == []
        main.send_signal(15)


@in_room
def test_a_hard_link_to_the_record_of_another_container() -> None:
    """The worst there is: the other role of the pod gets what was meant for this one."""
    with pause_process() as pause, start_recorder("main") as main, start_recorder("other") as other:
        path = container_file("pid")
        path.unlink()
        os.link(container_file("pid", "other"), path)
        assert kill("15", "1").returncode == 0
        assert other.wait(10) == 0
        assert main.poll() is None and pause == []
        main.send_signal(15)


@in_room
def test_a_role_takes_its_record_back() -> None:
    """What user code of another container has put there before."""
    directory = VRA / "ctr/main"
    for forge in (forge_fifo, forge_link, forge_lock):
        os.makedirs(directory, 0o777, exist_ok=True)
        forge(directory / "pid")
        with pause_process() as pause, start_recorder("main") as main:
            assert kill("15", "1").returncode == 0
            assert main.wait(10) == 0
            assert pause == []
        (directory / "pid").unlink()


@in_room
def test_forgeries_in_a_namespace_of_its_own_change_nothing() -> None:
    """The first process of the ordinary container bears the mark: no record is looked at."""
    with start_recorder("main", is_init=True) as process:
        wrapper = first_child(process.pid)
        assert not container_file("pid").exists()
        container_file("pid").write_text("")
        assert kill_first(wrapper, "10", "1").returncode == 0
        assert process.stdout.readline() == b"10\n"
        with start_recorder("other") as other:
            container_file("pid").unlink()
            os.link(container_file("pid", "other"), container_file("pid"))
            assert kill_first(wrapper, "15", "1").returncode in (0, -signal.SIGKILL)
            assert process.wait(10) == 0
            assert other.poll() is None
            other.send_signal(15)
