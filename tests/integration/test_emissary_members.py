"""Containers that depend on others: members of a containerSet, and sidecars."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

import pytest

from tests.room import (
    SUBJECT,
    TERMINATION_LOG,
    VRA,
    container_file,
    exit_code,
    first_child,
    in_room,
    run,
    start,
    until,
    write_template,
)


def member(name: str, *dependencies: str) -> dict[str, Any]:
    return {"name": name, "dependencies": list(dependencies)}


def declare(*members: dict[str, Any], **strategy: Any) -> None:
    containers = {"containers": list(members)}
    if strategy:
        containers["retryStrategy"] = strategy
    write_template(container=None, containerSet=containers)


def end(name: str, code: object) -> None:
    path = container_file("exitcode", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(code))


# --- dependencies -------------------------------------------------------------------------


@in_room
def test_members_run_in_the_order_of_their_dependencies() -> None:
    declare(member("a"), member("b", "a"), member("c", "a", "b"), member("main", "c"))
    with open("/tmp/order", "w") as out:
        started = [
            start("sh", "-c", f"sleep 0.05; echo {name}", name=name, stdout=out)
            for name in ("main", "c", "b", "a")
        ]
        assert [process.wait(20) for process in started] == [0] * 4
    assert open("/tmp/order").read().split() == ["a", "b", "c", "main"]


@in_room
def test_nobody_waits_for_a_member_without_dependencies() -> None:
    declare(member("a"), member("b", "a"))
    assert run("echo", "x", name="a").stdout == b"x\n"
    assert exit_code("b") is None


@pytest.mark.parametrize("code", [1, 64, 130, 137, 143, 255])
@in_room
def test_a_failed_dependency(code: int) -> None:
    """One that was stopped stops us: a stop reaches the members in any order."""
    declare(member("a"), member("b", "a"))
    end("a", code)
    result = run("echo", "ran", name="b")
    expected = code if code in (137, 143) else 64
    assert (result.returncode, exit_code("b"), result.stdout) == (expected, str(expected), b"")
    assert TERMINATION_LOG.read_text() == f"dependency a exited with code {code}"


@in_room
def test_failure_goes_down_the_chain() -> None:
    declare(member("a"), member("b", "a"), member("c", "b"))
    c = start("echo", "ran", name="c", stdout=subprocess.PIPE)
    b = start("echo", "ran", name="b", stdout=subprocess.PIPE)
    assert run(SUBJECT, "exit", "3", name="a").returncode == 3
    assert b.communicate(timeout=10)[0] == c.communicate(timeout=10)[0] == b""
    assert (b.returncode, c.returncode) == (64, 64)


@in_room
def test_an_exit_code_that_is_still_being_written() -> None:
    declare(member("a"), member("b", "a"))
    with start("echo", "ran", name="b", stdout=subprocess.PIPE) as process:
        until(container_file("", "a").exists)
        with container_file("exitcode", "a").open("w") as file:
            time.sleep(0.05)
            assert process.poll() is None
            file.write("0\n")
        assert process.stdout.read() == b"ran\n"
        assert process.wait(10) == 0


@in_room
def test_an_exit_code_that_is_none() -> None:
    declare(member("a"), member("b", "a"))
    for text in ("x", "-1", "256", "0x0", "9" * 40):
        end("a", text)
        result = run("echo", "ran", name="b")
        assert (result.returncode, result.stdout) == (64, b""), text
        assert "dependency a" in TERMINATION_LOG.read_text()


@in_room
def test_a_dependency_that_does_not_exist() -> None:
    """It would never end."""
    declare(member("b", "nobody"))
    assert run("echo", "ran", name="b").returncode == 64
    assert "containers[b].dependencies[0]" in TERMINATION_LOG.read_text()


def by_kernel(process: subprocess.Popen, number: int) -> None:
    os.kill(process.pid, number)


def by_file(_process: subprocess.Popen, number: int) -> None:
    container_file("signal", "b").write_text(str(number))


@pytest.mark.parametrize("send", [by_kernel, by_file])
@in_room
def test_stopped_while_waiting(send) -> None:
    declare(member("a"), member("b", "a"), member("c", "b"))
    with start("echo", "ran", name="b", stdout=subprocess.PIPE) as process:
        until(container_file("", "a").exists)
        # Nothing else ends the wait.
        for number in (signal.SIGUSR1, signal.SIGHUP, 40):
            send(process, number)
        time.sleep(0.05)
        assert process.poll() is None
        send(process, signal.SIGTERM)
        assert process.stdout.read() == b""
        assert process.wait(10) == 143
    assert exit_code("b") == "143"
    assert run("echo", "ran", name="c").returncode == 143


@in_room
def test_killed_by_a_message_while_waiting() -> None:
    declare(member("a"), member("b", "a"))
    with start("echo", "ran", name="b", stdout=subprocess.PIPE) as process:
        until(container_file("", "a").exists)
        by_file(process, 9)
        assert process.stdout.read() == b""
        assert process.wait(10) == 137
    assert exit_code("b") == "137"


# --- attempts -------------------------------------------------------------------------------

COUNT = "echo x >>/tmp/tries; printf 'attempt %d' $(wc -l </tmp/tries); "


def children(pid: int) -> str:
    """The states of a process's children, one letter each."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        paths = [f"/proc/{child}/stat" for child in file.read().split()]
    states = ""
    for path in paths:
        with suppress(FileNotFoundError, ProcessLookupError):  # reaped meanwhile
            states += open(path).read().rpartition(")")[2].split()[0]
    return states


