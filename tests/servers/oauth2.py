"""A token server with the client credentials grant, written from RFC 6749: 2.3.1 (client password), 4.4
(the grant), 5.1 and 5.2 (answers), appendix B (escapes). No server that can be installed here speaks it
alone, and its ways to refuse have to be chosen.

    with TokenServer("id", "secret", "a-token") as server:
        server.url, server.requests
"""

import base64
import binascii
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote_plus

from tests.servers.server import Server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Listener"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        form = dict(parse_qsl(self.rfile.read(size).decode(), keep_blank_values=True))
        owner = self.server.owner
        with owner.lock:
            asked = {"form": form, "basic": self._basic() is not None, "when": time.monotonic()}
            owner.requests.append(asked)
            status, answer = owner.answer(form, self._basic())
        body = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("Content-Length", str(len(body))),
            *([("Retry-After", "1")] if status == 429 else []),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _basic(self) -> tuple[str, str] | None:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return unquote_plus(user), unquote_plus(password)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    owner: "TokenServer"


class TokenServer(Server):
    """Listens from the constructor to stop()."""

    def __init__(self, client: str, secret: str, token: str):
        self.client, self.secret, self.token = client, secret, token
        self.takes_basic = self.takes_form = True
        self.token_type: str | None = "bearer"
        self.failures: list[int] = []  # statuses before the next answer; 429 asks for a second
        self.expires_in = 3600  # seconds; negative = the token is over when it comes
        self.stale = 0  # so many tokens that nobody takes first
        self.requests: list[dict] = []
        self.lock = threading.Lock()
        self._listener = _Listener(("127.0.0.1", 0), _Handler)
        self._listener.owner = self
        self.host, self.port = "127.0.0.1", self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def answer(self, form: dict[str, str], basic: tuple[str, str] | None) -> tuple[int, dict]:
        if self.failures:
            return self.failures.pop(0), {"error": "temporarily_unavailable"}
        known = (self.client, self.secret)
        named = (form.get("client_id"), form.get("client_secret"))
        if not ((self.takes_basic and basic == known) or (self.takes_form and named == known)):
            return 401, {"error": "invalid_client", "error_description": self.secret}
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        token = self.token
        if self.stale > 0:
            self.stale -= 1
            token = "stale"
        answer = {"access_token": token, "expires_in": self.expires_in}
        return 200, answer | ({"token_type": self.token_type} if self.token_type else {})

    def stop(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
