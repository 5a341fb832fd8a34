"""The S3 store against a real server, through a proxy that breaks connections, and against answers
that no real server gives on demand. The driver is tests/unit/test_object_store.c."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs, quote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers import swift as swift_server  # noqa: E402
from tests.servers.fault_proxy import FaultProxy  # noqa: E402
from tests.servers.tls_front import TlsFront  # noqa: E402
from tests.store_driver import Store, make_file  # noqa: E402

MIB = 1 << 20
BUCKET = "my-bucket"
MISSING = "The specified key does not exist."



def store_for(directory: Path, endpoint: str, access_key: str, secret_key: str) -> Store:
    folder = directory / "secrets/cred"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ak").write_text(access_key + "\n")
    (folder / "sk").write_text(secret_key + "\r\n")
    (folder / "wrong").write_text("another")
    location = {
        "endpoint": endpoint,
        "insecure": True,
        "bucket": BUCKET,
        "accessKeySecret": {"name": "cred", "key": "ak"},
        "secretKeySecret": {"name": "cred", "key": "sk"},
    }
    return Store("s3", directory / "secrets", location)


@pytest.fixture(scope="module")
def swift(tmp_path_factory):
    if reason := swift_server.unavailable():
        pytest.skip(reason)
    with swift_server.SwiftServer(tmp_path_factory.mktemp("swift"), region="test-1") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def store(swift, tmp_path):
    return store_for(tmp_path, swift.endpoint, swift.access_key, swift.secret_key)


@pytest.fixture
def proxy(swift):
    with FaultProxy((swift.host, swift.port)) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy, swift, tmp_path):
    return store_for(tmp_path, proxy.endpoint, swift.access_key, swift.secret_key)


# Whole objects


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 12 * MIB])
def test_file(store, swift, tmp_path, size):
    data = make_file(tmp_path / "in", size)
    store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    store.good("file/object", "put-file", tmp_path / "in", "report.html", "")
    head = swift.client().head(BUCKET, "file/object")
    assert head["content-type"] == "text/html; charset=utf-8"
    assert ("-" in head["etag"]) == (size > 5 * MIB)
    assert swift.client().get(BUCKET, "file/object") == data
    store.good("file/object", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 22 * MIB])
def test_stream(store, swift, tmp_path, size):
    data = make_file(tmp_path / "in", size)
    store.good("stream", "put-stream", tmp_path / "in", "x.tgz")
    head = swift.client().head(BUCKET, "stream")
    assert head["content-type"] == "application/gzip"
    assert ("-" in head["etag"]) == (size > 5 * MIB)
    assert swift.client().get(BUCKET, "stream") == data


def test_unfinished_stream_leaves_nothing(store, swift, tmp_path):
    make_file(tmp_path / "in", 20 * MIB)
    store.good("dropped", "drop-stream", tmp_path / "in")
    assert swift.client().sizes(BUCKET, "dropped") == {}
    assert swift.client().list_uploads(BUCKET) == {}


def test_missing_object(store, tmp_path):
    result = store.bad("no/such/key", "get", tmp_path / "out")
    assert result.error == f"not found: {MISSING}"
    assert result.attempts == 1


def test_slow_reader(store, swift, tmp_path):
    data = os.urandom(16 * MIB)
    swift.client().put(BUCKET, "slow", data)
    store.good("slow", "get", tmp_path / "out", 10)
    assert (tmp_path / "out").read_bytes() == data


# Directories


def test_directory(store, swift, tmp_path):
    names = ["a b+c%d&e?f#g~", "äöü/€", "x;y=z,$@:!'()*", "deep/er/file", "..dots../a", '"q"<>']
    for number, name in enumerate(names):
        make_file(tmp_path / "in", number + 1)
        store.good("dir", "put-file", tmp_path / "in", "x", name)
    swift.client().put(BUCKET, "dir/", b"")
    swift.client().put(BUCKET, "dir/deep/", b"")
    swift.client().put(BUCKET, "directory", b"sibling")
    swift.client().put(BUCKET, "directory/x", b"sibling")
    lines = [f"{number + 1} {name}" for number, name in enumerate(names)]
    for key in ("dir", "dir/", "./dir//x/.."):
        listed = store.good(key, "list").out.splitlines()[:-1]
        assert sorted(listed) == sorted(lines)
    for number, name in enumerate(names):
        store.good("dir", "get-below", name, tmp_path / "out")
        assert (tmp_path / "out").stat().st_size == number + 1


def test_empty_directories(store, swift):
    assert store.bad("nothing/here", "list").error == f"not found: {MISSING}"
    swift.client().put(BUCKET, "marked/", b"")
    assert store.good("marked", "list").out.startswith("seconds")


def test_more_than_a_page(store, swift):
    names = {f"{number:04}" for number in range(1003)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: swift.client().put(BUCKET, f"many/{name}", b""), names))
    listed = store.good("many", "list").out.splitlines()[:-1]
    assert len(listed) == 1003
    assert {line.split()[1] for line in listed} == names


# Settings


def test_wrong_secret(store, tmp_path):
    wrong = {"secretKeySecret": {"name": "cred", "key": "wrong"}, "region": "test-1"}
    result = store.bad("x", "get", tmp_path / "out", **wrong)
    assert result.error.startswith("permanent: get object my-bucket/x: ")
    assert "(SignatureDoesNotMatch, status 403, permanent)" in result.error
    assert result.attempts == 1
    make_file(tmp_path / "in", 10)
    result = store.bad("x", "put-file", tmp_path / "in", "x", "", **wrong)
    assert "put object my-bucket/x" in result.error and "s3:ListBucket" not in result.error


def test_wrong_bucket(store, tmp_path):
    result = store.bad("x", "get", tmp_path / "out", bucket="no-such-bucket", region="test-1")
    assert "NoSuchBucket" in result.error and result.error.startswith("permanent: ")
    result = store.bad("x", "list", bucket="no-such-bucket")
    assert "list objects of no-such-bucket" in result.error and "NoSuchBucket" in result.error


def test_wrong_region_is_corrected(store, swift, tmp_path):
    swift.client().put(BUCKET, "region", b"data")
    result = store.good("region", "get", tmp_path / "out", region="elsewhere-7")
    assert result.attempts == 1 and 'class="wrong region"' in result.log
    make_file(tmp_path / "in", 20 * MIB)
    store.good("region2", "put-file", tmp_path / "in", "x", "", region="elsewhere-7")


def test_bucket_is_created(store, swift, tmp_path):
    make_file(tmp_path / "in", 10)
    changes = {"bucket": "created-bucket", "createBucketIfNotPresent": {}, "region": "test-1"}
    for _ in range(2):
        store.good("x", "put-file", tmp_path / "in", "x", "", **changes)
    assert "created-bucket" in swift.client().list_buckets()
    changes |= {"bucket": "created-too", "region": ""}
    store.good("x", "put-stream", tmp_path / "in", "x", **changes)
    assert "created-too" in swift.client().list_buckets()
    changes |= {"bucket": "created-wrong", "region": "elsewhere-7"}
    assert "failed to create bucket" in store.bad("x", "put-stream", tmp_path / "in", "x", **changes).error


def test_virtual_host(store, swift, tmp_path):
    data = make_file(tmp_path / "in", 6 * MIB)
    store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    # Names below localhost are loopback addresses everywhere (RFC 6761).
    changes = {"endpoint": f"localhost:{swift.port}", "addressingStyle": "virtual-hosted"}
    store.good("v/h ost", "put-file", tmp_path / "in", "x", "", **changes)
    store.good("v/h ost", "get", tmp_path / "out", **changes)
    assert (tmp_path / "out").read_bytes() == data
    assert store.good("v", "list", **changes).out.startswith(f"{6 * MIB} h ost\n")


def test_tls(store, swift, tmp_path):
    data = make_file(tmp_path / "in", 12 * MIB)
    with TlsFront((swift.host, swift.port), tmp_path / "tls") as front:
        (store.secrets / "cred/ca").write_bytes(Path(front.cert.ca).read_bytes())
        changes = {"endpoint": front.endpoint, "insecure": False}
        trusted = changes | {"caSecret": {"name": "cred", "key": "ca"}}
        store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
        store.good("tls", "put-file", tmp_path / "in", "x", "", **trusted)
        store.good("tls", "put-stream", tmp_path / "in", "x", **trusted)
        store.good("tls", "get", tmp_path / "out", **trusted)
        assert (tmp_path / "out").read_bytes() == data
        result = store.bad("tls", "get", tmp_path / "out", **changes)
        assert "certificate" in result.error and result.error.startswith("permanent: ")
        assert result.log.count("Attempt failed") == 1


# Cut connections and failing answers


def test_cut_download_is_resumed(proxied, proxy, swift, tmp_path):
    data = os.urandom(9 * MIB)
    swift.client().put(BUCKET, "cut", data)
    for cut in ({"bytes": 0, "reset": True}, {"bytes": 2 * MIB, "reset": True}, {"bytes": MIB}):
        proxy.faults.add(verb="GET", path="/cut$", count=1, action={"kind": "cut_response"} | cut)
    result = proxied.good("cut", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert result.attempts == 3
    assert "class=transient" in result.log


def test_failing_upload_is_repeated(proxied, proxy, swift, tmp_path):
    proxied.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    data = make_file(tmp_path / "in", 22 * MIB)
    part = "partNumber=%d&"
    faults = (
        {"verb": "POST", "path": "uploads=", "action": {"kind": "reset"}},
        {"path": part % 1, "action": {"kind": "cut_request", "bytes": MIB}},
        {"path": part % 2, "action": {"kind": "status", "status": 503, "headers": {"Retry-After": "1"}}},
        {"path": part % 3, "action": {"kind": "lost"}},
        {"path": part % 4, "action": {"kind": "close"}},
        {"verb": "POST", "path": "/up\\?uploadId=", "action": {"kind": "lost"}},
    )
    rules = [proxy.faults.add(count=1, **fault) for fault in faults]
    result = proxied.good("up", "put-file", tmp_path / "in", "x", "")
    # Not each is an attempt of ours: libcurl itself repeats on a connection that was used before.
    assert [rule.fired for rule in rules] == [1] * len(rules)
    assert result.attempts >= 2
    assert swift.client().get(BUCKET, "up") == data
    assert swift.client().list_uploads(BUCKET) == {}


def test_failing_stream_is_repeated(proxied, proxy, swift, tmp_path):
    data = make_file(tmp_path / "in", 20 * MIB)
    cut = {"kind": "cut_request", "bytes": MIB}
    rules = [proxy.faults.add(path=f"partNumber={n}&", count=2, action=cut) for n in (1, 2, 3)]
    result = proxied.good("st", "put-stream", tmp_path / "in", "x")
    assert [rule.fired for rule in rules] == [2, 2, 2]
    assert result.attempts >= 3
    assert swift.client().get(BUCKET, "st") == data


def test_refused_part_ends_the_upload(proxied, proxy, swift, tmp_path):
    make_file(tmp_path / "in", 40 * MIB)
    proxy.faults.add(path="partNumber=2&", action={"kind": "status", "status": 403})
    for operation in (["put-file", tmp_path / "in", "x", ""], ["put-stream", tmp_path / "in", "x"]):
        result = proxied.bad("refused", *operation)
        assert "put part 2 of my-bucket/refused: (status 403, permanent)" in result.error
        assert swift.client().sizes(BUCKET, "refused") == {}
        assert swift.client().list_uploads(BUCKET) == {}


# Answers made up


Answer = tuple[int, dict[str, str], str]


class Scripted:
    """A server whose answers are a function's; it keeps what it was asked."""

    def __init__(self, answer: Callable[["Scripted", str, str, dict[str, str]], Answer]):
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                url = urlsplit(self.path)
                query = {key: value[0] for key, value in parse_qs(url.query, True).items()}
                with scripted.lock:
                    scripted.headers.append(dict(self.headers))
                    scripted.seen.append(f"{self.command} {url.path} {' '.join(sorted(query))}".strip())
                    status, headers, body = answer(scripted, self.command, url.path, query)
                data = body.encode()
                self.server_version = headers.get("Server", "Scripted")
                self.send_response(status)
                headers = {name: value for name, value in headers.items() if name != "Server"}
                for name, value in ({"Content-Length": str(len(data))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate((timestamp or scripted.clock()), usegmt=True)

            def version_string(self) -> str:
                return self.server_version

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.seen: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.offset = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def clock(self) -> float:
        return time.time() + self.offset

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def __exit__(self, *_exc: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def store(self, directory: Path) -> Store:
        store = store_for(directory, f"127.0.0.1:{self._server.server_port}", "ak", "scripted-secret")
        store.location["region"] = "us-east-1"
        return store

    def count(self, line: str) -> int:
        return self.seen.count(line)


def error(status: int, code: str, **fields: str) -> Answer:
    more = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return status, {}, f"<Error><Code>{code}</Code><Message>told so</Message>{more}</Error>"


def uploader(complete: Callable[[Scripted], Answer]) -> Callable[..., Answer]:
    """A server for multipart uploads that completes them as COMPLETE says."""

    def answer(scripted: Scripted, verb: str, path: str, query: dict[str, str]) -> Answer:
        if "uploads" in query:
            result = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return 200, {}, result
        if verb == "POST":
            return complete(scripted)
        return (204, {}, "") if verb == "DELETE" else (200, {"ETag": '"e"'}, "")

    return answer


COMPLETED = "<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag></CompleteMultipartUploadResult>"
COMPLETE = f"POST /{BUCKET}/k uploadId"
BEGIN = f"POST /{BUCKET}/k uploads"
ABORT = f"DELETE /{BUCKET}/k uploadId"


def test_error_inside_a_200(tmp_path):
    def complete(scripted: Scripted) -> Answer:
        return error(200, "SlowDown") if scripted.count(COMPLETE) == 1 else (200, {}, COMPLETED)

    make_file(tmp_path / "in", 17 * MIB)
    with Scripted(uploader(complete)) as server:
        result = server.store(tmp_path).good("k", "put-file", tmp_path / "in", "x", "")
        assert (server.count(COMPLETE), server.count(BEGIN), server.count(ABORT)) == (2, 1, 0)
        assert "class=throttled" in result.log


@pytest.mark.parametrize("code", ["NoSuchUpload", "InvalidPart"])
def test_lost_upload_is_started_over_once(tmp_path, code):
    make_file(tmp_path / "in", 17 * MIB)
    with Scripted(uploader(lambda _: error(404, code))) as server:
        result = server.store(tmp_path).bad("k", "put-file", tmp_path / "in", "x", "")
        assert (server.count(COMPLETE), server.count(BEGIN), server.count(ABORT)) == (2, 2, 2)
        assert f"complete upload of my-bucket/k: told so ({code}, status 404, permanent)" in result.error


def test_completed_although_the_answer_was_lost(tmp_path):
    def complete(scripted: Scripted) -> Answer:
        return error(500, "InternalError") if scripted.count(COMPLETE) == 1 else error(404, "NoSuchUpload")

    def answer(scripted: Scripted, verb: str, path: str, query: dict[str, str]) -> Answer:
        if verb == "HEAD":
            return 200, {"ETag": '"x-2"', "Content-Length": str(17 * MIB)}, ""
        return uploader(complete)(scripted, verb, path, query)

    make_file(tmp_path / "in", 17 * MIB)
    with Scripted(answer) as server:
        server.store(tmp_path).good("k", "put-file", tmp_path / "in", "x", "")
        assert (server.count(BEGIN), server.count(ABORT)) == (1, 0)


def test_no_etag_is_no_proof(tmp_path):
    make_file(tmp_path / "in", 10)
    with Scripted(lambda *_: (200, {}, "")) as server:
        result = server.store(tmp_path).bad("k", "put-file", tmp_path / "in", "x", "")
        assert result.error == "permanent: put object my-bucket/k: the server confirmed no ETag (permanent)"


def test_forbidden_object(tmp_path):
    with Scripted(lambda *_: error(403, "AccessDenied")) as server:
        result = server.store(tmp_path).bad("k", "get", tmp_path / "out")
        assert "get object my-bucket/k: told so (AccessDenied, status 403, permanent)" in result.error
        assert "s3:ListBucket" in result.error
        assert len(server.seen) == 1


def cut_then(rest: Callable[[], Answer]) -> Callable[..., Answer]:
    """Half of an object, and REST for the request for the other half."""

    def answer(scripted: Scripted, *_request: Any) -> Answer:
        if len(scripted.seen) > 1:
            return rest()
        return 200, {"ETag": '"v1"', "Content-Length": "10", "Connection": "close"}, "01234"

    return answer


def test_resumed_with_range_and_etag(tmp_path):
    whole = {"Content-Range": "bytes 5-9/10", "ETag": '"v1"'}
    with Scripted(cut_then(lambda: (206, whole, "56789"))) as server:
        server.store(tmp_path).good("k", "get", tmp_path / "out")
        assert server.headers[1]["range"] == "bytes=5-"
        assert server.headers[1]["if-match"] == '"v1"'
        assert "range" not in server.headers[0] and "if-match" not in server.headers[0]
    assert (tmp_path / "out").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        (error(412, "PreconditionFailed"), "the object was replaced while it was read"),
        (error(404, "NoSuchKey"), "the object was deleted while it was read"),
        ((200, {}, "0123456789"), "does not continue there (status 200)"),
        ((206, {"Content-Range": "bytes 4-9/10"}, "456789"), "does not continue there"),
        ((206, {"Content-Range": "bytes 5-9/11"}, "56789"), "does not continue there"),
        ((206, {}, "56789"), "does not continue there"),
        ((206, {"Content-Range": "bytes 5-9/10", "ETag": '"v2"'}, "56789"), "was replaced while"),
    ],
)
def test_other_rest(tmp_path, rest, text):
    with Scripted(cut_then(lambda: rest)) as server:
        result = server.store(tmp_path).bad("k", "get", tmp_path / "out")
    assert text in result.error and result.error.startswith("permanent: ")
    assert (tmp_path / "out").read_bytes() == b"01234"


def test_wrong_clock(tmp_path):
    def answer(scripted: Scripted, *_request: Any) -> Answer:
        stamp = formatdate(scripted.clock()).split()
        date = scripted.headers[-1]["x-amz-date"]
        near = date.startswith(f"{stamp[3]}") and date[6:8] == f"{int(stamp[1]):02}"
        return (200, {"ETag": '"x"'}, "data") if near else error(403, "RequestTimeTooSkewed")

    with Scripted(answer) as server:
        server.offset = 40 * 24 * 3600.0
        result = server.store(tmp_path).good("k", "get", tmp_path / "out")
        assert result.attempts == 1 and 'class="clock skew"' in result.log
        assert len(server.seen) == 2


@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "InvalidRegion"])
def test_what_cannot_be_corrected_is_final(tmp_path, code):
    with Scripted(lambda *_: error(403, code, Region="us-east-1")) as server:
        result = server.store(tmp_path).bad("k", "get", tmp_path / "out")
        assert code in result.error and result.error.startswith("permanent: ")
        assert len(server.seen) == 2


