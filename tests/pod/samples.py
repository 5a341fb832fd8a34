"""Pods for the runner's own tests: small, busybox only."""

from __future__ import annotations

import time

from .runner import PodRunner

RUN_SECONDS = 20
IMAGE = "busybox:1.36"


def shell(name: str, script: str, **fields) -> dict:
    """A container that runs a shell script."""
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **fields}


def make_pod(*containers: dict, **spec) -> dict:
    return {
        "metadata": {
            "name": "runner-test",
            "namespace": "argo",
            "uid": "11111111-2222-3333-4444-555555555555",
            "labels": {"colour": "blue"},
            "annotations": {"note": "n"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": list(containers),
            **spec,
        },
    }


def run(pod: dict, **options):
    with PodRunner(pod, **options) as runner:
        return runner.run(RUN_SECONDS)


def run_main(script: str, **options):
    """Run one container; returns it."""
    return run(make_pod(shell("main", script)), **options).containers["main"]


def mount(volume: str, path: str, **fields) -> dict:
    return {"name": volume, "mountPath": path, **fields}


def wait_for_log(runner: PodRunner, container: str, text: str) -> None:
    """Wait until a container has written text: traps are set by then, say."""
    deadline = time.monotonic() + RUN_SECONDS
    while text not in runner.log(container):
        assert time.monotonic() < deadline, f"{container} never wrote {text!r}"
        time.sleep(0.01)
