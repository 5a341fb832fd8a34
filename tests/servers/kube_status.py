"""Failures of the Kubernetes API as meta/v1 Status objects.

Reasons, codes, message texts and details follow the Kubernetes API conventions ("Response status
kind") and the texts that a kube-apiserver 1.34 was seen to answer.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.servers.kube_schema import Cause

GROUP = "argoproj.io"


@dataclass(frozen=True)
class Kind:
    """A custom resource of Argo Workflows."""

    name: str
    resource: str
    has_status: bool = False  # as a resource of its own

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{GROUP}"


TASK_RESULT = Kind("WorkflowTaskResult", "workflowtaskresults")
GC_TASK = Kind("WorkflowArtifactGCTask", "workflowartifactgctasks", has_status=True)


class ApiError(Exception):
    """A request that the API refuses."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(name: str, kind: str) -> dict[str, Any]:
    return {**({"name": name} if name else {}), "group": GROUP, "kind": kind}


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden_path(user: str, verb: str, path: str) -> ApiError:
    """Refusal of a path that names no resource."""
    text = f'forbidden: User "{user}" cannot {verb} path "{path}"'
    return ApiError(403, "Forbidden", text, {})


def forbidden(
    user: str, verb: str, group: str, resource: str, namespace: str, name: str
) -> ApiError:
    """Refusal by RBAC; RESOURCE may be "resource/subresource"."""
    kind = resource.partition("/")[0]
    qualified = f"{kind}.{group}" if group else kind
    if name:
        qualified += f' "{name}"'
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    text = f'User "{user}" cannot {verb} resource "{resource}" in API group "{group}" {where}'
    details = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in details.items() if value}
    return ApiError(403, "Forbidden", f"{qualified} is forbidden: {text}", details)


def not_found(name: str, kind: Kind) -> ApiError:
    return ApiError(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(name, kind.resource))


def no_such_path() -> ApiError:
    text = "the server could not find the requested resource"
    return ApiError(404, "NotFound", text, {})


def already_exists(name: str, kind: Kind) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', _details(name, kind.resource))


def conflict(name: str, kind: Kind, cause: str = "") -> ApiError:
    """A precondition did not hold; without CAUSE, the object is newer than the request thought."""
    modified = (
        "the object has been modified;"
        " please apply your changes to the latest version and try again"
    )
    text = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {cause or modified}'
    return ApiError(409, "Conflict", text, _details(name, kind.resource))


def method_not_allowed() -> ApiError:
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text, {})


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def bad_patch(result: str, problem: str) -> ApiError:
    """The patched object does not fit the Go types of its metadata."""
    cause = Cause("FieldValueInvalid", f"Invalid value: {json.dumps(result)}: {problem}", "patch")
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field}]
    text = f' "" is invalid: patch: {cause.message}'
    return ApiError(422, "Invalid", text, {"causes": listed})


def unsupported_media_type(accepted: str) -> ApiError:
    text = "the body of the request was in an unknown format - accepted media types include: "
    return ApiError(415, "UnsupportedMediaType", text + accepted)


def not_acceptable(accepted: str) -> ApiError:
    text = f"only the following media types are accepted: {accepted}"
    return ApiError(406, "NotAcceptable", text)


def too_large(limit: int) -> ApiError:
    text = f"Request entity too large: limit is {limit}"
    return ApiError(413, "RequestEntityTooLarge", text)


def etcd_too_large() -> ApiError:
    return ApiError(500, "", "etcdserver: request is too large")


def etcd_message_too_large(size: int, limit: int) -> ApiError:
    """The API server's own etcd client refuses before etcd does."""
    text = "rpc error: code = ResourceExhausted desc = trying to send message larger than max"
    return ApiError(500, "", f"{text} ({size} vs. {limit})")


def invalid_resource(name: str, kind: Kind, cause: Cause) -> ApiError:
    """422 of the storage layer, which speaks of the resource and not of the kind."""
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field}]
    text = f'{kind.qualified} "{name}" is invalid: {cause.field}: {cause.message}'
    return ApiError(422, "Invalid", text, {**_details(name, kind.resource), "causes": listed})


def invalid(name: str, causes: list[Cause], kind: str) -> ApiError:
    """422; one cause reads "field: message", several read "[a, b]"."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    text = f'{kind}.{GROUP} "{name}" is invalid: {joined}'
    listed = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return ApiError(422, "Invalid", text, {**_details(name, kind), "causes": listed})