def test_missing_key_is_no_answer_to_an_upload(tmp_path):
    make_file(tmp_path / "in", 10)
    with Scripted(lambda *_: (404, {}, "")) as server:
        result = server.store(tmp_path).bad("k", "put-file", tmp_path / "in", "x", "")
        assert result.error == "permanent: put object my-bucket/k: (status 404, permanent)"


def test_parts_under_way_share_a_correction(tmp_path):
    """Those that were sent before the first answer came: no part is corrected twice."""
    under_way = 3
    seen: list[str] = []

    def answer(scripted: Scripted, verb: str, path: str, query: dict[str, str]) -> Answer:
        is_corrected = "/eu-9/s3/" in scripted.headers[-1]["authorization"]
        if "partNumber" in query and not is_corrected:
            seen.append(query["partNumber"])
            arrived.notify_all()
            assert arrived.wait_for(lambda: len(seen) >= under_way, 60)
            return error(400, "AuthorizationHeaderMalformed", Region="eu-9")
        return uploader(lambda _: (200, {}, COMPLETED))(scripted, verb, path, query)

    make_file(tmp_path / "in", 40 * MIB)
    with Scripted(answer) as server:
        arrived = threading.Condition(server.lock)
        result = server.store(tmp_path).good("k", "put-file", tmp_path / "in", "x", "")
        assert sorted(seen) == ["1", "2", "3"]
        assert result.attempts == under_way


