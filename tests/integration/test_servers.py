"""Judges of the judges: the servers that other tests rely on do what their protocols say."""

import hashlib
import http.client
import json
import os
import select
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.servers import certs, kube_store, ports, proc, versitygw
from tests.servers import swift as swift_server
from tests.servers.dns_blackhole import DnsBlackhole
from tests.servers.fault_proxy import FaultProxy
from tests.servers.kube_api import KubeApi
from tests.servers.s3_client import S3Client, S3Error
from tests.servers.tls_front import TlsFront

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "/apis/argoproj.io/v1alpha1/namespaces/argo/workflowtaskresults"
MERGE = "application/merge-patch+json"
MIB = 1 << 20


# --- Kubernetes API ---------------------------------------------------------------------------


class ApiClient:
    """One keep-alive connection with a token."""

    def __init__(self, api, token):
        context = certs.ssl.create_default_context(cafile=str(api.ca))
        self.connection = http.client.HTTPSConnection(
            api.host, api.port, timeout=5, context=context
        )
        self.token = token
        self.headers = {}

    def call(self, verb, path, body=None, content_type=None, **headers):
        fields = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if content_type:
            fields["Content-Type"] = content_type
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        self.connection.request(verb, path, data, {**fields, **headers})
        answer = self.connection.getresponse()
        self.headers = answer.headers
        raw = answer.read()
        return answer.status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw

    def create(self, name="node-1", **fields):
        meta = {"name": name, **fields.pop("metadata", {})}
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTaskResult",
            "metadata": meta,
        }
        return self.call("POST", RESULTS, {**body, **fields}, "application/json")

    def patch(self, patch, name="node-1"):
        return self.call("PATCH", f"{RESULTS}/{name}", patch, MERGE)


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory):
    with KubeApi(tmp_path_factory.mktemp("api")) as api:
        yield api


@pytest.fixture
def api(shared_api):
    shared_api.clear()
    return shared_api


@pytest.fixture
def pod(api):
    client = ApiClient(api, api.token)
    yield client
    client.connection.close()


@pytest.fixture
def admin(api):
    client = ApiClient(api, api.admin_token)
    yield client
    client.connection.close()


def refused(answer, code, reason, text=""):
    status, body = answer
    assert (status, body["kind"], body["code"], body.get("reason", "")) == (
        code,
        "Status",
        code,
        reason,
    )
    assert text in body["message"]
    return True


def test_api_results_as_a_pod_writes_them(api, pod):
    status, created = pod.create(metadata={"labels": {"done": "false"}})
    assert status == 201
    meta = created["metadata"]
    assert meta["namespace"] == "argo" and meta["generation"] == 1 and meta["uid"]
    status, reported = pod.patch({"metadata": {}, "outputs": {"result": "42"}})
    assert status == 200 and reported["metadata"]["generation"] == 2
    status, final = pod.patch({"metadata": {"labels": {"done": "true"}}})
    assert final["outputs"] == {"result": "42"}
    assert final["metadata"]["generation"] == 2, "metadata alone is no new generation"
    events = api.store.history("node-1")
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "MODIFIED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert [r["verb"] for r in api.requests()] == ["POST", "PATCH", "PATCH"]
    assert {r["connection"] for r in api.requests()} == {
        api.requests()[0]["connection"]
    }, "kept alive"


def test_api_merge_patch_without_effect_makes_no_version(pod):
    created = pod.create()[1]
    for patch in ({}, {"metadata": {}}, {"message": None}):
        status, same = pod.patch(patch)
        assert status == 200 and same == created


