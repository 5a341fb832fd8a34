"""What the control socket tells of artifacts, and stopping a pod whose inputs are still loaded."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.control import (
    CONT,
    Control,
    Watcher,
    check_schema,
    documented_schemas,
    end,
    serving,
    template,
)
from tests.lab import BUCKET, Lab, recorded_pods
from tests.layout import pod_for
from tests.pod import PodRunner
from tests.scenario import leftovers
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20


def until(look: Callable[[], Any], seconds: float = 20) -> Any:
    """What LOOK returns, as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def output(name: str, path: str, **fields: Any) -> dict[str, Any]:
    place = {"s3": {"key": f"control/{name}"}, "archive": {"none": {}}}
    return {"name": name, "path": path, **place, **fields}


OUTPUTS = [
    output("none", "/tmp/none", optional=True),
    output("missing", "/tmp/missing"),
    output("big", "/tmp/big"),
    output("packed", "/tmp/small", archive={"tar": {}}),
]
# The wrapper ends before outputs are sent: what is seen is what `wait` does.
MAKE = "echo ready; dd if=/dev/urandom of=/tmp/big bs=1M count=40 2>/dev/null; echo x >/tmp/small"


def test_outputs_on_their_way(lab: Lab) -> None:
    with FaultProxy(lab.s3.address) as proxy:
        # Parts of 16 MiB: the second one fails once, all are slow enough to be seen.
        fault = {"kind": "status", "status": 503}
        proxy.faults.add(verb="PUT", path="partNumber=2", count=1, action=fault)
        proxy.faults.add(verb="PUT", path="/", action={"kind": "rate", "bytes_per_s": 12 * MIB})
        text = template(lab, MAKE, OUTPUTS, endpoint=proxy.endpoint)
        text["archiveLocation"]["archiveLogs"] = True
        with serving(lab, pod_for(text, "wf", "wf-control")) as (runner, control):
            watcher = Watcher(control)
            events: list[dict[str, Any]] = []
            reading = threading.Thread(target=lambda: events.extend(iter(watcher.next, None)))
            reading.start()
            states = {item["name"]: item["state"] for item in control.status()["artifacts"]}
            assert list(states) == ["none", "missing", "big", "packed", "main-logs"]

            def sending() -> Any:
                big = control.status()["artifacts"][2]
                return big if big["state"] == "sending" and big["bytesDone"] else None

            big = until(sending)
            schemas = documented_schemas()
            check_schema(control.status(), schemas["Status"], schemas)
            assert (big["direction"], big["bytesTotal"]) == ("output", 40 * MIB)
            assert big["bytesDone"] in (8 * MIB, 16 * MIB, 24 * MIB, 32 * MIB, 40 * MIB), big
            samples = control.ask("GET", "/metrics").body.decode()
            assert 'argoexec_artifacts{direction="output",state="sending"} 1\n' in samples
            assert 'argoexec_artifacts{direction="output",state="absent"} 1\n' in samples
            assert 'argoexec_artifacts{direction="output",state="failed"} 1\n' in samples
            assert 'argoexec_artifact_retries_total{direction="output"} 1\n' in samples
            assert 'argoexec_artifact_bytes_total{direction="input"} 0\n' in samples
            assert 'argoexec_store_retries_total{store="s3",class="transient"} 1\n' in samples
            endpoint = f"http://{proxy.endpoint}"
            assert f'argoexec_endpoint_state{{endpoint="{endpoint}",state="open"}} 1\n' in samples
            containers = runner.wait(60).containers
            reading.join(20)
            assert not reading.is_alive()
            watcher.close()
    assert containers["wait"].exit_code == 64 and containers["main"].exit_code == 0
    assert lab.objects("control/")["control/big"] == 40 * MIB
    walks: dict[str, list[str]] = {}
    for event in events:
        check_schema(event, schemas["Event"], schemas)
        if "artifact" in event:
            walk = walks.setdefault(event["artifact"]["name"], [])
            if walk[-1:] != [event["artifact"]["state"]]:
                walk.append(event["artifact"]["state"])
    assert walks == {
        "none": ["planned", "sending", "absent"],
        "missing": ["planned", "sending", "failed"],
        "big": ["planned", "sending", "stored"],
        "packed": ["planned", "sending", "stored"],
        "main-logs": ["planned", "sending", "stored"],
    }
    last = {item["artifact"]["name"]: item["artifact"] for item in events if "artifact" in item}
    assert last["big"]["bytesDone"] == 40 * MIB
    assert sum(item["retries"] for item in last.values()) == 1
    assert last["packed"]["bytesDone"] > 0


def test_more_artifacts_than_are_told(lab: Lab) -> None:
    outputs = [output(f"a{i}", "/tmp/small", optional=True) for i in range(300)]
    script = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done"
    manifest = pod_for(template(lab, script, outputs), "wf", "wf-control")
    with serving(lab, manifest) as (runner, control):
        status = control.status()
        schemas = documented_schemas()
        check_schema(status, schemas["Status"], schemas)
        assert len(status["artifacts"]) == 256 and status["artifactsOmitted"] == 44
        watcher = Watcher(control)
        shown = [watcher.next() for _ in range(257)]
        assert shown[256]["artifact"]["name"] == "a255"
        watcher.close()
        runner.exec("main", ["/bin/sh", "-c", "touch /tmp/go"])
        assert end(runner) == 0


# --- the supervisor -----------------------------------------------------------------------------


