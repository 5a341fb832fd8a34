"""Clients of the control socket that can also misbehave, and pods that serve it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import ROOT, SECRET, Lab
from tests.layout import pod_for
from tests.pod import PodRunner
from tests.servers.certs import ServerCert, make

# Says so at SIGTERM, and ends; "stubborn" does not end.
POLITE = "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.02; done"
STUBBORN = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done"
CONT = 18  # a signal that does nothing to a running process
TOKEN = "a-token-of-the-tests-0123456789"
MOUNT = "/argo-control"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Control:
    """Speaks to <directory>/control.sock."""

    headers = ""  # of every request, each with its line's end

    def __init__(self, directory: str | Path):
        self.directory = os.open(directory, os.O_PATH | os.O_DIRECTORY)

    def close(self) -> None:
        os.close(self.directory)

    def connect(self, timeout: float = 10) -> socket.socket:
        """A connection; through the descriptor, because paths of sockets are short."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        path = f"/proc/self/fd/{self.directory}/control.sock"
        deadline = time.monotonic() + timeout
        while True:
            try:
                sock.connect(path)
                return sock
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def raw(self, data: bytes) -> bytes:
        """Sends bytes as they are; everything that comes back until the server closes."""
        with self.connect() as sock:
            try:
                sock.sendall(data)
            except OSError:
                pass  # refused before it was all sent
            answer = b""
            try:
                while chunk := sock.recv(65536):
                    answer += chunk
            except (ConnectionResetError, ssl.SSLEOFError):
                pass  # closed with something unread
            return answer

    def http(self, text: str, body: bytes = b"") -> bytes:
        """A request as it goes over the wire: lines of TEXT, the headers that belong, BODY."""
        return (text + "\n").replace("\n", "\r\n").encode() + self.headers.encode() + b"\r\n" + body

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        text = b"" if body is None else body if isinstance(body, bytes) else encode(body)
        head = f"{method} {path} HTTP/1.1\nHost: x\nContent-Length: {len(text)}\nConnection: close"
        return parse(self.raw(self.http(head, text)))

    def terminate(self, **body: Any) -> Answer:
        return self.ask("POST", "/v1/terminate", body)

    def status(self) -> Any:
        answer = self.ask("GET", "/v1/status")
        assert answer.status == 200, answer
        return answer.json()

    def container(self, name: str = "main") -> Any:
        return next(item for item in self.status()["containers"] if item["name"] == name)

    def wait_for(self, key: str, value: str, name: str = "main", seconds: float = 15) -> Any:
        deadline = time.monotonic() + seconds
        while (item := self.container(name))[key] != value:
            assert time.monotonic() < deadline, item
            time.sleep(0.02)
        return item


class RemoteControl(Control):
    """The same by TCP, with a token (None: without), and by TLS if there is a certificate."""

    def __init__(
        self, address: tuple[str, int], token: str | None = TOKEN, cert: ServerCert | None = None
    ):
        self.address = address
        self.headers = "" if token is None else f"Authorization: Bearer {token}\r\n"
        self.context = cert.client_context() if cert else None
        self.server_name = address[0]
        self.source: tuple[str, int] | None = None

    def close(self) -> None:
        """Nothing is held open."""

    def connect_plain(self, timeout: float = 10) -> socket.socket:
        sock = socket.create_connection(self.address, timeout, self.source)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def connect(self, timeout: float = 10) -> socket.socket:
        sock = self.connect_plain(timeout)
        if self.context is None:
            return sock
        return self.context.wrap_socket(sock, server_hostname=self.server_name)


class KeepAlive:
    """One connection, many requests."""

    def __init__(self, control: Control):
        self.headers = control.headers
        self.sock = control.connect()
        self.reader = self.sock.makefile("rb")

    def __enter__(self) -> KeepAlive:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.reader.close()
        self.sock.close()

    def send(self, method: str, path: str, body: Any = None) -> None:
        text = b"" if body is None else encode(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n"
        self.sock.sendall((head + self.headers + "\r\n").encode() + text)

    def receive(self) -> Answer:
        status = int(self.reader.readline().split()[1])
        headers = {}
        while line := self.reader.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, self.reader.read(int(headers["content-length"])))

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        self.send(method, path, body)
        return self.receive()


