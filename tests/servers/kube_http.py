"""The connection side of the test API server: HTTP/1.1 over TLS, with faults.

Knows nothing of objects: a request goes to a callable, and what comes back is sent, or lost, cut,
delayed as a rule of tests/servers/faults.py says. HTTP/1.1 as in RFC 9112.
"""

import json
import os
import select
import socket
import ssl
import struct
import threading
import time as clock
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.faults import FaultTable

# max(request body) of a kube-apiserver (--max-resource-write-bytes of its generic server config).
BODY_LIMIT_BYTES = 3 * 1024 * 1024
# What is read and thrown away after a refusal, so that the peer reads the answer and not a reset.
DRAIN_LIMIT_BYTES = 64 * 1024 * 1024

FAULT_ACTIONS = {
    # answer instead of processing: Status built from code, reason and message, or a literal body
    "status": {"status", "reason", "message", "body", "content_type", "headers"},
    # wait, then go on as usual
    "delay": {"seconds"},
    # RST when the head of the request is there, before its body is read
    "reset": set(),
    # process, then RST instead of an answer
    "lost": set(),
    # process, then send the head and the first bytes of the body (default half), then close
    "truncate": {"bytes"},
    # a 200 that is not JSON; processed says whether the request was carried out
    "garbage": {"body", "processed"},
    # never answer; processed says whether the request was carried out
    "stall": {"processed"},
    # another writer applies this merge patch (as admin) first, then go on as usual
    "concurrent_write": {"patch"},
}


@dataclass
class Request:
    """One request as it came, and what became of it."""

    connection: int
    verb: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    too_large: bool = False
    time: float = field(default_factory=clock.time)
    status: int | None = None
    fault: str | None = None

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def as_json(self) -> dict[str, Any]:
        try:
            body = json.loads(self.body) if self.body else None
        except ValueError:
            body = self.body.decode(errors="replace")
        return {
            "time": self.time,
            "connection": self.connection,
            "verb": self.verb,
            "path": self.path,
            "content_type": self.content_type,
            "user_agent": self.headers.get("user-agent", ""),
            "body": body,
            "status": self.status,
            "fault": self.fault,
        }


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    @classmethod
    def of_json(
        cls, status: int, value: Any, headers: tuple[tuple[str, str], ...] = ()
    ) -> "Answer":
        return cls(status, json.dumps(value, separators=(",", ":")).encode(), headers)


class Handler(BaseHTTPRequestHandler):
    """One connection; `server` is a TlsHttpServer."""

    protocol_version = "HTTP/1.1"
    server: "TlsHttpServer"

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()
        self.number = self.server.opened(self.request)

    def handle_any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.number, self.command, self.path, headers)
        action = self.server.faults.pick(self.command, self.path) or {}
        request.fault = action.get("kind")
        self.server.record(request)
        if request.fault == "reset":
            self._reset()
            return
        self._read_body(request)
        self._act(request, action)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def _act(self, request: Request, action: dict[str, Any]) -> None:
        match action.get("kind"):
            case "status":
                self._send(request, _fault_answer(action))
            case "lost":
                self.server.process(request)
                self._reset()
            case "truncate":
                answer = self.server.process(request)
                self._send(request, answer, action.get("bytes", len(answer.body) // 2))
            case "garbage":
                if action.get("processed"):
                    self.server.process(request)
                body = action.get("body", "<html>this is not the API</html>").encode()
                self._send(request, Answer(200, body, content_type="text/html"))
            case "stall":
                if action.get("processed"):
                    self.server.process(request)
                self._wait_for_close()
            case kind:
                if kind == "delay":
                    self.server.stopping.wait(action.get("seconds", 1.0))
                elif kind == "concurrent_write":
                    self.server.other_writer(request, action["patch"])
                self._send(request, self.server.process(request))

    def _read_body(self, request: Request) -> None:
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            chunks = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
                if sum(map(len, chunks)) > BODY_LIMIT_BYTES:
                    request.too_large = self.close_connection = True
                    return
            self.rfile.readline()
            request.body = b"".join(chunks)
            return
        size = int(request.headers.get("content-length") or 0)
        if size <= BODY_LIMIT_BYTES:
            request.body = self.rfile.read(size)
            return
        request.too_large = self.close_connection = True
        left = min(size, DRAIN_LIMIT_BYTES)
        while left and (piece := self.rfile.read(min(left, 65536))):
            left -= len(piece)

    def _send(self, request: Request, answer: Answer, body_bytes: int | None = None) -> None:
        """Send ANSWER in one write; with BODY_BYTES only so much of its body, and close."""
        request.status = answer.status
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n")
        head = b"".join(self._headers_buffer)
        self._headers_buffer = []
        if body_bytes is not None:
            self.close_connection = True
        self.wfile.write(head + answer.body[:body_bytes])

    def _reset(self) -> None:
        self.close_connection = True
        self.server.closed(self.number)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _wait_for_close(self) -> None:
        """Hold the connection until the client closes it or the server stops."""
        self.close_connection = True
        while not self.server.stopping.is_set():
            if select.select([self.connection], [], [], 0.1)[0] and not self.connection.recv(4096):
                return

    def finish(self) -> None:
        self.server.closed(self.number)
        super().finish()

    def version_string(self) -> str:
        return "tests"

    def log_message(self, *_args: Any) -> None:
        pass


def _fault_answer(action: dict[str, Any]) -> Answer:
    status = action.get("status", 503)
    headers = tuple((name, str(value)) for name, value in action.get("headers", {}).items())
    body = action.get("body")
    if isinstance(body, str):
        return Answer(status, body.encode(), headers, action.get("content_type", "text/plain"))
    if body is None:
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": action.get("message", "programmed fault"),
            "reason": action.get("reason", ""),
            "code": status,
        }
    return Answer.of_json(status, body, headers)


class TlsHttpServer(ThreadingHTTPServer):
    """Accepts connections in one thread, serves each in its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        tls: ssl.SSLContext,
        faults: FaultTable,
        process: Callable[[Request], Answer],
        other_writer: Callable[[Request, Any], None],
    ):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.tls = tls
        self.faults = faults
        self.process = process
        self.other_writer = other_writer
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[int, socket.socket] = {}
        self._count = 0
        self._requests: list[Request] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def opened(self, connection: socket.socket) -> int:
        with self._lock:
            self._count += 1
            self._connections[self._count] = connection
            return self._count

    def closed(self, number: int) -> None:
        with self._lock:
            self._connections.pop(number, None)

    def record(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def requests(self) -> list[dict[str, Any]]:
        with self._lock:
            return [request.as_json() for request in self._requests]

    def clear_requests(self) -> None:
        with self._lock:
            self._requests.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away or failed the handshake is an ordinary event here."""

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._connections.values():
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it has just ended on its own
