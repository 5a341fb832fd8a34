"""`make demo`: what it prints, and that its exit code is the truth."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import FIXTURES, ROOT, recorded_pods
from tests.layout import pod_for

# Its user image is busybox alone: a binary with shared libraries (sanitizers) cannot run in it.
pytestmark = pytest.mark.bar


def demo(argoexec: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        ["scripts/demo.sh", *arguments],
        cwd=ROOT,
        env={"ARGOEXEC": argoexec, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_two_steps(argoexec: str) -> None:
    code, text = demo(argoexec)
    assert code == 0, text
    for expected in ("step 1 of 2", "step 2 of 2", "sorted.txt", "parts.tgz", '"value": "4000"'):
        assert expected in text
    assert '"result": "lines 2000"' in text
    assert "reference (Go, 4.1.2)" in text
    assert text.endswith("both steps did what they should\n")
    assert max(map(len, text.splitlines())) <= 100


def test_a_failing_pod_of_ones_own(argoexec: str) -> None:
    path = next((FIXTURES / "exit-code-failure").glob("pod-*.json"))
    code, text = demo(argoexec, str(path))
    assert code == 1
    assert "Failed after" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_file_that_is_no_pod(argoexec: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    code, text = demo(argoexec, str(tmp_path / "a.json"))
    assert code == 2
    assert text.endswith(f"demo: {tmp_path}/a.json: field 'metadata' is missing\n")


def mounts(container: dict[str, Any]) -> set[tuple[Any, ...]]:
    """Without what the name of the pod decides."""
    return {
        (mount["mountPath"], mount["name"].split("-access")[0], mount.get("subPath"))
        for mount in container["volumeMounts"]
    }


@pytest.mark.parametrize("case", ["volume-artifacts", "script", "artifact-passing"])
def test_layout_is_the_controllers(case: str) -> None:
    """The pods that the demo makes are like those that a real controller made."""
    for pod in recorded_pods(case):
        spec = pod["spec"]
        env = {e["name"]: e.get("value") for e in spec["initContainers"][0]["env"]}
        own = pod_for(json.loads(env["ARGO_TEMPLATE"] or ""), "w", "n", log_level="debug")["spec"]
        for kind in ("initContainers", "containers"):
            for mine, theirs in zip(own[kind], spec[kind], strict=True):
                assert mine["name"] == theirs["name"]
                assert mine["command"] == theirs["command"]
                assert mine.get("args", []) == theirs.get("args", [])
                assert mounts(mine) == mounts(theirs)
                missing = {e["name"] for e in theirs["env"]} - {e["name"] for e in mine["env"]}
                assert missing <= {
                    "TRACEPARENT",
                    "TRACESTATE",
                    "ARGO_ARTIFACT_PLUGIN_NAMES",
                    "ARGO_TERMINATION_GRACE_PERIOD_SECONDS",
                }
