#!/usr/bin/env python3
"""An HTTP/1.1 proxy in front of one server that breaks requests on demand.

It understands just enough of RFC 9112 to see where requests and responses begin and end; what it
does not break it passes on byte for byte, Host header and signatures included. Each connection has
two threads that move up to 1 MiB at a time: blocking calls release the interpreter lock, so 1 GiB
takes about as long as without the proxy.

    with FaultProxy(("127.0.0.1", s3_port)) as proxy:
        proxy.faults.add(verb="PUT", path="/bucket/", nth=2, count=1,
                         action={"kind": "status", "status": 503, "headers": {"Retry-After": "1"}})

Without an upstream it is a black hole: it accepts, reads, and never answers (any protocol).
Run it: python3 tests/servers/fault_proxy.py [--listen PORT] [--admin-port PORT] HOST:PORT; the
admin port serves GET /requests, /counts; GET, POST and DELETE /faults; POST /clear.
"""

import argparse
import os
import queue
import select
import signal
import socket
import struct
import sys
import threading
import time as clock
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers.admin import AdminServer
from tests.servers.faults import FaultTable
from tests.servers.server import Server

BUFFER_BYTES = 1 << 20
HEAD_LIMIT_BYTES = 1 << 16
UNTIL_CLOSE = -1
CHUNKED = -2

FAULT_ACTIONS = {
    # answer instead of the server; drain says whether to read the request's body first (default)
    "status": {"status", "body", "headers", "drain"},
    # wait before the request goes to the server
    "delay": {"seconds"},
    # both directions of this request, in bytes per second; so many at a time (a tenth of that); the
    # first so many bytes of each only
    "rate": {"bytes_per_s", "step", "bytes"},
    # close at once, without an answer and without asking the server
    "close": set(),
    # RST at once
    "reset": set(),
    # the server gets and answers it all, the client gets RST
    "lost": set(),
    # RST after so many bytes of the request's body; one that is shorter passes
    "cut_request": {"bytes"},
    # after so many bytes of the response's body: RST, or an orderly close
    "cut_response": {"bytes", "reset"},
    # read no more of the request after so many bytes of its body
    "stall_request": {"bytes"},
    # send no more of the response after so many bytes of its body; without bytes not even its head
    "stall": {"bytes"},
    # Content-Length that is wrong by so many bytes; the connection closes after the body
    "wrong_length": {"delta"},
    # one byte of the response's body, at this offset, is another one
    "corrupt": {"offset"},
    # something that is not HTTP
    "garbage": set(),
}


class Cut(Exception):
    """This connection ends here; the argument says whether with RST."""


@dataclass
class Record:
    """One request that passed, or did not."""

    connection: int
    verb: str
    path: str
    headers: dict[str, str]
    fault: str | None
    time: float = field(default_factory=clock.time)
    status: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0


class Reader:
    """HTTP messages from a socket."""

    def __init__(self, sock: socket.socket):
        self._sock = sock
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._pending = memoryview(b"")

    def _fill(self) -> memoryview:
        """More bytes than none, or none at the end of the stream."""
        if self._pending:
            piece, self._pending = self._pending, memoryview(b"")
            return piece
        return self._view[: self._sock.recv_into(self._view)]

    def head(self) -> bytes:
        """Start line and fields with the empty line; empty if the peer has closed."""
        head = bytearray()
        while (end := head.find(b"\r\n\r\n")) < 0:
            piece = self._fill()
            if not piece or len(head) > HEAD_LIMIT_BYTES:
                return b""
            head += piece
        self._pending = memoryview(bytes(head[end + 4 :]))
        return bytes(head[: end + 4])

    def exactly(self, size: int) -> Iterator[memoryview]:
        """SIZE bytes in pieces, each valid until the next; Cut if the peer closes before."""
        while size:
            piece = self._fill()
            if not piece:
                raise Cut(False)
            if len(piece) > size:
                self._pending, piece = memoryview(bytes(piece[size:])), piece[:size]
            size -= len(piece)
            yield piece

    def body(self, framing: int) -> Iterator[memoryview]:
        """The body as it is on the wire."""
        if framing == UNTIL_CLOSE:
            while piece := self._fill():
                yield piece
        elif framing == CHUNKED:
            yield from self._chunks()
        else:
            yield from self.exactly(framing)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += bytes(next(self.exactly(1)))
        return line

    def _chunks(self) -> Iterator[memoryview]:
        while True:
            line = self._line()
            yield memoryview(line)
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            yield from self.exactly(size + 2)
        while (line := self._line()).strip():
            yield memoryview(line)
        yield memoryview(line)


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }


def _framing(fields: dict[str, str], otherwise: int) -> int:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return CHUNKED
    return int(fields.get("content-length", otherwise))


