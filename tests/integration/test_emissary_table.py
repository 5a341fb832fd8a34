"""Every signal, in every mode, by every way in: exactly what the table says."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from tests.modes import MODES, in_mode, prepare, wrapper_of
from tests.room import (
    SUBJECT,
    container_file,
    environment,
    exit_code,
    first_child,
    in_room,
    until,
)
from tests.signal_table import LAST, TABLE, Effect, Row, Way, numbers


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def next_number(output) -> int:
    return int(output.readline())


def by_file(number: int) -> None:
    path = container_file("signal")
    path.with_name("signal.tmp").write_text(f"{number}\n")
    path.with_name("signal.tmp").rename(path)


# --- what arrives ------------------------------------------------------------------------


def reflected(got: dict[str, list[int]], way: str) -> None:
    wanted = {
        str(row.number): [row.number] if getattr(row, way) is Way.FORWARDED else []
        for row in TABLE
    }
    wanted[str(LAST)] = []  # it is what ends each list
    assert got == wanted


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_from_the_command_to_the_first_process(mode: str) -> None:
    with in_mode(mode, SUBJECT, "reflect", "1", is_init=True) as (process, output):
        reflected(json.loads(output.readline()), "inside")
        assert process.wait(10) == 0


@pytest.mark.parametrize("is_init", [False, True])
@pytest.mark.parametrize("mode", MODES)
@in_room
def test_from_outside(mode: str, is_init: bool) -> None:
    with in_mode(mode, SUBJECT, "record", str(LAST), is_init=is_init) as (process, output):
        assert output.readline().strip() == b"ready"
        wrapper = wrapper_of(process, is_init)
        for number in numbers(outside=Way.OURS) + numbers(outside=Way.NOISE):
            os.kill(wrapper, number)
        for number in numbers(outside=Way.FORWARDED):
            os.kill(wrapper, number)
            # One after the other: what is pending together comes in the order of the numbers.
            assert next_number(output) == number
        assert process.wait(10) == 0
    assert exit_code() == "0"


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_by_file(mode: str) -> None:
    """What the kernel would keep for itself is meant for the command here."""
    assert numbers(asked=Way.FORWARDED) == [row.number for row in TABLE]
    with in_mode(mode, SUBJECT, "record", str(LAST)) as (process, output):
        assert output.readline().strip() == b"ready"
        for number in numbers(asked=Way.FORWARDED):
            if number not in (signal.SIGKILL, signal.SIGSTOP):  # not to be recorded
                by_file(number)
                assert next_number(output) == number
        assert process.wait(10) == 0


# --- what it does ------------------------------------------------------------------------


def send(row: Row, way: str, wrapper: int) -> None:
    if way == "asked":
        by_file(row.number)
    else:
        os.kill(wrapper, row.number)


def end(process: subprocess.Popen, mode: str) -> None:
    by_file(signal.SIGKILL)
    assert process.wait(10) == 137, mode
    assert exit_code() == "137"


def try_row(row: Row, way: str, mode: str) -> None:
    """A command that has prepared for nothing gets one signal."""
    container_file("exitcode").unlink(missing_ok=True)
    with in_mode(mode, SUBJECT, "idle") as (process, output):
        assert output.readline().strip() == b"ready"
        child = first_child(process.pid)
        send(row, way, process.pid)
        what = getattr(row, way)
        if what is Way.ENDS_WRAPPER:
            assert process.wait(10) == -row.number
            assert exit_code() is None
            os.kill(child, signal.SIGKILL)
        elif what is Way.STOPS_WRAPPER:
            until(lambda: state_of(process.pid) == "T")
            os.kill(process.pid, signal.SIGCONT)
            end(process, mode)
        elif row.effect is Effect.ENDS:
            assert process.wait(10) == 128 + row.number
            assert exit_code() == str(128 + row.number)
        else:
            # The kernel stops no leader of a session by keys that do not exist: an orphaned group.
            stops = row.effect is Effect.STOPS and not (
                mode == "terminal" and row.number != signal.SIGSTOP
            )
            if stops:
                until(lambda: state_of(child) == "T")
            assert process.poll() is None and exit_code() is None
            end(process, mode)


@pytest.mark.parametrize("way", ["outside", "asked"])
@pytest.mark.parametrize("mode", MODES)
@in_room
def test_what_each_does_to_the_command(mode: str, way: str) -> None:
    for row in TABLE:
        try_row(row, way, mode)


# --- what the command finds --------------------------------------------------------------

INHERITED = ("blocked", "handled", "limits", "nice", "oom_score_adj", "cwd", "env", "uid", "gid")


def prepare_oddly() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, 8 << 20))
    os.setpriority(os.PRIO_PROCESS, 0, 3)
    Path("/proc/self/oom_score_adj").write_text("321")
    os.chdir("/var/run")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, 40, 64):
        signal.signal(number, signal.SIG_IGN)
    blocked = {signal.SIGUSR1, signal.SIGTERM, signal.SIGWINCH, signal.SIGCHLD, 50, 64}
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.mark.parametrize("mode", MODES)
@in_room
def test_what_the_command_inherits(mode: str) -> None:
    env = {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"}
    odd = {"preexec_fn": prepare_oddly, "restore_signals": False}
    words = [SUBJECT, "show"]
    plain = json.loads(
        subprocess.run(words, env=environment(**env), capture_output=True, check=True, **odd).stdout
    )
    with in_mode(mode, *words, env=env, **odd) as (process, output):
        wrapped = json.loads(output.readline())
        assert process.wait(10) == 0
    assert {what: wrapped[what] for what in INHERITED} == {
        what: plain[what] for what in INHERITED
    }
    assert wrapped["blocked"] != "0" * 16
    assert {"1", "2", "12", "15", "40", "64"} <= set(wrapped["handled"])


@in_room
def test_modes_are_what_they_say() -> None:
    for mode in MODES:
        with in_mode(mode, SUBJECT, "show") as (process, output):
            shown = json.loads(output.readline())
            assert process.wait(10) == 0
        prepare(mode)
        assert shown["terminal"] == ([1, 1, 1] if mode == "terminal" else [0, 0, 0])
        is_kept = container_file("stdout").exists()
        assert is_kept == (mode == "captured")
        if is_kept:
            container_file("stdout").unlink()
