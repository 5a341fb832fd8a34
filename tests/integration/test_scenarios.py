"""Reports that users have seen go wrong, each from its beginning to its end: what is said of a step that was
retried, stopped, or reported by two at a time, and what artifact GC makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gc import GcLab
from tests.lab import BUCKET, Lab
from tests.scenario import (
    RUN_SECONDS,
    Step,
    api_calls,
    artifact,
    assert_failure,
    assert_ok,
    describe,
    label_of,
    location,
    mount,
    parameter,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

Json = dict[str, Any]

NONE = {"none": {}}
RATE = 400_000
UP = [mount("v", "/v")]


@pytest.fixture
def gc(tmp_path: Path) -> Iterator[GcLab]:
    with GcLab(tmp_path) as lab:
        yield lab


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as proxy:
        yield proxy


def outputs_of(version: Json) -> list[str]:
    return [item["name"] for item in version.get("outputs", {}).get("artifacts", [])]


def test_a_retried_pod_that_stored_nothing_then_gc(gc: GcLab) -> None:
    """Two attempts, two nodes, two results, two keys. The first one has reported no location, so it is none
    that could not be deleted, and nothing is *not configured*; its logs, which were not archived, likewise."""
    steps = [
        Step(gc, script, artifacts=[artifact("o", "/v/o", archive=NONE)], mounts=UP)
        for script in ("exit 1", "printf x >/v/o")
    ]
    first, second = (step.run() for step in steps)
    assert_failure(
        first.result.containers["wait"],
        64,
        "main exited with code 1; ",
        "artifact o failed to save: ",
        "no such file or directory",
    )
    assert steps[0].outputs().get("artifacts", []) == [], describe(first)
    assert label_of(first.task_result) == "true"
    assert_ok(second)
    (stored,) = steps[1].outputs()["artifacts"]
    assert stored["s3"]["key"].startswith(steps[1].prefix)
    assert list(gc.objects()) == [stored["s3"]["key"]]

    # What the controller puts together: what the template declares, and what was reported of it.
    declared: Json = {"o": {"path": "/v/o"}, "main-logs": {"s3": {}}}
    reported: Json = {"o": {field: stored[field] for field in ("path", "s3")}}
    gc.add_task({steps[0].node: declared, steps[1].node: reported}, **{steps[0].node: None})
    main = gc.run_gc().containers["main"]
    assert (main.exit_code, main.message) == (0, ""), main.log
    assert gc.results() == {
        steps[0].node: {name: {"name": name, "success": True} for name in declared},
        steps[1].node: {"o": {"name": "o", "success": True}},
    }
    assert gc.objects() == {}
    assert main.log.count("An artifact was never stored: it has neither location nor key") == 2
    assert "not configured" not in main.log


def test_stopped_while_pending_then_retried(lab: Lab) -> None:
    """The pod is pending: its input is on the way. Stopped, it has not succeeded, and says why; so a retry runs
    it, and nothing of the first attempt is in the way."""
    key = f"pending/{time.time_ns()}"
    lab.s3.client().put(BUCKET, key, b"input")
    script = "cp /in/a /v/o"
    with FaultProxy(None) as silent:
        inputs = [artifact("a", "/in/a", location(lab, key, silent.endpoint), archive=NONE)]
        outputs = [artifact("o", "/v/o", archive=NONE)]
        step = Step(lab, script, inputs=inputs, artifacts=outputs, mounts=UP)
        with step.runner(controller=False) as runner:
            runner.start()
            wait_until_seen(silent.connections, "a connection")
            runner.stop(4)
            result = runner.wait(RUN_SECONDS)
    assert_failure(result.containers["init"], 143, "stopped (terminated) before the inputs were loaded")
    assert result.phase == "Failed"
    assert step.history() == [], "nothing was reported: it counts as what it is"
    inputs = [artifact("a", "/in/a", location(lab, key), archive=NONE)]
    again = Step(lab, script, inputs=inputs, artifacts=outputs, mounts=UP, node=step.node)
    run = again.run()
    assert_ok(run)
    assert [label_of(version) for version in again.history()] == ["false", "false", "true"]
    (stored,) = again.outputs()["artifacts"]
    assert lab.get(stored["s3"]["key"]) == b"input"
    assert [c.message for c in run.result.containers.values()] == [""] * 3


@pytest.mark.parametrize("grace", [4, 0.5], ids=["completed", "cut-short"])
def test_stopped_during_a_slow_save_then_the_same_node(lab: Lab, proxy: FaultProxy, grace: float) -> None:
    """What was stored until then is reported, with the label `true` where there was time for it. The node is
    run again: what the first pod has reported is not what the second one has stored."""
    proxy.faults.add(verb="PUT", path="/large", action={"kind": "rate", "bytes_per_s": RATE})
    artifacts = [artifact(n, f"/v/{n}", archive=NONE, optional=True) for n in ("large", "small")]
    step = Step(
        lab,
        f"head -c {RATE * 12} /dev/urandom >/v/large; printf s >/v/small",
        artifacts=artifacts,
        parameters=[parameter("p", "/v/small", default="none")],
        mounts=UP,
        endpoint=proxy.endpoint,
        grace=4,
    )
    with step.runner(controller=False) as runner:
        runner.start()
        wait_until_seen(lambda: outputs_of((step.history() or [{}])[-1]) == ["small"], "small")
        runner.stop(grace)
        result = runner.wait(30)
    wait = result.containers["wait"]
    assert wait.exit_code == 137
    label, message = {
        4: ("true", "not stored before the pod's time was up: large"),
        0.5: ("false", ""),
    }[grace]
    before = step.history()
    assert (label_of(before[-1]), outputs_of(before[-1]), wait.message) == (label, ["small"], message)

    again = Step(
        lab,
        "printf l >/v/large",
        artifacts=artifacts,
        parameters=[parameter("p", "/v/small", default="none")],
        mounts=UP,
        node=step.node,
    )
    run = again.run()
    assert_ok(run)
    versions = again.history()[len(before) :]
    assert [(label_of(v), outputs_of(v)) for v in versions] == [
        ("false", []),
        ("false", ["large"]),
        ("true", ["large"]),
    ]
    assert "outputs" not in versions[0]
    assert again.outputs()["parameters"][0]["value"] == "none"
    assert lab.get(again.outputs()["artifacts"][0]["s3"]["key"]) == b"l"
    assert run.result.containers["wait"].message == ""


@pytest.mark.parametrize("nth", [1, 2], ids=["before-outputs", "before-label"])
def test_a_conflicting_writer(lab: Lab, nth: int) -> None:
    """Somebody else's patch comes between: it replaces the array that we have an entry in, as a merge patch
    does. Both are there afterwards, and what has been saved is not lost."""
    theirs = {"name": "theirs", "s3": {"key": "k"}}
    patch = {"outputs": {"artifacts": [theirs], "result": "r"}, "progress": "1/2", "message": "m"}
    action = {"kind": "concurrent_write", "patch": patch}
    lab.api.faults.add(verb="PATCH", path="/workflowtaskresults", nth=nth, count=1, action=action)
    step = Step(lab, "printf x >/v/o", artifacts=[artifact("o", "/v/o", archive=NONE)], mounts=UP)
    run = step.run()
    assert_ok(run)
    assert [c.message for c in run.result.containers.values()] == [""] * 3
    assert ("PATCH", 409) in api_calls(lab)
    last = step.history()[-1]
    assert label_of(last) == "true"
    assert outputs_of(last) == ["theirs", "o"]
    assert last["outputs"]["artifacts"][0] == theirs
    assert (last["outputs"]["result"], last["progress"], last["message"]) == ("r", "1/2", "m")
    assert lab.get(last["outputs"]["artifacts"][1]["s3"]["key"]) == b"x"


def test_two_pods_of_one_node(lab: Lab) -> None:
    """The first pod is gone from the API server, but its processes are not when the second one begins: it
    says that it is not heard any more, and changes nothing."""
    held = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; "
    steps: list[Step] = []
    for name in ("first", "second"):
        script = f"{held}printf {name} >/v/{name}"
        outputs = [artifact(name, f"/v/{name}", archive=NONE)]
        node = steps[0].node if steps else ""
        steps.append(Step(lab, script, artifacts=outputs, mounts=UP, node=node))
    with steps[0].runner() as first, steps[1].runner() as second:
        first.start()
        wait_until_seen(lambda: len(steps[0].history()) == 1, "the placeholder")
        second.start()
        wait_until_seen(lambda: len(steps[0].history()) == 2, "the other pod's")
        for runner in (first, second):
            assert runner.exec("main", ["touch", "/tmp/go"]).code == 0
            runner.wait(RUN_SECONDS)
        waits = [runner.containers["wait"] for runner in (first, second)]
    assert_failure(
        waits[0], 64, "another pod of the same node reports there now: nothing more is reported of this one"
    )
    assert (waits[1].exit_code, waits[1].message) == (0, ""), waits[1].log
    assert [(label_of(v), outputs_of(v)) for v in steps[0].history()] == [
        ("false", []),
        ("false", []),
        ("false", ["second"]),
        ("true", ["second"]),
    ]