def test_unasked_part_of_an_object(tmp_path):
    with Scripted(lambda *_: (206, {"Content-Range": "bytes 0-3/10"}, "data")) as server:
        result = server.store(tmp_path).bad("k", "get", tmp_path / "out")
        assert "get object my-bucket/k: unexpected status 206" in result.error


@pytest.mark.parametrize(
    ("answer", "regions"),
    [
        ((200, {}, "<LocationConstraint>EU</LocationConstraint>"), ["us-east-1", "eu-west-1"]),
        (error(403, "AccessDenied", Region="ap-1"), ["us-east-1", "ap-1"]),
        (error(400, "AuthorizationHeaderMalformed", Region="ap-1"), ["us-east-1", "ap-1"]),
        (error(501, "NotImplemented"), ["us-east-1", "us-east-1"]),
        ((501, {"Server": "cloudflare"}, error(501, "NotImplemented")[2]), ["us-east-1", "us-east-1"]),
        ((501, {"Server": "AmazonSnowball"}, error(501, "NotImplemented")[2]), ["us-east-1", "snowball"]),
        ((403, {"x-amz-bucket-region": "ap-1"}, error(403, "AccessDenied")[2]), ["us-east-1", "ap-1"]),
    ],
)
def test_region_lookup(tmp_path, answer, regions):
    def script(_scripted: Scripted, _verb: str, _path: str, query: dict[str, str]) -> Answer:
        return answer if "location" in query else (200, {"ETag": '"x"'}, "data")

    with Scripted(script) as server:
        server.store(tmp_path).good("k", "get", tmp_path / "out", region="")
        scopes = [headers["authorization"].split("/")[2] for headers in server.headers]
        assert scopes == regions


