"""Recorded pods in worlds that refuse some of what confinement asks for: the same outcomes, and one line
for each layer that is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.lab import Lab, calls_of_roles, recorded_objects, recorded_outcome, recorded_pods
from tests.scenario import DROP

DEFAULT = {"seccompProfile": {"type": "RuntimeDefault"}}
REFUSED = re.compile(r'msg="Not confined" who="([^"]*)" layer="?([^"=]*?)"? reason=')


def localhost(name: str) -> dict[str, Any]:
    return {"seccompProfile": {"type": "Localhost", "localhostProfile": name}}


@dataclass(frozen=True)
class World:
    """What the containers of the executor run in, and which layers are refused there."""

    context: dict[str, Any]
    refused: set[str] = field(default_factory=set)


WORLDS = {
    "root": World(DEFAULT),
    "8737": World({**DEFAULT, "runAsUser": 8737, "capabilities": DROP}),
    "restricted": World(
        {
            **DEFAULT,
            "capabilities": DROP,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
        }
    ),
    "no Landlock": World(localhost("no-landlock"), {"files"}),
    "no seccomp": World(localhost("no-seccomp"), {"system calls"}),
}
CASES = ("archives", "bad-input-artifact", "initless-artifact-passing")


def in_world(pod: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
        if container["name"] in ("init", "wait", "supervisor"):
            container.setdefault("securityContext", {}).update(context)
            container.setdefault("env", []).append({"name": "ARGOEXEC_CONFINEMENT", "value": "auto"})
    return pod


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("case", CASES)
def test_same_outcome(lab: Lab, argoexec: str, case: str, name: str) -> None:
    world = WORLDS[name]
    recorded = recorded_outcome(case)
    refused: set[tuple[str, str]] = set()
    for pod in recorded_pods(case):
        run = lab.run(in_world(lab.adapt(pod), world.context))
        assert run.result.outcome() == recorded[run.result.name], run.result.table()
        log = "".join(container.log for container in run.result.containers.values())
        refused |= set(REFUSED.findall(log))
    labels = recorded_pods(case)[0]["metadata"]["labels"]
    assert recorded_objects(case).keys() <= lab.objects(labels["workflows.argoproj.io/workflow"]).keys()
    expected = {("the staging process", layer) for layer in world.refused}
    if calls_of_roles(argoexec) != "unused":
        expected |= {("this process", layer) for layer in world.refused - {"files"}}
    assert refused == expected
