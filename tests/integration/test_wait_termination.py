"""The time that is left after SIGTERM: what `wait` does with it when SIGKILL follows (a kubelet's),
and when none does (the controller's `kill 15 1`)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.pod import PodRunner
from tests.scenario import Step, artifact, describe, label_of, mount, parameter, wait_until_seen
from tests.servers.fault_proxy import FaultProxy

NONE = {"none": {}}
RATE = 400_000


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as proxy:
        action = {"kind": "rate", "bytes_per_s": RATE}
        proxy.faults.add(verb="PUT", path="/large", action=action)
        yield proxy


def uploading(lab: Lab, proxy: FaultProxy, grace: int, seconds: float) -> Step:
    """`large`, which comes first in the template, takes SECONDS; `small` no time."""
    script = f"head -c {int(RATE * seconds)} /dev/urandom >/v/large; printf s >/v/small"
    return Step(
        lab,
        script,
        artifacts=[artifact(n, f"/v/{n}", archive=NONE) for n in ("large", "small")],
        parameters=[parameter("p", "/v/small")],
        mounts=[mount("v", "/v")],
        endpoint=proxy.endpoint,
        grace=grace,
    )


def versions(step: Step) -> list[tuple[str, list[str]]]:
    """Label and artifacts of each version of the task result."""
    return [
        (label_of(v), [a["name"] for a in v.get("outputs", {}).get("artifacts", [])])
        for v in step.history()
    ]


def sleep_until(runner: PodRunner, moment: float) -> None:
    runner.wait_for(lambda: False, max(0.0, moment - time.monotonic()))


def uploads_for_a_second(runner: PodRunner) -> None:
    runner.start()
    wait_until_seen(lambda: "Saved artifact" in runner.log("wait"), "the small one")
    sleep_until(runner, time.monotonic() + 1.1)


def test_no_kill_follows(lab: Lab, proxy: FaultProxy) -> None:
    """What is stored is reported; the report is completed for the case of a kill; when none has come
    it is opened again, goes on, and is completed with everything."""
    step = uploading(lab, proxy, grace=2, seconds=5.5)
    with step.runner(controller=False) as runner:
        uploads_for_a_second(runner)
        wait_until_seen(lambda: len(versions(step)) > 1, "the early report", 0.8)
        assert versions(step) == [("false", []), ("false", ["small"])]
        runner.signal("wait", 15)
        result = runner.wait(30)
    everything = ["large", "small"]
    assert [v for i, v in enumerate(versions(step)) if v not in versions(step)[:i]] == [
        ("false", []),
        ("false", ["small"]),
        ("true", ["small"]),
        ("false", everything),
        ("true", everything),
    ]
    # Opened again before the rest was there.
    assert versions(step).count(("false", ["small"])) == 2
    wait = result.containers["wait"]
    assert (wait.exit_code, wait.message) == (0, ""), wait.log
    assert step.outputs()["parameters"][0]["value"] == "s"


def test_the_kill_follows(lab: Lab, proxy: FaultProxy) -> None:
    """All is said a second before it, and the container's message names what is missing."""
    step = uploading(lab, proxy, grace=4, seconds=8)
    with step.runner(controller=False) as runner:
        uploads_for_a_second(runner)
        started = time.monotonic()
        runner.stop(4)
        sleep_until(runner, started + 3)
        assert versions(step)[-1] == ("true", ["small"])
        result = runner.wait(30)
    wait = result.containers["wait"]
    assert wait.exit_code == 137
    assert wait.message == "not stored before the pod's time was up: large"
    assert versions(step)[-1] == ("true", ["small"])


def test_the_controller_first_then_the_kubelet(lab: Lab, proxy: FaultProxy) -> None:
    """The first SIGTERM has passed without a kill; the second one counts all the same."""
    step = uploading(lab, proxy, grace=2, seconds=9)
    with step.runner(controller=False) as runner:
        uploads_for_a_second(runner)
        runner.signal("wait", 15)
        wait_until_seen(lambda: "Still alive" in runner.log("wait"), "the end of the grace")
        wait_until_seen(lambda: label_of(step.history()[-1]) == "false", "it is opened again", 1)
        runner.stop(2)
        result = runner.wait(30)
    assert result.containers["wait"].exit_code == 137
    assert "large" in result.containers["wait"].message
    assert versions(step)[-1] == ("true", ["small"])


def test_signals_of_a_normal_end_cost_nothing(lab: Lab) -> None:
    """The controller's SIGTERM comes after every step: three requests, as if there were none."""
    script = "printf s >/v/f"
    artifacts = [artifact("f", "/v/f", archive=NONE)]
    step = Step(lab, script, artifacts=artifacts, mounts=[mount("v", "/v")])
    run = step.run()
    assert versions(step) == [("false", []), ("false", ["f"]), ("true", ["f"])], describe(run)