def test_region_in_a_header(tmp_path):
    def script(scripted: Scripted, *_request: Any) -> Answer:
        if len(scripted.seen) == 1:
            return 301, {"x-amz-bucket-region": "eu-9"}, ""
        return 200, {"ETag": '"x"'}, "data"

    with Scripted(script) as server:
        server.store(tmp_path).good("k", "get", tmp_path / "out")
        assert "/eu-9/s3/" in server.headers[1]["authorization"]


@pytest.mark.parametrize("code", ["AccessDenied", "AuthorizationHeaderMalformed", "InvalidRegion"])
def test_region_in_a_later_refusal(tmp_path, code):
    """Once: a region that does not help, or is the one in use, is no reason to try again."""

    def script(scripted: Scripted, *_request: Any) -> Answer:
        is_good = "/eu-9/s3/" in scripted.headers[-1]["authorization"] and key != "denied"
        return (200, {"ETag": '"x"'}, "data") if is_good else error(403, code, Region="eu-9")

    with Scripted(script) as server:
        for key in ("k", "denied"):
            result = server.store(tmp_path).run(key, "get", tmp_path / "out")
            assert result.ok == (key == "k") and len(server.seen) == 2
            server.seen.clear()


def test_region_in_a_redirect(tmp_path):
    """The region of the bucket's own host; any other place is not gone to."""
    host = "my-bucket.s3.eu-9.amazonaws.com"

    def script(scripted: Scripted, *_request: Any) -> Answer:
        if len(scripted.seen) == 1:
            return error(307, "TemporaryRedirect", Endpoint=host)
        return 200, {"ETag": '"x"'}, "data"

    with Scripted(script) as server:
        server.store(tmp_path).good("k", "get", tmp_path / "out")
        assert "/eu-9/s3/" in server.headers[1]["authorization"]
    elsewhere = (307, {"Location": "http://127.0.0.1:1/"}, "")
    with Scripted(lambda *_: elsewhere) as server:
        assert "status 307" in server.store(tmp_path).bad("k", "get", tmp_path / "out").error
        assert len(server.seen) == 1


