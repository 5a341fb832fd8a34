"""Where the S3 store gets its access keys, and how it keeps them valid. The services that hand them out are
tests/servers/aws_identity.py; the S3 server is Swift, which checks what is signed with them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers import swift as swift_server  # noqa: E402
from tests.servers.aws_identity import CONTAINER_TOKEN, AwsIdentity, Keys, WEB_TOKEN  # noqa: E402
from tests.servers.fault_proxy import FaultProxy  # noqa: E402
from tests.servers.identity import Asked, Reply  # noqa: E402
from tests.store_driver import Store, make_file  # noqa: E402

MIB = 1 << 20
BUCKET = "my-bucket"
ARN = "arn:aws:iam::123456789012:role/test"
EXPIRED = "<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"
TOKEN_STEPS = ["PUT /latest/api/token"]
ROLE_STEPS = [f"GET /latest/meta-data/iam/security-credentials/{name}" for name in ("", "test-role")]


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift_server.SwiftServer]:
    if reason := swift_server.unavailable():
        pytest.skip(reason)
    with swift_server.SwiftServer(tmp_path_factory.mktemp("swift"), region="us-east-1") as server:
        server.create_bucket(BUCKET)
        server.client().put(BUCKET, "key", b"data")
        yield server


@pytest.fixture
def identity(swift: swift_server.SwiftServer) -> Iterator[AwsIdentity]:
    with AwsIdentity(lambda: Keys(swift.access_key, swift.secret_key, "token/+=")) as server:
        yield server


@pytest.fixture
def store(swift: swift_server.SwiftServer, identity: AwsIdentity, tmp_path: Path) -> Store:
    location = {"endpoint": swift.endpoint, "insecure": True, "bucket": BUCKET}
    # Nothing of the machine that runs the tests.
    env = {name: "" for name in os.environ if name.startswith("AWS_")}
    env |= {
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": identity.url,
        "AWS_ENDPOINT_URL_STS": identity.url,
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1",
    }
    return Store("s3", tmp_path, location, env)


def fetch(store: Store, tmp_path: Path) -> None:
    store.good("key", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"data"


def refused(store: Store, tmp_path: Path) -> str:
    result = store.run("key", "get", tmp_path / "out")
    assert not result.ok
    return result.error


@pytest.mark.parametrize("with_tokens", [True, False])
def test_role_of_the_machine(
    store: Store, identity: AwsIdentity, tmp_path: Path, with_tokens: bool
) -> None:
    """Without anything configured, and for SDK chains; also where there is only the older way."""
    identity.knows_tokens = with_tokens
    for use_sdk in (False, True):
        identity.asked.clear()
        store.location["useSDKCreds"] = use_sdk
        fetch(store, tmp_path)
        assert identity.steps == TOKEN_STEPS + ROLE_STEPS
    if not with_tokens:
        store.env["AWS_EC2_METADATA_V1_DISABLED"] = "true"
        assert "credentials from the machine's metadata service: status 404" in refused(store, tmp_path)
    store.env["AWS_EC2_METADATA_DISABLED"] = "true"
    assert "there are none" in refused(store, tmp_path)


def test_token_of_the_machine_is_lost(
    store: Store, identity: AwsIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many hops for it: the older way, which needs none."""
    identity.knows_tokens = False
    answer, over = identity.answer, threading.Event()

    def lose(asked: Asked) -> tuple[int, str]:
        assert not asked.path.endswith("/token") or over.wait(60)
        return answer(asked)

    monkeypatch.setattr(identity, "answer", lose)
    fetch(store, tmp_path)
    over.set()
    assert identity.steps == TOKEN_STEPS + ROLE_STEPS


@pytest.mark.parametrize("kind", ["file", "variable"])
def test_container(store: Store, identity: AwsIdentity, tmp_path: Path, kind: str) -> None:
    """EKS Pod Identity's file is read each time; over http only this machine is asked."""
    token = tmp_path / "token"
    token.write_text(CONTAINER_TOKEN + "\n")
    store.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{identity.url}/v1/credentials"
    if kind == "file":
        store.env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(token)
    else:
        store.env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = CONTAINER_TOKEN
    for use_sdk in (False, True):
        store.location["useSDKCreds"] = use_sdk
        fetch(store, tmp_path)
    assert identity.steps == ["GET /v1/credentials"] * 2
    if kind == "file":
        token.unlink()
        assert refused(store, tmp_path).startswith("permanent: credentials: open ")
    store.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://example.com/v1/credentials"
    assert "is neither https nor of this machine" in refused(store, tmp_path)


@pytest.mark.parametrize("use_sdk", [False, True])
def test_web_identity(store: Store, identity: AwsIdentity, tmp_path: Path, use_sdk: bool) -> None:
    token = tmp_path / "token"
    token.write_text(WEB_TOKEN)
    store.env |= {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ARN}
    store.location["useSDKCreds"] = use_sdk
    identity.failures = [503]
    fetch(store, tmp_path)
    assert identity.steps[1:] == ["AssumeRoleWithWebIdentity"]
    assert identity.asked[1].form["RoleArn"] == ARN
    token.write_text("another")
    text = refused(store, tmp_path)
    assert "permanent: credentials from AssumeRoleWithWebIdentity: The token is not ours" in text
    token.unlink()
    assert refused(store, tmp_path).startswith("permanent: ")


