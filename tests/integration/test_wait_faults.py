"""Stores and API servers that fail in every way: what `wait` gets over, and what it says when it
cannot."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.pod import ApiInfo
from tests.scenario import (
    LABEL,
    Step,
    api_calls,
    artifact,
    assert_failure,
    assert_ok,
    describe,
    label_of,
    location,
    mount,
    parameter,
)
from tests.servers import certs
from tests.servers.fault_proxy import FaultProxy
from tests.servers.tls_front import TlsFront

MIB = 1 << 20
NONE = {"none": {}}
RESULTS = "/workflowtaskresults"


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def upload(lab: Lab, endpoint: str, size: int = 100, fields: dict | None = None) -> Step:
    """A step that leaves one file of SIZE bytes as the object `f`."""
    step = Step(
        lab,
        f"head -c {size} /dev/zero >/v/f",
        artifacts=[artifact("a", "/v/f", archive=NONE)],
        mounts=[mount("v", "/v")],
        repository=location(lab, f"faults/{os.urandom(8).hex()}", endpoint, **(fields or {})),
    )
    # Pauses of an operator in a hurry; how long an outage is waited for does not depend on them.
    step.set_env("wait", "EXECUTOR_RETRY_BACKOFF_DURATION", "20ms")
    return step


def uploaded(lab: Lab, step: Step) -> dict[str, int]:
    return lab.objects(step.template["archiveLocation"]["s3"]["key"])


# --- the store ------------------------------------------------------------------------------------

STORE_FAULTS = {
    "500": ({"kind": "status", "status": 500}, 3),
    "503": ({"kind": "status", "status": 503, "headers": {"Retry-After": "0"}}, 3),
    "slow-down": (
        {
            "kind": "status",
            "status": 503,
            "body": "<Error><Code>SlowDown</Code><Message>less, please</Message></Error>",
        },
        3,
    ),
    "html": ({"kind": "status", "status": 502, "body": "<html><body>Bad gateway</body></html>"}, 2),
    "408": ({"kind": "status", "status": 408}, 2),
    "429": ({"kind": "status", "status": 429}, 2),
    "reset": ({"kind": "reset"}, 3),
    "close": ({"kind": "close"}, 3),
    "lost": ({"kind": "lost"}, 2),
    "cut": ({"kind": "cut_request", "bytes": 10}, 2),
}


@pytest.mark.parametrize("fault", STORE_FAULTS)
def test_an_upload_gets_over(lab: Lab, proxy: FaultProxy, fault: str) -> None:
    action, count = STORE_FAULTS[fault]
    rule = proxy.faults.add(verb="PUT", count=count, action=action)
    step = upload(lab, proxy.endpoint)
    assert_ok(step.run())
    assert rule.fired == count
    assert list(uploaded(lab, step).values()) == [100]


def unfinished(lab: Lab, step: Step) -> list[str]:
    """Keys of its uploads that were begun and neither completed nor aborted."""
    keys = lab.s3.client().list_uploads(BUCKET).values()
    return [key for key in keys if key.startswith(step.prefix)]


def test_parts_are_retried_one_by_one(lab: Lab, proxy: FaultProxy) -> None:
    """48 MiB in three parts of a file; two of them break once each."""
    proxy.faults.add(verb="PUT", path="partNumber=2", count=1, action={"kind": "reset"})
    proxy.faults.add(
        verb="PUT", path="partNumber=3", count=1, action={"kind": "cut_request", "bytes": MIB}
    )
    step = upload(lab, proxy.endpoint, 48 * MIB)
    assert_ok(step.run())
    assert list(uploaded(lab, step).values()) == [48 * MIB]
    parts = [
        re.search(r"partNumber=(\d+)", request["path"])[1]  # type: ignore[index]
        for request in proxy.requests()
        if "partNumber" in request["path"]
    ]
    assert sorted(parts) == ["1", "2", "2", "3", "3"]
    assert unfinished(lab, step) == []


def test_a_failed_multipart_upload_is_aborted(lab: Lab, proxy: FaultProxy) -> None:
    refusal = "<Error><Code>AccessDenied</Code><Message>No parts today.</Message></Error>"
    proxy.faults.add(
        verb="PUT", path="partNumber=2", action={"kind": "status", "status": 403, "body": refusal}
    )
    step = upload(lab, proxy.endpoint, 48 * MIB)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "artifact a failed to save", "No parts today")
    assert uploaded(lab, step) == {}
    assert unfinished(lab, step) == []
    assert step.outputs() == {}
    assert label_of(run.task_result) == "true"


DENIED = "<Error><Code>AccessDenied</Code></Error>"
NO_BUCKET = "<Error><Code>NoSuchBucket</Code><Message>No such bucket.</Message></Error>"
ELSEWHERE = {"Location": "http://127.0.0.1:1/"}

REFUSALS = {
    "denied": ({"kind": "status", "status": 403, "body": DENIED}, ["AccessDenied", "403"]),
    "html": ({"kind": "status", "status": 403, "body": "<html>Forbidden</html>"}, ["403"]),
    "404": ({"kind": "status", "status": 404, "body": NO_BUCKET}, ["NoSuchBucket"]),
    "garbage": ({"kind": "garbage"}, ["malformed HTTP response"]),
    "redirect": ({"kind": "status", "status": 301, "headers": ELSEWHERE}, ["301"]),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_upload_is_refused(lab: Lab, proxy: FaultProxy, refusal: str) -> None:
    """No second attempt, also not for an optional artifact; the rest is reported."""
    action, texts = REFUSALS[refusal]
    proxy.faults.add(verb="PUT", action=action)
    step = upload(lab, proxy.endpoint)
    step.set_artifacts(optional=True)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "artifact a failed to save", *texts)
    assert len([r for r in proxy.requests() if r["verb"] == "PUT"]) <= 2
    assert step.outputs() == {}
    assert label_of(run.task_result) == "true"


@pytest.mark.parametrize("field", ["secretkey", "accesskey"])
def test_a_wrong_secret(lab: Lab, field: str) -> None:
    step = upload(lab, "")
    keys = {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key, field: "wrong"}
    run = step.run(secrets={SECRET: keys})
    container = run.result.containers["wait"]
    assert_failure(container, 64, "artifact a failed to save", "403")
    assert lab.s3.secret_key not in container.log


@pytest.mark.parametrize("case", ["right", "wrong", "none", "empty"])
def test_an_authority_of_its_own(lab: Lab, tmp_path, case: str) -> None:
    other = certs.make(tmp_path / "other", ("127.0.0.1",))
    with TlsFront(lab.s3.address, tmp_path / "tls") as front:
        texts = {
            "right": front.cert.ca.read_text(),
            "wrong": other.ca.read_text(),
            "none": "",
            "empty": "-----BEGIN NOTHING-----\n",
        }
        fields = {} if case == "none" else {"caSecret": {"name": SECRET, "key": "ca"}}
        step = upload(lab, front.endpoint, fields={"insecure": False, **fields})
        secret = {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key}
        if fields:
            for volume in step.pod["spec"]["volumes"]:
                if volume["name"] == SECRET:
                    volume["secret"]["items"].append({"key": "ca", "path": "ca"})
            secret["ca"] = texts[case]
        run = step.run(secrets={SECRET: secret})
    if case == "right":
        assert_ok(run)
        assert list(uploaded(lab, step).values()) == [100]
        return
    said = {"empty": "certificate", "wrong": "certificate", "none": "certificate"}[case]
    message = assert_failure(run.result.containers["wait"], 64, "artifact a failed to save", said)
    assert "caSecret" in message if case == "empty" else front.endpoint in message
    assert "attempts" not in message


# --- the API server -------------------------------------------------------------------------------


def reporting(lab: Lab) -> Step:
    return Step(lab, "printf v >/tmp/p", parameters=[parameter("p", "/tmp/p")])


def assert_reported(step: Step) -> None:
    last = step.history()[-1]
    assert last["outputs"]["parameters"][0]["value"] == "v"
    assert label_of(last) == "true"


CALLS = {"create": ("POST", 1), "outputs": ("PATCH", 1), "label": ("PATCH", 2)}
API_FAULTS = {
    "leader": {
        "kind": "status",
        "status": 500,
        "message": "etcdserver: leader changed",
        "reason": "InternalError",
    },
    "503": {
        "kind": "status",
        "status": 503,
        "reason": "ServiceUnavailable",
        "headers": {"Retry-After": "0"},
    },
    "500-retry-after": {"kind": "status", "status": 500, "headers": {"Retry-After": "0"}},
    "429": {
        "kind": "status",
        "status": 429,
        "reason": "TooManyRequests",
        "headers": {"Retry-After": "0"},
    },
    "504": {"kind": "status", "status": 504, "reason": "Timeout"},
    "reset": {"kind": "reset"},
    "lost": {"kind": "lost"},
    "truncate": {"kind": "truncate"},
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", API_FAULTS)
def test_the_api_recovers(lab: Lab, fault: str, call: str) -> None:
    verb, nth = CALLS[call]
    rule = lab.api.faults.add(
        verb=verb, path=RESULTS, nth=nth, count=1, action=API_FAULTS[fault]
    )
    step = reporting(lab)
    run = step.run()
    assert rule.fired == 1, describe(run)
    assert_ok(run)
    assert_reported(step)
    # A placeholder that comes late carries the outputs at once.
    assert len(step.history()) == 3 or (call == "create" and len(step.history()) == 2)


def test_it_existed_already(lab: Lab) -> None:
    """A task result of an earlier pod, complete: it is opened again, then replaced."""
    step = reporting(lab)
    labels = {"workflows.argoproj.io/workflow": "w", LABEL: "true"}
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {"name": step.node, "labels": labels},
        "outputs": {"result": "old", "parameters": [{"name": name, "value": "old"} for name in "pq"]},
    }
    lab.api.store.create("argo", body)
    assert_ok(step.run())
    assert_reported(step)
    assert [label_of(version) for version in step.history()] == ["true", "false", "false", "true"]
    assert "outputs" not in step.history()[1]
    assert step.outputs().keys() == {"parameters"} and len(step.outputs()["parameters"]) == 1
    assert api_calls(lab)[0] == ("POST", 409)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_conflict(lab: Lab, nth: int) -> None:
    """Somebody writes between two of our patches: the version that we name is not the last one."""
    patch = {"metadata": {"annotations": {"by": "somebody"}}}
    lab.api.faults.add(
        verb="PATCH",
        path=RESULTS,
        nth=nth,
        count=1,
        action={"kind": "concurrent_write", "patch": patch},
    )
    step = reporting(lab)
    assert_ok(step.run())
    assert_reported(step)
    assert ("PATCH", 409) in api_calls(lab)
    assert step.history()[-1]["metadata"]["annotations"]["by"] == "somebody"


@pytest.mark.parametrize("nth", [1, 2])
def test_it_was_deleted_meanwhile(lab: Lab, nth: int) -> None:
    """As the controller does when the workflow is over: it is created again, with all outputs."""
    lab.api.faults.add(
        verb="PATCH",
        path=RESULTS,
        nth=nth,
        count=1,
        action={"kind": "status", "status": 404, "reason": "NotFound", "message": "not found"},
    )
    step = reporting(lab)
    run = step.run()
    assert_ok(run)
    assert_reported(step)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_plain_500_is_tried_again(lab: Lab, nth: int) -> None:
    """Also without words that are known to heal."""
    action = {"kind": "status", "status": 500, "reason": "InternalError", "message": "oh no"}
    lab.api.faults.add(verb="PATCH", path=RESULTS, nth=nth, count=1, action=action)
    step = reporting(lab)
    assert_ok(step.run())
    assert_reported(step)


def test_too_large_for_etcd_is_an_error(lab: Lab) -> None:
    """It would be the next time: said, but the other calls are made all the same."""
    text = "etcdserver: request is too large"
    action = {"kind": "status", "status": 500, "reason": "InternalError", "message": text}
    lab.api.faults.add(verb="PATCH", path=RESULTS, nth=1, count=1, action=action)
    step = reporting(lab)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, text)
    assert label_of(run.task_result) == "true"


@pytest.mark.parametrize("verbs", [{"create"}, {"patch"}, set()])
def test_missing_rights(lab: Lab, verbs: set[str]) -> None:
    step = reporting(lab)
    token = lab.api.add_account("argo", "poor", frozenset(verbs))
    info = ApiInfo(host=lab.api.host, port=lab.api.port, ca=lab.api.ca.read_text(), token=token)
    run = step.run(api=info)
    missing = "patch" if "create" in verbs else "create"
    message = assert_failure(run.result.containers["wait"], 64, "workflowtaskresults", missing)
    assert "forbidden" in message.lower()
    assert len(lab.api.requests()) <= 4, "a refusal is final"


def test_a_wrong_authority_of_the_api(lab: Lab, tmp_path) -> None:
    other = certs.make(tmp_path / "other", ("127.0.0.1",))
    info = ApiInfo(
        host=lab.api.host, port=lab.api.port, ca=other.ca.read_text(), token=lab.api.token
    )
    run = reporting(lab).run(api=info)
    assert_failure(run.result.containers["wait"], 64, "certificate", str(lab.api.port))


def test_a_wrong_token(lab: Lab) -> None:
    info = ApiInfo(host=lab.api.host, port=lab.api.port, ca=lab.api.ca.read_text(), token="wrong")
    run = reporting(lab).run(api=info)
    assert_failure(run.result.containers["wait"], 64, "nauthorized")


def test_a_token_that_rotates(lab: Lab, tmp_path) -> None:
    """The file is replaced while main runs: the later calls use the new one, and none tries the old."""
    step = Step(lab, "printf v >/tmp/p; sleep 1", parameters=[parameter("p", "/tmp/p")])
    with step.runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        assert runner.wait_state("main", "running", 10)
        while not lab.api.requests():
            assert not runner.wait_for(lambda: runner.ended, 0.02)
        new = lab.api.rotate_token()
        # As a kubelet does it: a new directory of files behind one link.
        volume = tmp_path / "kube-api-access"
        fresh = volume / "..fresh"
        fresh.mkdir()
        for name in ("ca.crt", "namespace", "token"):
            (fresh / name).write_bytes((volume / "..data" / name).read_bytes())
        (fresh / "token").write_text(new)
        os.symlink("..fresh", volume / "..link")
        os.rename(volume / "..link", volume / "..data")
        result = runner.wait(30)
    assert result.containers["wait"].exit_code == 0, result.containers["wait"].log
    assert_reported(step)
    assert 401 not in [status for _, status in api_calls(lab)]


def test_an_outage_of_the_api(lab: Lab) -> None:
    """Nobody listens for a second: nothing is lost, and main's end is not delayed."""
    step = reporting(lab)
    lab.api.suspend()
    with step.runner() as runner:
        runner.start()
        assert runner.wait_state("main", "terminated", 10)
        runner.wait_for(lambda: False, 1)
        lab.api.resume()
        result = runner.wait(30)
    assert result.phase == "Succeeded", result.containers["wait"].log
    assert_reported(step)


def test_garbage_from_the_api(lab: Lab) -> None:
    """A 200 that is no JSON: something else answers there. It is said, and the rest is tried."""
    lab.api.faults.add(
        verb="PATCH", path=RESULTS, nth=1, count=1, action={"kind": "garbage", "processed": True}
    )
    step = reporting(lab)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "is that a Kubernetes API server?")
    assert_reported(step)