@pytest.mark.parametrize("marker", ["", "<NextMarker>b</NextMarker>"])
def test_listing_of_old(tmp_path, marker):
    """Version 1 in answer to version 2: the list goes on behind a key, without version 2."""

    def script(_scripted: Scripted, _verb: str, _path: str, query: dict[str, str]) -> Answer:
        is_first = not query.get("marker")
        keys = ["d/a", "d/b&"] if is_first else ["d/c"]
        items = "".join(f"<Contents><Key>{quote(k)}</Key><Size>1</Size></Contents>" for k in keys)
        more = f"<Marker/><IsTruncated>{str(is_first).lower()}</IsTruncated>{marker if is_first else ''}"
        return 200, {}, f"<ListBucketResult><EncodingType>url</EncodingType>{more}{items}</ListBucketResult>"

    with Scripted(script) as server:
        listed = server.store(tmp_path).good("d", "list").out.splitlines()[:-1]
        assert listed == ["1 a", "1 b&", "1 c"]
        assert server.seen[1].split()[2:] == ["encoding-type", "marker", "prefix"]


def test_server_without_version_2(tmp_path):
    def script(_scripted: Scripted, _verb: str, _path: str, query: dict[str, str]) -> Answer:
        return error(501, "NotImplemented") if "list-type" in query else page("d/a")

    with Scripted(script) as server:
        assert server.store(tmp_path).good("d", "list").out.startswith("1 a\n")


