"""deploy/: files that a controller, kustomize and the Helm chart accept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import ROOT
from tests.pod.model import parse_quantity

yaml = pytest.importorskip("yaml", reason="package python3-yaml is not installed")

DEPLOY = ROOT / "deploy"
# Fields of a container that the controller takes over from `executor` (Argo 3.6 to 4.1).
EXECUTOR_FIELDS = {"image", "imagePullPolicy", "resources", "env", "args", "securityContext"}
PULL_POLICIES = {"Always", "IfNotPresent", "Never"}
# The chart's own defaults below `executor`.
CHART_EXECUTOR = {"image", "resources", "env", "args", "securityContext"}
CHART_IMAGE = {"registry", "repository", "tag", "pullPolicy"}
COMPONENTS = ["config", "flag"]


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def executor() -> dict[str, Any]:
    patch = load(DEPLOY / "kustomize/config/executor.yaml")
    assert patch["kind"] == "ConfigMap"
    assert patch["metadata"] == {"name": "workflow-controller-configmap"}
    assert list(patch["data"]) == ["executor"]
    return yaml.safe_load(patch["data"]["executor"])


def check_resources(resources: dict[str, dict[str, Any]]) -> None:
    requests, limits = resources["requests"], resources["limits"]
    assert parse_quantity(requests["memory"]) == 32 << 20
    assert parse_quantity(limits["memory"]) == 64 << 20
    assert set(requests) <= {"cpu", "memory"}
    assert set(limits) == {"memory"}


def test_config_map() -> None:
    fields = executor()
    assert set(fields) <= EXECUTOR_FIELDS
    assert fields["imagePullPolicy"] in PULL_POLICIES
    check_resources(fields["resources"])


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_name_their_files(name: str) -> None:
    component = load(DEPLOY / "kustomize" / name / "kustomization.yaml")
    assert component["kind"] == "Component"
    for patch in component["patches"]:
        assert (DEPLOY / "kustomize" / name / patch["path"]).is_file()


def test_helm_values_are_the_charts() -> None:
    values = load(DEPLOY / "helm/values.yaml")
    assert list(values) == ["executor"]
    assert set(values["executor"]) <= CHART_EXECUTOR
    image = values["executor"]["image"]
    assert set(image) == CHART_IMAGE
    assert image["pullPolicy"] in PULL_POLICIES
    check_resources(values["executor"]["resources"])


def test_all_ways_name_one_image() -> None:
    image = load(DEPLOY / "helm/values.yaml")["executor"]["image"]
    arguments = load(DEPLOY / "kustomize/flag/arguments.yaml")[0]["value"]
    flags = dict(zip(arguments[::2], arguments[1::2]))
    name = f"{image['registry']}/{image['repository']}:{image['tag']}"
    assert executor()["image"] == flags["--executor-image"] == name
    assert set(flags) == {"--executor-image", "--executor-image-pull-policy"}
    assert name in (DEPLOY / "README.md").read_text(encoding="utf-8")


BASE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: workflow-controller-configmap}
data: {parallelism: "10"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: workflow-controller}
spec:
  selector: {matchLabels: {app: c}}
  template:
    metadata: {labels: {app: c}}
    spec: {containers: [{name: c, image: c, command: [workflow-controller]}]}
"""


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("name", COMPONENTS)
def test_kustomize_applies_them(name: str, tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kustomize" / name, tmp_path / "component")
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [base.yaml]\ncomponents: [component]\n"
    )
    done = subprocess.run(
        ["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    objects = {item["kind"]: item for item in yaml.safe_load_all(done.stdout)}
    data = objects["ConfigMap"]["data"]
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert data["parallelism"] == "10"
    if name == "config":
        assert yaml.safe_load(data["executor"]) == executor()
    else:
        assert container["args"][0] == "--executor-image"
