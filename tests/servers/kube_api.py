#!/usr/bin/env python3
"""A Kubernetes API for tests: WorkflowTaskResults and WorkflowArtifactGCTasks of Argo Workflows, and
faults on demand.

Which behaviour comes from where:

* TLS with a CA of its own, bearer tokens, 401: Kubernetes documentation, "Authenticating"
  (anonymous requests are off).
* 403 for whatever the identity has no verb for: "Using RBAC Authorization". A pod of a workflow has
  create and patch on workflowtaskresults in its namespace and nothing else; a pod of artifact GC has
  list and watch on workflowartifactgctasks and patch on workflowartifactgctasks/status.
* Status objects, resourceVersion, uid, generation, 409 AlreadyExists and Conflict, 404, 422:
  Kubernetes API conventions; a PATCH that names a metadata.resourceVersion is conditional on it.
* PATCH application/merge-patch+json: RFC 7386; a patch without effect makes no new version.
* pruning, defaults, validation: "Extend the Kubernetes API with CustomResourceDefinitions", with
  the schema of Argo Workflows 4.1.2 (tests/fixtures/crds).
* status as a subresource: "Extend the Kubernetes API with CustomResourceDefinitions", "Status
  subresource". labelSelector, limit and continue of lists: "Kubernetes API Concepts".
* fieldValidation=Ignore|Warn and the Warning header: "Kubernetes API Concepts", "Field
  validation"; RFC 7234 for the form of the header.
* 413 above 3 MiB: limit of the API server's request bodies. 500 "etcdserver: request is too
  large" above 1.5 MiB: etcd's documented default for --max-request-bytes.

Statuses, reasons and texts were compared with a kube-apiserver 1.34, request by request; only the
tails of messages about unparsable JSON differ. Left out on purpose: watch, JSON patch, server-side
apply, YAML, managedFields, strict field validation, dry runs, the discovery and health paths that
every real identity may read.

Run it: python3 tests/servers/kube_api.py --dir DIR writes DIR/{ca.crt,token,namespace,port,
kubeconfig} for the pod's identity and DIR/admin/{token,port} for the test; SIGTERM ends it.
The admin port speaks plain HTTP and JSON: GET /requests, /objects, /history?name=N; GET, POST and
DELETE /faults; POST /rotate-token, /clear.
"""

import argparse
import json
import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers import certs, kube_schema, kube_status
from tests.servers.admin import AdminServer
from tests.servers.faults import FaultTable
from tests.servers.kube_http import BODY_LIMIT_BYTES, FAULT_ACTIONS, Answer, Request, TlsHttpServer
from tests.servers.kube_status import GC_TASK, GROUP, TASK_RESULT
from tests.servers.kube_store import Store

CRDS = Path(__file__).resolve().parents[1] / "fixtures/crds"
SERVER_NAMES = (*certs.LOOPBACK_NAMES, "kubernetes.default.svc", "kubernetes.default")
RESOURCE_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?/?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
PATCH_TYPE = "application/merge-patch+json"
ACCEPTED_PATCHES = f"application/json-patch+json, {PATCH_TYPE}, application/apply-patch+yaml"
ACCEPTED_BODIES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
POD_VERBS = frozenset(("create", "patch"))
POD_GRANTS = {TASK_RESULT.resource: POD_VERBS}
GC_GRANTS = {
    GC_TASK.resource: frozenset(("list", "watch")),
    f"{GC_TASK.resource}/status": frozenset(("patch",)),
}

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: tests
  cluster:
    server: {server}
    certificate-authority: {ca}
users:
- name: pod
  user:
    token: {token}
contexts:
- name: tests
  context:
    cluster: tests
    user: pod
    namespace: {namespace}
