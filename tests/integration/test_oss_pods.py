"""Whole pods whose artifacts lie in OSS: what `init` loads and `wait` saves, and how they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import SECRET, Lab
from tests.scenario import Step, artifact, assert_failure, assert_ok, leftovers, mount, tgz, untgz
from tests.servers.fault_proxy import FaultProxy
from tests.servers.oss import OssServer

BUCKET = "my-bucket"
# A name with a region makes signatures of version 4; the bucket is part of the host name.
NAME = "oss-test-1.aliyuncs.com"
INTERNAL = "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
NONE = {"none": {}}


@pytest.fixture(scope="module")
def running() -> Iterator[OssServer]:
    with OssServer((NAME,)) as server:
        yield server


@pytest.fixture
def oss(running: OssServer) -> OssServer:
    running.clear()
    running.store.buckets.clear()
    running.create_bucket(BUCKET)
    return running


@pytest.fixture
def proxy(oss: OssServer) -> Iterator[FaultProxy]:
    with FaultProxy(oss.address) as fault_proxy:
        yield fault_proxy


def place(endpoint: str, key: str, **fields: Any) -> dict[str, Any]:
    location = {
        "endpoint": endpoint,
        "bucket": BUCKET,
        "accessKeySecret": {"name": SECRET, "key": "accesskey"},
        "secretKeySecret": {"name": SECRET, "key": "secretkey"},
        "key": key,
    }
    return {"oss": {**location, **fields}}


def run(step: Step, oss: OssServer, **options: Any) -> Any:
    keys = {"accesskey": oss.access_key, "secretkey": oss.secret_key}
    hosts = {NAME: oss.host, f"{BUCKET}.{NAME}": oss.host}
    spec = step.pod["spec"]
    for container in spec["initContainers"] + spec["containers"]:
        step.set_env(container["name"], "EXECUTOR_RETRY_BACKOFF_DURATION", "20ms")
    return step.run(secrets={SECRET: keys}, hosts=hosts, **options)


def test_out_and_in_again(lab: Lab, oss: OssServer) -> None:
    """A file, a directory with an empty one in it, archives; saved by one pod, loaded by another."""
    make = "mkdir -p /v/d/sub /v/d/empty && echo -n one >/v/d/sub/f && echo -n two >/v/f && echo -n own >/own"
    outputs = [
        artifact("plain", "/v/f", archive=NONE),
        artifact("tree", "/v/d", archive=NONE),
        artifact("packed", "/v/d"),
        artifact("own", "/own"),
    ]
    endpoint = f"{NAME}:{oss.port}"
    step = Step(
        lab, make, artifacts=outputs, mounts=[mount("v", "/v")], repository=place(endpoint, "wf/pod")
    )
    assert_ok(run(step, oss))
    stored = {key: item.data for key, item in oss.objects(BUCKET).items()}
    markers = {"wf/pod/d/", "wf/pod/d/empty/", "wf/pod/d/sub/"}
    assert set(stored) == markers | {
        "wf/pod/f", "wf/pod/d/sub/f", "wf/pod/packed.tgz", "wf/pod/own.tgz",
    }  # fmt: skip
    assert untgz(stored["wf/pod/packed.tgz"])["d/sub/f"] == b"one"
    assert untgz(stored["wf/pod/own.tgz"]) == {"own": b"own"}
    assert {request.version for request in oss.requests()} == {4}
    reported = {item["name"]: item["oss"] for item in step.outputs()["artifacts"]}
    assert reported["plain"] == {"key": "wf/pod/f"}

    keys = {"plain": "f", "tree": "d", "packed": "packed.tgz", "own": "own.tgz"}
    inputs = [artifact(n, f"/in/{n}", place(endpoint, f"wf/pod/{k}")) for n, k in keys.items()]
    inputs.append(artifact("none", "/in/none", place(endpoint, "nothing/here"), optional=True))
    look = "cat /in/plain /in/tree/sub/f /in/packed/sub/f /in/own; ls -d /in/*/empty"
    back = run(Step(lab, look, inputs=inputs), oss)
    assert_ok(back)
    lines = back.result.containers["main"].log.splitlines()
    assert [line for line in lines if "time=" not in line] == ["twooneoneown/in/packed/empty", "/in/tree/empty"]


def download(lab: Lab, endpoint: str, key: str, **fields: Any) -> Step:
    return Step(lab, inputs=[artifact("a", "/in/a", place(endpoint, key, **fields))]).only_init()


def test_internal_errors_in_both_directions(lab: Lab, oss: OssServer, proxy: FaultProxy) -> None:
    """What once failed whole workflows: InternalError, a few times at each request."""
    for verb in ("GET", "PUT"):
        for _ in range(2):
            action = {"kind": "status", "status": 500, "body": INTERNAL}
            proxy.faults.add(verb=verb, count=1, action=action)
    oss.put(BUCKET, "in.tgz", tgz({"f": b"content"}))
    step = Step(
        lab,
        "cat /in/a >/v/f",
        inputs=[artifact("a", "/in/a", place(proxy.endpoint, "in.tgz"))],
        artifacts=[artifact("o", "/v/f", archive=NONE)],
        mounts=[mount("v", "/v")],
        repository=place(proxy.endpoint, "out"),
    )
    assert_ok(run(step, oss))
    assert oss.objects(BUCKET)["out/f"].data == b"content"
    assert {request.version for request in oss.requests()} == {1}
    assert [r["status"] for r in proxy.requests()].count(500) == 4


@pytest.mark.parametrize("case", ["key", "bucket", "secret"])
def test_what_is_not_there(lab: Lab, oss: OssServer, tmp_path: Path, case: str) -> None:
    texts = {
        "key": ["The specified key does not exist."],
        "bucket": ["get object no-bucket/k", "NoSuchBucket, status 404, permanent", "; request id "],
        "secret": ["get object my-bucket/k", "SignatureDoesNotMatch, status 403, permanent"],
    }[case]
    fields = {"bucket": "no-bucket"} if case == "bucket" else {}
    step = download(lab, oss.endpoint, "k", **fields)
    if case == "secret":
        fields = {"secretKeySecret": {"name": SECRET, "key": "accesskey"}}
        step = download(lab, oss.endpoint, "k", **fields)
    if case == "bucket":
        step.set_artifacts(optional=True)
    container = run(step, oss, volumes_dir=str(tmp_path)).result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", *texts)
    assert leftovers(tmp_path) == [] and os.listdir(tmp_path / "input-artifacts") == []
    assert len(oss.requests()) <= 2


def test_another_checksum(lab: Lab, oss: OssServer, tmp_path: Path) -> None:
    oss.put(BUCKET, "k", b"content")
    oss.faults.add(action={"kind": "crc"})
    container = run(download(lab, oss.endpoint, "k"), oss, volumes_dir=str(tmp_path)).result
    message = assert_failure(container.containers["init"], 64, "artifact a failed to load")
    assert "checksums differ" in message and "4 attempts" in message
    assert os.listdir(tmp_path / "input-artifacts") == []


def test_a_failed_upload_is_not_reported(lab: Lab, oss: OssServer, proxy: FaultProxy) -> None:
    denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    proxy.faults.add(path="second", action={"kind": "status", "status": 403, "body": denied})
    step = Step(
        lab,
        "echo a >/v/first; echo b >/v/second",
        artifacts=[artifact(n, f"/v/{n}", archive=NONE) for n in ("first", "second")],
        mounts=[mount("v", "/v")],
        repository=place(proxy.endpoint, "out"),
    )
    container = run(step, oss).result.containers["wait"]
    assert_failure(container, 64, "artifact second failed to save", "put object my-bucket/out/second")
    assert [item["name"] for item in step.outputs()["artifacts"]] == ["first"]
    assert list(oss.objects(BUCKET)) == ["out/first"]
