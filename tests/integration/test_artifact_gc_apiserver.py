"""`artifact delete` against a real kube-apiserver, with the real definition of its tasks, as a service account
that may list tasks and patch their status, and nothing else."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gc import TASK, GcLab
from tests.lab import BUCKET
from tests.scenario import wait_until_seen
from tests.servers import versitygw
from tests.servers.apiserver import ApiServer, refusal
from tests.servers.kube_api import GC_GRANTS

RESOURCE = "workflowartifactgctasks"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def lab(kubernetes: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcLab]:
    if reason := versitygw.unavailable():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("gc")
    with GcLab(directory, versitygw.VersityGw(directory / "gateway")) as lab:
        imitation, lab.api = lab.api, kubernetes  # type: ignore[assignment]
        lab.token = kubernetes.add_gc_account("artifact-gc")
        yield lab
        lab.api = imitation


@pytest.fixture
def gc(lab: GcLab) -> Iterator[GcLab]:
    lab.api.clear()
    token = lab.token
    yield lab
    lab.token = token
    lab.api.faults.clear()
    for key in lab.objects():
        lab.s3.client().delete(BUCKET, key)


def keyed(*keys: str) -> Json:
    return {key.rpartition("/")[2]: {"s3": {"key": key}} for key in keys}


def calls(gc: GcLab) -> list[tuple[str, str, int]]:
    """Verb, what follows the collection, status."""
    found = []
    for request in gc.api.requests():
        _, _, rest = request["path"].partition(RESOURCE)
        found.append((request["verb"], rest.partition("?")[0], request["status"]))
    return found


def ending(result: Any) -> tuple[int, str]:
    main = result.containers["main"]
    return main.exit_code, main.message


# --- in peace -------------------------------------------------------------------------------------


def test_two_requests(gc: GcLab) -> None:
    """One to learn, one to tell; the definition takes what is told, and nothing else is asked: the pod is
    no node, so it has no task result to make final."""
    gc.put("wf/a", "wf/d/1", "wf/d/2", "wf/dx", "wf/s/3")
    artifacts = {**keyed("wf/a", "wf/d", "wf/gone"), "s": {"s3": {"key": "wf/s/"}}, "never": {}}
    failing: Json = {"raw": {"raw": {"data": "x"}}, "key": {"s3": {"key": "wf/a"}}}
    gc.add_task({"n": artifacts, "m.2": failing}, **{"m.2": None})
    assert ending(gc.run_gc()) == (0, "")
    results = gc.results()
    assert results["n"] == {name: {"name": name, "success": True} for name in artifacts}
    assert results["m.2"].keys() == failing.keys()
    assert all(text.keys() == {"name", "error"} for text in results["m.2"].values())
    assert list(gc.objects()) == ["wf/dx"]
    assert calls(gc) == [("GET", "", 200), ("PATCH", f"/{TASK}/status", 200)]


def test_strange_names(gc: GcLab) -> None:
    """The definition restricts those of artifacts, not those of nodes."""
    nodes = ['a"b\\c', "a/b ~1", "ä\u2028", "$.x", "null", "x" * 300]
    names = ["null", "{{x}}", "-.", "0", "x" * 300]
    gc.add_task({node: dict.fromkeys(names, {}) for node in nodes})
    assert ending(gc.run_gc()) == (0, "")
    told = {name: {"name": name, "success": True} for name in names}
    assert gc.results() == dict.fromkeys(nodes, told)


def test_tasks_of_the_label(gc: GcLab) -> None:
    """The server gives them out one by one."""
    names = ["t-0", "t-1", "t-2"]
    for name in names:
        gc.put(f"{name}/a")
        gc.add_task({"n": keyed(f"{name}/a")}, name)
    gc.add_task({"n": keyed("other/a")}, "other", label="1")
    assert ending(gc.run_gc()) == (0, "")
    assert [gc.outcome(name) for name in names] == [{"a": True}] * 3
    assert gc.outcome("other") == {} and gc.objects() == {}
    assert [verb for verb, _, _ in calls(gc)] == ["GET", "PATCH"] * 3


def test_once_more(gc: GcLab) -> None:
    """A failure that is none any more leaves no text, and what is recorded is not told again."""
    gc.add_task({"n": {"x": {}, "y": {}}})
    said = {"x": {"name": "x", "error": "no"}, "y": {"name": "y", "success": True}}
    status = {"artifactResultsByNode": {"n": {"artifactResults": said}}}
    gc.api.gc_tasks.patch("argo", TASK, {"status": status}, subresource="status")
    for verbs in (["GET", "PATCH"], ["GET"]):
        before = len(calls(gc))
        assert ending(gc.run_gc()) == (0, "")
        assert gc.outcome() == {"x": True, "y": True}
        assert [verb for verb, _, _ in calls(gc)[before:]] == verbs


# --- rights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["list", "patch"])
def test_missing_rights(gc: GcLab, verb: str) -> None:
    """Whoever may patch tasks may not patch their status."""
    grants = {"list": {f"{RESOURCE}/status": {"patch"}}, "patch": {RESOURCE: {"list", "patch"}}}
    resource = {"list": RESOURCE, "patch": f"{RESOURCE}/status"}[verb]
    gc.token = gc.api.add_gc_account(f"poor-{os.urandom(4).hex()}", grants[verb])
    gc.add_task({"n": {"x": {}}})
    code, message = ending(gc.run_gc())
    assert code == 64
    assert f'cannot {verb} resource "{resource}" in API group "argoproj.io"' in message
    assert message.endswith(f"; grant the pod's service account {verb} on {resource}.argoproj.io")
    assert [call for call in calls(gc) if call[2] == 403] == [calls(gc)[-1]]


def test_least_rights(gc: GcLab) -> None:
    """Watching is not needed."""
    grants = {**GC_GRANTS, RESOURCE: {"list"}}
    gc.token = gc.api.add_gc_account(f"least-{os.urandom(4).hex()}", grants)
    gc.add_task({"n": {"x": {}}})
    assert ending(gc.run_gc()) == (0, "")
    assert gc.outcome() == {"x": True}


# --- faults ---------------------------------------------------------------------------------------

FAULTS = [
    refusal(500, "InternalError", "oh no"),
    refusal(500, "InternalError", "upper: no more rows in this result set"),
    refusal(409, "Conflict", "the object has been modified"),
    refusal(429, "TooManyRequests", "later", Retry_After="1"),
    refusal(503, "ServiceUnavailable", "apiserver not ready"),
    {"kind": "lost"},
    {"kind": "cut_response", "bytes": 20},
]


def test_faults_in_turn(gc: GcLab) -> None:
    """Each of them once, of each request: the command goes on, and the results are complete."""
    gc.put("wf/a", "wf/b")
    gc.add_task({"n": keyed("wf/a"), "m": keyed("wf/b")})
    rules = [
        gc.api.faults.add(verb=verb, count=1, action=action)
        for verb in ("GET", "PATCH")
        for action in FAULTS
    ]
    assert ending(gc.run_gc()) == (0, "")
    assert gc.outcome() == {"a": True, "b": True} and gc.objects() == {}
    # The answer of a patch that is cut has said enough: 200.
    assert [rule.fired for rule in rules] == [1] * len(rules)


def test_outage(gc: GcLab) -> None:
    """Nobody listens when there is something to tell."""
    gc.put("wf/a")
    gc.add_task({"n": keyed("wf/a")})
    gc.api.faults.add(verb="PATCH", count=1, action={"kind": "delay", "seconds": 1})
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: gc.objects() == {}, "nothing")
        gc.api.suspend()
        runner.wait_for(lambda: False, 1)
        gc.api.resume()
        assert ending(runner.wait(60)) == (0, "")
    assert gc.outcome() == {"a": True}


def test_stopped_in_an_outage(gc: GcLab) -> None:
    """What has been deleted is told as soon as there is somebody to tell."""
    gc.put("wf/a")
    gc.add_task({"n": keyed("wf/a")})
    gc.api.faults.add(verb="PATCH", count=1, action={"kind": "stall"})
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: "PATCH" in [verb for verb, _, _ in calls(gc)], "the patch")
        gc.api.suspend()
        runner.signal("main", signal.SIGTERM)
        wait_until_seen(lambda: "Asked to stop" in runner.log("main"), "the signal")
        runner.wait_for(lambda: False, 2)
        gc.api.resume()
        main = runner.wait(60).containers["main"]
    assert main.exit_code == 143 and gc.outcome() == {"a": True}, main.log


def test_a_task_that_is_gone(gc: GcLab) -> None:
    """Somebody has deleted it after it was read: nobody can be told, and the next one is worked on."""
    gc.put("wf/a", "wf/b")
    gc.add_task({"n": keyed("wf/a")}, "t-0")
    gc.add_task({"n": keyed("wf/b")}, "t-1")
    gc.api.faults.add(verb="PATCH", count=1, action={"kind": "delay", "seconds": 1})
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: "wf/a" not in gc.objects(), "its object")
        gc.api.gc_tasks.delete("argo", "t-0")
        code, message = ending(runner.wait(60))
    assert code == 64
    assert message.startswith("artifact GC task t-0: store the results: ")
    assert message.endswith('"t-0" not found')
    assert gc.outcome("t-1") == {"b": True} and gc.objects() == {}


def test_tasks_of_another_shape(gc: GcLab) -> None:
    """As an API server gives out whose definition checks nothing: what cannot be read fails, no more."""
    gc.put("wf/a")
    gc.add_task({"n": keyed("wf/a")})
    body = gc.api.gc_tasks.get("argo", TASK)
    nodes = body["spec"]["artifactsByNode"]
    archive = nodes["n"]["archiveLocation"]
    shapes: Json = {"null": None, "number": 5, "list": [{"s3": {"key": "wf/a"}}], "text": "wf/a"}
    nodes["n"]["artifacts"] |= shapes
    nodes["n"]["artifacts"] |= {"key": {"s3": {"key": 5}}, "s3": {"s3": "wf/a"}}
    nodes["place"] = {"archiveLocation": "s3", "artifacts": keyed("wf/a")}
    nodes |= {f"node-{name}": shape for name, shape in shapes.items()}
    nodes |= {f"artifacts-{name}": {"artifacts": shape} for name, shape in shapes.items()}
    nodes["bucket"] = {"archiveLocation": {"s3": {**archive["s3"], "bucket": 7}}, "artifacts": keyed("wf/a")}
    body["status"] = {"artifactResultsByNode": {"n": {"artifactResults": {"a": "yes"}}, "x": 1}}
    listed = {"metadata": {}, "items": [body]}
    answer = refusal(200) | {"body": json.dumps(listed)}
    gc.api.faults.add(verb="GET", count=1, action=answer)
    run = gc.run_gc()
    assert ending(run) == (0, "")
    wrong = "artifact: expected an object, found"
    results = gc.results()
    assert results["n"].pop("a") == {"name": "a", "success": True}
    # One that is null was never stored: whoever waits for its result gets one.
    assert results["n"].pop("null") == {"name": "null", "success": True}
    log = run.containers["main"].log
    assert log.count("An artifact was never stored: it has neither location nor key") == 1, log
    assert gc.objects() == {}
    texts = {node: {name: of["error"] for name, of in found.items()} for node, found in results.items()}
    assert texts == {
        "n": {
            "number": f"{wrong} number",
            "list": f"{wrong} array",
            "text": f"{wrong} string",
            "key": "s3: key: expected a string, found number",
            "s3": "s3: expected an object, found string",
        },
        "place": {"a": "archiveLocation: expected an object, found string"},
        "bucket": {"a": "s3: bucket: expected a string, found number"},
    }


# --- too large ------------------------------------------------------------------------------------

ETCD_LIMIT = 1536 * 1024
MANAGED = "managedFields"


def size_of(gc: GcLab, name: str = TASK) -> int:
    return len(json.dumps(gc.api.gc_tasks.get("argo", name), separators=(",", ":")).encode())


def add_full_task(gc: GcLab, nodes: dict[str, Json], room: int, **locations: Json | None) -> None:
    """A task that leaves so many bytes of what etcd takes."""
    filler: Json = {"path": "/"}
    nodes = {"filler": {"filler": filler}, **nodes}
    gc.add_task(nodes, **locations)
    filler["path"] = "/" * (ETCD_LIMIT - room - size_of(gc))
    gc.api.gc_tasks.delete("argo", TASK)
    gc.add_task(nodes, **locations)


def test_room_for_results_alone(gc: GcLab) -> None:
    """The server's notes of who has set which field are longer than the results: it drops them itself."""
    names = [f"a{number:04}" for number in range(1000)]
    gc.put("wf/a")
    add_full_task(gc, {"n": dict.fromkeys(names, {}), "m": keyed("wf/a")}, 60_000)
    before = gc.api.gc_tasks.get("argo", TASK)
    assert ending(gc.run_gc()) == (0, "")
    assert gc.outcome() == dict.fromkeys([*names, "a", "filler"], True)
    after = gc.api.gc_tasks.get("argo", TASK)
    assert after["spec"] == before["spec"]
    assert before["metadata"].pop(MANAGED) and MANAGED not in after["metadata"]
    del before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]
    assert after["metadata"] == before["metadata"]
    assert [status for _, _, status in calls(gc)] == [200, 200]


