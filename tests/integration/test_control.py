"""The control socket of wait: termination as a request, status, events, metrics, bad clients."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.control import (
    CONT,
    POLITE,
    STUBBORN,
    Control,
    KeepAlive,
    Watcher,
    burst,
    check_schema,
    end,
    percentile,
    serving,
    template,
    wait_log,
)
from tests.lab import ROOT, Lab, calls_of_roles
from tests.layout import pod_for
from tests.pod import PodRunner
from tests.servers.fault_proxy import FaultProxy

@contextmanager
def pod(
    lab: Lab,
    script: str,
    outputs: list[dict[str, Any]] | None = None,
    deadline: float | None = None,
) -> Iterator[tuple[PodRunner, Control]]:
    manifest = pod_for(template(lab, script, outputs), "wf", "wf-control")
    if deadline is not None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + deadline))
        for variable in manifest["spec"]["containers"][0]["env"]:
            if variable["name"] == "ARGO_DEADLINE":
                variable["value"] = moment
    with serving(lab, manifest) as served:
        yield served


@pytest.fixture
def running(lab: Lab) -> Iterator[Control]:
    """A pod that runs as long as the test."""
    with pod(lab, POLITE) as (runner, control):
        yield control
        assert control.terminate(signal=9).status == 202
        assert end(runner) == 137


def test_terminate(lab: Lab) -> None:
    with pod(lab, POLITE) as (runner, control):
        answer = control.terminate(signal=15, graceSeconds=30, containers=["main"], reason="x y")
        assert (answer.status, answer.json()) == (202, {"id": "t1", "outcome": "accepted"})
        assert end(runner) == 7
        log = runner.log("wait")
        assert "asked" in runner.log("main")
    lines = [line for line in log.splitlines() if "Termination requested" in line]
    assert len(lines) == 1 and 'reason="x y"' in lines[0] and "uid=0" in lines[0], log


def test_default_is_sigterm(lab: Lab) -> None:
    with pod(lab, POLITE) as (runner, control):
        assert control.ask("POST", "/v1/terminate").status == 202
        assert end(runner) == 7


def test_escalation(lab: Lab) -> None:
    with pod(lab, STUBBORN) as (runner, control):
        assert control.terminate().json() == {"id": "t1", "outcome": "accepted"}
        wait_log(runner, "asked")
        assert control.terminate().json() == {"id": "t1", "outcome": "coalesced"}
        assert control.terminate(signal=9).json() == {"id": "t2", "outcome": "escalated"}
        assert end(runner) == 137
        assert runner.log("main").count("asked") == 1


def test_grace_ends_with_sigkill_and_can_be_shortened(lab: Lab) -> None:
    with pod(lab, STUBBORN) as (runner, control):
        control.terminate(graceSeconds=600)
        item = control.wait_for("termination", "term sent")
        assert 590 < item["request"]["secondsToKill"] <= 600
        control.terminate(graceSeconds=900)
        assert control.container()["request"]["secondsToKill"] <= 600
        started = time.monotonic()
        control.terminate(graceSeconds=1)
        assert end(runner) == 137
        assert 0.9 < time.monotonic() - started < 15


def test_deadline_is_a_request(lab: Lab) -> None:
    with pod(lab, POLITE, deadline=4) as (runner, control):
        assert control.status()["deadline"].endswith("Z")
        watcher = Watcher(control)
        while (event := watcher.next())["container"]["termination"] != "term sent":
            assert event["container"]["state"] == "running"
        assert event["container"]["request"]["source"] == "deadline"
        assert end(runner) == 7
        watcher.close()


def test_signal_file_is_a_request(lab: Lab) -> None:
    with pod(lab, STUBBORN) as (runner, control):
        file = Path(runner.volume_path("var-run-argo")) / "ctr/main/signal"
        file.write_text("15")
        item = control.wait_for("termination", "term sent")
        assert item["request"]["source"] == "file" and "secondsToKill" not in item["request"]
        file.write_text("9")
        assert end(runner) == 137


def test_other_signals_pass(lab: Lab) -> None:
    script = "trap 'echo got it' USR1; " + POLITE
    with pod(lab, script) as (runner, control):
        assert control.terminate(signal=10).json()["outcome"] == "accepted"
        wait_log(runner, "got it")
        assert control.container()["termination"] == "running"
        control.terminate()
        assert end(runner) == 7


def connections() -> int:
    """Accepted connections of control sockets on this machine."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith("/control.sock") and line.split()[5] == "03" for line in lines)