@contextmanager
def loading(
    lab: Lab, tmp_path: Path, before_start: Callable[[str], None] | None = None
) -> Iterator[tuple[PodRunner, Control]]:
    """A pod without init container whose input stalls in the middle."""
    (pod,) = (p for p in recorded_pods("initless-artifact-passing") if "-use-" in p["metadata"]["name"])
    key = "control/input"
    lab.s3.client().put(BUCKET, key, os.urandom(2 * MIB))
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="GET", path=f"/{key}", action={"kind": "stall", "bytes": MIB})
        supervisor = pod["spec"]["containers"][0]
        for variable in supervisor["env"]:
            if variable["name"] == "ARGO_TEMPLATE":
                text = json.loads(variable["value"])
                text["inputs"]["artifacts"][0] |= {"archive": {"none": {}}, "s3": {"key": key}}
                variable["value"] = json.dumps(text)
        adapted = lab.adapt(pod, proxy.endpoint)
        options = {"volumes_dir": str(tmp_path), "before_start": before_start}
        with lab.runner(adapted, controller_delay=30, **options) as runner:
            runner.start()
            control = Control(until(lambda: runner.volumes and runner.volume_path("var-run-argo")))
            try:
                yield runner, control
            finally:
                control.close()
                runner.stop(0)


def loaded_half(control: Control) -> Any:
    status = control.status()
    assert status["role"] == "supervisor"
    item = status["artifacts"][0]
    assert item["direction"] == "input"
    return item if item["state"] == "loading" and item["bytesDone"] >= MIB // 2 else None


def check_stopped(runner: PodRunner, tmp_path: Path, started: float) -> None:
    """Main never ran and says so; nothing half-loaded is left, and the stall was not waited for."""
    containers = runner.wait(20).containers
    seconds = time.monotonic() - started
    assert containers["main"].exit_code == 65, runner.log("main")
    assert containers["supervisor"].exit_code == 64, runner.log("supervisor")
    assert "stopped before the inputs were loaded" in containers["supervisor"].message
    assert "total" not in runner.log("main")  # what its command would have printed first
    assert leftovers(tmp_path) == []
    assert os.listdir(tmp_path / "input-artifacts") == []
    assert seconds < 5, seconds
    print(f"stopped within {seconds:.2f} s")


@pytest.mark.parametrize("number", [15, 9])
def test_terminate_while_inputs_are_loaded(lab: Lab, tmp_path: Path, number: int) -> None:
    with loading(lab, tmp_path) as (runner, control):
        item = until(lambda: loaded_half(control))
        assert item["bytesTotal"] == 2 * MIB and item["bytesDone"] < 2 * MIB
        until(lambda: control.container()["state"] == "running")
        # What ends nothing is passed on, and ends nothing.
        assert control.terminate(signal=CONT).json()["outcome"] == "accepted"
        assert control.container()["termination"] == "running"
        watcher = Watcher(control)
        started = time.monotonic()
        answer = control.terminate(signal=number, reason="not needed")
        assert (answer.status, answer.json()["outcome"]) == (202, "accepted")
        check_stopped(runner, tmp_path, started)
        events = list(iter(watcher.next, None))
        watcher.close()
    items = [event["artifact"] for event in events if "artifact" in event]
    states = [item["state"] for item in items if item["direction"] == "input"]
    assert states[0] == "loading" and states[-1] == "failed"


def test_terminate_before_main_has_come(lab: Lab, tmp_path: Path) -> None:
    """Its image may still be pulled: there is nobody to signal, and nothing to load for."""
    may_start = threading.Event()

    def hold(container: str) -> None:
        if container == "main":
            may_start.wait(20)

    with loading(lab, tmp_path, hold) as (runner, control):
        until(lambda: loaded_half(control))
        assert control.container()["state"] == "waiting"
        started = time.monotonic()
        assert control.terminate().json()["outcome"] == "accepted"
        until(lambda: "Failed before main" in runner.log("supervisor"))
        may_start.set()
        check_stopped(runner, tmp_path, started)


def test_a_heartbeat_while_inputs_are_loaded(lab: Lab, tmp_path: Path) -> None:
    """Wrappers take a supervisor for dead that has not written for 30 s: it writes every 5 s."""
    status = tmp_path / "var-run-argo/status"
    with loading(lab, tmp_path) as (runner, control):
        until(lambda: loaded_half(control))
        first = status.stat()
        assert status.read_text() == "RUNNING\n" and first.st_mode & 0o777 == 0o644
        until(lambda: status.stat().st_mtime_ns != first.st_mtime_ns)
        second = status.stat()
        assert status.read_text() == "RUNNING\n"
        # Two beats, or the first word and a beat.
        assert 4 < second.st_mtime - first.st_mtime < 15
        assert second.st_ino != first.st_ino  # replaced as a whole
        assert runner.containers["main"].state == "running"
        control.terminate()
        runner.wait(20)
    assert status.read_text().startswith("FAILED\nstopped before the inputs were loaded")


def test_nobody_can_be_told(lab: Lab, tmp_path: Path) -> None:
    """Something else lies in the place of `status`: main does not run, and nobody waits for ever."""

    def before(container: str) -> None:
        if container == "supervisor":
            inside = tmp_path / "var-run-argo/status/inside"
            inside.mkdir(parents=True)
            then = time.time() - 60
            os.utime(inside.parent, (then, then))

    (pod,) = recorded_pods("initless-hello-world")
    with lab.runner(lab.adapt(pod), volumes_dir=str(tmp_path), before_start=before) as runner:
        runner.start()
        containers = runner.wait(30).containers
    assert containers["main"].exit_code == 65
    assert "supervisor presumed dead" in containers["main"].message
    assert containers["supervisor"].exit_code == 64
    assert "var/run/argo/status" in containers["supervisor"].message
    assert "hello" not in containers["main"].log
