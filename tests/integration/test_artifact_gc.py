"""`artifact delete` as the pod of a controller: a real object store, and what the tasks say then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gc import LABEL, TASK, GcLab
from tests.lab import BUCKET, FIXTURES, recorded_objects, recorded_outcome, recorded_pods
from tests.scenario import wait_until_seen
from tests.servers import versitygw
from tests.servers.fault_proxy import FaultProxy

RECORDED = "artifact-gc"
DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcLab]:
    if reason := versitygw.unavailable():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("gc")
    with GcLab(directory, versitygw.VersityGw(directory / "gateway")) as lab:
        yield lab


@pytest.fixture
def gc(lab: GcLab) -> Iterator[GcLab]:
    yield lab
    lab.api.clear()
    for key in lab.objects():
        lab.s3.client().delete(BUCKET, key)


@pytest.fixture
def proxy(gc: GcLab) -> Iterator[FaultProxy]:
    with FaultProxy((gc.s3.host, gc.s3.port)) as proxy:
        yield proxy


def keyed(*keys: str) -> dict[str, Json]:
    """Artifacts of the repository, named as their keys end."""
    return {key.rstrip("/").rpartition("/")[2]: {"s3": {"key": key}} for key in keys}


def ok(result: Any) -> str:
    """The log of a pod that has done what it can; it says nothing to the kubelet."""
    main = result.containers["main"]
    assert (main.exit_code, main.message) == (0, ""), main.log
    return main.log


def asked(proxy: FaultProxy) -> list[str]:
    return [f"{request['verb']} {request['path']}" for request in proxy.requests()]


# --- what the reference does, too -----------------------------------------------------------


def test_recorded_pods(gc: GcLab) -> None:
    """The pods and tasks of a real controller end as they did, but for the needless message."""
    lines = (FIXTURES / RECORDED / "artifactgctasks.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    added = [event["object"] for event in events if event["type"] == "ADDED"]
    final = {e["object"]["metadata"]["name"]: e["object"] for e in events}
    kept = [key for key in recorded_objects(RECORDED) if key.endswith("never.tgz")]
    logs = "artifact-gc-gb6vq/artifact-gc-gb6vq/main.log"
    gone = ["on-completion.tgz", "on-deletion.tgz", "dir/x", "dir/y"]
    gc.put(*(f"gc/artifact-gc-gb6vq/{name}" for name in gone), logs, *kept)
    for task in added:
        body = json.loads(gc._relocate(json.dumps(task)))
        meta = {key: body["metadata"][key] for key in ("name", "labels", "ownerReferences")}
        gc.api.gc_tasks.create(gc.api.namespace, {**body, "metadata": meta})
    pods = [pod for pod in recorded_pods(RECORDED) if "artgc" in pod["metadata"]["name"]]
    for pod in pods:
        result = gc.run(gc.adapt(pod), api=gc.account()).result
        recorded = recorded_outcome(RECORDED)[pod["metadata"]["name"]]["containers"]["main"]
        assert result.containers["main"].exit_code == recorded["exitCode"]
        assert not result.containers["main"].message
    for task in added:
        name = task["metadata"]["name"]
        stored = gc.api.gc_tasks.get(gc.api.namespace, name)
        assert stored["status"] == final[name]["status"]
    assert list(gc.objects()) == kept


def test_no_label(gc: GcLab) -> None:
    """Without the variable there is nothing to do, and nobody is asked."""
    gc.add_task({"n": keyed("a/b")})
    log = ok(gc.run_gc({"ARGO_ARTIFACT_POD_NAME": None}))
    assert "No artifacts to delete" in log and gc.api.requests() == []


def test_only_variable(gc: GcLab) -> None:
    """Argo 3 sets nothing else."""
    gc.put("a/b")
    gc.add_task({"n": keyed("a/b")})
    others = ["ARGO_POD_NAME", "ARGO_TEMPLATE", "ARGO_DEADLINE", "ARGO_ARTIFACT_PLUGIN_NAMES"]
    ok(gc.run_gc(dict.fromkeys(others)))
    assert gc.outcome() == {"b": True} and gc.objects() == {}


def test_tasks_of_the_label(gc: GcLab) -> None:
    """All of them, one after the other, and no others."""
    names = ["t-0", "t-1", "t-2"]
    for name in names:
        gc.put(f"{name}/a")
        gc.add_task({"n": keyed(f"{name}/a")}, name)
    gc.put("other/a")
    gc.add_task({"n": keyed("other/a")}, "other", label="1")
    ok(gc.run_gc())
    assert [gc.outcome(name) for name in names] == [{"a": True}] * 3
    assert gc.outcome("other") == {} and list(gc.objects()) == ["other/a"]


# --- verdicts -------------------------------------------------------------------------------



def test_key_without_repository(gc: GcLab) -> None:
    """That one fails, and says why; the reference gives up all of them."""
    gc.put("wf/a", "wf/b")
    gc.add_task({"n": keyed("wf/a"), "m": keyed("wf/b"), "e": keyed("wf/c")}, m=None, e={})
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert outcome["a"] is True
    for name in "bc":
        assert outcome[name] == (
            f"artifact storage is not configured: artifact {name} has the key 'wf/{name}', but its node "
            "has no archiveLocation; see the docs for setup instructions: "
            "https://argo-workflows.readthedocs.io/en/latest/configure-artifact-repository/"
        )
    assert list(gc.objects()) == ["wf/b"]


def test_already_gone(gc: GcLab) -> None:
    gc.put("wf/a")
    gc.add_task({"n": keyed("wf/a", "wf/gone", "wf/gone-directory/")})
    log = ok(gc.run_gc())
    assert gc.outcome() == {"a": True, "gone": True, "gone-directory": True}
    assert log.count("An artifact was gone already") == 2


UNSUPPORTED = (
    "delete not supported for this artifact storage, please check the following issue for details: "
    "https://github.com/argoproj/argo-workflows/issues/3102"
)


def test_stores_that_cannot_delete(gc: GcLab) -> None:
    secret = {"name": "my-minio-cred", "key": "accesskey"}
    web = {"url": "http://127.0.0.1:9/x", "usernameSecret": secret, "passwordSecret": secret}
    artifacts: Json = {
        "raw": {"raw": {"data": "x"}},
        "http": {"http": {"url": "http://127.0.0.1:9/x"}},
        "artifactory": {"artifactory": web},
        "git": {"git": {"repo": "https://example.com/r"}},
        "hdfs": {"hdfs": {"addresses": ["a:8020"], "path": "/x"}},
        "gcs": {"gcs": {"bucket": "b", "key": "k"}},
    }
    gc.put("wf/a")
    gc.add_task({"n": {**artifacts, **keyed("wf/a")}})
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert outcome.pop("a") is True
    assert outcome.pop("gcs") == (
        "Unsupported artifact driver for gcs: this executor has no store of type gcs"
    )
    assert outcome == {name: f"{UNSUPPORTED} ({name})" for name in artifacts if name != "gcs"}


def test_location_without_a_key(gc: GcLab) -> None:
    """A URL that is nothing but a query: that one fails, and no other."""
    gc.put("wf/a")
    gc.add_task({"n": {"url": {"http": {"url": "?x"}}, **keyed("wf/a")}})
    ok(gc.run_gc())
    assert gc.outcome() == {"a": True, "url": "its s3 location has no key"}
    assert gc.objects() == {}


def test_directories(gc: GcLab) -> None:
    """With and without a slash at the end of the key, and never what only begins like it."""
    gc.put("wf/a/b/1", "wf/a/b/sub/2", "wf/a/bc/3", "wf/a/b.tgz", "wf/a/d/4", "wf/a/d-e", "wf/a/f")
    gc.add_task({"n": keyed("wf/a/b", "wf/a/d/", "wf/a/f")})
    ok(gc.run_gc())
    assert gc.outcome() == {"b": True, "d": True, "f": True}
    assert sorted(gc.objects()) == ["wf/a/b.tgz", "wf/a/bc/3", "wf/a/d-e"]


@pytest.mark.parametrize("others", [0, 20])
def test_hostile_keys(gc: GcLab, others: int) -> None:
    """None of them is the bucket, or somebody else's; with many others they are looked for in another
    way."""
    good = [f"wf/{number}" for number in range(others)]
    gc.put("kept", "wf/kept", *good)
    keys = ["/", "//", ".", "..", "./", "../", "wf/..", "wf/../", "wf/../kept", "a/./..", "x/../.."]
    hostile = {f"k{i}": {"s3": {"key": key}} for i, key in enumerate(keys)}
    hostile["long"] = {"s3": {"key": "k" * 1025}}
    gc.add_task({"n": {**hostile, "empty": {"s3": {"key": ""}}, **keyed(*good)}})
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert outcome.pop("empty") is True
    assert "longer than 1024 bytes" in str(outcome.pop("long"))
    for name in hostile.keys() - {"long"}:
        assert "whole bucket" in str(outcome.pop(name)), name
    assert outcome == dict.fromkeys([str(number) for number in range(others)], True)
    assert list(gc.objects()) == ["kept", "wf/kept"]


def test_strange_keys(gc: GcLab) -> None:
    keys = ["wf/a b", "wf/ä+%2F", "wf/&<>\"'", "wf/a\nb", "wf/a=b?c#d"]
    gc.put(*keys)
    gc.add_task({"n": {f"k{i}": {"s3": {"key": key}} for i, key in enumerate(keys)}})
    ok(gc.run_gc())
    assert gc.outcome() == {f"k{i}": True for i in range(len(keys))} and gc.objects() == {}


def test_locations_of_their_own(gc: GcLab) -> None:
    """A full location needs no repository; what cannot be read fails for itself."""
    gc.put("wf/a", "wf/b")
    full = gc.location(key="wf/a")
    missing = gc.location(key="wf/x", accessKeySecret={"name": "none", "key": "k"})
    gc.add_task({"n": {"full": full, "secret": missing, "odd": gc.location(bucket="a/b", key="k")}})
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert outcome.pop("full") is True
    assert "secret 'none' has no key 'k'" in str(outcome.pop("secret"))
    assert str(outcome.pop("odd")).startswith("s3: bucket")
    assert list(gc.objects()) == ["wf/b"]


# --- failing stores -------------------------------------------------------------------------


def test_one_fails_for_good(gc: GcLab, proxy: FaultProxy) -> None:
    gc.put("wf/a", "wf/bad", "wf/c/d")
    place = gc.location(proxy.endpoint)
    denied = {"kind": "status", "status": 403, "body": DENIED}
    proxy.faults.add(path="/wf/bad$", action=denied)
    proxy.faults.add(verb="POST", action={"kind": "status", "status": 405})
    gc.add_task({"n": keyed("wf/a", "wf/bad"), "m": keyed("wf/c")}, n=place, m=place)
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert outcome.pop("bad") == (
        "delete object my-bucket/wf/bad: Access Denied. (AccessDenied, status 403, permanent)"
    )
    assert outcome == {"a": True, "c": True} and list(gc.objects()) == ["wf/bad"]


def test_throttled(gc: GcLab, proxy: FaultProxy) -> None:
    keys = [f"wf/{number}" for number in range(20)]
    gc.put(*keys)
    slow_down = "<Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
    action = {"kind": "status", "status": 503, "body": slow_down}
    proxy.faults.add(nth=1, count=3, action=action)
    gc.add_task({"n": keyed(*keys)}, n=gc.location(proxy.endpoint))
    ok(gc.run_gc())
    assert set(gc.outcome().values()) == {True} and gc.objects() == {}


def test_what_it_has_given_up(gc: GcLab, proxy: FaultProxy) -> None:
    """When the first byte of a store comes; a call that its table lacks would end it in any test here."""
    proxy.faults.add(path="/", action={"kind": "stall", "bytes": 0})
    gc.put("wf/a")
    gc.add_task({"n": keyed("wf/a")}, n=gc.location(proxy.endpoint))
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: asked(proxy) != [], "a request")
        lines = Path(f"/proc/{runner.pid('main')}/status").read_text().splitlines()
        runner.stop(0)
    shown = {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}
    assert int(shown["CapEff"], 16) in (0, 1 << 1)  # CAP_DAC_OVERRIDE
    assert shown["CapPrm"] == shown["CapEff"]
    assert shown["NoNewPrivs"] == "1"


@pytest.mark.parametrize("count", [2, 30])
def test_forbidden(gc: GcLab, proxy: FaultProxy, count: int) -> None:
    """The right to look may be missing where that to delete is there, so each is asked for once."""
    keys = [f"wf/{number}" for number in range(count)]
    proxy.faults.add(action={"kind": "status", "status": 403, "body": DENIED})
    gc.add_task({"n": keyed(*keys)}, n=gc.location(proxy.endpoint, region="us-east-1"))
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert len(outcome) == count
    assert all("AccessDenied, status 403, permanent" in str(text) for text in outcome.values())


@pytest.mark.parametrize("count", [2, 30])
def test_bucket_gone(gc: GcLab, count: int) -> None:
    """Somebody has removed it, or the repository is another one now: nobody can say."""
    gc.add_task({"n": keyed(*(f"wf/{i}" for i in range(count)))}, n=gc.location(bucket="no-such"))
    ok(gc.run_gc())
    outcome = gc.outcome()
    assert len(outcome) == count
    assert all("NoSuchBucket" in str(text) for text in outcome.values()), outcome


def test_batches(gc: GcLab, proxy: FaultProxy) -> None:
    """Many keys cost a listing and a request for all."""
    keys = [f"wf/{number}/out.tgz" for number in range(100)]
    gc.put(*keys)
    place = gc.location(proxy.endpoint, region="us-east-1")
    nodes = {f"n{i}": {"out": {"s3": {"key": key}}} for i, key in enumerate(keys)}
    gc.add_task(nodes, **dict.fromkeys(nodes, place))
    ok(gc.run_gc())
    assert gc.objects() == {} and len(gc.results()) == 100
    verbs = [line.partition(" ")[0] for line in asked(proxy)]
    assert sorted(verbs) == ["GET", "POST"]
    assert len(gc.requests("PATCH")) <= 2


@pytest.mark.parametrize(
    ("status", "code"), [(501, "NotImplemented"), (403, "AccessDenied")]
)
def test_no_batches(gc: GcLab, proxy: FaultProxy, status: int, code: str) -> None:
    """Servers that do not know the request, and identities that may not use it."""
    keys = [f"wf/{number}" for number in range(40)]
    gc.put(*keys, "wf/d/a", "wf/d/b")
    body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>" if code else ""
    proxy.faults.add(verb="POST", action={"kind": "status", "status": status, "body": body})
    gc.add_task({"n": keyed(*keys, "wf/d")}, n=gc.location(proxy.endpoint))
    ok(gc.run_gc())
    assert set(gc.outcome().values()) == {True} and gc.objects() == {}
    assert len(gc.outcome()) == 41


def test_no_listing(gc: GcLab, proxy: FaultProxy) -> None:
    """Who may only delete can still delete objects."""
    keys = [f"wf/{number}" for number in range(20)]
    gc.put(*keys)
    denied = {"kind": "status", "status": 403, "body": DENIED}
    proxy.faults.add(verb="GET", path="list-type", action=denied)
    proxy.faults.add(verb="HEAD", action={"kind": "status", "status": 403})
    gc.add_task({"n": keyed(*keys)}, n=gc.location(proxy.endpoint))
    ok(gc.run_gc())
    assert set(gc.outcome().values()) == {True} and gc.objects() == {}


def test_names(gc: GcLab) -> None:
    """The label and the task are those that were asked for."""
    gc.add_task({"n": keyed("wf/a")})
    ok(gc.run_gc())
    (listed,) = gc.requests("GET")
    assert f"labelSelector=workflows.argoproj.io%2Fartifact-gc-pod%3D{LABEL}" in listed["path"]
    (patched,) = gc.requests("PATCH")
    assert patched["path"].endswith(f"/namespaces/argo/workflowartifactgctasks/{TASK}/status")
    assert patched["content_type"] == "application/merge-patch+json"