def until(condition: Callable[[], bool]) -> bool:
    """Waits a bounded time for it."""
    end_at = time.monotonic() + 20
    while not condition() and time.monotonic() < end_at:
        time.sleep(0.02)
    return condition()


def test_commands(lab: Lab) -> None:
    with pod(lab, STUBBORN) as (runner, control):
        tool = "/var/run/argo/argoexec"
        status = runner.exec("main", [tool, "status"])
        assert status.code == 0 and json.loads(status.output)["role"] == "wait", status
        wrong = runner.exec("main", [tool, "signal", "--container", "nobody", "TERM"])
        assert wrong.code == 64 and "is no main container" in wrong.output
        assert runner.exec("main", [tool, "signal", "TREM"]).code == 64
        events: list[str] = []
        before = connections()
        watching = threading.Thread(
            target=lambda: events.append(runner.exec("main", [tool, "status", "--watch"]).output)
        )
        watching.start()
        assert until(lambda: connections() > before)
        asked = runner.exec("main", [tool, "signal", "--container=main", "sigterm"])
        assert asked.code == 0 and json.loads(asked.output)["outcome"] == "accepted"
        wait_log(runner, "asked")
        # The end of main is the end of whatever was executed in its container.
        control.terminate(signal=9)
        assert end(runner) == 137
        watching.join(20)
    assert not watching.is_alive()
    assert json.loads(events[0].splitlines()[0])["container"]["name"] == "main"


def test_no_socket(lab: Lab) -> None:
    with pod(lab, POLITE) as (runner, _control):
        path = Path(runner.volume_path("var-run-argo")) / "control.sock"
        assert path.stat().st_mode & 0o7777 == 0o666
        path.unlink()
        gone = runner.exec("main", ["/var/run/argo/argoexec", "status"])
        assert gone.code == 64 and "no such file or directory" in gone.output
        runner.exec("main", ["/var/run/argo/argoexec", "kill", "15", "1"])
        assert end(runner) == 7


def test_events(lab: Lab) -> None:
    with pod(lab, POLITE) as (runner, control):
        watcher = Watcher(control)
        assert b" 101 " in watcher.status
        seen = [watcher.next()]
        control.terminate(reason="watch me")
        while event := watcher.next():
            seen.append(event)
            if event["container"]["state"] == "ended":
                break
        assert end(runner) == 7
    walk = [(item["container"]["state"], item["container"]["termination"]) for item in seen]
    assert walk == [
        ("running", "running"),
        ("running", "asked"),
        ("running", "term sent"),
        ("ended", "ended"),
    ]
    assert seen[1]["container"]["request"]["reason"] == "watch me"
    print(f"asked {seen[1]['time']}, sent {seen[2]['time']}")


SAMPLE = re.compile(r'^(\w+)((?:\{(?:\w+="[^"\\]*",?)+\})?) (-?[0-9.]+(?:e-?\d+)?)$')


def metrics(control: Control) -> dict[str, float]:
    """Samples; every line is well-formed, every family declared once, before its samples."""
    answer = control.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    lines = answer.body.decode().splitlines()
    assert lines.pop() == "# EOF"
    families: dict[str, str] = {}
    samples = {}
    for line in lines:
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in families
            families[name] = kind
        elif not line.startswith("# "):
            match = SAMPLE.match(line)
            assert match, line
            base, suffix = next(
                (match[1].removesuffix(end), end)
                for end in ("_total", "_bucket", "_count", "_sum", "")
                if match[1].endswith(end) and match[1].removesuffix(end) in families
            )
            assert (suffix == "_total") == (families[base] == "counter"), line
            assert match[1] + match[2] not in samples
            samples[match[1] + match[2]] = float(match[3])
    return samples


