"""Pods with `shareProcessNamespace`: PID 1 is the pause process, which ends on SIGTERM and takes
every container with it. A stop, as the controller does it, must reach the roles instead."""

from __future__ import annotations

import pytest

from tests.lab import Lab, node_of, recorded_pods
from tests.pod import PodRunner
from tests.scenario import Step, artifact, label_of, mount, parameter, wait_until_seen

# Interrupted, it finishes what it has begun, which takes a while.
INTERRUPTED = """
    trap 'sleep 0.3; printf kept >/tmp/a; printf value >/tmp/p; printf in >/v/b; exit 7' TERM
    echo ready; while :; do sleep 0.02; done
"""


def interrupted_step(lab: Lab) -> Step:
    step = Step(
        lab,
        INTERRUPTED,
        artifacts=[artifact("a", "/tmp/a", archive={"none": {}}), artifact("b", "/v/b")],
        parameters=[parameter("p", "/tmp/p")],
        mounts=[mount("v", "/v")],
        archive_logs=True,
        grace=5,
    )
    step.pod["spec"]["shareProcessNamespace"] = True
    return step


def start(runner: PodRunner) -> PodRunner:
    """Started, its main container ready."""
    runner.start()
    wait_until_seen(lambda: "ready\n" in runner.log("main"), "main is ready")
    return runner


@pytest.mark.parametrize("main_uid, wait_uid", [(0, 0), (1000, 0), (1000, 2000)])
def test_a_stop_loses_nothing(lab: Lab, main_uid: int, wait_uid: int) -> None:
    """exec of `kill` in main, then in `wait`, which waits for main to finish."""
    step = interrupted_step(lab)
    for name, uid in (("main", main_uid), ("wait", wait_uid)):
        step.container(name)["securityContext"] = {"runAsUser": uid}
    with step.runner() as runner:
        start(runner).controller_stop()
        result = runner.wait(30)
    codes = {name: c.exit_code for name, c in result.containers.items()}
    assert codes == {"init": 0, "main": 7, "wait": 0}, result.table()
    assert lab.get(step.key("a")) == b"kept"
    assert set(lab.objects(step.prefix)) == {step.key(n) for n in ("a", "b.tgz", "main.log")}
    assert step.outputs()["parameters"][0]["value"] == "value"
    assert label_of(step.history()[-1]) == "true"
    said = [e.detail for e in runner.events if e.kind == "exec_done"]
    assert said and all(e.startswith("code 0 killing 1 with ") for e in said)


def test_what_is_stubborn_is_killed_and_nobody_else(lab: Lab) -> None:
    """Signal 9 of the controller, after the grace period, reaches main's command alone. (The pod
    has no outputs that could be missing.)"""
    step = Step(lab, "trap '' TERM; echo ready; while :; do sleep 0.02; done", archive_logs=True)
    step.pod["spec"]["shareProcessNamespace"] = True
    with step.runner(controller=False) as runner:
        start(runner)
        for container in ("main", "wait"):
            command = ["/var/run/argo/argoexec", "kill", "9", "1"]
            assert runner.exec(container, command).code == 0
        result = runner.wait(30)
    codes = {name: c.exit_code for name, c in result.containers.items()}
    assert codes == {"init": 0, "main": 137, "wait": 0}, result.table()
    assert set(lab.objects(step.prefix)) == {step.key("main.log")}


def test_a_pod_without_init_container(lab: Lab) -> None:
    """Its `supervisor` leaves a record as `wait` does; the wrapper is that of the image volume."""
    (pod,) = (lab.adapt(pod) for pod in recorded_pods("initless-hello-world"))
    pod["spec"]["shareProcessNamespace"] = True
    main = next(c for c in pod["spec"]["containers"] if c["name"] == "main")
    main["args"] = ["sleep", "300s"]
    with lab.runner(pod) as runner:
        runner.start()
        assert runner.wait_state("main", "running", 30)
        wait_until_seen(lambda: len(runner.memory("main")) > 1, "the command runs")
        runner.controller_stop()
        result = runner.wait(30)
    codes = {name: c.exit_code for name, c in result.containers.items()}
    assert codes == {"main": 143, "supervisor": 0}, result.table()
    assert label_of(lab.history(node_of(pod))[-1]) == "true"