class Connection:
    """One client connection and the server connection behind it."""

    def __init__(self, proxy: "FaultProxy", client: socket.socket, number: int):
        self._proxy = proxy
        self._number = number
        self._client = client
        self._server: socket.socket | None = None
        self._reader = Reader(client)
        self._open_requests: queue.SimpleQueue[tuple[Record, dict[str, Any]] | None] = (
            queue.SimpleQueue()
        )
        self._answered = threading.Event()
        self._lock = threading.Lock()
        self._is_closed = False

    def run(self) -> None:
        is_reset = False
        try:
            while self._one_request():
                pass
        except Cut as cut:
            is_reset = cut.args[0]
        except (OSError, ValueError):
            pass  # a peer that went away, or no HTTP
        finally:
            self.close(is_reset)

    def close(self, is_reset: bool = False) -> None:
        """End both connections; safe from any thread, the first call counts."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        for sock in (self._client, self._server):
            if sock is None:
                continue
            if is_reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                # A reset is sent by close(); a shutdown before it would be an orderly end. Where
                # the other thread sits in recv() on this socket, only shutdown() wakes it.
                sock.shutdown(socket.SHUT_RD if is_reset else socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        self._open_requests.put(None)
        self._answered.set()
        self._proxy.forget(self._number)

    def _hold(self) -> None:
        """Until the proxy stops or the client closes: nothing more happens here."""
        while not self._proxy.stopping.is_set():
            if select.select([self._client], [], [], 0.1)[0]:
                if not self._client.recv(1, socket.MSG_PEEK):
                    break
                self._proxy.stopping.wait(0.1)
        raise Cut(False)

    def _one_request(self) -> bool:
        if self._proxy.upstream is None:
            while self._client.recv(BUFFER_BYTES):
                pass
            return False
        head = self._reader.head()
        if not head:
            return False
        verb, path, _version = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        action = self._proxy.faults.pick(verb, path) or {}
        kind = action.get("kind")
        record = Record(self._number, verb, path, _fields(head), kind)
        self._proxy.record(record)
        match kind:
            case "status":
                return self._answer(record, action)
            case "close" | "reset":
                raise Cut(kind == "reset")
            case "garbage":
                self._client.sendall(os.urandom(512))
                raise Cut(False)
            case "delay":
                self._proxy.stopping.wait(action.get("seconds", 1.0))
        self._forward(record, head, action)
        return True

    def _answer(self, record: Record, action: dict[str, Any]) -> bool:
        """Be the server for one request."""
        is_drained = action.get("drain", True) and "expect" not in record.headers
        if is_drained:
            for piece in self._reader.body(_framing(record.headers, 0)):
                record.request_bytes += len(piece)
        record.status = action.get("status", 503)
        body = action.get("body", "").encode()
        fields = {"Content-Length": str(len(body)), **action.get("headers", {})}
        if not is_drained:
            fields["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"HTTP/1.1 {record.status} Programmed Fault\r\n{lines}\r\n".encode()
        self._client.sendall(head + (b"" if record.verb == "HEAD" else body))
        return is_drained

    def _forward(self, record: Record, head: bytes, action: dict[str, Any]) -> None:
        if self._server is None:
            self._server = socket.create_connection(self._proxy.upstream, timeout=10)
            self._server.settimeout(None)
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._run_responses, daemon=True).start()
        self._answered.clear()
        self._open_requests.put((record, action))
        self._server.sendall(head)
        limit = (
            action.get("bytes", 0)
            if action.get("kind") in ("cut_request", "stall_request")
            else None
        )
        for piece in self._paced(self._reader.body(_framing(record.headers, 0)), action):
            if limit is not None and record.request_bytes + len(piece) > limit:
                piece = piece[: limit - record.request_bytes]
            self._server.sendall(piece)
            record.request_bytes += len(piece)
            if record.request_bytes == limit:
                break
        if limit is not None and record.request_bytes == limit:
            if action["kind"] == "cut_request":
                raise Cut(True)
            self._hold()
        self._answered.wait()

    def _paced(self, pieces: Iterator[memoryview], action: dict[str, Any]) -> Iterator[memoryview]:
        """The same bytes, no faster than a "rate" action allows."""
        if action.get("kind") != "rate":
            yield from pieces
            return
        step = action.get("step") or max(1, action["bytes_per_s"] // 10)
        left = action.get("bytes")
        for piece in pieces:
            if left is not None and (left := left - len(piece)) < 0:
                yield piece
                continue
            for start in range(0, len(piece), step):
                part = piece[start : start + step]
                self._proxy.stopping.wait(len(part) / action["bytes_per_s"])
                yield part

    def _run_responses(self) -> None:
        """The thread that carries responses back, as long as there are requests."""
        is_reset = False
        try:
            reader = Reader(self._server)
            while opened := self._open_requests.get():
                self._one_response(reader, *opened)
                self._answered.set()
        except Cut as cut:
            is_reset = cut.args[0]
        except (OSError, ValueError):
            pass  # a peer that went away, or no HTTP
        finally:
            self.close(is_reset)

    def _one_response(self, reader: Reader, record: Record, action: dict[str, Any]) -> None:
        kind = action.get("kind")
        status = 100
        while 100 <= status < 200:
            head = reader.head()
            if not head:
                raise Cut(False)
            _, code, _ = head.split(b" ", 2)  # ValueError: no HTTP
            status = int(code)
            if status < 200:
                self._client.sendall(head)
        record.status = status
        fields = _fields(head)
        has_body = record.verb != "HEAD" and status not in (204, 304)
        framing = _framing(fields, UNTIL_CLOSE) if has_body else 0
        if kind == "stall" and "bytes" not in action:
            self._hold()
        if kind == "wrong_length" and "content-length" in fields:
            old = fields["content-length"]
            new = str(int(old) + action.get("delta", 1))
            head = head.replace(f": {old}\r\n".encode(), f": {new}\r\n".encode(), 1)
        # Swift sends the body of an error although nobody may (RFC 9110, 9.3.2): what follows is lost.
        is_last = record.verb == "HEAD" and status >= 400
        if is_last:
            head = head.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
        if kind != "lost":
            self._client.sendall(head)
        self._send_body(self._paced(reader.body(framing), action), record, action)
        if kind in ("lost", "wrong_length") or framing == UNTIL_CLOSE or is_last:
            raise Cut(kind == "lost")

    def _send_body(
        self, pieces: Iterator[memoryview], record: Record, action: dict[str, Any]
    ) -> None:
        kind = action.get("kind")
        limit = action.get("bytes", 0) if kind in ("cut_response", "stall") else None
        for piece in pieces:
            sent = record.response_bytes
            if limit is not None:
                piece = piece[: limit - sent]
            if kind == "corrupt" and sent <= action["offset"] < sent + len(piece):
                changed = bytearray(piece)
                changed[action["offset"] - sent] ^= 0xFF
                piece = memoryview(changed)
            if kind != "lost":
                self._client.sendall(piece)
                record.response_bytes += len(piece)
            if record.response_bytes == limit:
                if kind == "stall":
                    self._hold()
                raise Cut(action.get("reset", True))


class FaultProxy(Server):
    """Listens from the constructor to stop(); also a context manager."""

    def __init__(
        self,
        upstream: tuple[str, int] | None,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        receive_bytes: int = 0,
    ):
        """RECEIVE_BYTES: what the kernel takes of requests before the proxy does; 0 = as it likes."""
        self.upstream = upstream
        self.faults = FaultTable(FAULT_ACTIONS)
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._records: list[Record] = []
        self._connections: dict[int, Connection] = {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        if receive_bytes:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.host, self.port = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        with self._lock:
            self._records.append(record)

    def requests(self) -> list[dict[str, Any]]:
        """Every request since the last clear(), oldest first."""
        with self._lock:
            return [asdict(record) for record in self._records]

    def counts(self) -> dict[str, dict[str, int]]:
        """Per "VERB PATH" (without query): requests, and bytes of bodies up and down."""
        totals: dict[str, dict[str, int]] = {}
        for record in self.requests():
            key = f"{record['verb']} {record['path'].partition('?')[0]}"
            total = totals.setdefault(key, {"requests": 0, "up": 0, "down": 0})
            total["requests"] += 1
            total["up"] += record["request_bytes"]
            total["down"] += record["response_bytes"]
        return totals

    def uploaded(self) -> int:
        """Bytes of requests' bodies so far."""
        with self._lock:
            return sum(record.request_bytes for record in self._records)

    def connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._connections)

    def clear(self) -> None:
        """Forget requests and faults."""
        self.faults.clear()
        with self._lock:
            self._records.clear()

    def forget(self, number: int) -> None:
        with self._lock:
            self._connections.pop(number, None)

    def stop(self) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            connection.close()

    def _accept(self) -> None:
        number = 0
        while not self.stopping.is_set():
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            number += 1
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, client, number)
            with self._lock:
                self._connections[number] = connection
            threading.Thread(target=connection.run, daemon=True).start()


