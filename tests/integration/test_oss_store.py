"""The OSS store against a server that checks every signature, through a proxy that breaks connections.
The driver is tests/unit/test_object_store.c."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers.aliyun_identity import AliyunIdentity  # noqa: E402
from tests.servers.fault_proxy import FaultProxy  # noqa: E402
from tests.servers.identity import Reply  # noqa: E402
from tests.servers.oss import Key, OssServer  # noqa: E402
from tests.servers.tls_front import TlsFront  # noqa: E402
from tests.store_driver import Store, make_file  # noqa: E402

MIB = 1 << 20
BUCKET = "my-bucket"
MISSING = "The specified key does not exist."
V4 = {"OSS_REGION": "test-1"}


@pytest.fixture(scope="module")
def running() -> Iterator[OssServer]:
    with OssServer() as server:
        yield server


@pytest.fixture
def oss(running: OssServer) -> OssServer:
    running.clear()
    running.store.buckets.clear()
    running.create_bucket(BUCKET)
    return running


@pytest.fixture
def proxy(oss: OssServer) -> Iterator[FaultProxy]:
    with FaultProxy(oss.address) as fault_proxy:
        yield fault_proxy


def store_for(directory: Path, oss: OssServer, endpoint: str = "") -> Store:
    folder = directory / "secrets/cred"
    folder.mkdir(parents=True)
    (folder / "ak").write_text(oss.access_key + "\n")
    (folder / "sk").write_text(oss.secret_key + "\r\n")
    (folder / "wrong").write_text("another")
    location: dict[str, Any] = {
        "endpoint": endpoint or oss.endpoint,
        "bucket": BUCKET,
        "accessKeySecret": {"name": "cred", "key": "ak"},
        "secretKeySecret": {"name": "cred", "key": "sk"},
    }
    return Store("oss", directory / "secrets", location, dict(V4))


@pytest.fixture
def store(oss: OssServer, tmp_path: Path) -> Store:
    return store_for(tmp_path, oss)


@pytest.fixture
def proxied(proxy: FaultProxy, oss: OssServer, tmp_path: Path) -> Store:
    return store_for(tmp_path, oss, proxy.endpoint)


# Whole objects


@pytest.mark.parametrize("version", [1, 4])
def test_file(store: Store, oss: OssServer, tmp_path: Path, version: int) -> None:
    store.env = V4 if version == 4 else {}
    for key, size in (("a b/+/ü~*'()", 1000), ("empty", 0)):
        data = make_file(tmp_path / "in", size)
        store.good(key, "put-file", tmp_path / "in", "report.html", "")
        assert oss.objects(BUCKET)[key].data == data
        assert oss.objects(BUCKET)[key].content_type == "text/html; charset=utf-8"
        store.good(key, "get", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data
    assert {request.version for request in oss.requests()} == {version}


def test_large_file(store: Store, oss: OssServer, tmp_path: Path) -> None:
    """In parts, each with its checksum; the variables that S3 has do not concern it."""
    store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    data = make_file(tmp_path / "in", 16 * MIB + 5)
    store.good("large", "put-file", tmp_path / "in", "x", "")
    assert oss.objects(BUCKET)["large"].data == data
    assert oss.objects(BUCKET)["large"].etag.endswith('-2"')
    assert not oss.store.buckets[BUCKET].uploads
    store.good("large", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("size", [0, 100, 9 * MIB])
def test_stream(store: Store, oss: OssServer, tmp_path: Path, size: int) -> None:
    store.env = {} if size == 100 else V4
    data = make_file(tmp_path / "in", size)
    store.good("stream", "put-stream", tmp_path / "in", "x.tgz")
    assert oss.objects(BUCKET)["stream"].data == data
    assert oss.objects(BUCKET)["stream"].content_type == "application/gzip"


def test_unfinished_stream_leaves_nothing(store: Store, oss: OssServer, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 9 * MIB)
    store.good("dropped", "drop-stream", tmp_path / "in")
    assert not oss.objects(BUCKET) and not oss.store.buckets[BUCKET].uploads


@pytest.mark.parametrize(
    ("found", "requests"),
    [("ours", "HEAD"), ("nothing", "HEAD PUT"), ("other", "HEAD PUT"), ("old", "HEAD PUT"), ("refused", "HEAD PUT")],
)
def test_what_a_dead_process_has_stored(
    store: Store, oss: OssServer, tmp_path: Path, found: str, requests: str
) -> None:
    """Is not sent again, if it is what this one would send."""
    data = make_file(tmp_path / "in", 1000)
    if found != "nothing":
        oss.put(BUCKET, "key", bytes(1000) if found == "other" else data)
    if found == "old":
        oss.objects(BUCKET)["key"].modified -= 86400
    if found == "refused":
        oss.faults.add(verb="HEAD", count=1, action={"kind": "error", "status": 403, "code": "AccessDenied"})
    store.env["LOST_FROM"] = str(int(time.time()) - 60)
    result = store.good("key", "put-file", tmp_path / "in", "x", "")
    assert [request.method for request in oss.requests()] == requests.split()
    assert oss.objects(BUCKET)["key"].data == data
    assert result.out.startswith(f"stored 1000 {oss.objects(BUCKET)['key'].etag} ")


def test_missing_object(store: Store, oss: OssServer, tmp_path: Path) -> None:
    """At once, unlike Argo's, which tries for half a minute and fails then."""
    result = store.bad("none", "get", tmp_path / "out")
    assert result.error == f"not found: {MISSING}"
    assert len(oss.requests()) == 1
    assert store.bad("none", "list").error == f"not found: {MISSING}"


