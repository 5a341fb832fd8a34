"""`artifact delete` of artifacts that lie with plugins, in pods laid out as controllers 4.0 and 4.1 do it:
init installs the executor, the wrapper runs the plugin, and main ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gc import GcLab
from tests.layout import EXECUTOR_IMAGE
from tests.plugins import COMMAND, IMAGE, LOG_FLAGS, at
from tests.servers import versitygw

SIDECAR = "artifact-plugin-p"
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


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    path.chmod(0o777)
    return path


def put(store: Path, *keys: str) -> None:
    for key in keys:
        path = store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o777)
        path.write_text("x")


def lay_out(gc: GcLab, store: Path, start: str = "") -> Json:
    """The pod of artifact GC with the plugin p. START: what it does in the beginning."""
    pod = gc.pod({"ARGO_ARTIFACT_PLUGIN_NAMES": SIDECAR})
    spec = pod["spec"]
    (main,) = spec["containers"]
    shared = {"name": "var-run-argo", "mountPath": "/var/run/argo"}
    places = [
        shared,
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": SIDECAR, "mountPath": "/tmp/artifact-plugins/p"},
    ]
    spec["volumes"] += [{"name": place["name"], "emptyDir": {}} for place in places]
    spec["volumes"].append({"name": "store", "hostPath": {"path": str(store)}})
    main["volumeMounts"] += places
    env = [entry for entry in main["env"] if entry["name"].startswith(("ARGO_POD", "ARGO_TEM", "ARGO_DEA"))]
    wrapper = ["/var/run/argo/argoexec", "emissary", *LOG_FLAGS, "--", *COMMAND]
    init = {"name": "init", "image": EXECUTOR_IMAGE, "command": ["argoexec", "init", *LOG_FLAGS]}
    spec["initContainers"] = [{**init, "env": env, "volumeMounts": [shared]}]
    names = {"ARGO_CONTAINER_NAME": SIDECAR, "PLUGIN_START": start}
    sidecar = {
        "name": SIDECAR,
        "image": IMAGE,
        "command": [*wrapper, "/tmp/artifact-plugins/p/socket"],
        "env": [*env, *({"name": name, "value": value} for name, value in names.items())],
        "volumeMounts": [*places, {"name": "store", "mountPath": "/store"}],
    }
    spec["containers"] = [sidecar, main]
    return pod


def run(gc: GcLab, pod: Json, **options: Any) -> Any:
    return gc.run(pod, api=gc.account(), controller=False, **options).result


def calls(store: Path) -> list[Json]:
    path = store / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_deleted_by_the_plugin(gc: GcLab, store: Path) -> None:
    """Objects and directories, those that are gone, and those that it keeps; the sidecar ends with us."""
    put(store, "wf/a", "wf/d/1", "wf/keep")
    gc.put("wf/s3")
    artifacts: Json = {
        "a": at("p", "wf/a"),
        "d": at("p", "wf/d"),
        "gone": at("p", "wf/gone"),
        "once": at("p", "wf/once", Delete="unavailable once"),
        "no": at("p", "wf/keep", Delete="say no", text="not this one"),
        "other": {"s3": {"key": "wf/s3"}},
    }
    gc.add_task({"n": artifacts})
    result = run(gc, lay_out(gc, store))
    main, sidecar = result.containers["main"], result.containers[SIDECAR]
    assert (main.exit_code, main.message) == (0, ""), main.log
    outcome = gc.outcome()
    assert outcome.pop("no") == "plugin p delete failed: not this one"
    assert outcome == dict.fromkeys(["a", "d", "gone", "once", "other"], True)
    assert [path.name for path in (store / "wf").iterdir()] == ["keep"]
    assert gc.objects() == {}
    asked = {call["artifact"]["name"]: call for call in calls(store)}
    assert asked["a"]["method"] == "Delete" and asked["a"]["artifact"]["plugin"]["key"] == "wf/a"
    assert '"An artifact was gone already" artifactName=gone' in main.log
    assert sidecar.finished and (store / "signals").read_text() == "15\n"
    assert result.phase == "Succeeded"


def test_keys_of_the_repository(gc: GcLab, store: Path) -> None:
    """A plugin is the repository: the artifacts have only keys."""
    put(store, "wf/a", "wf/b")
    gc.add_task({"n": {name: {"plugin": {"key": f"wf/{name}"}} for name in "ab"}}, n=at("p", "wf/pod"))
    run(gc, lay_out(gc, store))
    assert gc.outcome() == {"a": True, "b": True} and list((store / "wf").iterdir()) == []
    assert {call["artifact"]["plugin"]["name"] for call in calls(store)} == {"p"}


def test_plugin_that_has_died(gc: GcLab, store: Path) -> None:
    """It fails what is its own; nobody waits for it in the end."""
    gc.put("wf/s3")
    gc.add_task({"n": {"a": at("p", "wf/a"), "s3": {"s3": {"key": "wf/s3"}}}})
    result = run(gc, lay_out(gc, store, "die"))
    assert result.containers["main"].exit_code == 0
    outcome = gc.outcome()
    assert outcome.pop("s3") is True
    assert str(outcome.pop("a")).startswith("failed to create plugin driver for p: ")
