"""Where programs on Alibaba Cloud get temporary keys: the instance metadata service with its tokens
(ECS user guide, "Instance metadata" and "Instance RAM roles"), STS's AssumeRoleWithOIDC (STS API
reference), and a service behind ALIBABA_CLOUD_CREDENTIALS_URI. One server is all three.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.servers.oss import Key, OssServer
from tests.servers.server import Server

ROLE = "test-role"
ROLES = "/latest/meta-data/ram/security-credentials/"
METADATA_TOKEN = "metadata-token"


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str] = field(default_factory=dict)


class AliyunIdentity(Server):
    """Issues keys that OSS knows, each valid there for SECONDS; what it tells is TOLD seconds."""

    def __init__(self, oss: OssServer, host: str = "127.0.0.1", port: int = 0):
        self.oss, self.seconds, self.told = oss, [3600.0], 3600.0
        self.knows_tokens = True
        self.failures: list[int] = []
        self.asked: list[Asked] = []
        self._numbers = itertools.count(1)
        self._http = ThreadingHTTPServer((host, port), _handler(self))
        self._http.daemon_threads = True
        self.host, self.port = self._http.server_address[:2]
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def issue(self) -> dict[str, str]:
        number = next(self._numbers)
        name, secret, token = (f"{what}-{number}" for what in ("STS.key", "secret", "token/+="))
        seconds = self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        self.oss.keys[name] = Key(secret, token, time.time() + seconds)
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.told))
        return {
            "AccessKeyId": name,
            "AccessKeySecret": secret,
            "SecurityToken": token,
            "Expiration": end,
        }

    def answer(self, asked: Asked) -> tuple[int, str]:
        path = urlsplit(asked.path)
        if self.failures:
            return self.failures.pop(0), ""
        if path.path == "/latest/api/token":
            return (200, METADATA_TOKEN) if self.knows_tokens else (404, "")
        if path.path.startswith(ROLES):
            given = asked.headers.get("x-aliyun-ecs-metadata-token")
            if self.knows_tokens and given != METADATA_TOKEN:
                return 403, ""
            if path.path == ROLES:
                return 200, ROLE
            if path.path == ROLES + ROLE:
                return 200, json.dumps(self.issue() | {"Code": "Success"})
            return 404, ""
        if "AssumeRoleWithOIDC" in path.query:
            return self._assume(asked)
        return 200, json.dumps(self.issue())

    def _assume(self, asked: Asked) -> tuple[int, str]:
        query = dict(parse_qsl(urlsplit(asked.path).query))
        wanted = {"RoleArn", "OIDCProviderArn", "OIDCToken", "RoleSessionName", "DurationSeconds"}
        if asked.method != "POST" or set(asked.form) != wanted or query["Version"] != "2015-04-01":
            return 400, json.dumps({"Code": "InvalidParameter", "Message": "Parameters are missing."})
        if asked.form["OIDCToken"] != "oidc-token":
            failure = {"Code": "AuthenticationFail.OIDCToken.Invalid", "RequestId": "R-1"}
            return 400, json.dumps(failure | {"Message": "This JSON Web Token is invalid."})
        return 200, json.dumps({"RequestId": "R-2", "Credentials": self.issue()})


def _handler(server: AliyunIdentity) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, dict(parse_qsl(body)))
            server.asked.append(asked)
            status, text = server.answer(asked)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = do_POST = _serve

    return Handler