def test_room_for_a_few_words(gc: GcLab) -> None:
    """Failures are told at length as long as there is room."""
    names = [f"a{number:03}" for number in range(200)]
    failing = {name: {"s3": {"key": f"k/{name}"}} for name in names}
    add_full_task(gc, {"n": failing}, 28_000, n=None)
    assert ending(gc.run_gc()) == (0, "")
    outcome = gc.outcome()
    assert outcome.pop("filler") is True and sorted(outcome) == names
    for text in outcome.values():
        assert str(text).startswith("artifact storage is not configured: ") and len(str(text)) == 160


def test_no_room(gc: GcLab) -> None:
    """As many as go in are stored; the others are named, and the next task is not the worse for it."""
    names = [f"a{number:04}" for number in range(300)]
    gc.put("wf/a", "wf/b")
    add_full_task(gc, {"m": keyed("wf/a"), "n": dict.fromkeys(names, {})}, 1000)
    gc.add_task({"n": keyed("wf/b")}, "wf-artgc-wfdel-1")
    result = gc.run_gc()
    code, message = ending(result)
    outcome = gc.outcome()
    left_out = [name for name in names if name not in outcome]
    assert code == 64 and left_out and len(outcome) > 100
    assert set(outcome.values()) == {True}
    assert message == (
        f"artifact GC task {TASK}: {len(left_out)} of 302 results were not stored: artifact "
        f"{left_out[0]} of node n (never stored), artifact {left_out[1]} of node n (never stored), "
        f"artifact {left_out[2]} of node n (never stored) and {len(left_out) - 3} more that the log "
        "names; the task has no room for them: etcdserver: request is too large"
    )
    log = result.containers["main"].log
    assert log.count("A result does not fit into its task") == len(left_out)
    assert gc.outcome("wf-artgc-wfdel-1") == {"b": True} and gc.objects() == {}
    # A refusal takes the server as long as a success does.
    assert len(calls(gc)) < 40