def test_role_after_role(store: Store, identity: AwsIdentity, tmp_path: Path) -> None:
    """Each is assumed with the keys of the one before; STS checks the signatures."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(
        f"""
[default]
role_arn = {ARN}-1
credential_source = Ec2InstanceMetadata
[profile two]
role_arn={ARN}-2
source_profile=default
external_id = an id
role_session_name = own ; by name
"""
    )
    store.env["AWS_PROFILE"] = "two"
    store.location["roleARN"] = f"{ARN}-3"
    fetch(store, tmp_path)
    assert identity.steps == TOKEN_STEPS + ROLE_STEPS + ["AssumeRole"] * 3
    forms = [asked.form for asked in identity.asked[3:]]
    assert [form["RoleArn"] for form in forms] == [f"{ARN}-{number}" for number in (1, 2, 3)]
    assert (forms[1]["ExternalId"], forms[1]["RoleSessionName"]) == ("an id", "own")
    assert forms[2]["DurationSeconds"] == "900" and "us-east-1" in identity.asked[3].headers["authorization"]
    store.env["AWS_PROFILE"] = "three"
    assert "there is no profile 'three'" in refused(store, tmp_path)


@pytest.mark.parametrize(
    "setting, reason",
    [
        ("credential_process = /bin/true", "there are no programs in this container"),
        ("sso_session = x", "needs a person"),
        ("role_arn = x\nsource_profile = other", "goes round in circles"),
        ("web_identity_token_file = /x", "no role_arn"),
        ("aws_access_key_id = x", "access key or its secret is missing"),
    ],
)
def test_profiles_that_cannot_be_used(store: Store, tmp_path: Path, setting: str, reason: str) -> None:
    config = tmp_path / "config"
    config.write_text(f"[profile p]\n{setting}\n[profile other]\nrole_arn = y\nsource_profile = p\n")
    store.env |= {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "p"}
    store.location["useSDKCreds"] = True
    text = refused(store, tmp_path)
    assert text.startswith("permanent: credentials: ") and reason in text


def test_renewal(store: Store, identity: AwsIdentity, swift: swift_server.SwiftServer, tmp_path: Path) -> None:
    """Keys that are over are replaced before they are used; those that S3 refuses, once it does."""
    data = make_file(tmp_path / "in", 12 * MIB)
    with FaultProxy(swift.address) as proxy:
        answer = {"kind": "status", "status": 400, "body": EXPIRED}
        proxy.faults.add(verb="PUT", path="partNumber=", count=1, action=answer)
        proxy.faults.add(verb="POST", path="uploads", count=1, action=answer)
        store.location["endpoint"] = proxy.endpoint
        result = store.good("renewed", "put-stream", tmp_path / "in", "x")
    assert 'class="expired credentials"' in result.log
    assert identity.steps.count(ROLE_STEPS[1]) == 2
    assert swift.client().get(BUCKET, "renewed") == data


def test_metadata_service_has_trouble(store: Store, identity: AwsIdentity, tmp_path: Path) -> None:
    """It is tried again like any store, step by step, and asks for pauses like any."""
    identity.failures = [500, 500, Reply(429, {"Retry-After": "1"})]
    result = store.good("key", "get", tmp_path / "out")
    assert identity.steps == TOKEN_STEPS * 4 + ROLE_STEPS
    failed = [line for line in result.log.splitlines() if 'operation="get credentials"' in line]
    assert [("class=transient" in line, "class=throttled" in line) for line in failed] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert identity.asked[3].when - identity.asked[2].when >= 1


def test_one_question_for_many(
    store: Store, identity: AwsIdentity, swift: swift_server.SwiftServer, tmp_path: Path
) -> None:
    """Twenty small artifacts: keys and region are found once."""
    keys = [f"small/{number}" for number in range(20)]
    for key in keys:
        swift.client().put(BUCKET, key, b"x")
    with FaultProxy(swift.address) as proxy:
        store.location["endpoint"] = proxy.endpoint
        store.good("x", "get-each", tmp_path / "out", *keys)
        assert len(proxy.requests()) == 21
    assert len(identity.asked) == 3


def test_remove(store: Store, swift: swift_server.SwiftServer) -> None:
    """The object if there is one, else what is below it, in one request; never a sibling."""
    client = swift.client()
    for key in ("rm", "rm/a", "rm/b/c", "rm/b/", "rm/&<\r\n>", "rm.tgz", "rm2/a"):
        client.put(BUCKET, key, b"x")
    with FaultProxy(swift.address) as proxy:
        store.location |= {"endpoint": proxy.endpoint, "region": "us-east-1"}
        store.good("rm", "remove", "")
        assert "rm" not in client.sizes(BUCKET, "rm") and "rm/a" in client.sizes(BUCKET, "rm")
        store.good("rm", "remove", "")
        assert set(client.sizes(BUCKET, "rm")) == {"rm.tgz", "rm2/a"}
        # libcurl itself repeats a question whose connection was old.
        verbs = [record["verb"] for record in proxy.requests() if record["verb"] != "GET"]
        assert verbs == ["HEAD", "DELETE", "HEAD", "DELETE", "POST"]
        proxy.faults.add(verb="POST", action={"kind": "status", "status": 501})
        store.good("rm2", "remove", "")
        store.good("rm2", "remove", "")
    assert set(client.sizes(BUCKET, "rm")) == {"rm.tgz"}