class Watcher:
    """GET /v1/events."""

    def __init__(self, control: Control, path: str = "/v1/events"):
        self.sock = control.connect()
        self.reader = self.sock.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"{control.headers}\r\n".encode()
        )
        self.status = self.reader.readline()
        self.headers = b""
        while (line := self.reader.readline()).strip():
            self.headers += line

    def close(self) -> None:
        self.reader.close()
        self.sock.close()

    def next(self) -> Any:
        """The next event; None at the end."""
        head = self.reader.read(2)
        if len(head) < 2 or head[0] != 0x81:
            return None
        size = head[1]
        if size == 126:
            size = int.from_bytes(self.reader.read(2), "big")
        return json.loads(self.reader.read(size))


def encode(body: Any) -> bytes:
    return json.dumps(body).encode()


def parse(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Answer(int(status.split()[1]), headers, body)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def burst(control: Control, clients: int, requests: int) -> tuple[list[float], list[str]]:
    """Milliseconds and outcomes of stop requests from several connections at once."""
    latencies: list[float] = []
    outcomes: list[str] = []

    def client() -> None:
        with KeepAlive(control) as connection:
            for _ in range(requests):
                started = time.monotonic()
                body = {"signal": 15, "graceSeconds": 600}
                answer = connection.ask("POST", "/v1/terminate", body)
                latencies.append((time.monotonic() - started) * 1000)
                assert answer.status == 202, answer
                outcomes.append(answer.json()["outcome"])

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, outcomes


# --- what the document says -----------------------------------------------------------------

_TYPES = {"object": dict, "array": list, "string": str, "integer": int}


def check_schema(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """The few words of JSON Schema that docs/control-openapi.json uses."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]]
    assert isinstance(value, _TYPES[schema["type"]]), (value, schema)
    assert "enum" not in schema or value in schema["enum"], (value, schema)
    assert "pattern" not in schema or re.search(schema["pattern"], value), (value, schema)
    if schema["type"] == "array":
        for item in value:
            check_schema(item, schema["items"], schemas)
    if schema["type"] == "object":
        assert set(schema.get("required", [])) <= set(value), (value, schema)
        assert set(value) <= set(schema["properties"]), (value, schema)
        for key, item in value.items():
            check_schema(item, schema["properties"][key], schemas)


def documented_schemas() -> dict[str, Any]:
    document = json.loads((ROOT / "docs/control-openapi.json").read_text())
    return document["components"]["schemas"]


# --- pods ---------------------------------------------------------------------------------


def template(
    lab: Lab,
    script: str,
    outputs: list[dict[str, Any]] | None = None,
    inputs: list[dict[str, Any]] | None = None,
    endpoint: str | None = None,
) -> dict[str, Any]:
    image = {"name": "", "image": "busybox:1.36", "command": ["sh", "-c"], "args": [script]}
    location = {
        "s3": {
            "endpoint": endpoint or f"minio:{lab.s3.port}",
            "bucket": "my-bucket",
            "insecure": True,
            "accessKeySecret": {"name": SECRET, "key": "accesskey"},
            "secretKeySecret": {"name": SECRET, "key": "secretkey"},
            "key": "control/pod",
        }
    }
    return {
        "name": "t",
        "inputs": {"artifacts": inputs or []},
        "outputs": {"artifacts": outputs or []},
        "metadata": {},
        "container": image,
        "archiveLocation": location,
    }


def wait_log(runner: PodRunner, text: str, container: str = "main") -> None:
    deadline = time.monotonic() + 20
    while text not in runner.log(container):
        assert time.monotonic() < deadline, runner.log("main") + runner.log("wait")
        time.sleep(0.005)


def end(runner: PodRunner) -> int | None:
    """Main's exit code; wait must have ended well."""
    containers = runner.wait(120).containers
    assert containers["wait"].exit_code == 0, runner.log("wait")
    return containers["main"].exit_code


@contextmanager
def serving(lab: Lab, manifest: dict[str, Any], **options: Any) -> Iterator[tuple[PodRunner, Control]]:
    """The pod, from the moment when its main is ready."""
    with lab.runner(manifest, **options) as runner:
        runner.start()
        assert runner.wait_state("main", "running", 20), runner.log("init")
        control = Control(runner.volume_path("var-run-argo"))
        try:
            wait_log(runner, "ready")
            yield runner, control
        finally:
            control.close()
            runner.stop(0)


def listening(
    lab: Lab, manifest: dict[str, Any], address: str, cert: ServerCert | None = None, **env: str
) -> dict[str, Any]:
    """The manifest and options of a pod whose `wait` listens on ADDRESS too."""
    values = {"token": TOKEN + "\n"}
    variables = {
        "ARGOEXEC_CONTROL_LISTEN": address,
        "ARGOEXEC_CONTROL_TOKEN_FILE": f"{MOUNT}/token",
    }
    if cert:
        values |= {"tls.crt": cert.cert.read_text(), "tls.key": cert.key.read_text()}
        variables["ARGOEXEC_CONTROL_TLS_CERT_FILE"] = f"{MOUNT}/tls.crt"
        variables["ARGOEXEC_CONTROL_TLS_KEY_FILE"] = f"{MOUNT}/tls.key"
    variables |= env
    wait = manifest["spec"]["containers"][0]
    assert wait["name"] in ("wait", "supervisor")
    wait["env"] += [{"name": name, "value": value} for name, value in variables.items() if value]
    wait["volumeMounts"].append({"name": "control", "mountPath": MOUNT})
    manifest["spec"]["volumes"].append({"name": "control", "secret": {"secretName": "control"}})
    secrets = {SECRET: {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key}}
    return {"manifest": manifest, "secrets": secrets | {"control": values}}


def listening_pod(
    lab: Lab, script: str, address: str = "127.0.0.1:0", cert: ServerCert | None = None, **env: str
) -> dict[str, Any]:
    manifest = pod_for(template(lab, script), "wf", "wf-control")
    return listening(lab, manifest, address, cert, **env)


def address_of(runner: PodRunner, container: str = "wait") -> tuple[str, int]:
    """Where it listens, by its log."""
    wait_log(runner, "Listening for control requests", container)
    found = re.search(r'address="?\[?([0-9a-f.:]+?)\]?:(\d+)[" ]', runner.log(container))
    assert found, runner.log(container)
    return found[1], int(found[2])


def burst_while_uploading(
    lab: Lab, directory: Path, way: str, mib: int, endpoint: str | None = None
) -> list[float]:
    """Milliseconds of 1,000 requests from 10 clients while a pod uploads a file of that many MiB. None
    is missing in the count, and what is stored is what the pod had."""
    big = {"name": "big", "path": "/tmp/big", "archive": {"none": {}}, "s3": {"key": "control/big"}}
    make_it = f"dd if=/dev/urandom of=/tmp/big bs=1M count={mib} 2>/dev/null"
    script = f"echo ready; {make_it}; echo sum=$(sha256sum </tmp/big)"
    cert = make(directory) if way == "tls" else None
    manifest = pod_for(template(lab, script, [big], endpoint=endpoint), "wf", "wf-control")
    with serving(lab, **listening(lab, manifest, "127.0.0.1:0", cert)) as (runner, local):
        control = local if way == "unix" else RemoteControl(address_of(runner), cert=cert)

        def state() -> str:
            return control.status()["artifacts"][0]["state"]

        while state() == "planned":
            time.sleep(0.02)
        latencies, outcomes = burst(control, 10, 100)
        assert state() == "sending", "the upload was over too soon"
        assert outcomes == ["late"] * 1000
        samples = control.ask("GET", "/metrics").body.decode()
        late = 'argoexec_termination_requests_total{source="control",outcome="late"}'
        assert f"{late} 1000\n" in samples
        assert end(runner) == 0
        log = runner.log("main")
    assert lab.objects("control/")["control/big"] == mib << 20
    assert f"sum={hashlib.sha256(lab.get('control/big')).hexdigest()}" in log
    return latencies
