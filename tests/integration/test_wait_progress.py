"""The progress file, what `wait` and wrappers do on a node that has no inotify instance left, and
the clock that ARGO_DEADLINE goes by."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.pod import PodRunner
from tests.scenario import Step, assert_ok, parameter, wait_until_seen

# A user of nobody else: instances are counted by user, whatever container they are in.
UID = 58123
POLL_SECONDS = 2


def progress_of(step: Step) -> list[str]:
    """What was reported, in order, repetitions left out."""
    values: list[str] = []
    for version in step.history():
        value = version.get("progress")
        if value and values[-1:] != [value]:
            values.append(value)
    return values


def reporting(lab: Lab, script: str, tick: str = "100ms") -> Step:
    step = Step(lab, f"cd /var/run/argo; {script}")
    step.set_env("wait", "ARGO_PROGRESS_PATCH_TICK_DURATION", tick)
    return step


# --- progress -------------------------------------------------------------------------------------


def test_every_way_to_write_it(lab: Lab) -> None:
    """Appended to a file that stays open, replaced by rename, written anew."""
    script = """
        exec 5>progress; echo 1/9 >&5; sleep 0.4; echo 2/9 >&5; sleep 0.4
        echo 3/9 >p.tmp; mv p.tmp progress; sleep 0.4; echo 4/9 >progress; sleep 0.4
    """
    step = reporting(lab, script)
    assert_ok(step.run())
    assert progress_of(step) == ["1/9", "2/9", "3/9", "4/9"]


def test_what_is_no_progress(lab: Lab) -> None:
    """Neither junk nor what has been reported already is sent, nor what is not a file."""
    script = """
        for line in 1/9 5 9/1 a/b -1/9 1/9; do echo $line >progress; sleep 0.2; done
        rm progress; mkdir progress; sleep 0.2; rmdir progress
        ln -s /etc/passwd progress; sleep 0.2; rm progress; mkfifo progress; sleep 0.2; rm progress
        echo 2/9 >progress; sleep 0.3
    """
    step = reporting(lab, script)
    assert_ok(step.run())
    assert progress_of(step) == ["1/9", "2/9"]
    # The placeholder, two patches of progress, the outputs, the label.
    assert len(lab.api.requests()) == 5


def test_one_patch_a_tick_and_the_last_at_the_end(lab: Lab) -> None:
    script = "for i in $(seq 1 500); do echo $i/500 >progress; done"
    step = reporting(lab, script, tick="1h")
    assert_ok(step.run())
    values = progress_of(step)
    assert len(values) <= 2 and values[-1] == "500/500"


@pytest.mark.parametrize("tick", ["0s", "junk"])
def test_it_can_be_switched_off(lab: Lab, tick: str) -> None:
    step = reporting(lab, "echo 1/2 >progress; sleep 0.3", tick=tick)
    assert_ok(step.run())
    assert progress_of(step) == []


# --- no inotify -----------------------------------------------------------------------------------

TAKE_ALL = f"""
import ctypes, os, sys
os.setgroups([]); os.setgid({UID}); os.setuid({UID})
libc = ctypes.CDLL(None, use_errno=True)
count = 0
while libc.inotify_init1(0) >= 0:
    count += 1
print(count, os.strerror(ctypes.get_errno()), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def no_inotify() -> Iterator[None]:
    """Another process of the same user holds every instance that the user may have."""
    holder = subprocess.Popen(
        [sys.executable, "-I", "-c", TAKE_ALL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout
    taken = holder.stdout.readline().decode()
    assert "Too many open files" in taken and int(taken.split()[0]) > 0, taken
    yield
    holder.stdin.close()
    holder.wait(30)


def as_user(step: Step) -> Step:
    step.pod["spec"]["securityContext"] = {"runAsUser": UID, "runAsNonRoot": True}
    return step


def instances(runner: PodRunner, container: str) -> int:
    """Inotify instances that a container's first process holds."""
    directory = f"/proc/{runner.pid(container)}/fd"
    return sum(os.readlink(f"{directory}/{fd}") == "anon_inode:inotify" for fd in os.listdir(directory))


def test_without_inotify_wait_polls(lab: Lab, no_inotify: None) -> None:
    """Progress comes two seconds late, main's end at once: that is known by the channel."""
    script = "echo 1/2 >progress; echo ready; sleep 3; printf v >/tmp/p"
    step = as_user(reporting(lab, script))
    step.template["outputs"]["parameters"] = [parameter("p", "/tmp/p")]
    step.set_artifacts()
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main")
        assert instances(runner, "wait") == instances(runner, "main") == 0
        wait_until_seen(lambda: progress_of(step) == ["1/2"], "progress", POLL_SECONDS + 2)
        result = runner.wait(30)
    containers = result.containers
    assert result.phase == "Succeeded", containers["wait"].log
    assert step.outputs()["parameters"][0]["value"] == "v"
    assert containers["wait"].finished - containers["main"].finished < 1


def test_without_inotify_a_wrapper_polls(lab: Lab, no_inotify: None, tmp_path: Path) -> None:
    """It looks for the file that ends a pause, and, `wait` being gone, for its signal file."""
    step = as_user(Step(lab, "echo ready; exec sleep 100"))
    step.set_env("main", "ARGO_DEBUG_PAUSE_BEFORE", "true")
    with step.runner(controller=False, volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: "Waiting for a file" in runner.log("main"), "the pause")
        assert instances(runner, "main") == 0
        directory = tmp_path / "var-run-argo/ctr/main"
        (directory / "before").touch()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main", POLL_SECONDS + 2)
        runner.signal("wait", 9)
        assert runner.wait_state("wait", "terminated", 10)
        (directory / "signal").write_text("15")
        assert runner.wait_state("main", "terminated", POLL_SECONDS + 2)
        assert runner.containers["main"].exit_code == 143


# --- the deadline's clock -------------------------------------------------------------------------


def timers(pid: int) -> list[dict[str, str]]:
    """The timers of a process, as the kernel shows them."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        text = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
        if "clockid:" in text:
            found.append(dict(line.split(":", 1) for line in text.splitlines() if ":" in line))
    return found


@pytest.mark.parametrize("deadline", ["in an hour", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_deadline_goes_by_the_wall_clock(lab: Lab, deadline: str) -> None:
    """An absolute timer of CLOCK_REALTIME (0): the kernel moves it when somebody sets the clock.
    Argo's zero time is no deadline."""
    if deadline == "in an hour":
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        deadline = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    step = Step(lab, "echo ready; sleep 1")
    step.set_env("wait", "ARGO_DEADLINE", deadline)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main")
        on_wall = [t for t in timers(runner.pid("wait")) if t["clockid"].strip() == "0"]
        result = runner.wait(30)
    assert len(on_wall) == 1
    flags, left = on_wall[0]["settime flags"].strip(), on_wall[0]["it_value"]
    is_armed = left.replace(" ", "") != "(0,0)"
    assert is_armed == (not deadline.startswith("0001"))
    assert int(flags, 8) & 1 == is_armed, "TFD_TIMER_ABSTIME"
    assert result.phase == "Succeeded" and result.containers["wait"].message == ""
