"""Pods without init container: nothing runs before the supervisor has said READY."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.room import (
    TERMINATION_LOG,
    VRA,
    Wrapper,
    container_file,
    exit_code,
    in_room,
    start,
    until,
    write_template,
)

STATUS = VRA / "status"


def say(text: str, age_seconds: float = 0) -> None:
    """As the supervisor does: a temporary file, then the name."""
    temporary = VRA / "status.tmp"
    temporary.write_text(text)
    then = time.time() - age_seconds
    os.utime(temporary, (then, then))
    temporary.rename(STATUS)


def supervised(*command: str, **options: object) -> Wrapper:
    env = {"ARGO_WAIT_FOR_READY": "true"}
    return start(*command, env=env, stdout=subprocess.PIPE, **options)


def assert_not_run(process: Wrapper, text: str) -> None:
    assert process.stdout.read() == b""
    assert process.wait(10) == 65
    assert exit_code() == "65"
    assert text in TERMINATION_LOG.read_text()


@pytest.mark.parametrize("before", [None, "", "RUN", "RUNNING\n", "READYX\n", "RUNNING\nREADY\n"])
@in_room
def test_it_waits_for_ready(before: str | None) -> None:
    if before is not None:
        say(before)
    with supervised("echo", "ran") as process:
        until(container_file("").exists)
        time.sleep(0.1)
        assert process.poll() is None
        # The template comes with it, not before.
        write_template()
        say("READY\n")
        assert process.stdout.read() == b"ran\n"
        assert process.wait(10) == 0


@in_room
def test_it_is_ready_already() -> None:
    say("READY\n", age_seconds=3600)
    with supervised("echo", "ran") as process:
        assert process.stdout.read() == b"ran\n"
        assert process.wait(10) == 0


@pytest.mark.parametrize("text", ["FAILED\nno such key\n", "FAILED\n", "FAILED"])
@in_room
def test_the_supervisor_has_failed(text: str) -> None:
    with supervised("echo", "ran") as process:
        until(container_file("").exists)
        say(text)
        assert_not_run(process, "no such key" if "key" in text else "supervisor")


@pytest.mark.parametrize("text", ["RUNNING\n", "", "junk"])
@in_room
def test_a_supervisor_that_has_died(text: str) -> None:
    say(text, age_seconds=31)
    with supervised("echo", "ran") as process:
        assert_not_run(process, "supervisor presumed dead")


@pytest.mark.parametrize("is_file", [False, True])
@in_room
def test_stopped_while_waiting(is_file: bool) -> None:
    with supervised("echo", "ran") as process:
        until(container_file("").exists)
        time.sleep(0.05)
        if is_file:
            container_file("signal").write_text("15")
        else:
            os.kill(process.pid, signal.SIGTERM)
        assert_not_run(process, "")


@in_room
def test_inputs_appear_as_links() -> None:
    Path("/argo/inputs/artifacts").mkdir(parents=True)
    Path("/argo/inputs/artifacts/a").write_text("input")
    artifacts = [{"name": "a", "path": "/tmp/in/a"}, {"name": "gone", "path": "/tmp/in/gone"}]
    write_template(inputs={"artifacts": artifacts})
    say("READY\n")
    with supervised("sh", "-c", "ls /tmp/in; cat /tmp/in/a; readlink /tmp/in/a") as process:
        assert process.stdout.read() == b"a\ninput/argo/inputs/artifacts/a\n"
        assert process.wait(10) == 0


@in_room
def test_a_link_that_cannot_be_made() -> None:
    Path("/argo/inputs/artifacts").mkdir(parents=True)
    Path("/argo/inputs/artifacts/a").write_text("input")
    write_template(inputs={"artifacts": [{"name": "a", "path": "/usr/a"}]})
    say("READY\n")
    with supervised("echo", "ran") as process:
        assert_not_run(process, "/usr/a")
