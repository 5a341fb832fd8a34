"""A cluster's worth of servers for one test run, and the recorded pods that run against it.

    with Lab(directory) as lab:
        run = lab.run_case("hello-world")[0]
        run.result.containers["main"].exit_code
        lab.objects()                      # key -> size

The pods of tests/fixtures were created by a real controller; what they name (the store's address,
deadlines) is moved to here and now, everything else stays as it was.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pod import ApiInfo, PodResult, PodRunner, shift_deadlines
from tests.servers.kube_api import KubeApi
from tests.servers.server import S3Server
from tests.servers.swift import SwiftServer

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures"
BUCKET = "my-bucket"
SECRET = "my-minio-cred"
RECORDED_ENDPOINT = "minio:9000"


@dataclass
class PodRun:
    """A pod that has run, and the task results that were written for it, oldest first."""

    pod: dict[str, Any]
    result: PodResult
    history: list[dict[str, Any]]

    @property
    def task_result(self) -> dict[str, Any]:
        """The object as it was at the end; empty if there was none."""
        return self.history[-1] if self.history else {}


class LabRunner(PodRunner):
    """Fails the test where a role or its staging process met a system call that its table lacks: one
    death of the latter is made good, and nobody else would notice."""

    def __exit__(self, kind: object, *rest: object) -> None:
        spec = self.pod["spec"]
        names = [c["name"] for c in spec.get("initContainers", []) + spec["containers"]]
        said = "".join(self.log(name) for name in names) if kind is None else ""
        super().__exit__(kind, *rest)
        found = re.search(r"(stopped at the system call \w+|killed at a forbidden system call)", said)
        assert not found, found


class Lab:
    """An API server and an S3 server on loopback, and the pods that use them."""

    def __init__(self, directory: Path, executor: str | None = None, s3: S3Server | None = None):
        """S3: a server to use, and to stop at the end, instead of a Swift of its own."""
        self.directory = directory
        self.executor = executor
        self.runner_type: type[PodRunner] = LabRunner
        directory.mkdir(parents=True, exist_ok=True)
        self.api = KubeApi(directory / "api")
        self.s3 = s3 or SwiftServer(directory / "swift")
        self.s3.create_bucket(BUCKET)

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.s3.stop()
        self.api.stop()

    # --- pods ---------------------------------------------------------------------------

    def adapt(self, pod: dict[str, Any], endpoint: str | None = None) -> dict[str, Any]:
        """The pod as the controller would create it now, for these servers."""
        return shift_deadlines(json.loads(self._relocate(json.dumps(pod), endpoint)))

    def _relocate(self, text: str, endpoint: str | None = None) -> str:
        return text.replace(RECORDED_ENDPOINT, endpoint or f"minio:{self.s3.port}")

    def runner(self, pod: dict[str, Any], **options: Any) -> PodRunner:
        """A runner for a pod that has been adapted."""
        settings: dict[str, Any] = {
            "api": ApiInfo(
                host=self.api.host,
                port=self.api.port,
                ca=self.api.ca.read_text(),
                token=self.api.token,
            ),
            "secrets": {
                SECRET: {"accesskey": self.s3.access_key, "secretkey": self.s3.secret_key}
            },
            "hosts": {"minio": self.s3.host},
            "executor": self.executor,
            "controller": True,
        }
        settings.update(options)
        return self.runner_type(pod, **settings)

    def run(self, pod: dict[str, Any], timeout: float = 60, **options: Any) -> PodRun:
        """Runs an adapted pod to its end."""
        with self.runner(pod, **options) as runner:
            result = runner.run(timeout)
        check_no_reports(result)
        return PodRun(pod, result, self.history(node_of(pod)))

    def run_case(self, case: str, **options: Any) -> list[PodRun]:
        """The pods of a recorded case, one after the other in the order of their creation."""
        maps = json.loads(self._relocate(json.dumps(config_maps(case))))
        return [
            self.run(self.adapt(pod), configmaps=maps, **options) for pod in recorded_pods(case)
        ]

    # --- what they left -----------------------------------------------------------------

    def history(self, node: str) -> list[dict[str, Any]]:
        """Every version of a node's task result."""
        return [event["object"] for event in self.api.history(node)]

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Key and size of each stored object."""
        return self.s3.client().sizes(BUCKET, prefix)

    def get(self, key: str) -> bytes:
        return self.s3.client().get(BUCKET, key)


def check_no_reports(result: PodResult) -> None:
    """A sanitizer's report in any container's log fails the test, whatever the exit code says."""
    for name, container in result.containers.items():
        for mark in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error: "):
            assert mark not in container.log, f"{name}: {container.log[-4000:]}"


def calls_of_roles(argoexec: str) -> str:
    """What this binary tells of the system calls of a role: with sanitizers it has no table."""
    is_plain = b"__asan_init" not in Path(argoexec).read_bytes()
    return calls_in_force() if is_plain else "unused"


def calls_in_force() -> str:
    return "recording" if os.environ.get("ARGOEXEC_CONFINEMENT") == "record" else "in force"


def node_of(pod: dict[str, Any]) -> str:
    return pod["metadata"]["annotations"].get("workflows.argoproj.io/node-id", "none")


def recorded_pods(case: str) -> list[dict[str, Any]]:
    pods = [json.loads(path.read_text()) for path in (FIXTURES / case).glob("pod-*.json")]
    return sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])


def config_maps(case: str) -> dict[str, dict[str, str]]:
    path = FIXTURES / case / "configmaps.jsonl"
    if not path.exists():
        return {}
    objects = [json.loads(line)["object"] for line in path.read_text().splitlines()]
    return {item["metadata"]["name"]: item["data"] for item in objects if "data" in item}


def recorded_outcome(case: str) -> dict[str, Any]:
    return json.loads((FIXTURES / case / "outcome.json").read_text())


def recorded_results(case: str) -> dict[str, list[dict[str, Any]]]:
    """Node -> the versions of its task result, as the reference wrote them."""
    path = FIXTURES / case / "taskresults.jsonl"
    versions: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        event = json.loads(line)
        if event["type"] in ("ADDED", "MODIFIED"):
            versions.setdefault(event["object"]["metadata"]["name"], []).append(event["object"])
    return versions


def recorded_objects(case: str) -> dict[str, int]:
    """Key -> size of what lay in the bucket afterwards; empty if it was not recorded."""
    path = FIXTURES / case / "objects.txt"
    sizes = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        name, _, size = line.rpartition(" ")
        if name.startswith(f"./{BUCKET}/"):
            sizes[name.removeprefix(f"./{BUCKET}/")] = int(size)
    return sizes