@pytest.mark.parametrize("count", [4, None])
def test_large_requests_are_refused(gc: GcLab, count: int | None) -> None:
    """By a proxy that reads less, say: smaller ones may get through; if not, that is said."""
    names = [f"a{number:02}" for number in range(40)]
    gc.add_task({"n": dict.fromkeys(names, {})})
    text = "Request entity too large: limit is 3145728"
    action = refusal(413, "RequestEntityTooLarge", text)
    gc.api.faults.add(verb="PATCH", count=count, action=action)
    code, message = ending(gc.run_gc())
    if count:
        assert (code, message) == (0, "")
        assert gc.outcome() == dict.fromkeys(names, True)
        # 40, 20, 10, 5 are refused.
        assert len(calls(gc)) == 1 + 4 + 20
    else:
        assert code == 64 and "40 of 40 results were not stored: artifact a00 of node n" in message
        assert message.endswith(text) and gc.outcome() == {}


# --- ends in the middle ---------------------------------------------------------------------------


@pytest.mark.parametrize("signo", [signal.SIGKILL, signal.SIGTERM])
def test_ended_and_started_again(gc: GcLab, signo: int) -> None:
    """While its second patch is under way, which arrives or does not: all is gone and told by the next."""
    # The patch that is delayed arrives when the task of another test may be there.
    task, names = f"ended-{signo}", [f"{number:03}" for number in range(120)]
    gc.put(*(f"wf/{name}" for name in names))
    gc.add_task({name: {name: {"s3": {"key": f"wf/{name}"}}} for name in names}, task)
    gc.api.faults.add(verb="PATCH", count=2, action=refusal(413, "RequestEntityTooLarge", "x"))
    gc.api.faults.add(verb="PATCH", nth=2, count=1, action={"kind": "delay", "seconds": 1})
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: len(gc.outcome(task)) > 0, "the first results")
        runner.signal("main", signo)
        main = runner.wait(60).containers["main"]
    assert main.exit_code == 128 + signo, main.log
    if signo == signal.SIGTERM:
        assert gc.outcome(task) == dict.fromkeys(names, True), main.log
    else:
        assert 0 < len(gc.outcome(task)) < len(names)
    assert ending(gc.run_gc()) == (0, "")
    assert gc.outcome(task) == dict.fromkeys(names, True) and gc.objects() == {}
