"""`artifact delete` and the API server: what it is asked, how often, and when it fails; and pods that end
before their work is done."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gc import TASK, GcLab
from tests.lab import BUCKET, ROOT
from tests.pod import PodRunner
from tests.scenario import wait_until_seen
from tests.servers import versitygw
from tests.servers.fault_proxy import FaultProxy
from tests.servers.kube_api import GC_GRANTS

RESOURCE = "workflowartifactgctasks"
NOT_IMPLEMENTED = "<Error><Code>NotImplemented</Code><Message>No.</Message></Error>"
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
    token = lab.token
    lab.put("wf/a", "wf/b")
    lab.add_task({"n": {"a": {"s3": {"key": "wf/a"}}}, "m": {"b": {"s3": {"key": "wf/b"}}}})
    yield lab
    lab.token = token
    lab.api.clear()
    for key in lab.objects():
        lab.s3.client().delete(BUCKET, key)


@pytest.fixture
def proxy(gc: GcLab) -> Iterator[FaultProxy]:
    with FaultProxy((gc.s3.host, gc.s3.port)) as proxy:
        yield proxy


def ending(result: Any) -> tuple[int, str]:
    main = result.containers["main"]
    return main.exit_code, main.message


# --- one fault of the API server ------------------------------------------------------------

FAULTS: list[Json] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 409},
    {"kind": "status", "status": 503, "headers": {"Retry-After": "1"}},
    {"kind": "status", "status": 429},
    {"kind": "reset"},
    {"kind": "lost"},
    {"kind": "truncate"},
]


@pytest.mark.parametrize("verb", ["GET", "PATCH"])
def test_faults_in_turn(gc: GcLab, verb: str) -> None:
    """Each of them once, one behind the other: the command goes on, and the results are complete."""
    for number, action in enumerate(FAULTS, 1):
        gc.api.faults.add(verb=verb, nth=1, count=1, action=action)
    assert ending(gc.run_gc()) == (0, "")
    assert gc.outcome() == {"a": True, "b": True} and gc.objects() == {}
    assert len(gc.requests(verb)) > len(FAULTS)


def test_forbidden_list(gc: GcLab) -> None:
    gc.token = gc.api.add_gc_account("lists-nothing", {})
    code, message = ending(gc.run_gc())
    assert code == 64
    assert message.startswith(f"list artifact GC tasks: {RESOURCE}.argoproj.io is forbidden: User ")
    assert message.endswith(f"; grant the pod's service account list on {RESOURCE}.argoproj.io")
    assert len(gc.requests("GET")) == 1 and len(gc.objects()) == 2


def test_forbidden_patch(gc: GcLab) -> None:
    gc.token = gc.api.add_gc_account("stores-nothing", {RESOURCE: GC_GRANTS[RESOURCE]})
    code, message = ending(gc.run_gc())
    assert code == 64
    assert f"artifact GC task {TASK}: store the results: " in message
    assert message.endswith(f"; grant the pod's service account patch on {RESOURCE}/status.argoproj.io")


ANSWERS = [
    ("", "text/html", "not JSON"),
    ("<html>", "application/json", "not valid JSON"),
    ('{"items": [{"metadata": {"name": "t"', "application/json", "not valid JSON"),
    ('{"items": [{"metadata": {}}]}', "application/json", "metadata.name: is missing"),
    ('{"items": [' + "[" * 100 + "]" * 100 + "]}", "application/json", "nesting too deep"),
    ('{"items": ["' + "x" * (5 << 20) + '"]}', "application/json", "longer than"),
]


@pytest.mark.parametrize(("body", "kind", "text"), ANSWERS, ids=[answer[2] for answer in ANSWERS])
def test_bad_answers(gc: GcLab, body: str, kind: str, text: str) -> None:
    """Whatever it is: an end with a message, and nothing deleted."""
    action = {"kind": "status", "status": 200, "body": body, "content_type": kind}
    gc.api.faults.add(verb="GET", action=action)
    code, message = ending(gc.run_gc())
    assert code == 64 and text in message, message
    assert len(gc.objects()) == 2


# --- pods that end early --------------------------------------------------------------------


def many(gc: GcLab, proxy: FaultProxy, count: int = 200) -> list[str]:
    """So many artifacts, a node each, in a store that deletes one in a while."""
    keys = [f"many/{number:03}" for number in range(count)]
    gc.api.clear()
    gc.put(*keys)
    action = {"kind": "status", "status": 501, "body": NOT_IMPLEMENTED}
    proxy.faults.add(verb="POST", action=action)
    proxy.faults.add(verb="DELETE", action={"kind": "delay", "seconds": 0.2})
    place = gc.location(proxy.endpoint)
    nodes = {key: {key[5:]: {"s3": {"key": key}}} for key in keys}
    gc.add_task(nodes, **dict.fromkeys(nodes, place))
    return keys


def until_some(gc: GcLab, runner: PodRunner) -> None:
    """Some of it is stored, and there is more to do."""
    runner.start()
    wait_until_seen(lambda: len(gc.outcome()) > 16, "results")


def test_killed_and_started_again(gc: GcLab, proxy: FaultProxy) -> None:
    """As when memory runs out. What is recorded is not asked for again."""
    keys = many(gc, proxy)
    with gc.gc_runner() as runner:
        until_some(gc, runner)
        runner.signal("main", signal.SIGKILL)
        assert runner.wait(60).containers["main"].exit_code == 137
    recorded = {f"many/{name}" for name in gc.outcome()}
    left = [key for key in gc.objects() if key in keys]
    assert recorded.isdisjoint(left) and left
    proxy.faults.clear()
    proxy.clear()
    assert ending(gc.run_gc()) == (0, "")
    assert gc.outcome() == {key[5:]: True for key in keys}
    assert not [key for key in gc.objects() if key in keys]
    asked = {request["path"].partition("?")[0] for request in proxy.requests()}
    assert asked.isdisjoint(f"/{BUCKET}/{key}" for key in recorded)


def test_stopped(gc: GcLab, proxy: FaultProxy) -> None:
    """SIGTERM: what has been deleted is stored, then it ends, long before the grace period does."""
    keys = many(gc, proxy)
    with gc.gc_runner() as runner:
        until_some(gc, runner)
        runner.signal("main", signal.SIGTERM)
        result = runner.wait(60)
    assert ending(result) == (143, "stopped (terminated) before all artifacts were deleted")
    left = [key for key in gc.objects() if key in keys]
    deleted = len(keys) - len(left)
    # Those whose requests were under way cannot be known.
    assert left and deleted - 64 <= len(gc.outcome()) <= deleted
    assert set(gc.outcome().values()) == {True}


def test_failures_are_tried_again(gc: GcLab) -> None:
    """A pod that is started again has another try at them, and what was said of them is no more."""
    gc.add_task({"n": {"x": {"s3": {"key": "wf/a"}}}}, "again")
    status = {"n": {"artifactResults": {"x": {"name": "x", "error": "no"}}}}
    gc.api.gc_tasks.patch(
        "argo", "again", {"status": {"artifactResultsByNode": status}}, subresource="status"
    )
    assert ending(gc.run_gc()) == (0, "")
    assert gc.results("again") == {"n": {"x": {"name": "x", "success": True}}}


def test_results_while_it_goes_on(gc: GcLab, proxy: FaultProxy) -> None:
    """One node with very much to do: its first results need not wait for its last."""
    keys = many(gc, proxy, 240)
    gc.api.clear()
    artifacts = {key[5:]: {"s3": {"key": key}} for key in keys}
    gc.add_task({"n": artifacts}, n=gc.location(proxy.endpoint))
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: gc.outcome(), "results")
        assert len(gc.outcome()) < len(keys)
        assert runner.wait(60).phase == "Succeeded"
    assert gc.outcome() == dict.fromkeys(artifacts, True)


# --- the command line -----------------------------------------------------------------------


NAMESPACES = {
    "argo": ("", []),
    "variable": ("variable", []),
    "option": ("variable", ["--namespace=option"]),
}


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_namespace(gc: GcLab, namespace: str) -> None:
    """The option's, the variable's, the service account's; in those of others there are no rights."""
    variable, words = NAMESPACES[namespace]
    pod = gc.pod({"ARGO_NAMESPACE": variable})
    pod["spec"]["containers"][0]["args"] += words
    with gc.runner(pod, api=gc.account()) as runner:
        code, message = ending(runner.run(60))
    asked = gc.requests("GET")[0]["path"].partition("?")[0]
    assert asked.endswith(f"/namespaces/{namespace}/{RESOURCE}")
    if namespace == "argo":
        assert code == 0 and gc.objects() == {}
    else:
        assert code == 64 and f'in the namespace "{namespace}"' in message


@pytest.mark.parametrize("words", [[], ["remove"], ["delete", "x"]])
def test_usage(words: list[str], tmp_path: Path) -> None:
    binary = os.environ.get("ARGOEXEC", str(ROOT / "build/argoexec"))
    run = subprocess.run([binary, "artifact", *words], capture_output=True, text=True, check=False)
    assert run.returncode == 64
    assert "Usage:\n  argoexec artifact [flags] delete\n" in run.stderr