def confinement_of(control: Control, process: str) -> dict[str, str]:
    told = control.status()["confinement"]
    return {entry["layer"]: entry["state"] for entry in told if entry["process"] == process}


def test_confinement(running: Control, argoexec: str) -> None:
    """There is no child that stages: nothing is told of it."""
    assert confinement_of(running, "stage") == {}
    assert confinement_of(running, "wait") == {
        "capabilities": "in force",
        "no new privileges": "in force",
        "memory": "in force",
        "system calls": calls_of_roles(argoexec),
        "files": "unused",
    }


def test_metrics(running: Control) -> None:
    before = metrics(running)
    assert before['argoexec_containers{state="running"}'] == 1
    assert before["argoexec_acknowledgement_seconds_count"] == 0
    for layer, state in confinement_of(running, "wait").items():
        sample = f'argoexec_confinement{{process="wait",layer="{layer}",state="%s"}}'
        assert before[sample % state] == 1
        assert sum(before[sample % s] for s in ("unused", "refused", "recording", "in force")) == 1
    assert running.terminate(signal=CONT).status == 202
    assert running.terminate(signal=77).status == 400
    after = metrics(running)
    name = 'argoexec_termination_requests_total{source="control",outcome="accepted"}'
    assert (before[name], after[name]) == (0, 1)
    assert after["argoexec_acknowledgement_seconds_count"] == 1
    assert after['argoexec_acknowledgement_seconds_bucket{le="+Inf"}'] == 1
    assert after["argoexec_refused_requests_total"] == 1
    assert after["argoexec_uptime_seconds"] > before["argoexec_uptime_seconds"]


@pytest.mark.parametrize("script, outcome", [(POLITE, "ended"), (STUBBORN, "killed")])
def test_metrics_of_the_end(lab: Lab, script: str, outcome: str) -> None:
    """Seen while what main left is uploaded; containers that nobody asked for are not counted."""
    out = {"name": "o", "path": "/tmp/o", "archive": {"none": {}}, "s3": {"key": "control/o"}}
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="PUT", path="/", action={"kind": "rate", "bytes_per_s": 500_000})
        script = f"head -c 2000000 /dev/zero >/tmp/o; {script}"
        text = template(lab, script, [out], endpoint=proxy.endpoint)
        with serving(lab, pod_for(text, "wf", "wf-control")) as (runner, control):
            counted = {
                f'argoexec_terminated_containers_total{{source="{source}",outcome="{how}"}}': 0
                for source in ("control", "file", "deadline", "pod", "kernel")
                for how in ("ended", "killed")
            }
            assert counted.items() <= metrics(control).items()
            assert control.terminate(graceSeconds=60 if outcome == "ended" else 0).status == 202
            control.wait_for("state", "ended")
            counted[f'argoexec_terminated_containers_total{{source="control",outcome="{outcome}"}}'] = 1
            samples = metrics(control)
            assert counted.items() <= samples.items()
            assert samples['argoexec_containers{state="ended"}'] == 1
            end(runner)


def test_whose_request_it_was(lab: Lab) -> None:
    """As the kernel says, in the log and in the status."""
    manifest = pod_for(template(lab, STUBBORN), "wf", "wf-control")
    main = next(c for c in manifest["spec"]["containers"] if c["name"] == "main")
    main["securityContext"] = {"runAsUser": 1234}
    with serving(lab, manifest) as (runner, control):
        words = ["/var/run/argo/argoexec", "signal", "TERM"]
        assert runner.exec("main", words).code == 0
        assert control.wait_for("termination", "term sent")["request"]["uid"] == 1234
        control.terminate(signal=9)
        assert end(runner) == 137
        lines = [l for l in runner.log("wait").splitlines() if "Termination requested" in l]
    assert [re.search(r"signal=(\d+) source=control .* uid=(\d+)", l).groups() for l in lines] == [
        ("15", "1234"),
        ("9", "0"),
    ]


