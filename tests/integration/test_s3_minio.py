"""The S3 store against MinIO over TLS: what Swift does not have. Skipped where MinIO is not built."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers import minio  # noqa: E402
from tests.servers.s3_client import S3Client  # noqa: E402
from tests.store_driver import Store, make_file  # noqa: E402

MIB = 1 << 20
BUCKET = "my-bucket"
PASSWORD = {"name": "cred", "key": "password"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minio.MinIO]:
    if reason := minio.unavailable():
        pytest.skip(reason)
    with minio.MinIO(tmp_path_factory.mktemp("minio"), region="eu-test-1", https=True) as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def client(running: minio.MinIO) -> S3Client:
    return running.client()


@pytest.fixture
def store(running: minio.MinIO, tmp_path: Path) -> Store:
    folder = tmp_path / "secrets/cred"
    folder.mkdir(parents=True)
    (folder / "ak").write_text(running.access_key + "\n")
    (folder / "sk").write_text(running.secret_key + "\r\n")
    (folder / "ca").write_bytes(running.cert.ca.read_bytes())
    (folder / "password").write_text("32byteslongsecretkeymustprovided")
    (folder / "other").write_text("another password")
    location: dict[str, Any] = {
        "endpoint": running.endpoint,
        "bucket": BUCKET,
        "accessKeySecret": {"name": "cred", "key": "ak"},
        "secretKeySecret": {"name": "cred", "key": "sk"},
        "caSecret": {"name": "cred", "key": "ca"},
    }
    return Store("s3", tmp_path / "secrets", location)


def encrypted(**options: Any) -> dict[str, Any]:
    return {"encryptionOptions": {"enableEncryption": True, **options}}


@pytest.mark.parametrize("operation", ["put-file", "put-stream"])
@pytest.mark.parametrize("size", [10, 11 * MIB])
def test_key_of_ones_own(
    store: Store, client: S3Client, tmp_path: Path, operation: str, size: int
) -> None:
    """On PUT, on each part, and on GET; another password is another key."""
    store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    data = make_file(tmp_path / "in", size)
    own = encrypted(serverSideCustomerKeySecret=PASSWORD)
    last = [""] if operation == "put-file" else []
    store.good("sse/c", operation, tmp_path / "in", "x", *last, **own)
    store.good("sse/c", "get", tmp_path / "out", **own)
    assert (tmp_path / "out").read_bytes() == data
    other = encrypted(serverSideCustomerKeySecret={"name": "cred", "key": "other"})
    assert "status 403" in store.bad("sse/c", "get", tmp_path / "out", **other).error
    assert "status 400" in store.bad("sse/c", "get", tmp_path / "out").error
    store.good("sse/c", "remove", "", **own)
    assert client.sizes(BUCKET, "sse/") == {}


@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_keys_of_the_server(store: Store, client: S3Client, tmp_path: Path, size: int) -> None:
    store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    data = make_file(tmp_path / "in", size)
    name = "x-amz-server-side-encryption"
    store.good("sse/s3", "put-file", tmp_path / "in", "x", "", **encrypted())
    assert client.head(BUCKET, "sse/s3")[name] == "AES256"
    context = '{ "team": "ü" }'
    kms = encrypted(kmsKeyId="test-key", kmsEncryptionContext=context)
    store.good("sse/kms", "put-file", tmp_path / "in", "x", "", **kms)
    head = client.head(BUCKET, "sse/kms")
    assert head[name] == "aws:kms" and "test-key" in head[f"{name}-aws-kms-key-id"]
    for key, options in (("sse/s3", encrypted()), ("sse/kms", kms)):
        store.good(key, "get", tmp_path / "out", **options)
        assert (tmp_path / "out").read_bytes() == data


def test_bucket_with_locking_and_encryption(store: Store, client: S3Client, tmp_path: Path) -> None:
    """Locked buckets want an MD5 with everything that is stored."""
    store.env["ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"] = "5"
    make_file(tmp_path / "in", 6 * MIB)
    new = {"bucket": "locked-bucket", "createBucketIfNotPresent": {"objectLocking": True}}
    for _ in range(2):
        store.good("x", "put-file", tmp_path / "in", "x", "", **new, **encrypted())
    store.good("y", "put-file", tmp_path / "in", "x", "", bucket="locked-bucket")
    store.good("z", "put-stream", tmp_path / "in", "x", bucket="locked-bucket")
    lock = client.call("GET", "/locked-bucket", {"object-lock": ""}).xml()
    assert lock.findtext("ObjectLockEnabled") == "Enabled"
    rule = client.call("GET", "/locked-bucket", {"encryption": ""}).body
    assert b"<SSEAlgorithm>AES256</SSEAlgorithm>" in rule


def test_labels(store: Store, client: S3Client, tmp_path: Path) -> None:
    store.env |= {
        "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB": "5",
        "ARGOEXEC_S3_TAGGING": "team=ml ops,cost centre=4=2",
        "ARGOEXEC_S3_METADATA": "Workflow=a b,note=x%2Cy",
        "ARGOEXEC_S3_CONTENT_TYPE": "application/x-own",
    }
    for size in (10, 6 * MIB):
        make_file(tmp_path / "in", size)
        store.good("labels", "put-file", tmp_path / "in", "x.html", "")
        head = client.head(BUCKET, "labels")
        assert head["content-type"] == "application/x-own"
        assert (head["x-amz-meta-workflow"], head["x-amz-meta-note"]) == ("a b", "x,y")
        tags = client.call("GET", f"/{BUCKET}/labels", {"tagging": ""}).xml()
        found = {t.findtext("Key"): t.findtext("Value") for t in tags.iter("Tag")}
        assert found == {"team": "ml ops", "cost centre": "4=2"}
    for variable, value in (("TAGGING", "a"), ("METADATA", "a b=c"), ("METADATA", "a=\t")):
        store.env = {f"ARGOEXEC_S3_{variable}": value}
        text = store.bad("labels", "put-file", tmp_path / "in", "x", "").error
        assert text.startswith(f"permanent: ARGOEXEC_S3_{variable}: ")


def test_remove(store: Store, client: S3Client) -> None:
    """The object if there is one, else what is below it, markers too; never a sibling."""
    for key in ("rm", "rm/a", "rm/b/c", "rm/b/", "rm.tgz", "rm2/a", "other"):
        client.put(BUCKET, key, b"x")
    for number in range(3):
        client.put(BUCKET, f"rm/many/&<\t{number}>", b"")
    store.good("rm", "remove", "")
    left = {"rm/a", "rm/b/c", "rm/b/", "rm.tgz", "rm2/a"}
    left |= {f"rm/many/&<\t{number}>" for number in range(3)}
    assert set(client.sizes(BUCKET, "rm")) == left
    store.good("rm", "remove", "b")
    assert set(client.sizes(BUCKET, "rm")) == left - {"rm/b/c", "rm/b/"}
    store.good("rm", "remove", "")
    assert set(client.sizes(BUCKET, "rm")) == {"rm.tgz", "rm2/a"}
    store.good("rm2/", "remove", "")
    store.good("nothing/at/all", "remove", "")
    assert set(client.sizes(BUCKET, "rm")) == {"rm.tgz"}
    assert "whole bucket" in store.bad("./", "remove", "").error
    assert "NoSuchBucket" in store.bad("x", "remove", "", bucket="no-such-bucket").error
    assert client.sizes(BUCKET, "other") == {"other": 1}


@pytest.mark.parametrize("source", ["keys", "profile"])
def test_assume_role(running: minio.MinIO, store: Store, client: S3Client, tmp_path: Path, source: str) -> None:
    """MinIO's own STS checks the signature and issues the keys."""
    client.put(BUCKET, "assumed", b"data")
    for field in ("accessKeySecret", "secretKeySecret"):
        del store.location[field]
    keys = {"AWS_ACCESS_KEY_ID": running.access_key, "AWS_SECRET_ACCESS_KEY": running.secret_key}
    store.env |= {
        "AWS_ENDPOINT_URL_STS": running.url,
        "AWS_REGION": running.region,
        "SSL_CERT_FILE": str(running.cert.ca),
    }
    arn = "arn:minio:iam:::role/test-role"
    if source == "keys":
        store.env |= keys
        store.location["roleARN"] = arn
    else:
        config, credentials = tmp_path / "config", tmp_path / "credentials"
        config.write_text(f"[profile up]\nrole_arn = {arn}\nsource_profile = base # a note\n")
        lines = [f"{name.lower()} = {value}" for name, value in keys.items()]
        credentials.write_text("\n".join(["[base]", *lines]))
        store.env |= {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
        store.env["AWS_PROFILE"] = "up"
        store.location["useSDKCreds"] = True
    store.good("assumed", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"data"
    store.env["AWS_SECRET_ACCESS_KEY"] = "wrong"
    if source == "keys":
        text = store.bad("assumed", "get", tmp_path / "out").error
        assert text.startswith("permanent: credentials from AssumeRole: ")


def test_odd_keys(store: Store, client: S3Client, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 5)
    for key in ("a b+c%d&e", "ü" * 100, "x" * 200 + "/" + "y" * 200, "new\nline", "q?x=#1"):
        store.good(key, "put-file", tmp_path / "in", "x", "")
        store.good(key, "get", tmp_path / "out")
        assert (tmp_path / "out").stat().st_size == 5
        store.good(key, "remove", "")
    assert "longer than 1024 bytes" in store.bad("z" * 1025, "get", tmp_path / "out").error
    assert "key: is required" in store.bad("", "remove", "").error
    for key in ("a/../b", "a//b"):  # MinIO refuses what it cannot name in a file system
        result = store.bad(key, "put-file", tmp_path / "in", "x", "")
        assert result.error.startswith("permanent: put object my-bucket/")
