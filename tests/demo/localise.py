"""Makes a pod from anywhere run here: its S3 locations become those of the demo's store."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.lab import Lab, node_of
from tests.pod import shift_deadlines

_CREDENTIALS = ("accessKeySecret", "secretKeySecret")


def _locations(value: Any) -> list[dict[str, Any]]:
    """Every S3 location below value."""
    if isinstance(value, list):
        return [found for item in value for found in _locations(item)]
    if not isinstance(value, dict):
        return []
    own = [value["s3"]] if isinstance(value.get("s3"), dict) else []
    return own + [found for item in value.values() for found in _locations(item)]


def localise(pod: dict[str, Any], lab: Lab) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The pod for the lab's servers, and the secrets that it refers to. Makes the buckets."""
    pod = copy.deepcopy(pod)
    secrets: dict[str, dict[str, str]] = {}
    keys = dict(zip(_CREDENTIALS, (lab.s3.access_key, lab.s3.secret_key)))
    spec = pod["spec"]
    for container in spec.get("initContainers", []) + spec["containers"]:
        for entry in container.get("env", []):
            if entry["name"] != "ARGO_TEMPLATE" or not entry.get("value", "").startswith("{"):
                continue
            template = json.loads(entry["value"])
            for location in _locations(template):
                if "endpoint" in location:
                    location.update(endpoint=lab.s3.endpoint, insecure=True)
                if location.get("bucket"):
                    lab.s3.create_bucket(location["bucket"])
                for kind, value in keys.items():
                    if kind in location:
                        name, key = location[kind]["name"], location[kind]["key"]
                        secrets.setdefault(name, {})[key] = value
            entry["value"] = json.dumps(template)
    if "creationTimestamp" in pod["metadata"]:
        shift_deadlines(pod)
    return pod, secrets


def node_id(pod: dict[str, Any]) -> str:
    """The name of the pod's task result; the pod's own where it carries no node id."""
    try:
        return node_of(pod)
    except KeyError:
        return pod["metadata"]["name"]