def _admin_routes(proxy: FaultProxy) -> dict[str, Any]:
    def add_faults(_query: dict[str, str], body: Any) -> Any:
        for rule in body if isinstance(body, list) else [body]:
            proxy.faults.add(**rule)
        return proxy.faults.as_json()

    return {
        "GET /requests": lambda query, body: proxy.requests(),
        "GET /counts": lambda query, body: proxy.counts(),
        "GET /faults": lambda query, body: proxy.faults.as_json(),
        "POST /faults": add_faults,
        "DELETE /faults": lambda query, body: proxy.faults.clear(),
        "POST /clear": lambda query, body: proxy.clear(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="A proxy that breaks HTTP on demand.")
    parser.add_argument("--listen", type=int, default=0, help="port; default: any free one")
    parser.add_argument("--admin-port", type=int, default=0)
    parser.add_argument("upstream", nargs="?", help="HOST:PORT; without it: a black hole")
    args = parser.parse_args()
    upstream = None
    if args.upstream:
        host, _, port = args.upstream.rpartition(":")
        upstream = (host.strip("[]"), int(port))
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: done.set())
    with FaultProxy(upstream, port=args.listen) as proxy:
        admin = AdminServer(_admin_routes(proxy), args.admin_port)
        print(f"listening on {proxy.endpoint}, admin port {admin.port}", flush=True)
        done.wait()
        admin.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