def test_remove_without_permission_to_look(tmp_path):
    """As Argo does: the object alone."""

    def script(_scripted: Scripted, verb: str, *_request: Any) -> Answer:
        return (403, {}, "") if verb == "HEAD" else (204, {}, "")

    with Scripted(script) as server:
        server.store(tmp_path).good("k", "remove", "")
        assert server.seen == ["HEAD /my-bucket/k", "DELETE /my-bucket/k"]


def test_code_of_an_answer_without_a_body(tmp_path):
    """404 for a HEAD: an object that is not there, unless MinIO's headers say otherwise."""
    headers = {"x-minio-error-code": "NoSuchBucket", "x-minio-error-desc": "told so"}
    with Scripted(lambda *_: (404, headers, "")) as server:
        text = server.store(tmp_path).bad("k", "remove", "").error
        assert "told so (NoSuchBucket, status 404, permanent)" in text
        assert server.seen == ["HEAD /my-bucket/k"]


@pytest.mark.parametrize("code", ["BucketAlreadyOwnedByYou", "BucketAlreadyExists", "InvalidBucketName"])
def test_bucket_that_is_there(tmp_path, code):
    def script(_scripted: Scripted, _verb: str, path: str, _query: dict[str, str]) -> Answer:
        return error(409, code) if path == "/my-bucket/" else (200, {"ETag": '"x"'}, "")

    make_file(tmp_path / "in", 10)
    with Scripted(script) as server:
        new = {"createBucketIfNotPresent": {}}
        result = server.store(tmp_path).run("k", "put-file", tmp_path / "in", "x", "", **new)
        assert result.ok == code.startswith("BucketAlready")
        assert result.ok or "failed to create bucket my-bucket: " in result.error