def test_a_signal_to_the_container(lab: Lab) -> None:
    """As the controller and the kubelet send it: known at once, not sent again, and made good by SIGKILL."""
    manifest = pod_for(template(lab, STUBBORN), "wf", "wf-control")
    with serving(lab, manifest) as (runner, control):
        assert runner.exec("main", ["/var/run/argo/argoexec", "kill", "15", "1"]).code == 0
        request = control.wait_for("termination", "term sent")["request"]
        assert (request["source"], request["signal"], request["uid"]) == ("kernel", 15, 0)
        assert "secondsToKill" not in request
        wait_log(runner, "asked")
        assert control.terminate(graceSeconds=60).json()["outcome"] == "coalesced"
        assert control.wait_for("termination", "term sent")["request"]["secondsToKill"] > 0
        control.terminate(signal=9)
        assert end(runner) == 137
        assert runner.log("main").count("asked\n") == 1
        assert runner.log("wait").count("Termination requested") == 2


def test_a_thousand_requests_coalesce(lab: Lab) -> None:
    with pod(lab, STUBBORN) as (runner, control):
        _latencies, outcomes = burst(control, 10, 100)
        assert sorted(set(outcomes)) == ["accepted", "coalesced"]
        assert (len(outcomes), outcomes.count("accepted")) == (1000, 1)
        control.terminate(signal=9)
        assert end(runner) == 137
        assert runner.log("wait").count("Termination requested") == 2
        assert runner.log("main").count("asked") == 1


@pytest.mark.bar
def test_acknowledgement_is_quick(running: Control) -> None:
    latencies = []
    with KeepAlive(running) as connection:
        for _ in range(300):
            started = time.monotonic()
            assert connection.ask("POST", "/v1/terminate", {"signal": CONT}).status == 202
            latencies.append((time.monotonic() - started) * 1000)
    print(f"p50 {percentile(latencies, 0.5):.2f} ms, p99 {percentile(latencies, 0.99):.2f} ms")
    assert percentile(latencies, 0.99) < 10


def switches(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", text, re.M)[1])


@pytest.mark.bar
def test_idle_again_after_use(running: Control, lab: Lab) -> None:
    assert lab  # the pod's servers stay up
    with KeepAlive(running) as connection:
        connection.ask("GET", "/v1/status")
    pid = server_pid(running)
    time.sleep(1.5)
    before = switches(pid)
    time.sleep(3)
    assert switches(pid) - before <= 1
    smaps = Path(f"/proc/{pid}/smaps_rollup").read_text()
    anonymous = int(re.search(r"^Anonymous:\s*(\d+)", smaps, re.M)[1])
    print(f"anonymous {anonymous} kB")
    assert anonymous <= 4096


def server_pid(control: Control) -> int:
    with control.connect() as sock:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], "little")


def test_openapi_document(running: Control) -> None:
    """The document names what there is, and real answers have the shape that it gives."""
    document = json.loads((ROOT / "docs/control-openapi.json").read_text())
    schemas = document["components"]["schemas"]
    paths = {path: sorted(item) for path, item in document["paths"].items()}
    assert paths == {
        "/metrics": ["get"],
        "/v1/events": ["get"],
        "/v1/status": ["get"],
        "/v1/terminate": ["post"],
    }
    status = running.status()
    assert status["artifacts"] == []
    check_schema(status, schemas["Status"], schemas)
    check_schema(running.terminate(signal=CONT, reason="r").json(), schemas["Acknowledgement"], schemas)
    check_schema(running.terminate(x=1).json(), schemas["Error"], schemas)
    watcher = Watcher(running)
    check_schema(watcher.next(), schemas["Event"], schemas)
    watcher.close()
    assert sorted(schemas["Terminate"]["properties"]) == [
        "containers",
        "graceSeconds",
        "reason",
        "signal",
    ]
    assert schemas["Terminate"]["additionalProperties"] is False
    with pytest.raises(AssertionError):
        check_schema({"id": 1, "outcome": "accepted"}, schemas["Acknowledgement"], schemas)
