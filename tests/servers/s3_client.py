"""A small S3 client for tests to fill and inspect a store: Signature V4, no retries.

Written after the public Amazon S3 API reference ("Signature Calculations for the Authorization
Header", ListObjectsV2, multipart upload). Single-threaded; one connection per request.
"""

import datetime
import hashlib
import hmac
import http.client
import ssl
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


class S3Error(Exception):
    """An answer that is not a success; CODE is that of the XML error, or the HTTP reason."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def xml(self) -> ElementTree.Element:
        """The document without its namespace."""
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root


@dataclass(frozen=True)
class Listed:
    key: str
    size: int
    etag: str


class S3Client:
    """Path-style requests to one endpoint URL with static keys."""

    def __init__(
        self,
        url: str,
        access_key: str,
        secret_key: str,
        region: str = "us-east-1",
        tls: ssl.SSLContext | None = None,
        address: tuple[str, int] | None = None,
    ):
        """ADDRESS is where to connect to, if not to the host of URL."""
        self._url = urlsplit(url)
        self.access_key = access_key
        self.secret_key = secret_key
        self.region = region
        self._tls = tls
        self._address = address or (self._url.hostname or "", self._url.port)

    def request(self, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        """One request, arguments as of sign(); any HTTP status is an answer."""
        target, headers, body = self.sign(method, path, *args, **kwargs)
        return self._send(method, target, body, headers)

    def sign(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        payload_hash: str | None = None,
        skew_s: float = 0,
    ) -> tuple[str, dict[str, str], bytes]:
        """Target, headers and body of a signed request for the unencoded PATH.

        PAYLOAD_HASH replaces the true hash of BODY, SKEW_S moves the clock.
        """
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew_s)
        signed = {
            "host": self._url.netloc,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": payload_hash or hashlib.sha256(body).hexdigest(),
            **{name.lower(): value for name, value in (headers or {}).items()},
        }
        target = quote(path, safe="/-_.~")
        encoded = sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
            for name, value in (query or {}).items()
        )
        query_text = "&".join(f"{name}={value}" for name, value in encoded)
        signed["authorization"] = self._authorization(method, target, query_text, signed)
        return f"{target}?{query_text}" if query_text else target, signed, body

    def _authorization(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
        names = sorted(headers)
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        signed_names = ";".join(names)
        canonical = [method, path, query, lines, signed_names, headers["x-amz-content-sha256"]]
        stamp = headers["x-amz-date"]
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        key = f"AWS4{self.secret_key}".encode()
        for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        credential = f"Credential={self.access_key}/{scope}"
        return f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={signed_names}, Signature={key.hex()}"

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection: http.client.HTTPConnection
        if self._url.scheme == "https":
            connection = http.client.HTTPSConnection(*self._address, timeout=60, context=self._tls)
        else:
            connection = http.client.HTTPConnection(*self._address, timeout=60)
        try:
            connection.request(method, target, body or None, dict(headers))
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def call(self, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        """request(), with S3Error for anything but a success."""
        answer = self.request(method, path, *args, **kwargs)
        if answer.status < 300:
            return answer
        code, message = http.client.responses.get(answer.status, ""), ""
        if answer.body.lstrip().startswith(b"<"):
            error = answer.xml()
            code, message = error.findtext("Code", code), error.findtext("Message", "")
        raise S3Error(answer.status, code, message)

    def create_bucket(self, bucket: str) -> None:
        """Also succeeds if the bucket is ours already."""
        try:
            self.call("PUT", f"/{bucket}")
        except S3Error as error:
            if error.code != "BucketAlreadyOwnedByYou":
                raise

    def list_buckets(self) -> list[str]:
        return [
            name.text or "" for name in self.call("GET", "/").xml().findall("Buckets/Bucket/Name")
        ]

    def put(self, bucket: str, key: str, body: bytes, **kwargs: Any) -> Answer:
        return self.call("PUT", f"/{bucket}/{key}", body=body, **kwargs)

    def get(self, bucket: str, key: str, **kwargs: Any) -> bytes:
        return self.call("GET", f"/{bucket}/{key}", **kwargs).body

    def head(self, bucket: str, key: str) -> Mapping[str, str]:
        """Headers, names in lower case."""
        return self.call("HEAD", f"/{bucket}/{key}").headers

    def delete(self, bucket: str, key: str) -> None:
        self.call("DELETE", f"/{bucket}/{key}")

    def list_objects(self, bucket: str, prefix: str = "", page_size: int = 1000) -> list[Listed]:
        """Every object below PREFIX, whatever number of pages that takes."""
        query = {"list-type": "2", "prefix": prefix, "max-keys": str(page_size)}
        found: list[Listed] = []
        while True:
            page = self.call("GET", f"/{bucket}", query).xml()
            for entry in page.findall("Contents"):
                size = int(entry.findtext("Size", "0"))
                etag = entry.findtext("ETag", "").strip('"')
                found.append(Listed(entry.findtext("Key", ""), size, etag))
            if page.findtext("IsTruncated") != "true":
                return found
            query["continuation-token"] = page.findtext("NextContinuationToken", "")

    def sizes(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Key to size of every object below PREFIX."""
        return {entry.key: entry.size for entry in self.list_objects(bucket, prefix)}

    def put_multipart(self, bucket: str, key: str, parts: Iterable[bytes]) -> str:
        """Upload PARTS as one object; its ETag."""
        path = f"/{bucket}/{key}"
        upload = self.call("POST", path, {"uploads": ""}).xml().findtext("UploadId", "")
        lines = []
        for number, part in enumerate(parts, 1):
            query = {"partNumber": str(number), "uploadId": upload}
            etag = self.call("PUT", path, query, body=part).headers["etag"]
            lines.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        body = f"<CompleteMultipartUpload>{''.join(lines)}</CompleteMultipartUpload>".encode()
        done = self.call("POST", path, {"uploadId": upload}, body=body).xml()
        if done.tag == "Error":
            raise S3Error(200, done.findtext("Code", ""), done.findtext("Message", ""))
        return done.findtext("ETag", "").strip('"')

    def list_uploads(self, bucket: str) -> dict[str, str]:
        """Multipart uploads that are neither completed nor aborted: upload id to key."""
        uploads = self.call("GET", f"/{bucket}", {"uploads": ""}).xml().findall("Upload")
        return {item.findtext("UploadId", ""): item.findtext("Key", "") for item in uploads}

    def list_parts(self, bucket: str, key: str, upload: str) -> dict[int, int]:
        """Part number to size of an unfinished multipart upload."""
        parts = self.call("GET", f"/{bucket}/{key}", {"uploadId": upload}).xml().findall("Part")
        return {
            int(item.findtext("PartNumber", "0")): int(item.findtext("Size", "0")) for item in parts
        }