@pytest.mark.parametrize(
    "target, patch, result",
    [
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples_of_rfc_7386(target, patch, result):
    assert kube_store.merge_patch(target, patch) == result


def test_api_optimistic_concurrency(api, pod):
    version = pod.create()[1]["metadata"]["resourceVersion"]
    assert pod.patch({"metadata": {"resourceVersion": version}, "progress": "1/2"})[0] == 200
    text = (
        'Operation cannot be fulfilled on workflowtaskresults.argoproj.io "node-1": the object has'
        " been modified; please apply your changes to the latest version and try again"
    )
    answer = pod.patch({"metadata": {"resourceVersion": version}, "progress": "2/2"})
    assert refused(answer, 409, "Conflict") and answer[1]["message"] == text
    details = {"name": "node-1", "group": "argoproj.io", "kind": "workflowtaskresults"}
    assert answer[1]["details"] == details
    assert refused(pod.patch({"metadata": {"resourceVersion": "x"}}), 500, "", "strconv.ParseUint")
    assert refused(
        pod.patch({"metadata": {"resourceVersion": ""}}), 422, "Invalid", "must be specified"
    )
    assert api.store.get("argo", "node-1")["progress"] == "1/2"


def test_api_names(pod):
    assert pod.create()[0] == 201
    assert refused(pod.create(), 409, "AlreadyExists", '"node-1" already exists')
    assert refused(pod.patch({}, "node-2"), 404, "NotFound", '"node-2" not found')
    assert refused(pod.create("Node_1"), 422, "Invalid", "RFC 1123 subdomain")
    assert refused(pod.create(""), 422, "Invalid", "name or generateName is required")
    assert refused(pod.patch({"metadata": {"name": "other"}}), 400, "BadRequest", "does not match")
    assert refused(pod.create("n", metadata={"namespace": "x"}), 400, "BadRequest", "namespace")
    assert refused(pod.create("n", metadata={"resourceVersion": "1"}), 500, "", "should not be set")


@pytest.mark.parametrize(
    "verb, path, text",
    [
        ("GET", f"{RESULTS}/node-1", '"node-1" is forbidden: {user} cannot get'),
        ("GET", RESULTS, "is forbidden: {user} cannot list"),
        ("GET", f"{RESULTS}?watch=true", "is forbidden: {user} cannot watch"),
        ("DELETE", f"{RESULTS}/node-1", '"node-1" is forbidden: {user} cannot delete'),
        ("PUT", f"{RESULTS}/node-1", '"node-1" is forbidden: {user} cannot update'),
    ],
)
def test_api_grants_a_pod_nothing_else(pod, verb, path, text):
    text = text.format(user='User "system:serviceaccount:argo:default"')
    tail = 'resource "workflowtaskresults" in API group "argoproj.io" in the namespace "argo"'
    answer = pod.call(verb, path)
    assert refused(answer, 403, "Forbidden")
    assert answer[1]["message"] == f"workflowtaskresults.argoproj.io {text} {tail}"


def test_api_refuses_other_places(api, pod):
    for path in ("/api/v1/namespaces/argo/pods/x", "/api/v1/nodes", "/version"):
        assert refused(pod.call("GET", path), 403, "Forbidden")
    other = RESULTS.replace("/argo/", "/other/")
    assert refused(pod.call("POST", other, {}, "application/json"), 403, "Forbidden", '"other"')
    limited = ApiClient(api, api.add_account("argo", "limited", frozenset(["patch"])))
    assert refused(limited.create(), 403, "Forbidden", "serviceaccount:argo:limited")
    limited.connection.close()


def test_api_tokens(api, pod):
    for token in ("", "wrong"):
        client = ApiClient(api, token)
        answer = client.create()
        assert refused(answer, 401, "Unauthorized") and answer[1]["message"] == "Unauthorized"
        client.connection.close()
    assert pod.create()[0] == 201
    new = api.rotate_token()
    assert refused(pod.patch({}), 401, "Unauthorized")
    assert api.token_file.read_text() == new and new in api.kubeconfig.read_text()
    pod.token = new
    assert pod.patch({})[0] == 200


@pytest.mark.parametrize(
    "outputs, field, reason",
    [
        ({"artifacts": [{"name": "a b"}]}, "outputs.artifacts[0].name", "FieldValueInvalid"),
        ({"artifacts": [{"name": "a"}, {}]}, "outputs.artifacts[1].name", "FieldValueRequired"),
        (
            {"artifacts": [{"name": "a", "gcs": {}}]},
            "outputs.artifacts[0].gcs.key",
            "FieldValueRequired",
        ),
        (
            {"artifacts": [{"name": "a", "mode": 512}]},
            "outputs.artifacts[0].mode",
            "FieldValueInvalid",
        ),
        (
            {"artifacts": [{"name": "a", "mode": "7"}]},
            "outputs.artifacts[0].mode",
            "FieldValueTypeInvalid",
        ),
        (
            {"artifacts": [{"name": "a", "s3": {"addressingStyle": "x"}}]},
            "outputs.artifacts[0].s3.addressingStyle",
            "FieldValueNotSupported",
        ),
        (
            {"artifacts": [{"name": "a", "s3": {}, "raw": {"data": ""}}]},
            "outputs.artifacts[0]",
            "FieldValueInvalid",
        ),
        ({"parameters": [{"name": "a.b"}]}, "outputs.parameters[0].name", "FieldValueInvalid"),
        ({"parameters": [{"name": "a\n"}]}, "outputs.parameters[0].name", "FieldValueInvalid"),
        (
            {"parameters": [{"name": "a", "value": 3}]},
            "outputs.parameters[0].value",
            "FieldValueTypeInvalid",
        ),
        (
            {"parameters": [{"name": "a", "enum": []}]},
            "outputs.parameters[0].enum",
            "FieldValueInvalid",
        ),
        ({"result": 1}, "outputs.result", "FieldValueTypeInvalid"),
    ],
)
def test_api_validates_by_the_schema(api, pod, outputs, field, reason):
    pod.create()
    answer = pod.patch({"outputs": outputs})
    assert refused(answer, 422, "Invalid", field)
    cause = answer[1]["details"]["causes"][0]
    assert (cause["field"], cause["reason"]) == (field, reason)
    assert "outputs" not in api.store.get("argo", "node-1")


def test_api_prunes_and_defaults(pod):
    secret = {"key": "k", "name": None}
    artifact = {"name": "a", "path": None, "s3": {"key": "k", "accessKeySecret": secret, "zork": 1}}
    status, made = pod.create(outputs={"artifacts": [artifact]}, extra={"x": 1})
    assert status == 201 and "extra" not in made
    wanted = {"name": "a", "s3": {"key": "k", "accessKeySecret": {"key": "k", "name": ""}}}
    assert made["outputs"]["artifacts"] == [wanted]
    warnings = pod.headers.get_all("Warning")
    assert warnings == [
        '299 - "unknown field \\"extra\\""',
        '299 - "unknown field \\"outputs.artifacts[0].s3.zork\\""',
    ]


def test_api_media_types_and_bodies(pod):
    pod.create()
    path = f"{RESULTS}/node-1"
    for kind in ("application/json", "application/strategic-merge-patch+json", None):
        assert refused(pod.call("PATCH", path, {}, kind), 415, "UnsupportedMediaType")
    assert refused(pod.call("POST", RESULTS, "x", "text/plain"), 415, "UnsupportedMediaType")
    assert pod.call("PATCH", path, {}, MERGE, Accept="text/html, application/json")[0] == 200
    assert refused(pod.call("PATCH", path, {}, MERGE, Accept="text/html"), 406, "NotAcceptable")
    for body in ("{", "", "[]", "null", "{} x", "[" * 100000):
        assert refused(pod.call("PATCH", path, body, MERGE), 400, "BadRequest")
    chunks = iter([b'{"progress":', b'"1/1"}'])
    pod.connection.request(
        "PATCH", path, chunks, {"Authorization": f"Bearer {pod.token}", "Content-Type": MERGE}
    )
    assert json.loads(pod.connection.getresponse().read())["progress"] == "1/1"


def test_api_size_limits(pod):
    pod.create()
    assert pod.patch({"outputs": {"result": "x" * 1_400_000}})[0] == 200
    large = {"outputs": {"result": "x" * 1_600_000}}
    assert refused(pod.patch(large), 500, "", "etcdserver: request is too large")
    larger = {"outputs": {"result": "x" * 2_200_000}}
    assert refused(pod.patch(larger), 500, "", "trying to send message larger than max")
    huge = {"outputs": {"result": "x" * 3_200_000}}
    assert refused(pod.patch(huge), 413, "RequestEntityTooLarge", "limit is 3145728")


def test_api_admin_sees_and_deletes(pod, admin):
    pod.create()
    assert admin.call("GET", f"{RESULTS}/node-1")[1]["metadata"]["name"] == "node-1"
    assert len(admin.call("GET", RESULTS)[1]["items"]) == 1
    assert admin.call("DELETE", f"{RESULTS}/node-1")[0] == 200
    assert refused(pod.patch({}), 404, "NotFound")
    assert refused(admin.call("GET", "/apis/argoproj.io/v1alpha1/foos"), 404, "NotFound")


def test_api_fault_status_by_count(api, pod):
    pod.create()
    headers = {"Retry-After": "1"}
    action = {"kind": "status", "status": 429, "reason": "TooManyRequests", "headers": headers}
    rule = api.faults.add(verb="PATCH", path="/node-1$", nth=2, count=2, action=action)
    codes = [pod.patch({})[0] for _ in range(5)]
    assert codes == [200, 429, 429, 200, 200] and rule.fired == 2
    assert [r["fault"] for r in api.requests()[1:]] == [None, "status", "status", None, None]
    with pytest.raises(ValueError, match="unknown option"):
        api.faults.add(action={"kind": "delay", "second": 1})


def test_api_fault_by_chance_is_repeatable(api, pod):
    pod.create()
    runs = []
    for _ in range(2):
        api.faults.clear()
        api.faults.add(probability=0.5, seed=3, action={"kind": "status", "body": "down"})
        runs.append([pod.patch({})[0] for _ in range(12)])
    assert runs[0] == runs[1] and set(runs[0]) == {200, 503}


@pytest.mark.parametrize("kind, is_processed", [("reset", False), ("lost", True)])
def test_api_fault_reset(api, pod, kind, is_processed):
    pod.create()
    api.faults.add(verb="PATCH", count=1, action={"kind": kind})
    # The second write of one request may already meet the reset: OpenSSL calls that an EOF.
    with pytest.raises((ConnectionResetError, certs.ssl.SSLEOFError)):
        pod.patch({"progress": "1/1"})
    assert ("progress" in api.store.get("argo", "node-1")) == is_processed
    pod.connection.close()
    assert pod.patch({})[0] == 200


def test_api_fault_truncated_and_garbage(api, pod):
    pod.create()
    api.faults.add(verb="PATCH", count=1, action={"kind": "truncate", "bytes": 10})
    with pytest.raises(http.client.IncompleteRead) as caught:
        pod.patch({"progress": "1/1"})
    assert len(caught.value.partial) == 10 and api.store.get("argo", "node-1")["progress"] == "1/1"
    pod.connection.close()
    api.faults.add(verb="PATCH", count=1, action={"kind": "garbage", "body": "<p>"})
    assert pod.patch({}) == (200, b"<p>")


def test_api_fault_delay_and_stall(api, pod):
    pod.create()
    api.faults.add(verb="PATCH", count=1, action={"kind": "delay", "seconds": 0.3})
    started = time.monotonic()
    assert pod.patch({})[0] == 200 and time.monotonic() - started >= 0.3
    api.faults.add(verb="PATCH", count=1, action={"kind": "stall", "processed": True})
    pod.connection.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        pod.patch({"progress": "1/1"})
    assert api.store.get("argo", "node-1")["progress"] == "1/1"


def test_api_fault_concurrent_writer_makes_a_real_conflict(api, pod):
    version = pod.create()[1]["metadata"]["resourceVersion"]
    other = {"metadata": {"annotations": {"seen": "yes"}}}
    api.faults.add(verb="PATCH", count=1, action={"kind": "concurrent_write", "patch": other})
    patch = {"metadata": {"resourceVersion": version}, "progress": "1/1"}
    assert refused(pod.patch(patch), 409, "Conflict")
    current = pod.patch({})[1]
    assert current["metadata"]["annotations"] == {"seen": "yes"}
    patch["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
    assert pod.patch(patch)[0] == 200


def test_api_outage(tmp_path):
    with KubeApi(tmp_path) as api:
        client = ApiClient(api, api.token)
        assert client.create()[0] == 201
        api.suspend()
        with pytest.raises(OSError):
            client.patch({})
        client.connection.close()
        with pytest.raises(ConnectionRefusedError):
            client.patch({})
        client.connection.close()
        api.resume()
        assert client.patch({})[0] == 200
        client.connection.close()


def test_api_as_a_program(tmp_path):
    argv = [
        sys.executable,
        ROOT / "tests/servers/kube_api.py",
        "--dir",
        tmp_path,
        "--namespace",
        "ns",
    ]
    server = proc.Process(argv, tmp_path / "log")
    try:
        server.wait_ready((tmp_path / "port").exists)
        server.wait_port(int((tmp_path / "port").read_text()))
        admin = f"http://127.0.0.1:{(tmp_path / 'admin/port').read_text().strip()}"
        rule = json.dumps({"action": {"kind": "status", "status": 503}}).encode()
        request = urllib.request.Request(f"{admin}/faults", rule, method="POST")
        assert json.load(urllib.request.urlopen(request))[0]["action"]["status"] == 503
        token = (tmp_path / "token").read_text()
        url = f"https://localhost:{(tmp_path / 'port').read_text().strip()}/x"
        argv = [
            "curl",
            "-s",
            "--cacert",
            tmp_path / "ca.crt",
            "-H",
            f"Authorization: Bearer {token}",
            url,
        ]
        answer = subprocess.run(argv, capture_output=True, check=True).stdout
        assert json.loads(answer)["code"] == 503
        (seen,) = json.load(urllib.request.urlopen(f"{admin}/requests"))
        assert (seen["verb"], seen["path"], seen["fault"]) == ("GET", "/x", "status")
        assert (tmp_path / "namespace").read_text() == "ns"
    finally:
        assert server.stop() == 0


# --- S3 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["swift", "versitygw"])
def s3(request, tmp_path_factory):
    module = {"swift": swift_server, "versitygw": versitygw}[request.param]
    if reason := module.unavailable():
        pytest.skip(f"{request.param}: {reason}")
    kind = {"swift": swift_server.SwiftServer, "versitygw": versitygw.VersityGw}[request.param]
    with kind(tmp_path_factory.mktemp(request.param)) as server:
        server.create_bucket("bucket")
        yield server


@pytest.fixture
def proxy(s3):
    with FaultProxy(s3.address) as server:
        yield server


def through(front, s3, **options):
    url = getattr(front, "url", f"http://{front.endpoint}")
    return S3Client(url, s3.access_key, s3.secret_key, s3.region, **options)


def s3_refuses(status, code, call, *args, **kwargs):
    with pytest.raises(S3Error) as caught:
        call(*args, **kwargs)
    assert (caught.value.status, caught.value.code) == (status, code)
    return True


def test_s3_objects(s3):
    client = s3.client()
    key = "dir/ü +=&$@!'()*,;:%20~ x.txt"
    client.put("bucket", key, b"hello")
    assert client.get("bucket", key) == b"hello"
    assert client.head("bucket", key)["content-length"] == "5"
    assert client.get("bucket", key, headers={"Range": "bytes=1-2"}) == b"el"
    assert client.sizes("bucket", "dir/") == {key: 5}
    client.delete("bucket", key)
    assert s3_refuses(404, "NoSuchKey", client.get, "bucket", key)
    assert s3_refuses(404, "NoSuchBucket", client.get, "no-such-bucket", key)


def test_s3_checks_signatures(s3):
    wrong = S3Client(s3.url, s3.access_key, "wrong", s3.region)
    assert s3_refuses(403, "SignatureDoesNotMatch", wrong.put, "bucket", "evil", b"x")
    unknown = S3Client(s3.url, "nobody", "wrong", s3.region)
    # What Swift and versitygw say of a key that nobody has is their own; S3 says 403.
    with pytest.raises(S3Error, match="403 SignatureDoesNotMatch|404 XAdminUserNotFound"):
        unknown.put("bucket", "evil", b"x")
    elsewhere = S3Client(s3.url, s3.access_key, s3.secret_key, "eu-west-1")
    assert s3_refuses(400, "AuthorizationHeaderMalformed", elsewhere.put, "bucket", "evil", b"x")
    late = s3.client()
    assert s3_refuses(403, "RequestTimeTooSkewed", late.put, "bucket", "evil", b"x", skew_s=-3600)
    assert s3.client().sizes("bucket", "evil") == {}


def test_s3_checks_payloads(s3):
    client = s3.client()
    other = hashlib.sha256(b"other").hexdigest()
    code = "XAmzContentSHA256Mismatch" if isinstance(s3, versitygw.VersityGw) else "BadDigest"
    assert s3_refuses(400, code, client.put, "bucket", "evil", b"x", payload_hash=other)
    wrong_md5 = {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    assert s3_refuses(400, "BadDigest", client.put, "bucket", "evil", b"x", headers=wrong_md5)
    client.put("bucket", "unsigned", b"x", payload_hash="UNSIGNED-PAYLOAD")
    assert client.sizes("bucket", "evil") == {}


def test_s3_listing_pages(s3):
    client = s3.client()
    for number in range(5):
        client.put("bucket", f"pages/{number}", b"z" * number)
    entries = client.list_objects("bucket", "pages/", page_size=2)
    assert {entry.key: entry.size for entry in entries} == {f"pages/{n}": n for n in range(5)}
    assert entries[1].etag == hashlib.md5(b"z").hexdigest()
    page = client.call(
        "GET", "/bucket", {"list-type": "2", "prefix": "pages/", "max-keys": "2"}
    ).xml()
    assert page.findtext("IsTruncated") == "true" and page.findtext("NextContinuationToken")


def test_s3_multipart(s3):
    client = s3.client()
    parts = [b"a" * (5 * MIB), b"b" * 10]
    etag = client.put_multipart("bucket", "multi", parts)
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert etag == f"{hashlib.md5(digests).hexdigest()}-2"
    assert client.get("bucket", "multi") == b"".join(parts)
    upload = client.call("POST", "/bucket/open", {"uploads": ""}).xml().findtext("UploadId")
    client.call("PUT", "/bucket/open", {"partNumber": "1", "uploadId": upload}, body=b"x")
    assert client.list_uploads("bucket") == {upload: "open"}
    assert client.list_parts("bucket", "open", upload) == {1: 1}
    client.call("DELETE", "/bucket/open", {"uploadId": upload})
    assert client.list_uploads("bucket") == {}
    small = [b"a" * 1000, b"b"]
    assert s3_refuses(400, "EntityTooSmall", client.put_multipart, "bucket", "small", small)


def test_s3_virtual_host_and_location(s3):
    client = s3.client()
    client.put("bucket", "virtual", b"v")
    url = f"http://bucket.localhost:{s3.port}"
    virtual = S3Client(url, s3.access_key, s3.secret_key, address=s3.address)
    assert virtual.call("GET", "/virtual").body == b"v"
    assert client.call("GET", "/bucket", {"location": ""}).xml().tag == "LocationConstraint"


def test_s3_over_tls(s3, tmp_path):
    with TlsFront(s3.address, tmp_path / "right") as front:
        client = through(front, s3, tls=front.cert.client_context())
        body = os.urandom(3 * MIB)
        client.put("bucket", "tls", body)
        assert client.get("bucket", "tls") == body
        wrong = certs.make(tmp_path / "wrong").client_context()
        with pytest.raises(certs.ssl.SSLCertVerificationError):
            through(front, s3, tls=wrong).get("bucket", "tls")


# --- Fault proxy ------------------------------------------------------------------------------


def test_proxy_passes_and_counts(s3, proxy):
    client = through(proxy, s3)
    body = os.urandom(9 * MIB)
    client.put("bucket", "big", body)
    assert client.get("bucket", "big") == body
    assert client.head("bucket", "big")["content-length"] == str(len(body))
    assert proxy.counts() == {
        "PUT /bucket/big": {"requests": 1, "up": len(body), "down": 0},
        "GET /bucket/big": {"requests": 1, "up": 0, "down": len(body)},
        "HEAD /bucket/big": {"requests": 1, "up": 0, "down": 0},
    }
    assert [record["status"] for record in proxy.requests()] == [200, 200, 200]


def test_proxy_keeps_connections(s3, proxy):
    s3.client().put("bucket", "again", b"again")
    connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=5)
    for _ in range(3):
        target, headers, _body = through(proxy, s3).sign("GET", "/bucket/again")
        connection.request("GET", target, headers=headers)
        assert connection.getresponse().read() == b"again"
    connection.close()
    assert [record["connection"] for record in proxy.requests()] == [1, 1, 1]


def test_proxy_passes_100_continue(s3, proxy):
    extra = {"Expect": "100-continue", "Content-Length": "5"}
    target, headers, body = through(proxy, s3).sign("PUT", "/bucket/hundred", {}, b"12345", extra)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((proxy.host, proxy.port), timeout=5) as sock:
        sock.sendall(f"PUT {target} HTTP/1.1\r\n{lines}\r\n".encode())
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert s3.client().get("bucket", "hundred") == body


def test_proxy_status_by_count(s3, proxy):
    error = "<Error><Code>SlowDown</Code><Message>later</Message></Error>"
    action = {"kind": "status", "status": 503, "body": error, "headers": {"Retry-After": "1"}}
    proxy.faults.add(verb="PUT", path="/bucket/nth", nth=2, count=1, action=action)
    client = through(proxy, s3)
    client.put("bucket", "nth-1", b"1")
    assert s3_refuses(503, "SlowDown", client.put, "bucket", "nth-2", b"2" * MIB)
    client.put("bucket", "nth-3", b"3")
    assert s3.client().sizes("bucket", "nth") == {"nth-1": 1, "nth-3": 1}


def test_proxy_cuts_requests(s3, proxy):
    proxy.faults.add(verb="PUT", count=1, action={"kind": "cut_request", "bytes": MIB})
    client = through(proxy, s3)
    with pytest.raises(OSError):
        client.put("bucket", "cut", b"x" * (32 * MIB))
    assert proxy.requests()[0]["request_bytes"] == MIB
    assert s3.client().sizes("bucket", "cut") == {}
    client.put("bucket", "cut", b"x")


@pytest.mark.parametrize("is_reset", [True, False])
def test_proxy_cuts_responses(s3, proxy, is_reset):
    s3.client().put("bucket", "whole", b"x" * (4 * MIB))
    action = {"kind": "cut_response", "bytes": 1000, "reset": is_reset}
    proxy.faults.add(verb="GET", action=action)
    with pytest.raises(ConnectionResetError if is_reset else http.client.IncompleteRead):
        through(proxy, s3).get("bucket", "whole")
    assert proxy.requests()[0]["response_bytes"] == 1000


@pytest.mark.parametrize(
    "action, error",
    [
        ({"kind": "close"}, http.client.RemoteDisconnected),
        ({"kind": "reset"}, ConnectionResetError),
        ({"kind": "garbage"}, http.client.BadStatusLine),
        ({"kind": "wrong_length", "delta": 5}, http.client.IncompleteRead),
    ],
)
def test_proxy_broken_answers(s3, proxy, action, error):
    s3.client().put("bucket", "ok", b"12345")
    proxy.faults.add(action=action)
    with pytest.raises(error):
        through(proxy, s3).get("bucket", "ok")


def test_proxy_loses_answers(s3, proxy):
    proxy.faults.add(verb="PUT", count=1, action={"kind": "lost"})
    with pytest.raises(ConnectionResetError):
        through(proxy, s3).put("bucket", "lost", b"there")
    assert s3.client().get("bucket", "lost") == b"there"


def test_proxy_corrupts_one_byte(s3, proxy):
    s3.client().put("bucket", "sound", b"a" * 100)
    proxy.faults.add(verb="GET", action={"kind": "corrupt", "offset": 7})
    body = through(proxy, s3).get("bucket", "sound")
    assert body == b"a" * 7 + b"\x9e" + b"a" * 92


def test_proxy_delay_and_rate(s3, proxy):
    s3.client().put("bucket", "slow", b"x" * (200 * 1024))
    proxy.faults.add(count=1, action={"kind": "delay", "seconds": 0.3})
    proxy.faults.add(count=1, action={"kind": "rate", "bytes_per_s": 500 * 1024})
    for _ in range(2):
        started = time.monotonic()
        assert len(through(proxy, s3).get("bucket", "slow")) == 200 * 1024
        assert 0.3 <= time.monotonic() - started < 3


@pytest.mark.parametrize("size", [None, 0, 10])
def test_proxy_stalls_responses(s3, proxy, size):
    s3.client().put("bucket", "stall", b"x" * 100)
    limit = {} if size is None else {"bytes": size}
    proxy.faults.add(verb="GET", action={"kind": "stall", **limit})
    with socket.create_connection((proxy.host, proxy.port), timeout=0.4) as sock:
        sock.sendall(b"GET /bucket/stall HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        with pytest.raises(TimeoutError):
            while piece := sock.recv(4096):
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert head[:9] == (b"" if size is None else b"HTTP/1.1 ") and len(body) == (size or 0)
    ports.wait_until(lambda: proxy.connections() == 0, "the proxy notices the end", 5)


def test_proxy_stalls_requests(s3, proxy):
    proxy.faults.add(verb="PUT", action={"kind": "stall_request", "bytes": 1000})
    with socket.create_connection((proxy.host, proxy.port), timeout=0.4) as sock:
        sock.sendall(b"PUT /bucket/s HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        with pytest.raises(TimeoutError):
            sock.sendall(b"x" * 99999999)
    assert proxy.requests()[0]["request_bytes"] == 1000


def test_black_hole():
    with FaultProxy(None) as hole:
        with socket.create_connection((hole.host, hole.port), timeout=0.3) as sock:
            sock.sendall(b"anything" * 100000)
            with pytest.raises(TimeoutError):
                sock.recv(1)


# --- The rest ---------------------------------------------------------------------------------


def test_dns_black_hole():
    with DnsBlackhole("127.0.0.54", 0) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.3)
            sock.sendto(b"\0" * 20, (server.address, server.port))
            with pytest.raises(TimeoutError):
                sock.recv(512)
        with socket.create_connection((server.address, server.port), timeout=0.3) as sock:
            with pytest.raises(TimeoutError):
                sock.recv(1)
        assert server.questions == 2
        assert "nameserver 127.0.0.54\n" in server.resolv_conf


def test_certificates_are_cached_and_verify(tmp_path):
    first = certs.make(tmp_path)
    stamp = first.cert.stat().st_mtime_ns
    assert certs.make(tmp_path).cert.stat().st_mtime_ns == stamp
    assert certs.make(tmp_path, ("example.test",)).cert.stat().st_mtime_ns != stamp
    text = subprocess.run(
        ["openssl", "verify", "-verify_hostname", "example.test", "-CAfile", first.ca, first.cert],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert text.endswith("OK\n")


def test_processes_die_with_their_parent(tmp_path):
    code = """
import sys
from pathlib import Path
from tests.servers.proc import Process
child = Process(["sleep", "60"], Path(sys.argv[1]))
child.wait_ready(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\\n")
print(child.pid, flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", code, tmp_path / "log"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        fd = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert not select.select([fd], [], [], 0)[0]
            parent.kill()
            assert select.select([fd], [], [], 10)[0], "the child outlived its parent"
        finally:
            os.close(fd)


def test_a_server_that_dies_is_reported(tmp_path):
    process = proc.Process(["sh", "-c", "echo no licence; exit 3"], tmp_path / "log")
    with pytest.raises(proc.ServerDied, match="exit 3: no licence"):
        process.wait_port(ports.free_port())
