"""A client of the control socket that can also misbehave; standard library only."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Control:
    """Speaks to <directory>/control.sock."""

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
            except ConnectionResetError:
                pass  # closed with something unread
            return answer

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        text = b"" if body is None else body if isinstance(body, bytes) else encode(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n"
        return parse(self.raw(head.encode() + b"Connection: close\r\n\r\n" + text))

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


class KeepAlive:
    """One connection, many requests."""

    def __init__(self, control: Control):
        self.sock = control.connect()
        self.reader = self.sock.makefile("rb")

    def __enter__(self) -> KeepAlive:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.reader.close()
        self.sock.close()

    def send(self, method: str, path: str, body: Any = None) -> None:
        text = b"" if body is None else encode(body)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
        self.sock.sendall(head.encode() + text)

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
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.status = self.reader.readline()
        while self.reader.readline().strip():
            pass

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