def test_main_is_still_saving_when_the_time_is_up(lab: Lab) -> None:
    """A wrapper that takes longer than the grace period (here: it is stopped) is waited for as long
    as nobody kills: its outputs are not lost because we hurried."""
    script = "printf v >/tmp/o; echo ready; exec sleep 100"
    step = Step(lab, script, artifacts=[artifact("o", "/tmp/o", archive=NONE)], grace=2)
    with step.runner(controller=False) as runner:
        runner.start()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main")
        runner.signal("main", signal.SIGSTOP)
        runner.signal("wait", 15)
        wait_until_seen(lambda: label_of(step.history()[-1]) == "true", "the report", 10)
        wait_until_seen(lambda: label_of(step.history()[-1]) == "false", "opened again", 10)
        assert runner.containers["wait"].state == "running"
        runner.signal("main", signal.SIGCONT)
        result = runner.wait(30)
    assert result.containers["main"].exit_code == 137
    wait = result.containers["wait"]
    assert (wait.exit_code, wait.message) == (0, ""), wait.log
    assert versions(step)[-1] == ("true", ["o"])
    assert lab.get(step.key("o")) == b"v"


def test_main_comes_after_the_end_was_announced(lab: Lab, tmp_path: Path) -> None:
    """`wait` no longer waits for it, so its command must not run: nobody would collect anything."""

    def before(name: str) -> None:
        if name == "main":
            wait_until_seen(lambda: (tmp_path / "var-run-argo/wait.sock").exists(), "wait")
            runner.signal("wait", 15)
            wait_until_seen(lambda: runner.containers["wait"].state == "terminated", "its end")

    step = Step(lab, "echo it ran")
    with step.runner(controller=False, before_start=before, volumes_dir=str(tmp_path)) as runner:
        runner.start()
        result = runner.wait(30)
    main = result.containers["main"]
    assert main.exit_code == 143 and "it ran" not in main.log, main.log
    assert (tmp_path / "var-run-argo/ctr/main/exitcode").read_text() == "143"


def test_a_wrapper_killed_before_it_said_hello(lab: Lab) -> None:
    """Nothing tells of its end; the controller, which sees the container's, sends SIGTERM."""
    step = Step(lab).plain_main("exit 137")
    run = step.run()
    wait = run.result.containers["wait"]
    assert wait.exit_code == 0, describe(run)
    assert wait.finished - run.result.containers["main"].finished < 5
    assert label_of(run.task_result) == "true"


@pytest.mark.parametrize("who", ["controller", "kubelet"])
def test_main_never_starts(lab: Lab, who: str) -> None:
    step = Step(lab, grace=20)
    step.container("main")["image"] = "registry.example/none:1"
    with step.runner(controller=False) as runner:
        runner.start()
        wait_until_seen(lambda: bool(step.history()), "the placeholder")
        started = time.time()
        end: Callable[[], None] = {"kubelet": runner.stop}.get(
            who, lambda: runner.exec("wait", ["argoexec", "kill", "15", "1"])
        )
        end()
        assert runner.wait_state("wait", "terminated", 10)
        wait = runner.containers["wait"]
        assert wait.exit_code == 0 and wait.finished - started < 3, wait.log
    assert versions(step)[-1] == ("true", [])


def test_each_artifact_is_reported_when_it_is_stored(lab: Lab, proxy: FaultProxy) -> None:
    """No signal at all: a node that dies while `large` is on its way has lost nothing else. The label
    says that there is more to come, so the controller waits for it."""
    step = uploading(lab, proxy, grace=30, seconds=3)
    with step.runner(controller=False) as runner:
        runner.start()
        wait_until_seen(lambda: versions(step)[-1:] == [("false", ["small"])], "the early report")
        assert runner.containers["wait"].state == "running"
        result = runner.wait(30)
    assert result.phase == "Succeeded", result.containers["wait"].log
    assert versions(step)[1:] == [
        ("false", ["small"]),
        ("false", ["large", "small"]),
        ("true", ["large", "small"]),
    ]


def test_a_node_that_dies_late(lab: Lab, proxy: FaultProxy) -> None:
    """SIGKILL without a word: what was stored by then is known."""
    step = uploading(lab, proxy, grace=30, seconds=20)
    with step.runner(controller=False) as runner:
        runner.start()
        wait_until_seen(lambda: versions(step)[-1:] == [("false", ["small"])], "the early report")
        runner.signal("wait", signal.SIGKILL)
        assert runner.wait_state("wait", "terminated", 10)
    assert versions(step)[-1] == ("false", ["small"])
    assert step.outputs()["parameters"][0]["value"] == "s"
