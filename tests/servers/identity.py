"""What services that hand out temporary keys have in common: they answer from memory, remember what they
were asked, and fail when told to."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl

from tests.servers.server import HttpServer

ROLE = "test-role"
METADATA_TOKEN = "metadata-token"


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    when: float = field(default_factory=time.monotonic)


@dataclass
class Reply:

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


class IdentityServer(HttpServer):
    """Keys are valid for SECONDS, one number for each time (the last one for ever)."""

    knows_tokens = True  # the metadata service is not the one of old

    def __init__(self, host: str = "127.0.0.1", port: int = 0):
        self.seconds = [3600.0]
        self.failures: list[int | Reply] = []  # instead of answers
        self.ahead = 0.0  # so many seconds is the clock of its answers
        self.asked: list[Asked] = []
        super().__init__(_handler(self), host, port)

    def next_seconds(self) -> float:
        return self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]

    @abstractmethod
    def answer(self, asked: Asked) -> tuple[int, str]: ...

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if self.failures:
            failure = self.failures.pop(0)
            return Reply(failure) if isinstance(failure, int) else failure
        status, text = self.answer(asked)
        return Reply(status, body=text)


def timestamp(seconds: float) -> str:
    """The time in SECONDS."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def _handler(server: IdentityServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + server.ahead)

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            form = dict(parse_qsl(body.decode()))
            reply = server.reply(Asked(self.command, self.path, headers, form, body))
            text = reply.body.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = _serve

    return Handler