current-context: tests
"""


@dataclass(frozen=True)
class Identity:
    """Who a token belongs to, and verbs by resource; GRANTS None is everything everywhere."""

    user: str
    namespace: str
    grants: Mapping[str, frozenset[str]] | None

    def may(self, verb: str, target: "Target") -> bool:
        if self.grants is None:
            return True
        ours = target.group == GROUP and target.namespace == self.namespace
        return ours and verb in self.grants.get(target.resource, ())


@dataclass(frozen=True)
class Target:
    """What the path of a request names."""

    group: str
    version: str
    resource: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, path: str) -> "Target | None":
        found = RESOURCE_PATH.fullmatch(path)
        if not found:
            return None
        part = {key: unquote(value or "") for key, value in found.groupdict().items()}
        resource = part["resource"] + (f"/{part['subresource']}" if part["subresource"] else "")
        version = part["core"] or part["version"]
        if not part["group"] and resource == "namespaces":
            part["namespace"] = part["name"]
        return cls(part["group"], version, resource, part["namespace"], part["name"])

    @property
    def kind(self) -> str:
        """The resource without its subresource."""
        return self.resource.partition("/")[0]

    @property
    def subresource(self) -> str:
        return self.resource.partition("/")[2]


class KubeApi:
    """The server, running from the constructor to stop(); also a context manager."""

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        admin_port: int = 0,
        namespace: str = "argo",
        service_account: str = "default",
    ):
        self.directory = directory
        self.host = host
        self.namespace = namespace
        self.store, self.gc_tasks = (
            Store(kube_schema.load(CRDS / f"{kind.resource}.json"), kind)
            for kind in (TASK_RESULT, GC_TASK)
        )
        self.faults = FaultTable(FAULT_ACTIONS)
        self._lock = threading.Lock()
        self._identities: dict[str, Identity] = {}
        (directory / "admin").mkdir(parents=True, exist_ok=True)
        tls = certs.make(directory / "admin/tls", SERVER_NAMES, "kubernetes")
        self._context = tls.server_context()
        self._server = self._listen(port)
        self.port = self._server.server_address[1]
        self.url = f"https://{f'[{host}]' if ':' in host else host}:{self.port}"
        self.admin = AdminServer(self._admin_routes(), admin_port)
        self.admin_token = self._issue(Identity("admin", "", None))
        self.ca = directory / "ca.crt"
        self.ca.write_bytes(tls.ca.read_bytes())
        self.token_file = directory / "token"
        self.kubeconfig = directory / "kubeconfig"
        self._user = f"system:serviceaccount:{namespace}:{service_account}"
        self.token = ""
        self.rotate_token()
        (directory / "namespace").write_text(namespace)
        (directory / "admin/token").write_text(self.admin_token)
        (directory / "admin/port").write_text(f"{self.admin.port}\n")
        # Last: who waits for the port may read everything else.
        _replace(directory / "port", f"{self.port}\n")

    def __enter__(self) -> "KubeApi":
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        """What the kubelet puts into every container."""
        return {"KUBERNETES_SERVICE_HOST": self.host, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def requests(self) -> list[dict[str, Any]]:
        """Every request since the last clear(), oldest first."""
        return self._server.requests()

    def history(self, name: str) -> list[dict[str, Any]]:
        """Every event of a task result since the last clear(), with the object after it."""
        return self.store.history(name)

    def clear(self) -> None:
        """Forget objects, history, requests and faults; tokens stay."""
        self.store.clear()
        self.gc_tasks.clear()
        self.faults.clear()
        self._server.clear_requests()

    def add_account(self, namespace: str, name: str, verbs: frozenset[str] = POD_VERBS) -> str:
        """A token of one more service account, with VERBS on workflowtaskresults."""
        return self._account(namespace, name, {TASK_RESULT.resource: verbs})

    def add_gc_account(
        self, name: str, grants: Mapping[str, frozenset[str]] = MappingProxyType(GC_GRANTS)
    ) -> str:
        """A token of a service account of artifact GC, in the pod's namespace."""
        return self._account(self.namespace, name, grants)

    def rotate_token(self, revoke: bool = True) -> str:
        """Put a new token into the token file; the old one ends at once, unless not to REVOKE."""
        old, self.token = self.token, self._issue(Identity(self._user, self.namespace, POD_GRANTS))
        if revoke:
            with self._lock:
                self._identities.pop(old, None)
        fields = {"server": self.url, "ca": self.ca.resolve(), "token": self.token}
        _replace(self.kubeconfig, KUBECONFIG.format(namespace=self.namespace, **fields))
        _replace(self.token_file, self.token)
        return self.token

    def suspend(self) -> None:
        """An outage: connections end, new ones are refused, until resume()."""
        self._server.stop()

    def resume(self) -> None:
        """Listen again on the same port; the request record begins anew."""
        self._server = self._listen(self.port)

    def stop(self) -> None:
        self._server.stop()
        self.admin.stop()

    def _listen(self, port: int) -> TlsHttpServer:
        address = (self.host, port)
        return TlsHttpServer(address, self._context, self.faults, self._process, self._other_writer)

    def _account(self, namespace: str, name: str, grants: Mapping[str, frozenset[str]]) -> str:
        user = f"system:serviceaccount:{namespace}:{name}"
        return self._issue(Identity(user, namespace, grants))

    def _store_of(self, target: Target) -> Store | None:
        """What serves a target; None if nothing does."""
        for store in (self.store, self.gc_tasks):
            if (target.group, target.version, target.kind) == (
                GROUP,
                "v1alpha1",
                store.kind.resource,
            ):
                if target.subresource in ("", *(["status"] if store.kind.has_status else [])):
                    return store
        return None

    def _issue(self, identity: Identity) -> str:
        token = secrets.token_urlsafe(48)
        with self._lock:
            self._identities[token] = identity
        return token

    def _admin_routes(self) -> dict[str, Any]:
        def add_faults(_query: dict[str, str], body: Any) -> Any:
            for rule in body if isinstance(body, list) else [body]:
                self.faults.add(**rule)
            return self.faults.as_json()

        return {
            "GET /requests": lambda query, body: self.requests(),
            "GET /objects": lambda query, body: self.store.list_all()["items"],
            "GET /history": lambda query, body: self.store.history(query.get("name", "")),
            "GET /faults": lambda query, body: self.faults.as_json(),
            "POST /faults": add_faults,
            "DELETE /faults": lambda query, body: self.faults.clear(),
            "POST /rotate-token": lambda query, body: self.rotate_token(),
            "POST /clear": lambda query, body: self.clear(),
        }

    def _other_writer(self, request: Request, patch: Any) -> None:
        """Change the object that REQUEST is about, as a controller could in the same moment."""
        target = Target.parse(urlsplit(request.path).path)
        store = self._store_of(target) if target else None
        if target and target.name and store:
            store.patch(target.namespace, target.name, patch, target.subresource)

    def _process(self, request: Request) -> Answer:
        try:
            return self._route(request)
        except kube_status.ApiError as error:
            return Answer.of_json(error.code, error.body())

    def _authenticate(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            identity = self._identities.get(token.strip()) if scheme.lower() == "bearer" else None
        if identity is None:
            raise kube_status.unauthorized()
        return identity

    def _route(self, request: Request) -> Answer:
        identity = self._authenticate(request)
        url = urlsplit(request.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        target = Target.parse(url.path)
        if target is None:
            if identity.grants is None:
                raise kube_status.no_such_path()
            raise kube_status.forbidden_path(identity.user, request.verb.lower(), url.path)
        verb = _verb(request.verb, target, query)
        if not identity.may(verb, target):
            where = (target.group, target.resource, target.namespace, target.name)
            raise kube_status.forbidden(identity.user, verb, *where)
        store = self._store_of(target)
        if not store:
            raise kube_status.no_such_path()
        return self._serve(store, verb, target, query, request)

    def _serve(
        self, store: Store, verb: str, target: Target, query: dict[str, str], request: Request
    ) -> Answer:
        if not _accepts_json(request.headers.get("accept", "*/*")):
            raise kube_status.not_acceptable(ACCEPTED_BODIES)
        where = (target.namespace, target.name)
        match verb:
            case "create" if not target.name and target.namespace:
                if request.content_type not in ("", "application/json"):
                    raise kube_status.unsupported_media_type(ACCEPTED_BODIES)
                unrecognized = (
                    f"the object provided is unrecognized (must be of type {store.kind.name}): "
                )
                body = _json_body(
                    request, f"{unrecognized}couldn't get version/kind; json parse error: "
                )
                if not body.get("kind"):
                    text = f"{unrecognized}Object 'Kind' is missing in '{request.body.decode()}'"
                    raise kube_status.bad_request(text)
                return _written(201, query, *store.create(target.namespace, body))
            case "patch" if target.name:
                if request.content_type != PATCH_TYPE:
                    raise kube_status.unsupported_media_type(ACCEPTED_PATCHES)
                body = _json_body(request, "error decoding patch: ")
                patched = store.patch(*where, body, target.subresource)
                return _written(200, query, *patched)
            case "get":
                return Answer.of_json(200, store.get(*where))
            case "list":
                labels = _labels(query.get("labelSelector", ""))
                after, limit = query.get("continue", ""), int(query.get("limit", "0"))
                return Answer.of_json(200, store.list_all(target.namespace, labels, limit, after))
            case "delete":
                return Answer.of_json(200, store.delete(*where))
            case _:
                raise kube_status.method_not_allowed()


def _replace(path: Path, text: str) -> None:
    """Readers see the old file or the new one, as with a projected volume."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def _labels(selector: str) -> dict[str, str]:
    """The equalities of a label selector."""
    pairs = [item.partition("=") for item in selector.split(",") if item]
    return {name.strip(): value.lstrip("=").strip() for name, _, value in pairs}


def _verb(method: str, target: Target, query: dict[str, str]) -> str:
    """The RBAC verb of a request, "Authorization Overview", "Determine the request verb"."""
    if method in ("GET", "HEAD"):
        if target.name:
            return "get"
        return "watch" if query.get("watch") in ("true", "1") else "list"
    if method == "DELETE":
        return "delete" if target.name else "deletecollection"
    return VERBS.get(method, method.lower())


def _accepts_json(accept: str) -> bool:
    types = [item.partition(";")[0].strip().lower() for item in accept.split(",")]
    return any(item in ("*/*", "application/*", "application/json") for item in types)


def _go_number(text: str) -> int | float:
    """As Go decodes for unstructured objects: int64 where the value is one, else a double."""
    number = float(text)
    if text.lstrip("-").isdigit():
        return int(text) if -(2**63) <= int(text) < 2**63 else number
    return int(number) if number.is_integer() and abs(number) < 2**63 else number


def _json_body(request: Request, prefix: str) -> dict[str, Any]:
    """The body as an object; PREFIX begins the message of a refusal."""
    if request.too_large:
        raise kube_status.too_large(BODY_LIMIT_BYTES)
    try:
        body = json.loads(request.body, parse_int=_go_number, parse_float=_go_number)
    except (ValueError, RecursionError) as error:
        raise kube_status.bad_request(f"{prefix}{error}") from None
    if not isinstance(body, dict):
        found = kube_schema.type_name(body)
        text = f"json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        raise kube_status.bad_request(prefix + text)
    return body


def _written(status: int, query: dict[str, str], obj: Any, dropped: list[str]) -> Answer:
    if query.get("fieldValidation") == "Ignore":
        dropped = []
    warnings = [("Warning", f'299 - "unknown field \\"{path}\\""') for path in dropped]
    return Answer.of_json(status, obj, tuple(warnings))


def main() -> int:
    parser = argparse.ArgumentParser(description="A Kubernetes API for tests.")
    parser.add_argument("--dir", type=Path, required=True, help="where to write what clients need")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--admin-port", type=int, default=0)
    parser.add_argument("--namespace", default="argo")
    parser.add_argument("--service-account", default="default")
    args = vars(parser.parse_args())
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: done.set())
    with KubeApi(args.pop("dir"), **args) as api:
        print(f"serving {api.url}, admin port {api.admin.port}", flush=True)
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
