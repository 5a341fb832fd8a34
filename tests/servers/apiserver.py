"""A real kube-apiserver on an etcd of its own, and a proxy in front of it that breaks requests.

    with ApiServer(directory) as api:
        api.faults.add(verb="PATCH", count=1, action=refusal(500, "InternalError", "oh no"))
        run_a_pod(api.host, api.port, api.ca, api.token)
        api.history(node)              # every version of its task result

The way of a request: TLS that a pod trusts by `ca`, then fault_proxy.py, then the server's own TLS.
RBAC is on. `token` is a service account's, issued by the server, with create and patch on
workflowtaskresults and nothing else, which is all that a workflow's pod needs; add_gc_account() makes one
for artifact GC. Nothing of a server is
imitated: what is refused, merged, numbered and validated is its doing, with the definitions of Argo
Workflows 4.1.2 (tests/fixtures/crds). It is built by kubernetes_build.py.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.servers import certs, kubernetes_build, ports
from tests.servers.fault_proxy import FaultProxy
from tests.servers.faults import FaultTable
from tests.servers.kube_api import GC_GRANTS
from tests.servers.kube_status import GC_TASK
from tests.servers.proc import Process, ServerDied
from tests.servers.server import Server
from tests.servers.tls_front import TlsBack, TlsFront

DEFINITIONS = Path(__file__).resolve().parents[1] / "fixtures/crds"
GROUP = "argoproj.io"
RESULTS = "workflowtaskresults"
POD_VERBS = ("create", "patch")
# Loopback is refused as an address for others; this one is for documentation (RFC 5737).
ADVERTISED = "192.0.2.1"
START_SECONDS = 60
START_ATTEMPTS = 3

Json = dict[str, Any]


def unavailable() -> str:
    """Why it cannot run here; empty if it can. CI builds what is missing, so there it always can."""
    if kubernetes_build.is_built() or os.environ.get("CI"):
        return ""
    return "kube-apiserver is not built (python3 -m tests.servers.kubernetes_build)"


def refusal(status: int, reason: str = "", message: str = "", **headers: str) -> Json:
    """A fault's action: a Status object instead of the server's answer."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    fields = {**body, "reason": reason, "message": message}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {
        "kind": "status",
        "status": status,
        "body": json.dumps(fields),
        "headers": {"Content-Type": "application/json", **named},
    }


class ApiError(RuntimeError):
    """A refusal of what the test itself asked for."""


