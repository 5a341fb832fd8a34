"""A server that speaks the part of Alibaba Cloud OSS that stores of artifacts use.

    with OssServer() as server:
        server.create_bucket("my-bucket")
        server.endpoint        # host:port: an address, so the bucket is part of the path
        server.objects("my-bucket")["key"].data

Every request must carry a good signature, of version 1 or 4, no older than 15 minutes by the
server's clock. What it does is written down in the OSS API reference: PutObject, GetObject
(with "Range" and "If-Match"), HeadObject, DeleteObject, AppendObject, InitiateMultipartUpload,
UploadPart, CompleteMultipartUpload, AbortMultipartUpload, ListMultipartUploads (without a delimiter),
ListObjects, ListObjectsV2, ListBuckets, PutBucket, GetBucketLifecycle, PutBucketLifecycle, PutBucketLogging;
"Common HTTP headers" for what all answers carry, "Error responses" for their form; "Check data integrity by
using CRC-64".

A faulty network is tests/servers/fault_proxy.py; what only the server can do wrong is here.
"""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.servers import oss_api, oss_signature
from tests.servers.faults import FaultTable
from tests.servers.oss_store import Object, OssStore, new_object
from tests.servers.server import HttpServer

SKEW_SECONDS = 15 * 60
FAULT_ACTIONS = {
    # the checksum in the answer is another one
    "crc": set(),
    # an error, after the body of the request was read
    "error": {"status", "code", "message"},
}


class OssError(Exception):
    """An answer that says what is wrong."""

    def __init__(self, status: int, code: str, message: str, **more: str):
        super().__init__(code)
        self.status, self.code, self.message, self.more = status, code, message, more


@dataclass
class Key:
    """An access key; with a token it is a temporary one, until EXPIRES."""

    secret: str
    token: str | None = None
    expires: float = float("inf")


@dataclass
class Request:
    """One request as the operations see it."""

    method: str
    bucket: str | None
    key: str | None
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    version: int = 0
    fault: str | None = None
    time: float = field(default_factory=time.time)