def test_remove_of_some_is_refused(tmp_path):
    """What a batch could not remove is tried, and told, by itself; nothing else is touched."""
    failed = "<DeleteResult><Error><Key>%s</Key><Code>InternalError</Code></Error></DeleteResult>"
    key = "d/b"

    def script(scripted: Scripted, verb: str, path: str, _query: dict[str, str]) -> Answer:
        if verb == "HEAD":
            return 404, {}, ""
        if verb == "GET":
            return page("d/a", "d/b")
        return (200, {}, failed % key) if verb == "POST" else error(403, "AccessDenied")

    with Scripted(script) as server:
        text = server.store(tmp_path).bad("d", "remove", "").error
        assert "delete object my-bucket/d/b: " in text and "AccessDenied" in text
        key = "other"
        assert "was not to be deleted" in server.store(tmp_path).bad("d", "remove", "").error
        assert not [line for line in server.seen if line.startswith("DELETE /my-bucket/other")]


def test_content_md5_is_demanded(tmp_path):
    make_file(tmp_path / "in", 10)

    def script(scripted: Scripted, *_request: Any) -> Answer:
        if "content-md5" not in {name.lower() for name in scripted.headers[-1]}:
            text = "Content-MD5 OR x-amz-checksum- HTTP header is required"
            answer = error(400, "InvalidRequest")
            return answer[0], {}, answer[2].replace("told so", text)
        return 200, {"ETag": '"x"'}, ""

    with Scripted(script) as server:
        result = server.store(tmp_path).good("k", "put-file", tmp_path / "in", "x", "")
        assert result.attempts == 1