def test_bucket_is_missing(store: Store, tmp_path: Path) -> None:
    result = store.bad("key", "get", tmp_path / "out", bucket="another-bucket")
    assert result.error.startswith("permanent: ") and "NoSuchBucket" in result.error


def test_error_of_a_head(store: Store, oss: OssServer) -> None:
    """It has no body: the document is in a header."""
    result = store.bad("key", "remove", "", bucket="another-bucket")
    assert "The specified bucket does not exist. (NoSuchBucket, status 404, permanent)" in result.error
    assert [request.method for request in oss.requests()] == ["HEAD"]


@pytest.mark.parametrize("version", [1, 4])
def test_directory(store: Store, oss: OssServer, tmp_path: Path, version: int) -> None:
    """More than a page, with markers of directories; what is beside the prefix is left alone."""
    store.env = V4 if version == 4 else {}
    for number in range(150):
        oss.put(BUCKET, f"d/f {number:03}&<ü>", b"x" * number)
    for key in ("d/", "d/sub/", "dx", "d/sub/deep/"):
        oss.put(BUCKET, key, b"")
    lines = store.good("d", "list").out.splitlines()[:-1]
    assert lines[:150] == [f"{number} f {number:03}&<ü>" for number in range(150)]
    assert lines[150:] == ["0 sub/", "0 sub/deep/"]
    assert len(oss.requests()) == 2
    store.good("d", "get-below", "f 007&<ü>", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"x" * 7


def test_markers_are_made(store: Store, oss: OssServer) -> None:
    store.good("d", "put-directory", "")
    store.good("d/", "put-directory", "")
    store.good("d", "put-directory", "a/b")
    assert {key: item.data for key, item in oss.objects(BUCKET).items()} == {"d/": b"", "d/a/b/": b""}


@pytest.mark.parametrize("version", [1, 4])
def test_remove(store: Store, oss: OssServer, version: int) -> None:
    """The object if there is one, else what is below it, markers too; never a sibling."""
    store.env = V4 if version == 4 else {}
    for key in ("d", "d/", "d/a", "d/sub/", "d/sub/b", "d2/a", "d.tgz"):
        oss.put(BUCKET, key, b"x")
    store.good("d", "remove", "")
    assert set(oss.objects(BUCKET)) == {"d/", "d/a", "d/sub/", "d/sub/b", "d2/a", "d.tgz"}
    store.good("d", "remove", "")
    assert set(oss.objects(BUCKET)) == {"d2/a", "d.tgz"}
    store.good("d", "remove", "")
    assert "NoSuchBucket" in store.bad("d", "remove", "", bucket="another").error


def test_keys_that_leave(store: Store, oss: OssServer) -> None:
    for key in ("d/../x", "d//x", "d/x/../"):
        oss.objects(BUCKET).clear()
        oss.put(BUCKET, key, b"")
        assert f"illegal object key '{key}'" in store.bad("d", "list").error


def test_appendable_object(store: Store, oss: OssServer, tmp_path: Path) -> None:
    """Read like any other, and replaced like any other."""
    oss.put(BUCKET, "log", b"one")
    oss.objects(BUCKET)["log"].kind = "Appendable"
    store.good("log", "get", tmp_path / "out")
    make_file(tmp_path / "in", 10)
    store.good("log", "put-file", tmp_path / "in", "x", "")
    assert oss.objects(BUCKET)["log"].kind == "Normal"


def test_https(oss: OssServer, tmp_path: Path) -> None:
    oss.put(BUCKET, "key", b"content")
    with TlsFront(oss.address, tmp_path / "tls") as front:
        store = store_for(tmp_path, oss, f"https://{front.endpoint}/")
        assert "certificate" in store.bad("key", "get", tmp_path / "out").error
        store.env["SSL_CERT_FILE"] = str(front.cert.ca)
        store.good("key", "get", tmp_path / "out")


# Buckets


def test_bucket_is_created(store: Store, oss: OssServer, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 10)
    oss.create_bucket("new-bucket-2")
    arguments = ("put-file", tmp_path / "in", "x", "")
    result = store.bad("key", *arguments, bucket="new-bucket")
    assert "The specified bucket does not exist. (NoSuchBucket, status 404, permanent)" in result.error
    assert result.attempts == 1
    for _ in range(2):
        store.good("key", *arguments, bucket="new-bucket", createBucketIfNotPresent=True)
    assert list(oss.objects("new-bucket")) == ["key"]
    made = [r for r in oss.requests() if r.method == "PUT" and r.key is None]
    assert len(made) == 1 and b"<StorageClass>Standard</StorageClass>" in made[0].body


def test_somebody_else_creates_the_bucket(store: Store, oss: OssServer, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 10)
    taken = {"kind": "error", "status": 409, "code": "BucketAlreadyExists"}
    oss.create_bucket("other")
    oss.faults.add(verb="PUT", path="^/new-bucket/$", action=taken)
    arguments = ("put-file", tmp_path / "in", "x", "")
    result = store.bad("key", *arguments, bucket="new-bucket", createBucketIfNotPresent=True)
    assert "put object new-bucket/key" in result.error and "NoSuchBucket" in result.error


def test_lifecycle(store: Store, oss: OssServer, tmp_path: Path) -> None:
    bucket = oss.store.buckets[BUCKET]
    other = "<Rule><ID>other</ID><Prefix>x</Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>"
    bucket.lifecycle = f"<LifecycleConfiguration>{other}</LifecycleConfiguration>".encode()
    rule = {"markInfrequentAccessAfterDays": 30, "markDeletionAfterDays": 60}
    make_file(tmp_path / "in", 10)
    for _ in range(2):
        store.good("a&b", "put-file", tmp_path / "in", "x", "", lifecycleRule=rule)
    text = bucket.lifecycle.decode()
    assert other in text and text.count("<Rule>") == 2 and "<Prefix>a&amp;b</Prefix>" in text
    assert "<Transition><Days>30</Days><StorageClass>IA</StorageClass></Transition>" in text
    assert "<Expiration><Days>60</Days></Expiration>" in text
    assert len([r for r in oss.requests() if r.method == "PUT" and "lifecycle" in r.query]) == 1
    store.good("a&b", "put-file", tmp_path / "in", "x", "", lifecycleRule=dict.fromkeys(rule, 0))


# Signatures and credentials


def test_server_without_version_4(store: Store, oss: OssServer, tmp_path: Path) -> None:
    oss.versions = {1}
    oss.put(BUCKET, "key", b"content")
    store.good("key", "get", tmp_path / "out")
    assert [request.version for request in oss.requests()] == [0, 1]


def test_wrong_region(store: Store, oss: OssServer, tmp_path: Path) -> None:
    oss.put(BUCKET, "key", b"content")
    store.env = {"OSS_REGION": "elsewhere"}
    store.good("key", "get", tmp_path / "out")
    assert [request.version for request in oss.requests()] == [4, 1]


def test_server_without_version_1(store: Store, oss: OssServer, tmp_path: Path) -> None:
    oss.versions = {4}
    store.env = {}
    result = store.bad("key", "get", tmp_path / "out")
    assert "InvalidArgument, status 400, permanent" in result.error and result.attempts == 1
    assert result.error.endswith("because the endpoint names no region: OSS_REGION would")


@pytest.mark.parametrize("version", [1, 4])
def test_wrong_secret(store: Store, oss: OssServer, tmp_path: Path, version: int) -> None:
    store.env = V4 if version == 4 else {}
    wrong = {"secretKeySecret": {"name": "cred", "key": "wrong"}}
    result = store.bad("key", "get", tmp_path / "out", **wrong)
    assert "get object my-bucket/key" in result.error
    assert "(SignatureDoesNotMatch, status 403, permanent)" in result.error
    assert re.search(r"; request id [0-9A-F]{24}, cause 0001-\d{8}", result.error)
    wrong = {"accessKeySecret": {"name": "cred", "key": "wrong"}}
    result = store.bad("key", "get", tmp_path / "out", **wrong)
    assert "(InvalidAccessKeyId, status 403, permanent)" in result.error and result.attempts == 1


@pytest.mark.parametrize("version", [1, 4])
@pytest.mark.parametrize("hours", [-3, 3])
def test_clock_skew(store: Store, oss: OssServer, tmp_path: Path, version: int, hours: int) -> None:
    oss.clock_offset = hours * 3600.0
    oss.put(BUCKET, "key", b"content")
    store.env = V4 if version == 4 else {}
    result = store.good("key", "get", tmp_path / "out")
    assert result.attempts == 1 and 'class="clock skew"' in result.log
    assert len(oss.requests()) == 2


@pytest.mark.parametrize("version", [1, 4])
def test_token(store: Store, oss: OssServer, tmp_path: Path, version: int) -> None:
    oss.put(BUCKET, "key", b"content")
    oss.keys["STS.a"] = Key("sts-secret", "token/+=")
    (store.secrets / "cred/sts-ak").write_text("STS.a")
    (store.secrets / "cred/sts-sk").write_text("sts-secret")
    keys = {
        "accessKeySecret": {"name": "cred", "key": "sts-ak"},
        "secretKeySecret": {"name": "cred", "key": "sts-sk"},
    }
    store.env = V4 if version == 4 else {}
    store.good("key", "get", tmp_path / "out", **keys, securityToken="token/+=")
    assert "InvalidSecurityToken" in store.bad("key", "get", tmp_path / "out", **keys).error
    oss.keys["STS.a"].expires = time.time() - 1
    result = store.bad("key", "get", tmp_path / "out", **keys, securityToken="token/+=")
    assert "(SecurityTokenExpired, status 403, permanent)" in result.error and result.attempts == 1


def chain(store: Store, **env: str) -> None:
    store.location["useSDKCreds"] = True
    store.env = {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "HOME": "/nonexistent", **env}


def test_keys_of_the_environment(store: Store, oss: OssServer, tmp_path: Path) -> None:
    oss.put(BUCKET, "key", b"content")
    chain(store)
    assert "credentials: neither the environment" in store.bad("key", "get", tmp_path / "o").error
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": oss.access_key}
    chain(store, **keys, ALIBABA_CLOUD_ACCESS_KEY_SECRET=oss.secret_key)
    store.good("key", "get", tmp_path / "out")


def test_uri_and_renewal(store: Store, oss: OssServer, tmp_path: Path) -> None:
    """A service that is down for a moment; a token that OSS finds expired before its time."""
    data = make_file(tmp_path / "in", 9 * MIB)
    with AliyunIdentity(oss) as identity:
        chain(store, ALIBABA_CLOUD_CREDENTIALS_URI=f"{identity.url}/keys")
        identity.failures = [503, 503]
        identity.seconds = [-1, 3600]
        result = store.good("key", "put-stream", tmp_path / "in", "x")
        assert len(identity.asked) == 4
        assert 'class="expired credentials"' in result.log
        identity.failures = [403]
        text = store.bad("key", "get", tmp_path / "out").error
        assert "permanent: credentials from ALIBABA_CLOUD_CREDENTIALS_URI:" in text
    assert oss.objects(BUCKET)["key"].data == data


def test_service_of_keys_throttles(store: Store, oss: OssServer, tmp_path: Path) -> None:
    """Twenty artifacts wait for one answer, which is asked for as slowly as the service wants."""
    keys = [f"small/{number}" for number in range(20)]
    for key in keys:
        oss.put(BUCKET, key, b"x")
    with AliyunIdentity(oss) as identity:
        chain(store, ALIBABA_CLOUD_CREDENTIALS_URI=f"{identity.url}/keys")
        identity.failures = [500, 500, Reply(429, {"Retry-After": "1"})]
        result = store.good("x", "get-each", tmp_path / "out", *keys)
        assert len(identity.asked) == 4
        assert identity.asked[3].when - identity.asked[2].when >= 1
    assert result.log.count('operation="get credentials"') == 3


@pytest.mark.parametrize("source", ["metadata", "metadata-v1", "metadata-v1-off", "oidc", "oidc-ahead"])
def test_role_of_a_machine(tmp_path: Path, source: str) -> None:
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.oss_machine"]
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [*command, source, str(tmp_path)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] == (source != "metadata-v1-off"), answer["log"]
    asked = [f"{item['method']} {item['path'].partition('?')[0]}" for item in answer["asked"]]
    if source.startswith("oidc"):
        # STS refuses a wrong clock once; its answer's date corrects what is asked next.
        assert asked == ["POST /"] * (4 if source == "oidc-ahead" else 2)
        assert answer["asked"][0]["form"]["RoleArn"] == "acs:ram::1234:role/test"
    elif source == "metadata-v1-off":
        assert asked == ["PUT /latest/api/token"] * 2
        assert "permanent: credentials from the machine's RAM role: status 404" in answer["log"]
    else:
        roles = "GET /latest/meta-data/ram/security-credentials/"
        assert asked == ["PUT /latest/api/token", roles, roles + "test-role"] * 2


# Failures on the way

INTERNAL = "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message><RequestId>5C1B</RequestId></Error>"
BUSY = [
    {"kind": "status", "status": 500, "body": INTERNAL},
    {"kind": "status", "status": 503, "body": "<Error><Code>ServiceUnavailable</Code></Error>"},
    {"kind": "status", "status": 503, "body": "<Error><Code>SlowDown</Code></Error>"},
    {"kind": "status", "status": 503, "body": "<Error><Code>Throttling</Code></Error>"},
    {"kind": "status", "status": 502, "body": "<html>Bad gateway</html>"},
    {"kind": "status", "status": 429},
    {"kind": "reset"},
    {"kind": "close"},
    {"kind": "lost"},
]


def test_gets_over(proxied: Store, proxy: FaultProxy, oss: OssServer, tmp_path: Path) -> None:
    data = make_file(tmp_path / "in", 1000)
    for action in BUSY:
        proxy.clear()
        proxy.faults.add(verb="PUT", count=2, action=action)
        proxy.faults.add(verb="GET", count=2, action=action)
        assert proxied.good("key", "put-file", tmp_path / "in", "x", "").attempts == 2, action
        assert proxied.good("key", "get", tmp_path / "out").attempts == 2, action
        assert (tmp_path / "out").read_bytes() == data
    assert "request id 5C1B" not in proxied.good("key", "get", tmp_path / "out").log


def test_every_request_of_a_large_upload_fails_once(
    proxied: Store, proxy: FaultProxy, oss: OssServer, tmp_path: Path
) -> None:
    data = make_file(tmp_path / "in", 9 * MIB)
    for path in (r"\?uploads", "partNumber=1&", "partNumber=2&", r"\?uploadId="):
        proxy.faults.add(path=path, count=1, action=BUSY[0])
    result = proxied.good("large", "put-stream", tmp_path / "in", "x")
    assert oss.objects(BUCKET)["large"].data == data and result.attempts == 4
    assert "InternalError, status 500, transient); request id 5C1B" in result.log


def test_lost_answer_to_a_complete(
    proxied: Store, proxy: FaultProxy, oss: OssServer, tmp_path: Path
) -> None:
    make_file(tmp_path / "in", 9 * MIB)
    proxy.faults.add(verb="POST", path=r"\?uploadId=", count=1, action={"kind": "lost"})
    proxied.good("large", "put-stream", tmp_path / "in", "x")
    assert oss.objects(BUCKET)["large"].etag.endswith('-2"')


def test_refused_part(proxied: Store, proxy: FaultProxy, oss: OssServer, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 17 * MIB)
    proxy.faults.add(path="partNumber=2&", action={"kind": "status", "status": 403})
    result = proxied.bad("refused", "put-file", tmp_path / "in", "x", "")
    assert "put part 2 of my-bucket/refused: (status 403, permanent)" in result.error
    assert not oss.objects(BUCKET) and not oss.store.buckets[BUCKET].uploads


def test_cut_download_is_resumed(
    proxied: Store, proxy: FaultProxy, oss: OssServer, tmp_path: Path
) -> None:
    data = os.urandom(3 * MIB)
    oss.put(BUCKET, "key", data)
    proxy.faults.add(verb="GET", count=2, action={"kind": "cut_response", "bytes": MIB})
    proxied.good("key", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert [r.headers.get("range") is not None for r in oss.requests()] == [False, True, True]


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_changed_on_the_way(
    proxied: Store, proxy: FaultProxy, oss: OssServer, tmp_path: Path, size: int
) -> None:
    """What fits into memory is fetched again; the beginning of more has been given out already."""
    data = os.urandom(size)
    oss.put(BUCKET, "key", data)
    proxy.faults.add(verb="GET", count=1, action={"kind": "corrupt", "offset": 50})
    if size == 100:
        assert proxied.good("key", "get", tmp_path / "out").attempts == 1
        assert (tmp_path / "out").read_bytes() == data
    else:
        result = proxied.bad("key", "get", tmp_path / "out")
        assert "permanent: get object my-bucket/key: checksums differ: the server has CRC-64" in result.error


def test_other_checksum(store: Store, oss: OssServer, tmp_path: Path) -> None:
    data = make_file(tmp_path / "in", 100)
    oss.faults.add(count=1, action={"kind": "crc"})
    assert store.good("key", "put-file", tmp_path / "in", "x", "").attempts == 1
    oss.faults.clear()
    oss.faults.add(action={"kind": "crc"})
    for operation in (["put-file", tmp_path / "in", "x", ""], ["get", tmp_path / "out"]):
        result = store.bad("key", *operation)
        assert "my-bucket/key: checksums differ: the server has CRC-64" in result.error
        assert re.search(r"\(4 attempts in [0-9.]+m?s: 1 permanent, 3 transient\)", result.error)
    assert oss.objects(BUCKET)["key"].data == data


def test_other_checksum_of_the_whole(store: Store, oss: OssServer, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 9 * MIB)
    oss.faults.add(verb="POST", path=r"\?uploadId=", action={"kind": "crc"})
    result = store.bad("large", "put-stream", tmp_path / "in", "x")
    assert "complete upload of my-bucket/large: checksums differ" in result.error


def test_endpoint_of_another_region(
    proxied: Store, proxy: FaultProxy, tmp_path: Path
) -> None:
    text = "<Error><Code>AccessDenied</Code><Message>told so</Message><Endpoint>oss-x.aliyuncs.com</Endpoint></Error>"
    proxy.faults.add(action={"kind": "status", "status": 403, "body": text})
    error = proxied.bad("key", "get", tmp_path / "out").error
    assert error.endswith("told so (AccessDenied, status 403, permanent); the bucket's endpoint is oss-x.aliyuncs.com")