def attempts() -> int:
    return len(open("/tmp/tries").readlines())


@pytest.mark.parametrize("retries, wanted", [(3, 3), ("2", 2), (1, 1), (0, 1), (None, 1)])
@in_room
def test_how_often_a_command_is_tried(retries: object, wanted: int) -> None:
    declare(member("a"), **({"retries": retries, "duration": "1ms"} if retries is not None else {}))
    result = run("sh", "-c", COUNT + "exit 5", name="a")
    assert (result.returncode, exit_code("a"), attempts()) == (5, "5", wanted)


@in_room
def test_success_ends_the_attempts_and_its_output_is_the_result() -> None:
    archive = {"archiveLocation": {"archiveLogs": True}}
    write_template(
        container=None,
        containerSet={"containers": [member("a")], "retryStrategy": {"retries": 5}},
        **archive,
    )
    env = {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"}
    script = COUNT + "[ $(wc -l </tmp/tries) -ge 3 ]"
    assert run("sh", "-c", script, name="a", env=env).returncode == 0
    assert (attempts(), exit_code("a")) == (3, "0")
    assert container_file("stdout", "a").read_text() == "attempt 3"
    assert container_file("combined", "a").read_text() == "attempt 1attempt 2attempt 3"


@in_room
def test_every_way_to_fail_is_tried_again() -> None:
    declare(member("a"), retries=3)
    assert run("sh", "-c", COUNT + "kill -9 $$", name="a").returncode == 137
    assert attempts() == 3
    open("/tmp/junk", "wb").write(b"\0\1")
    os.chmod("/tmp/junk", 0o755)
    result = run("/tmp/junk", name="a")
    assert (result.returncode, exit_code("a")) == (64, "64")
    assert result.stderr.count(b"Attempt failed") == 2


@in_room
def test_the_last_attempt_cannot_be_started() -> None:
    """The code of an earlier one is not its code."""
    declare(member("a"), retries=2)
    with open("/tmp/once", "w") as script:
        script.write("#!/bin/sh\nrm /tmp/once\nexit 7\n")
    os.chmod("/tmp/once", 0o755)
    assert (run("/tmp/once", name="a").returncode, exit_code("a")) == (64, "64")


@in_room
def test_orphans_that_end_with_an_attempt_are_waited_for() -> None:
    """The wrapper hears of all of them by one SIGCHLD."""
    declare(member("a"), retries=2, duration="1h")
    # The pause lets the wrapper get to where it waits for SIGCHLD.
    script = f"sleep 0.2; kill -STOP $PPID; {SUBJECT} zombies 5; {COUNT} exit 5"
    with start("sh", "-c", script, name="a") as process:
        until(lambda: os.path.exists("/tmp/tries") and children(process.pid) == "ZZZZZZ")
        process.send_signal(signal.SIGCONT)
        until(lambda: children(process.pid) == "")
        process.terminate()
        assert process.wait(10) == 5


@in_room
def test_the_pause_between_attempts() -> None:
    declare(member("a"), retries=3, duration="200ms")
    began = time.monotonic()
    run("sh", "-c", COUNT + "exit 1", name="a")
    assert 0.4 <= time.monotonic() - began < 3


@pytest.mark.parametrize("number", [15, 9])
@in_room
def test_a_stop_between_attempts(number: int) -> None:
    """No further attempt; the member has failed, as its last attempt had."""
    declare(member("a"), retries=3, duration="1h")
    with start("sh", "-c", COUNT + "exit 5", name="a") as process:
        until(lambda: os.path.exists("/tmp/tries") and attempts() == 1)
        time.sleep(0.2)
        assert process.poll() is None
        container_file("signal", "a").write_text(str(number))
        assert process.wait(10) == 5
    assert (attempts(), exit_code("a")) == (1, "5")


@in_room
def test_a_stop_during_an_attempt() -> None:
    declare(member("a"), retries=3)
    script = COUNT + f"exec {SUBJECT} record 15"
    with start("sh", "-c", script + " 3>&1", name="a", stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"attempt 1ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.read() == b"15\n"
        assert process.wait(10) == 0
    assert (attempts(), exit_code("a")) == (1, "0")
    with start("sh", "-c", COUNT + "exec sleep 60", name="a") as process:
        until(lambda: attempts() == 2)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 143
    assert (attempts(), exit_code("a")) == (2, "143")


@in_room
def test_signals_reach_the_attempt_that_runs() -> None:
    declare(member("a"), retries=3)
    script = f"echo x >>/tmp/tries; {SUBJECT} record 10; exit 1"
    with start("sh", "-c", script, name="a", stdout=subprocess.PIPE) as process:
        for _attempt in range(3):
            assert process.stdout.readline() == b"ready\n"
            # SIGUSR1 would end the shell, which is in the group.
            child = first_child(first_child(process.pid))
            os.kill(child, signal.SIGUSR1)
            assert process.stdout.readline() == b"10\n"
        assert process.wait(10) == 1
    assert attempts() == 3


@in_room
def test_strategies_that_cannot_be_read() -> None:
    wrong = [{"retries": "x"}, {"retries": -1}, {"retries": 1, "duration": "soon"}]
    for strategy in [*wrong, {"retries": 2, "duration": "-1s"}]:
        declare(member("a"), **strategy)
        result = run("echo", "ran", name="a")
        assert (result.returncode, exit_code("a"), result.stdout) == (64, "64", b""), strategy
        assert "containerSet.retryStrategy" in TERMINATION_LOG.read_text()


# --- sidecars -------------------------------------------------------------------------------


def declare_sidecar() -> None:
    write_template(sidecars=[{"name": "side"}])


@in_room
def test_a_sidecar_ends_when_main_has() -> None:
    declare_sidecar()
    with start("sleep", "60", name="side") as process:
        until(container_file("", "main").exists)
        assert process.poll() is None
        assert run(SUBJECT, "exit", "1").returncode == 1
        assert process.wait(10) == 143
    assert exit_code("side") == "143"


@in_room
def test_a_sidecar_that_comes_too_late() -> None:
    declare_sidecar()
    run("true")
    assert run("sleep", "60", name="side").returncode == 143
    assert exit_code("side") == "143"


@in_room
def test_a_sidecar_waits_for_every_main_container() -> None:
    write_template(
        container=None,
        containerSet={"containers": [member("a"), member("b")]},
        sidecars=[{"name": "side"}],
    )
    with start("sleep", "60", name="side") as process:
        until(container_file("", "b").exists)
        run("true", name="a")
        time.sleep(0.1)
        assert process.poll() is None
        run("true", name="b")
        assert process.wait(10) == 143


@in_room
def test_a_stubborn_sidecar_is_killed_after_its_grace() -> None:
    declare_sidecar()
    env = {"ARGO_TERMINATION_GRACE_PERIOD_SECONDS": "1"}
    options = {"name": "side", "env": env, "stdout": subprocess.PIPE}
    with start(SUBJECT, "record", "64", **options) as process:
        assert process.stdout.readline() == b"ready\n"
        # A direct SIGTERM before makes no difference.
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.readline() == b"15\n"
        run("true")
        began = time.monotonic()
        assert process.stdout.read() == b"15\n"
        assert process.wait(10) == 137
        assert 0.8 <= time.monotonic() - began < 3
    assert exit_code("side") == "137"


@in_room
def test_a_sidecar_that_ends_by_itself() -> None:
    declare_sidecar()
    assert run(SUBJECT, "exit", "3", name="side").returncode == 3
    assert not (VRA / "ctr/main/exitcode").exists()


@in_room
def test_main_is_nobody_s_sidecar() -> None:
    declare_sidecar()
    end("main", 0)
    assert run("sh", "-c", "sleep 0.2; exit 4").returncode == 4