class OssServer(HttpServer):
    """Listens from the constructor to stop(). NAMES are host names that the service itself has:
    <bucket>.<name> is a bucket's."""

    def __init__(self, names: tuple[str, ...] = (), region: str = "test-1", host: str = "127.0.0.1"):
        self.names, self.region = names, region
        self.store = OssStore()
        self.keys = {"LTAI-test": Key("secret-of-the-test")}
        self.versions = {1, 4}
        self.clock_offset = 0.0
        self.faults = FaultTable(FAULT_ACTIONS)
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        super().__init__(_handler(self), host)

    # --- for tests --------------------------------------------------------------------------

    @property
    def access_key(self) -> str:
        return next(iter(self.keys))

    @property
    def secret_key(self) -> str:
        return self.keys[self.access_key].secret

    def create_bucket(self, name: str) -> None:
        self.store.buckets.setdefault(name, oss_api.Bucket())

    def objects(self, bucket: str) -> dict[str, Object]:
        return self.store.buckets[bucket].objects

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.objects(bucket)[key] = new_object(data)

    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def clear(self) -> None:
        """Forget requests and faults, and be as in the beginning but for what is stored."""
        self.faults.clear()
        self.versions, self.clock_offset = {1, 4}, 0.0
        with self._lock:
            self._requests.clear()

    # --- for the handler ----------------------------------------------------------------------

    def record(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def place(self, host: str, path: str) -> tuple[str | None, str | None]:
        """Bucket and key of a request line."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        path = unquote(path)
        for own in self.names:
            if name.endswith("." + own):
                return name.removesuffix("." + own), path[1:] or None
        if name not in self.names:
            ip_address(name.strip("[]"))
            bucket, _, key = path[1:].partition("/")
            return bucket or None, key or None
        return None, None

    def authenticate(self, request: Request) -> None:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme == "OSS" and 1 in self.versions:
            request.version = 1
            self._check_v1(request, rest)
        elif scheme == "OSS4-HMAC-SHA256" and 4 in self.versions:
            request.version = 4
            self._check_v4(request, rest)
        elif scheme:
            raise OssError(400, "InvalidArgument", "Authorization header is invalid.")
        else:
            raise OssError(403, "AccessDenied", "Anonymous access is forbidden for this operation.")

    def _key(self, name: str, request: Request) -> Key:
        key = self.keys.get(name)
        if key is None:
            raise OssError(
                403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records."
            )
        if key.token != request.headers.get("x-oss-security-token"):
            raise OssError(403, "InvalidSecurityToken", "The security token you provided is invalid.")
        if key.expires < self.now():
            raise OssError(403, "SecurityTokenExpired", "The security token you provided has expired.")
        return key

    def now(self) -> float:
        return time.time() + self.clock_offset

    def _check_time(self, seconds: float) -> None:
        if abs(seconds - self.now()) > SKEW_SECONDS:
            text = "The difference between the request time and the current time is too large."
            raise OssError(403, "RequestTimeTooSkewed", text)

    def _check_v1(self, request: Request, rest: str) -> None:
        name, _, signature = rest.partition(":")
        key = self._key(name, request)
        try:
            self._check_time(parsedate_to_datetime(request.headers["date"]).timestamp())
        except (KeyError, ValueError):
            raise OssError(403, "AccessDenied", "OSS authentication requires a valid Date.") from None
        resource = oss_signature.resource_v1(request.bucket, request.key, request.query)
        text = oss_signature.string_to_sign_v1(request.method, request.headers, resource)
        self._compare(signature, oss_signature.sign_v1(key.secret, text), text)

    def _check_v4(self, request: Request, rest: str) -> None:
        fields = dict(item.strip().split("=", 1) for item in rest.split(","))
        if fields.get("AdditionalHeaders") == "":
            raise OssError(400, "InvalidArgument", "AdditionalHeaders in Authorization is empty.")
        name, day, region, service, last = fields["Credential"].split("/")
        key = self._key(name, request)
        date = request.headers.get("x-oss-date", "")
        if (service, last) != ("oss", "aliyun_v4_request") or day != date[:8]:
            raise OssError(400, "InvalidArgument", "Invalid signing date in Authorization header.")
        if region != self.region:
            raise OssError(400, "InvalidArgument", "Invalid signing region in Authorization header.")
        if request.headers.get("x-oss-content-sha256") != "UNSIGNED-PAYLOAD":
            raise OssError(400, "InvalidArgument", "x-oss-content-sha256 is invalid.")
        self._check_time(time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.timezone)
        additional = [item for item in fields.get("AdditionalHeaders", "").split(";") if item]
        canonical = oss_signature.canonical_request_v4(
            request.method, request.bucket, request.key, request.query, request.headers, additional
        )
        expected = oss_signature.sign_v4(key.secret, date, region, canonical)
        self._compare(fields["Signature"], expected, canonical)

    @staticmethod
    def _compare(given: str, expected: str, text: str) -> None:
        if given != expected:
            message = (
                "The request signature we calculated does not match the signature you provided."
                " Check your key and signing method."
            )
            raise OssError(403, "SignatureDoesNotMatch", message, StringToSign=text)


def _handler(server: OssServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "AliyunOSS"
        sys_version = ""

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing: the tests ask for requests()."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(server.now(), usegmt=True)

        def _request(self) -> Request:
            parts = urlsplit(self.path)
            bucket, key = server.place(self.headers.get("host", ""), parts.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            return Request(
                method=self.command,
                bucket=bucket,
                key=key,
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body,
            )

        def _serve(self) -> None:
            request = self._request()
            request_id = f"{time.time_ns():024X}"
            try:
                server.record(request)
                server.authenticate(request)
                action = server.faults.pick(request.method, self.path)
                request.fault = action["kind"] if action else None
                if action and action["kind"] == "error":
                    raise OssError(action["status"], action["code"], action.get("message", ""))
                with server.store.lock:
                    status, headers, body = oss_api.perform(server.store, request)
            except OssError as error:
                status, headers = error.status, {"Content-Type": "application/xml"}
                host = self.headers.get("host", "")
                body = oss_api.error_xml(error.code, error.message, request_id, host, error.more)
            self._answer(status, headers, body, request_id)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, request_id: str) -> None:
            self.send_response(status)
            self.send_header("x-oss-request-id", request_id)
            self.send_header("x-oss-server-time", "1")
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            if self.command == "HEAD" and status >= 400:
                self.send_header("x-oss-err", base64.b64encode(body).decode())
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    return Handler
