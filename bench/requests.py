"""Bars of the control socket: to the acknowledgement, and to the signal."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.figures import GIB, Bar, Figure
from bench.subject import IMAGE, Subject, user_image
from tests.control import Control, KeepAlive
from tests.lab import BUCKET, SECRET, Lab
from tests.layout import pod_for
from tests.pod import PodRunner

PODS = 60
REQUESTS = 1000
POD_SECONDS = 300
# Ends nothing and does nothing to a process that runs.
SIGCONT, SIGTERM = 18, 15
SIZE = GIB


def _template(lab: Lab, command: list[str], has_output: bool) -> dict[str, Any]:
    secrets = {
        "accessKeySecret": {"name": SECRET, "key": "accesskey"},
        "secretKeySecret": {"name": SECRET, "key": "secretkey"},
    }
    store = {"endpoint": f"minio:{lab.s3.port}", "bucket": BUCKET, "insecure": True, **secrets}
    output = {"name": "big", "path": "/work/big", "archive": {"none": {}}}
    return {
        "name": "bench",
        "inputs": {},
        "outputs": {"artifacts": [output] if has_output else []},
        "container": {
            "image": IMAGE,
            "command": command,
            "volumeMounts": [{"name": "work", "mountPath": "/work"}],
        },
        "archiveLocation": {"archiveLogs": False, "s3": {**store, "key": "bench/requests"}},
    }


def _start(lab: Lab, directory: Path, command: list[str], has_output: bool = False) -> PodRunner:
    pod = pod_for(_template(lab, command, has_output), "bench", "bench-requests")
    runner = lab.runner(
        pod,
        images=user_image(directory),
        memory_limits=False,
        controller=False,
        work_dir=tempfile.mkdtemp(prefix="pod-", dir=directory),
    )
    runner.start()
    deadline = time.monotonic() + POD_SECONDS
    while "ready" not in runner.log("main"):
        if time.monotonic() > deadline or runner.ended:
            raise RuntimeError(f"main never came up: {runner.log('init')}{runner.log('main')}")
        time.sleep(0.002)
    return runner


def _acknowledgements(control: Control, signal: int) -> list[float]:
    seconds = []
    with KeepAlive(control) as connection:
        for _ in range(REQUESTS):
            began = time.monotonic()
            answer = connection.ask("POST", "/v1/terminate", {"signal": signal})
            seconds.append(time.monotonic() - began)
            if answer.status != 202:
                raise RuntimeError(f"terminate: {answer}")
    return seconds


def _idle(lab: Lab, directory: Path) -> list[float]:
    with _start(lab, directory, ["moment", "--on", str(SIGTERM)]) as runner:
        control = Control(runner.volume_path("var-run-argo"))
        seconds = _acknowledgements(control, SIGCONT)
        control.terminate()
        control.close()
        runner.wait(POD_SECONDS)
    return seconds


def _uploading(lab: Lab, directory: Path) -> list[float]:
    """Only what is late by then: an upload begins when the containers have ended."""
    script = f"dd if=/dev/zero of=/work/big bs=1M count={SIZE >> 20} 2>/dev/null; echo ready"
    with _start(lab, directory, ["sh", "-c", script], has_output=True) as runner:
        control = Control(runner.volume_path("var-run-argo"))
        control.wait_for("state", "ended", seconds=POD_SECONDS)
        seconds = _acknowledgements(control, SIGTERM)
        is_over = runner.containers["wait"].state == "terminated" or lab.objects("bench/requests")
        control.close()
        runner.wait(POD_SECONDS)
    if is_over:
        raise RuntimeError("the upload was over before the requests were")
    if lab.objects("bench/requests") != {"bench/requests/big": SIZE}:
        raise RuntimeError(f"stored: {lab.objects('bench/requests')}")
    return seconds


def _delivery(lab: Lab, directory: Path) -> float:
    """From sending the request to user code that has been told."""
    with _start(lab, directory, ["moment", "--on", str(SIGTERM)]) as runner:
        control = Control(runner.volume_path("var-run-argo"))
        with KeepAlive(control) as connection:
            connection.ask("GET", "/v1/status")
            began = time.time()
            connection.ask("POST", "/v1/terminate", {"signal": SIGTERM})
            runner.wait(POD_SECONDS)
        control.close()
        return float(runner.log("main").split("ready")[1].split()[0]) - began


def requests(subject: Subject, directory: Path) -> list[Figure]:
    """Acknowledged when there is nothing else to do, and during an upload; signals."""
    if not subject.is_ours:
        return []
    with Lab(directory / "requests-lab", executor=str(subject.binary)) as lab:
        idle = _idle(lab, directory)
        uploading = _uploading(lab, directory)
        told = [_delivery(lab, directory) for _ in range(PODS)]
    return [
        Figure(
            "requests",
            f"terminate -> 202 ({REQUESTS} requests)",
            "ms",
            idle,
            [Bar(0.010, "p99")],
        ),
        Figure("requests", "  while 1 GiB is uploaded", "ms", uploading, [Bar(0.010, "p99")]),
        Figure(
            "requests",
            f"terminate -> user code has its SIGTERM ({PODS} pods)",
            "ms",
            told,
            [Bar(0.020, "p99")],
        ),
    ]
