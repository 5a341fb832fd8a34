"""Pods of artifact GC, as a controller makes them, and the tasks that they work through.

    with GcLab(directory) as gc:
        gc.add_task({"node": {"out": {"s3": {"key": "wf/out.tgz"}}}})
        run = gc.run()
        gc.results()["node"]["out"] == {"name": "out", "success": True}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab import BUCKET, FIXTURES, SECRET, Lab, check_no_reports
from tests.pod import ApiInfo, PodResult, PodRunner
from tests.pod.model import confinement
from tests.room import binary
from tests.servers.server import S3Server

POD = FIXTURES / "artifact-gc/pod-artifact-gc-gb6vq-artgc-wfdel-2166136261.json"
LABEL = "3430310775"
TASK = "wf-artgc-wfdel-0"
# Short pauses: what is tested is that there are some, not how long they are.
FAST: dict[str, str | None] = {"EXECUTOR_RETRY_BACKOFF_DURATION": "10ms", **confinement()}
Json = dict[str, Any]


class GcLab(Lab):
    """A lab whose pods delete artifacts."""

    def __init__(self, directory: Path, s3: S3Server | None = None):
        super().__init__(directory, binary(), s3)
        self.token = self.api.add_gc_account("artifact-gc")

    def location(self, endpoint: str = "", **fields: Any) -> Json:
        """An archiveLocation of the lab's bucket."""
        keys = (("accessKeySecret", "accesskey"), ("secretKeySecret", "secretkey"))
        secrets = {field: {"name": SECRET, "key": key} for field, key in keys}
        endpoint = endpoint or f"minio:{self.s3.port}"
        place = {"endpoint": endpoint, "bucket": BUCKET, "insecure": True, "key": "{{pod.name}}"}
        return {"s3": {**place, **secrets, **fields}}

    def put(self, *keys: str) -> None:
        """Objects of a few bytes."""
        client = self.s3.client()
        for key in keys:
            client.put(BUCKET, key, b"x")

    def add_task(
        self, nodes: dict[str, Json], name: str = TASK, label: str = LABEL, **locations: Json | None
    ) -> None:
        """A task with the artifacts of NODES.

        LOCATIONS: archiveLocations of nodes that have another than the lab's; None is none.
        """
        spec = {
            node: {
                "artifacts": {key: {"name": key, **fields} for key, fields in artifacts.items()},
                **_archive(locations.get(node, self.location())),
            }
            for node, artifacts in nodes.items()
        }
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowArtifactGCTask",
            "metadata": {
                "name": name,
                "labels": {"workflows.argoproj.io/artifact-gc-pod": label},
            },
            "spec": {"artifactsByNode": spec},
        }
        self.api.gc_tasks.create(self.api.namespace, body)

    def pod(self, env: dict[str, str | None] | None = None, log_level: str = "debug") -> Json:
        """The recorded pod; ENV adds variables, and takes away those that are None."""
        pod = self.adapt(json.loads(POD.read_text()))
        (main,) = pod["spec"]["containers"]
        main["args"][main["args"].index("--loglevel") + 1] = log_level
        values = {**FAST, **(env or {})}
        kept = [entry for entry in main["env"] if entry["name"] not in values]
        added = [{"name": key, "value": value} for key, value in values.items() if value]
        main["env"] = kept + added
        return pod

    def account(self) -> ApiInfo:
        """The API server, to a service account that may do what artifact GC needs, and no more."""
        api = self.api
        return ApiInfo(host=api.host, port=api.port, ca=api.ca.read_text(), token=self.token)

    def gc_runner(self, env: dict[str, str | None] | None = None, **options: Any) -> PodRunner:
        return self.runner(self.pod(env), **{"api": self.account(), **options})

    def run_gc(self, env: dict[str, str | None] | None = None, **options: Any) -> PodResult:
        """Runs a pod to its end."""
        with self.gc_runner(env, **options) as runner:
            result = runner.run(60)
        check_no_reports(result)
        return result

    def results(self, name: str = TASK) -> dict[str, dict[str, Json]]:
        """Node -> artifact -> what the task says of it."""
        status = self.api.gc_tasks.get(self.api.namespace, name).get("status", {})
        nodes = status.get("artifactResultsByNode", {})
        return {node: found["artifactResults"] for node, found in nodes.items()}

    def outcome(self, name: str = TASK) -> dict[str, bool | str]:
        """Artifact -> True for a success, else its error."""
        found = {}
        for results in self.results(name).values():
            for artifact, result in results.items():
                assert result["name"] == artifact
                assert ("error" in result) != ("success" in result), result
                found[artifact] = result.get("success") or result["error"]
        return found

    def requests(self, verb: str) -> list[Json]:
        """What the API server was asked for."""
        return [request for request in self.api.requests() if request["verb"] == verb]


def _archive(location: Json | None) -> Json:
    return {"archiveLocation": location} if location else {}