class _Cluster:
    """etcd and kube-apiserver, and what one must be to administer them."""

    def __init__(self, directory: Path):
        self.programs = kubernetes_build.build()
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.cert = certs.make(directory / "tls", certs.LOOPBACK_NAMES, "kubernetes")
        self.context = self.cert.client_context()
        self._admin_token = secrets.token_urlsafe(32)
        self._make_keys()
        self._processes: list[Process] = []
        for attempt in range(START_ATTEMPTS):
            try:
                self._start(directory / f"start-{attempt}")
                return
            except ServerDied:  # somebody else has taken a port between finding and binding it
                self.stop()
                if attempt == START_ATTEMPTS - 1:
                    raise
            except BaseException:
                self.stop()
                raise

    def _make_keys(self) -> None:
        """Of service accounts; and the administrator's token."""
        where = self.directory
        for argv in (
            ["genrsa", "-out", where / "sa.key", "2048"],
            ["rsa", "-in", where / "sa.key", "-pubout", "-out", where / "sa.pub"],
        ):
            subprocess.run(["openssl", *argv], check=True, capture_output=True)
        (where / "tokens.csv").write_text(f'{self._admin_token},admin,admin,"system:masters"\n')

    def _start(self, state: Path) -> None:
        state.mkdir(exist_ok=True)
        client, peer, self.port = ports.free_ports(3)
        store, member = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._run(
            state / "etcd.log",
            "etcd",
            f"--data-dir={state / 'etcd'}",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls={member}",
            f"--initial-advertise-peer-urls={member}",
            f"--initial-cluster=default={member}",
            "--log-level=warn",
            "--unsafe-no-fsync",
        ).wait_port(client, timeout=START_SECONDS)
        server = self._run(
            state / "apiserver.log",
            "kube-apiserver",
            f"--etcd-servers={store}",
            "--bind-address=127.0.0.1",
            f"--advertise-address={ADVERTISED}",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.directory / 'sa.pub'}",
            f"--service-account-signing-key-file={self.directory / 'sa.key'}",
            f"--tls-cert-file={self.cert.cert}",
            f"--tls-private-key-file={self.cert.key}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            # There is no controller that would make the secrets of service accounts.
            "--disable-admission-plugins=ServiceAccount",
            "--enable-priority-and-fairness=false",
            # Watches see everything that etcd still knows, not only what was cached since.
            "--watch-cache=false",
            "--profiling=false",
        )
        server.wait_ready(self._is_ready, START_SECONDS)

    def _run(self, log: Path, program: str, *options: str) -> Process:
        process = Process([self.programs / program, *options], log)
        self._processes.append(process)
        return process

    def _is_ready(self) -> bool:
        try:
            self.ask("GET", "/readyz")
        except (OSError, ApiError, http.client.HTTPException):
            return False
        return True

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=30)

    def ask(self, verb: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        """What the administrator is answered; ApiError for a refusal."""
        connection = self.connect()
        headers = {"Authorization": f"Bearer {self._admin_token}", "Content-Type": kind}
        try:
            data = None if body is None else json.dumps(body)
            connection.request(verb, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(f"{verb} {path}: {answer.status} {text.decode(errors='replace')}")
        return text

    def events(self, path: str, since: str) -> list[Json]:
        """Everything that has happened to the objects of PATH after version SINCE."""
        last = json.loads(self.ask("GET", path))["metadata"]["resourceVersion"]
        if int(last) <= int(since):
            return []
        connection = self.connect()
        found = []
        try:
            options = f"watch=true&allowWatchBookmarks=true&resourceVersion={since}&timeoutSeconds=1"
            headers = {"Authorization": f"Bearer {self._admin_token}"}
            connection.request("GET", f"{path}?{options}", headers=headers)
            with connection.getresponse() as stream:
                while line := stream.readline():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(f"watch {path}: {event['object']}")
                    if event["type"] != "BOOKMARK":
                        found.append(event)
                    if int(event["object"]["metadata"]["resourceVersion"]) >= int(last):
                        break
        finally:
            connection.close()
        return found

    def stop(self) -> None:
        while self._processes:
            self._processes.pop().stop()


class Objects:
    """The objects of one resource, as the administrator sees and makes them."""

    def __init__(self, cluster: _Cluster, resource: str):
        self._cluster = cluster
        self._resource = resource

    def create(self, namespace: str, body: Json) -> None:
        self._cluster.ask("POST", self._path(namespace), body)

    def get(self, namespace: str, name: str) -> Json:
        return json.loads(self._cluster.ask("GET", self._path(namespace, name)))

    def patch(self, namespace: str, name: str, patch: Json, subresource: str = "") -> None:
        path = self._path(namespace, name) + (f"/{subresource}" if subresource else "")
        self._cluster.ask("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, namespace: str, name: str = "") -> None:
        """One of them, or all."""
        self._cluster.ask("DELETE", self._path(namespace, name))

    def _path(self, namespace: str, name: str = "") -> str:
        path = f"/apis/{GROUP}/v1alpha1/namespaces/{namespace}/{self._resource}"
        return f"{path}/{name}" if name else path


class ApiServer(Server):
    """A cluster's API, running from the constructor to stop(), with one namespace and one account."""

    scheme = "https"

    def __init__(self, directory: Path, namespace: str = "argo"):
        self.directory = directory
        self.namespace = namespace
        self.host = "127.0.0.1"
        self._certificates = 0
        self._cluster = _Cluster(directory / "cluster")
        try:
            self._back = TlsBack(("127.0.0.1", self._cluster.port), self._cluster.context)
            self._proxy = FaultProxy(self._back.address)
            self._front = TlsFront(self._proxy.address, directory / "front")
            self.port = self._front.port
            self._set_up()
        except BaseException:
            self._cluster.stop()
            raise
        self.token = self.add_account("default")
        self.gc_tasks = Objects(self._cluster, GC_TASK.resource)
        self._since = "0"
        self.clear()

    @property
    def ca(self) -> Path:
        """Whom a pod must trust."""
        return self._front.cert.ca

    @property
    def refused_handshakes(self) -> int:
        """How many clients did not trust the server, or it them, since it was resumed."""
        return self._front.refused

    @property
    def faults(self) -> FaultTable:
        return self._proxy.faults

    def requests(self) -> list[Json]:
        """Every request that came to the proxy since the last clear(), oldest first."""
        return self._proxy.requests()

    def clear(self) -> None:
        """Forget objects, their history, requests and faults."""
        self._proxy.clear()
        self.gc_tasks.delete(self.namespace)
        self.ask("DELETE", self._results)
        listed = json.loads(self.ask("GET", self._results))
        self._since = listed["metadata"]["resourceVersion"]

    def history(self, name: str) -> list[Json]:
        """Every event of a task result since the last clear(), with the object after it."""
        events = self._cluster.events(self._results, self._since)
        return [event for event in events if event["object"]["metadata"]["name"] == name]

    def ask(self, verb: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        """Straight to the server, as its administrator; ApiError for a refusal."""
        return self._cluster.ask(verb, path, body, kind)

    def create(self, body: Json) -> None:
        """A task result, by somebody else."""
        self.ask("POST", self._results, body)

    def patch(self, name: str, patch: Json) -> None:
        """A change of a task result, by somebody else."""
        self.ask("PATCH", f"{self._results}/{name}", patch, "application/merge-patch+json")

    def delete(self, name: str) -> None:
        self.ask("DELETE", f"{self._results}/{name}")

    def add_account(self, name: str, verbs: tuple[str, ...] = POD_VERBS, seconds: int = 3600) -> str:
        """A token of a service account of its own, with VERBS on task results."""
        return self._add_account(name, {RESULTS: verbs} if verbs else {}, seconds)

    def add_gc_account(self, name: str, grants: Mapping[str, Iterable[str]] = GC_GRANTS) -> str:
        """The same for a pod of artifact GC, with GRANTS: verbs by resource."""
        return self._add_account(name, grants, 3600)

    def _add_account(self, name: str, grants: Mapping[str, Iterable[str]], seconds: int) -> str:
        rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        group = "rbac.authorization.k8s.io"
        rules = [
            {"apiGroups": [GROUP], "resources": [resource], "verbs": sorted(verbs)}
            for resource, verbs in grants.items()
        ]
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        role = {"kind": "Role", "name": name, "apiGroup": group}
        self.ask("POST", accounts, {"metadata": {"name": name}})
        self.ask("POST", f"{rights}/roles", {"metadata": {"name": name}, "rules": rules})
        binding = {"metadata": {"name": name}, "subjects": [subject], "roleRef": role}
        self.ask("POST", f"{rights}/rolebindings", binding)
        return self.new_token(name, seconds)

    def delete_account(self, name: str) -> None:
        """Its tokens end with it."""
        self.ask("DELETE", f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}")

    def new_token(self, name: str = "default", seconds: int = 3600) -> str:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{name}/token"
        request = {"spec": {"expirationSeconds": seconds}}
        return json.loads(self.ask("POST", path, request))["status"]["token"]

    def suspend(self) -> None:
        """An outage: connections end, new ones are refused, until resume()."""
        self._front.stop()

    def resume(self, has_new_authority: bool = False) -> None:
        """On the same port; with a certificate of another authority, if wanted (`ca` names it)."""
        self._certificates += has_new_authority
        place = self.directory / (f"front-{self._certificates}" if self._certificates else "front")
        self._front = TlsFront(self._proxy.address, place, port=self.port)

    def stop(self) -> None:
        for server in (self._front, self._proxy, self._back):
            server.stop()
        self._cluster.stop()

    @property
    def _results(self) -> str:
        return f"/apis/{GROUP}/v1alpha1/namespaces/{self.namespace}/{RESULTS}"

    def _set_up(self) -> None:
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        names = []
        for path in sorted(DEFINITIONS.glob("*.json")):
            definition = json.loads(path.read_text())
            names.append(definition["spec"]["names"]["plural"])
            self.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        for name in names:
            place = f"/apis/{GROUP}/v1alpha1/namespaces/{self.namespace}/{name}"
            ports.wait_until(lambda: self._is_served(place), place, START_SECONDS)

    def _is_served(self, path: str) -> bool:
        try:
            self.ask("GET", path)
        except ApiError:
            return False
        return True
