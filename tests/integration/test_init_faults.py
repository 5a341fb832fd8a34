"""Stores that fail while `init` reads from them: what it gets over, and what it says when it
cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.scenario import Step, artifact, assert_failure, assert_ok, leftovers, location, tgz
from tests.servers import certs
from tests.servers.fault_proxy import FaultProxy
from tests.servers.tls_front import TlsFront

MIB = 1 << 20


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def download(lab: Lab, endpoint: str, data: bytes = b"content", **fields) -> Step:
    key = f"faults/{os.urandom(8).hex()}"
    lab.s3.client().put(BUCKET, key, data)
    step = Step(lab, inputs=[artifact("a", "/in/a", location(lab, key, endpoint, **fields))])
    step.set_env("init", "EXECUTOR_RETRY_BACKOFF_DURATION", "20ms")
    return step.only_init()


def assert_nothing_there(volumes: Path) -> None:
    assert leftovers(volumes) == []
    assert os.listdir(volumes / "input-artifacts") == []


SLOW_DOWN = "<Error><Code>SlowDown</Code></Error>"
DENIED = "<Error><Code>AccessDenied</Code></Error>"
NO_BUCKET = "<Error><Code>NoSuchBucket</Code><Message>No such bucket.</Message></Error>"

TRANSIENT = {
    "500": ({"kind": "status", "status": 500}, 3),
    "503": ({"kind": "status", "status": 503, "headers": {"Retry-After": "0"}}, 3),
    "slow-down": ({"kind": "status", "status": 503, "body": SLOW_DOWN}, 3),
    "html": ({"kind": "status", "status": 502, "body": "<html>Bad gateway</html>"}, 2),
    "reset": ({"kind": "reset"}, 3),
    "close": ({"kind": "close"}, 3),
    "lost": ({"kind": "lost"}, 2),
}  # fmt: skip


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_download_gets_over(lab: Lab, tmp_path: Path, proxy: FaultProxy, fault: str) -> None:
    action, count = TRANSIENT[fault]
    rule = proxy.faults.add(verb="GET", count=count, action=action)
    assert_ok(download(lab, proxy.endpoint).run(volumes_dir=str(tmp_path)))
    assert rule.fired == count
    assert (tmp_path / "input-artifacts/a").read_bytes() == b"content"


@pytest.mark.parametrize("is_reset", [True, False])
@pytest.mark.parametrize("is_archive", [True, False])
def test_a_download_that_is_cut_resumes(
    lab: Lab, tmp_path: Path, proxy: FaultProxy, is_reset: bool, is_archive: bool
) -> None:
    """Cut after every MiB: the rest is asked for, and every byte travels once."""
    content = os.urandom(5 * MIB + 17)
    data = tgz({"f": content}) if is_archive else content
    action = {"kind": "cut_response", "bytes": MIB, "reset": is_reset}
    proxy.faults.add(verb="GET", path="/faults/", count=4, action=action)
    assert_ok(download(lab, proxy.endpoint, data).run(volumes_dir=str(tmp_path)))
    assert (tmp_path / "input-artifacts/a").read_bytes() == content
    requests = [r for r in proxy.requests() if "/faults/" in r["path"]]
    assert len(requests) == 5
    assert "range" not in requests[0]["headers"]
    for request in requests[1:]:
        assert request["headers"]["range"].startswith("bytes=")
        assert request["headers"]["if-match"].strip('"')
    starts = [int(r["headers"]["range"][6:].rstrip("-")) for r in requests[1:]]
    assert starts == sorted(starts)
    if not is_reset:
        # After an orderly end all that was sent has been received.
        assert starts == [MIB * (i + 1) for i in range(4)]


def test_an_object_that_changes_meanwhile(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    """Never half of the one and half of the other."""
    step = download(lab, proxy.endpoint, b"a" * (2 * MIB))
    key = step.template["inputs"]["artifacts"][0]["s3"]["key"]
    stall = {"kind": "cut_response", "bytes": MIB}
    proxy.faults.add(verb="GET", path="/faults/", count=1, action=stall)
    # Between the two requests: while the second one is held up.
    proxy.faults.add(verb="GET", path="/faults/", count=1, action={"kind": "delay", "seconds": 1})
    with step.runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        while len(proxy.requests()) < 3:
            assert not runner.wait_for(lambda: runner.ended, 0.01), runner.log("init")
        lab.s3.client().put(BUCKET, key, b"b" * (2 * MIB))
        container = runner.wait(30).containers["init"]
    if container.exit_code == 0:
        content = (tmp_path / "input-artifacts/a").read_bytes()
        assert content == b"b" * (2 * MIB)
    else:
        assert_failure(container, 64, "artifact a failed to load")
        assert_nothing_there(tmp_path)


def test_a_body_that_is_too_short(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    """Content-Length promises more than comes: asked for again, not taken for the end."""
    proxy.faults.add(
        verb="GET", path="/faults/", count=1, action={"kind": "wrong_length", "delta": 5}
    )
    step = download(lab, proxy.endpoint, b"x" * 1000)
    container = step.run(volumes_dir=str(tmp_path)).result.containers["init"]
    if container.exit_code == 0:
        assert (tmp_path / "input-artifacts/a").read_bytes() == b"x" * 1000
    else:
        assert_failure(container, 64, "artifact a failed to load")
        assert_nothing_there(tmp_path)


def test_a_corrupt_archive(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    proxy.faults.add(verb="GET", path="/faults/", action={"kind": "corrupt", "offset": 100000})
    step = download(lab, proxy.endpoint, tgz({"f": os.urandom(200000)}))
    container = step.run(volumes_dir=str(tmp_path)).result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", "gzip")
    assert_nothing_there(tmp_path)


REFUSALS = {
    "denied": ({"kind": "status", "status": 403, "body": DENIED}, ["AccessDenied", "ListBucket"]),
    "no-bucket": ({"kind": "status", "status": 404, "body": NO_BUCKET}, ["NoSuchBucket", BUCKET]),
    "html": ({"kind": "status", "status": 403, "body": "<html>Forbidden</html>"}, ["403"]),
    "garbage": ({"kind": "garbage"}, ["malformed HTTP response"]),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_download_is_refused(
    lab: Lab, tmp_path: Path, proxy: FaultProxy, refusal: str
) -> None:
    """No second attempt, also not for an optional artifact, which none of this makes absent."""
    action, texts = REFUSALS[refusal]
    proxy.faults.add(verb="GET", action=action)
    step = download(lab, proxy.endpoint)
    step.set_artifacts(optional=True)
    container = step.run(volumes_dir=str(tmp_path)).result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", *texts)
    assert len(proxy.requests()) <= 3
    assert_nothing_there(tmp_path)


@pytest.mark.parametrize("field", ["secretkey", "accesskey"])
def test_a_wrong_secret(lab: Lab, field: str) -> None:
    keys = {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key, field: "wrong"}
    container = download(lab, "").run(secrets={SECRET: keys}).result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", "403")


@pytest.mark.parametrize("case", ["right", "wrong", "none"])
def test_an_authority_of_its_own(lab: Lab, tmp_path: Path, case: str) -> None:
    other = certs.make(tmp_path / "other", ("127.0.0.1",))
    with TlsFront(lab.s3.address, tmp_path / "tls") as front:
        fields = {} if case == "none" else {"caSecret": {"name": SECRET, "key": "ca"}}
        step = download(lab, front.endpoint, insecure=False, **fields)
        secret = {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key}
        if fields:
            step.volume(SECRET)["secret"]["items"].append({"key": "ca", "path": "ca"})
            secret["ca"] = (front.cert.ca if case == "right" else other.ca).read_text()
        run = step.run(secrets={SECRET: secret}, volumes_dir=str(tmp_path / "volumes"))
    if case == "right":
        assert_ok(run)
        return
    container = run.result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", "certificate", front.endpoint)
    assert_nothing_there(tmp_path / "volumes")


def test_https_where_http_is_spoken(lab: Lab, tmp_path: Path) -> None:
    step = download(lab, f"127.0.0.1:{lab.s3.port}", insecure=False)
    step.set_env("init", "EXECUTOR_RETRY_BACKOFF_STEPS", "1")
    container = step.run(volumes_dir=str(tmp_path)).result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", f"127.0.0.1:{lab.s3.port}")
    assert_nothing_there(tmp_path)
