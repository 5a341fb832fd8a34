"""Pods for templates, laid out as controller 4.1.2 does it in the legacy layout.

For demo and bench, which want pods of their own beside the recorded ones. Container and script
templates; input artifacts, script staging, user volumes, secrets of S3 stores.
"""

from __future__ import annotations

import datetime
import json
from typing import Any

EXECUTOR_IMAGE = "quay.io/argoproj/argoexec:v4.1.2"
NO_DEADLINE = "0001-01-01T00:00:00Z"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
SCRIPT_PATH = "/argo/staging/script"
# What the controller of the recorded pods gives init and wait.
RESOURCES = {
    "limits": {"cpu": "500m", "memory": "256Mi"},
    "requests": {"cpu": "10m", "memory": "64Mi"},
}

Json = dict[str, Any]


def pod_for(
    template: Json, workflow: str, node: str, has_result: bool = False, log_level: str = "info"
) -> Json:
    """The Pod of a template; its volumes are those that the template itself mounts, as emptyDir.

    NODE is the node's id and the pod's name. HAS_RESULT: somebody refers to outputs.result.
    """
    options = ["--loglevel", log_level, "--log-format", "text", "--gloglevel", "0"]
    layout = _Layout(template)
    common = _common_env(node, workflow, has_result)
    own = [*_identity_env(workflow), *common]
    spec = {
        "restartPolicy": "Never",
        "serviceAccountName": "default",
        "initContainers": [
            _executor("init", options, own, layout.init_mounts(), json.dumps(template)),
        ],
        "containers": [
            _executor("wait", options, own, layout.wait_mounts()),
            _main(template, options, common, layout.main_mounts()),
        ],
        "volumes": layout.volumes(),
    }
    now = datetime.datetime.now(datetime.timezone.utc)
    meta = {
        "name": node,
        "namespace": "argo",
        "uid": "5d0a3f4e-0000-4000-8000-000000000001",
        "creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "labels": {
            "workflows.argoproj.io/workflow": workflow,
            "workflows.argoproj.io/completed": "false",
        },
        "annotations": {"workflows.argoproj.io/node-id": node},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _value(name: str, value: str) -> Json:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _identity_env(workflow: str) -> list[Json]:
    return [
        _field("ARGO_POD_NAME", "metadata.name"),
        _field("ARGO_POD_UID", "metadata.uid"),
        _value("ARGO_WORKFLOW_NAME", workflow),
        _value("ARGO_WORKFLOW_UID", "5d0a3f4e-0000-4000-8000-000000000002"),
    ]


def _common_env(node: str, workflow: str, has_result: bool) -> list[Json]:
    return [
        _value("ARGO_NODE_ID", node),
        _value("ARGO_INCLUDE_SCRIPT_OUTPUT", "true" if has_result else "false"),
        _value("ARGO_DEADLINE", NO_DEADLINE),
        _value("ARGO_WORKFLOW_NAME", workflow),
        _value("ARGO_PROGRESS_FILE", "/var/run/argo/progress"),
        _value("ARGO_PROGRESS_PATCH_TICK_DURATION", "1m0s"),
        _value("ARGO_PROGRESS_FILE_TICK_DURATION", "3s"),
    ]


def _executor(
    name: str, options: list[str], env: list[Json], mounts: list[Json], template: str = ""
) -> Json:
    env = [*env, _value("ARGO_CONTAINER_NAME", name)]
    if template:
        env.append(_value("ARGO_TEMPLATE", template))
    return {
        "name": name,
        "image": EXECUTOR_IMAGE,
        "command": ["argoexec", name, *options],
        "env": env,
        "resources": RESOURCES,
        "volumeMounts": mounts,
    }


def _main(template: Json, options: list[str], env: list[Json], mounts: list[Json]) -> Json:
    user = template.get("script") or template["container"]
    args = list(user.get("args", []))
    if "script" in template:
        args.append(SCRIPT_PATH)
    wrapper = ["/var/run/argo/argoexec", "emissary", *options, "--"]
    return {
        "name": "main",
        "image": user["image"],
        "command": wrapper + user["command"],
        "args": args,
        "env": [*user.get("env", []), *env, _value("ARGO_CONTAINER_NAME", "main")],
        "resources": user.get("resources", {}),
        "volumeMounts": mounts,
    }


def _mount(volume: str, path: str, **fields: Any) -> Json:
    return {"name": volume, "mountPath": path, **fields}


def _secrets(value: Any) -> dict[str, set[str]]:
    """Secret -> keys, of every reference below value."""
    found: dict[str, set[str]] = {}
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("accessKeySecret", "secretKeySecret"):
                found.setdefault(item["name"], set()).add(item["key"])
            else:
                for name, keys in _secrets(item).items():
                    found.setdefault(name, set()).update(keys)
    return found


class _Layout:
    """Volumes and mounts of one template."""

    def __init__(self, template: Json):
        self.user_mounts = (template.get("script") or template["container"]).get("volumeMounts", [])
        self.inputs = template.get("inputs", {}).get("artifacts", [])
        self.secrets = _secrets(template)
        self.is_script = "script" in template
        self.shared = [
            *(_mount(name, f"/argo/secret/{name}", readOnly=True) for name in self.secrets),
            *self._everywhere(),
        ]

    @staticmethod
    def _everywhere() -> list[Json]:
        return [
            _mount("var-run-argo", "/var/run/argo"),
            _mount("kube-api-access", TOKEN_PATH, readOnly=True),
        ]

    def _in_volume(self, path: str) -> bool:
        return any(f"{path}/".startswith(f"{m['mountPath']}/") for m in self.user_mounts)

    def _main_own(self) -> list[Json]:
        """What main mounts beside the folders that every container has."""
        mounts = list(self.user_mounts)
        for artifact in self.inputs:
            if not self._in_volume(artifact["path"]):
                sub_path = artifact["name"]
                mounts.append(_mount("input-artifacts", artifact["path"], subPath=sub_path))
        if self.is_script:
            mounts.append(_mount("argo-staging", "/argo/staging"))
        return mounts

    def init_mounts(self) -> list[Json]:
        mounts = list(self.shared)
        if self.is_script:
            mounts.append(_mount("argo-staging", "/argo/staging"))
        if self.inputs:
            mounts.append(_mount("input-artifacts", "/argo/inputs/artifacts"))
            mounts += [
                {**mount, "mountPath": "/mainctrfs" + mount["mountPath"]}
                for mount in self.user_mounts
            ]
        return mounts

    def wait_mounts(self) -> list[Json]:
        mirrored = [
            {**mount, "mountPath": "/mainctrfs" + mount["mountPath"], "readOnly": False}
            for mount in self._main_own()
        ]
        return [*self.shared, *mirrored, _mount("tmp-dir-argo", "/tmp", subPath="0")]

    def main_mounts(self) -> list[Json]:
        return [*self._main_own(), *self._everywhere()]

    def volumes(self) -> list[Json]:
        names = ["var-run-argo", "tmp-dir-argo"]
        names += [mount["name"] for mount in self.user_mounts]
        if self.inputs:
            names.append("input-artifacts")
        if self.is_script:
            names.append("argo-staging")
        volumes: list[Json] = [{"name": name, "emptyDir": {}} for name in names]
        for name, keys in self.secrets.items():
            items = [{"key": key, "path": key} for key in sorted(keys)]
            volumes.append({"name": name, "secret": {"secretName": name, "items": items}})
        namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
        root = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        sources = [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": root},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ]
        volumes.append({"name": "kube-api-access", "projected": {"sources": sources}})
        return volumes