def page(*keys: str, token: str | None = None, truncated: bool = False) -> Answer:
    items = "".join(f"<Contents><Key>{quote(k)}</Key><Size>1</Size></Contents>" for k in keys)
    more = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    if token is not None:
        more += f"<NextContinuationToken>{token}</NextContinuationToken>"
    body = f"<ListBucketResult><EncodingType>url</EncodingType>{more}{items}</ListBucketResult>"
    return 200, {}, body


@pytest.mark.parametrize(
    ("pages", "text"),
    [
        ([page("k/a", truncated=True)], "no token to continue with"),
        ([page("k/a", truncated=True, token="")], "no token to continue with"),
        ([page("k/a", truncated=True, token="t")], "the server repeats itself"),
        ([page("k/a", truncated=True, token="1"), page("k/a", truncated=True, token="2")], "repeats"),
        ([page(truncated=True, token=t) for t in "abcde"], "repeats"),
        ([page("k/../../etc/passwd")], "illegal object key 'k/../../etc/passwd'"),
        ([page("k//etc/passwd")], "illegal object key"),
        ([page("k/a//b")], "illegal object key"),
        ([page("elsewhere")], "not below 'k/'"),
        ([(200, {}, "<html>sign in, please</html>")], "no ListBucketResult"),
        ([(200, {}, "<ListBucketResult>" + "<a>" * 100)], "nested too deeply"),
        ([(200, {}, "<x/>" + " " * 5 * MIB)], "exceeds"),
    ],
)
def test_hostile_listing(tmp_path, pages, text):
    def answer(scripted: Scripted, *_request: Any) -> Answer:
        return pages[(len(scripted.seen) - 1) % len(pages)]

    with Scripted(answer) as server:
        result = server.store(tmp_path).bad("k", "list")
        assert text in result.error and result.error.startswith("permanent: ")
        assert len(server.seen) <= 4 * len(pages)


def test_pages(tmp_path):
    def answer(scripted: Scripted, _verb: str, _path: str, query: dict[str, str]) -> Answer:
        number = int(query.get("continuation-token", "0"))
        keys = [f"k/{number:03}"] if number % 7 else []
        return page(*keys, token=str(number + 1), truncated=number < 100)

    with Scripted(answer) as server:
        result = server.store(tmp_path).good("k", "list")
        assert len(server.seen) == 101
    assert len(result.out.splitlines()) == 1 + sum(1 for n in range(101) if n % 7)


def test_cookies_of_a_load_balancer(tmp_path):
    def script(_scripted: Scripted, _verb: str, _path: str, query: dict[str, str]) -> Answer:
        status, _, body = page("k/b") if "continuation-token" in query else page("k/a", token="t", truncated=True)
        return status, {"Set-Cookie": "node=7"}, body

    with Scripted(script) as server:
        server.store(tmp_path).good("k", "list")
        assert [headers.get("Cookie") for headers in server.headers] == [None, "node=7"]


def test_cookies_do_not_pile_up(tmp_path):
    def script(scripted: Scripted, *_request: Any) -> Answer:
        number = len(scripted.seen)
        status, _, body = page(f"k/{number:03}", token=f"t{number}", truncated=number < 260)
        return status, {"Set-Cookie": f"node{number}=7"}, body

    with Scripted(script) as server:
        server.store(tmp_path).good("k", "list")
        has_any = ["Cookie" in headers for headers in server.headers]
        assert has_any == [False] + [True] * 256 + [False] + [True] * 2


def test_outage_ends(tmp_path):
    def answer(scripted: Scripted, *_request: Any) -> Answer:
        return error(503, "SlowDown") if len(scripted.seen) < 8 else (200, {"ETag": '"x"'}, "data")

    with Scripted(answer) as server:
        result = server.store(tmp_path).good("k", "get", tmp_path / "out")
        assert result.attempts == 7

