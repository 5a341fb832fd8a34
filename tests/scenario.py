"""Pods for one question each: a template, its artifacts, what is broken, and what must come of it.

    step = Step(lab, "cat /in/a", inputs=[artifact("a", "/in/a", lab.at("some/key"))])
    run = step.run()
    run.result.containers["main"].log

A step is a container template in the legacy layout (tests/layout.py); its pod may be changed
before it runs.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.lab import BUCKET, SECRET, Lab, PodRun
from tests.layout import pod_for
from tests.pod import PodRunner
from tests.pod.result import ContainerResult

Json = dict[str, Any]

WORKFLOW = "scenario"
MESSAGE_BYTES_MAX = 4096
LABEL = "workflows.argoproj.io/report-outputs-completed"
RUN_SECONDS = 60

_numbers = itertools.count(1)


# --- templates --------------------------------------------------------------------------------


def location(lab: Lab, key: str, endpoint: str = "", **fields: Any) -> Json:
    """A full S3 location in the lab's bucket; a field that is None is left out."""
    place = {
        "endpoint": endpoint or f"minio:{lab.s3.port}",
        "bucket": BUCKET,
        "insecure": True,
        "accessKeySecret": {"name": SECRET, "key": "accesskey"},
        "secretKeySecret": {"name": SECRET, "key": "secretkey"},
        "key": key,
        **fields,
    }
    return {"s3": {name: value for name, value in place.items() if value is not None}}


def artifact(name: str, path: str, place: Json | str | None = None, **fields: Any) -> Json:
    """An artifact; PLACE is a location, the key in the default repository, or nothing."""
    if isinstance(place, str):
        place = {"s3": {"key": place}}
    return {"name": name, "path": path, **(place or {}), **fields}


def raw(data: str) -> Json:
    return {"raw": {"data": data}}


def parameter(name: str, path: str, **fields: Any) -> Json:
    return {"name": name, "valueFrom": {"path": path, **fields}}


def mount(name: str, path: str) -> Json:
    return {"name": name, "mountPath": path}


class Step:
    """A template, its pod and its node; INPUTS and ARTIFACTS are artifacts, MOUNTS emptyDirs."""

    def __init__(
        self,
        lab: Lab,
        script: str = "true",
        *,
        inputs: list[Json] | None = None,
        artifacts: list[Json] | None = None,
        parameters: list[Json] | None = None,
        mounts: list[Json] | None = None,
        endpoint: str = "",
        repository: Json | None = None,
        has_repository: bool = True,
        archive_logs: bool = False,
        has_result: bool = False,
        grace: int | None = None,
        node: str = "",
    ):
        """NODE: of an earlier step; its workflow is retried, so another pod runs it."""
        number = next(_numbers)
        self.lab = lab
        self.node = node or f"{WORKFLOW}-{os.getpid()}-{number}"
        self.prefix = f"{WORKFLOW}/{self.node}"
        template: Json = {
            "name": "step",
            "inputs": {"artifacts": inputs or []},
            "outputs": {"artifacts": artifacts or [], "parameters": parameters or []},
            "container": {
                "image": "busybox:1.36",
                "command": ["sh", "-c", script],
                "volumeMounts": mounts or [],
            },
        }
        if has_repository:
            place = repository or location(lab, self.prefix, endpoint)
            template["archiveLocation"] = {"archiveLogs": archive_logs, **place}
        self.template = template
        self.pod = pod_for(template, WORKFLOW, self.node, has_result=has_result)
        self.pod["metadata"]["uid"] = f"5d0a3f4e-0000-4000-8000-{number:012}"
        if grace is not None:
            self.pod["spec"]["terminationGracePeriodSeconds"] = grace
            for name in ("wait", "main"):
                self.set_env(name, "ARGO_TERMINATION_GRACE_PERIOD_SECONDS", str(grace))

    def container(self, name: str) -> Json:
        spec = self.pod["spec"]
        return next(c for c in spec["initContainers"] + spec["containers"] if c["name"] == name)

    def volume(self, name: str) -> Json:
        return next(v for v in self.pod["spec"]["volumes"] if v["name"] == name)

    def set_env(self, name: str, variable: str, value: str | None) -> None:
        """Sets a variable of a container; None removes it."""
        container = self.container(name)
        container["env"] = [e for e in container["env"] if e["name"] != variable]
        if value is not None:
            container["env"].append({"name": variable, "value": value})

    def set_template(self, text: str) -> None:
        """What init is given instead of the template."""
        self.set_env("init", "ARGO_TEMPLATE", text)

    def set_artifacts(self, **fields: Any) -> None:
        """Adds fields to every artifact of the template."""
        for way in ("inputs", "outputs"):
            for item in self.template[way]["artifacts"]:
                item.update(fields)
        self.set_template(json.dumps(self.template))

    def only_init(self, times: int = 1) -> "Step":
        """Leaves nothing but init: TIMES times, one after the other."""
        spec = self.pod["spec"]
        init = spec["initContainers"][0]
        copies = [{**init, "name": f"init{i}" if i else "init"} for i in range(times)]
        spec["initContainers"], spec["containers"] = copies[:-1], copies[-1:]
        return self

    def plain_main(self, script: str) -> "Step":
        """Replaces main by a container without a wrapper: somebody who writes the files of
        /var/run/argo as he likes."""
        self.container("main")["command"] = ["sh", "-c", script]
        self.container("main")["args"] = []
        return self

    def runner(self, **options: Any) -> PodRunner:
        return self.lab.runner(self.pod, **options)

    def run(self, timeout: float = RUN_SECONDS, **options: Any) -> PodRun:
        return self.lab.run(self.pod, timeout, **options)

    def key(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def history(self) -> list[Json]:
        return self.lab.history(self.node)

    def outputs(self) -> Json:
        """What the task result says at last."""
        return self.history()[-1].get("outputs", {})


DROP = {"drop": ["ALL"]}  # capabilities


def secure(step: Step, name: str, **context: Any) -> None:
    """What a container runs as: runAsUser, capabilities."""
    step.container(name).setdefault("securityContext", {}).update(context)


def in_memory(step: Step, volume: str, size: str) -> None:
    """A volume with a limit that its writers meet."""
    step.volume(volume)["emptyDir"] = {"medium": "Memory", "sizeLimit": size}


# --- what must come of it ---------------------------------------------------------------------


def assert_ok(run: PodRun) -> None:
    assert run.result.phase == "Succeeded", describe(run)


def describe(run: PodRun) -> str:
    logs = [f"--- {c.name}: {c.message}\n{c.log[-3000:]}" for c in run.result.containers.values()]
    return run.result.table() + "\n" + "\n".join(logs)


def assert_failure(container: ContainerResult, code: int, *texts: str) -> str:
    """The container ended with CODE and says why, once, alike on stderr and as its termination
    message; all TEXTS are in it. Returns the message."""
    assert container.exit_code == code, f"{container.exit_code}: {container.log[-3000:]}"
    lines = [line for line in container.log.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, container.log[-3000:]
    said = lines[0].removeprefix("Error: ")
    kept = container.message.encode()
    assert 0 < len(kept) <= MESSAGE_BYTES_MAX
    assert "�" not in container.message
    assert said.encode().startswith(kept) and len(said.encode()) - len(kept) in range(
        0, max(1, len(said.encode()) - MESSAGE_BYTES_MAX + 4)
    )
    for text in texts:
        assert text in said, f"{text!r} is not in {said!r}"
    return said


def leftovers(directory: Path) -> list[str]:
    """Names below that only unfinished work has."""
    return [str(path) for path in directory.rglob("*") if path.suffix in (".tmp", ".tmpdir")]


def label_of(task_result: Json) -> str:
    return task_result["metadata"]["labels"][LABEL]


def api_calls(lab: Lab) -> list[tuple[str, int]]:
    """Verb and status of what the API server was asked, oldest first."""
    return [(request["verb"], request["status"]) for request in lab.api.requests()]


# --- things to load and save ------------------------------------------------------------------


def tgz(members: dict[str, bytes | str | None], compression: str = "gz") -> bytes:
    """An archive: bytes are a file, text is a link to there, None a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            else:
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def untgz(data: bytes) -> dict[str, bytes | str | None]:
    """What an archive holds, in the terms of tgz(); other types as "type N"."""
    found: dict[str, bytes | str | None] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for entry in tar:
            if entry.isfile():
                found[entry.name] = tar.extractfile(entry).read()  # type: ignore[union-attr]
            elif entry.issym():
                found[entry.name] = entry.linkname
            else:
                found[entry.name] = None if entry.isdir() else f"type {entry.type.decode()}"
    return found


# --- while it runs ----------------------------------------------------------------------------


def wait_until_seen(check: Any, what: str, seconds: float = 30) -> None:
    """Waits until CHECK() is true: something that only another process can tell."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)


def stop_and_time(runner: PodRunner, container: str, number: int = 15) -> float:
    """Signals a container's first process; seconds until it has ended."""
    started = time.time()
    runner.signal(container, number)
    assert runner.wait_state(container, "terminated", 30), f"{container} goes on"
    finished = runner.containers[container].finished
    assert finished is not None
    return finished - started
