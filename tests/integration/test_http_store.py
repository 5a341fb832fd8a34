"""The stores `http` and `artifactory` against nginx, a token server, and a proxy that breaks connections.
The driver is tests/unit/test_object_store.c."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.lab import Lab  # noqa: E402
from tests.scenario import Step, artifact, assert_failure, assert_ok, untgz  # noqa: E402
from tests.servers.fault_proxy import FaultProxy  # noqa: E402
from tests.servers.nginx import PASSWORD, USER, Nginx  # noqa: E402
from tests.servers.oauth2 import TokenServer  # noqa: E402
from tests.servers.scripted import Scripted, answer  # noqa: E402
from tests.store_driver import Result, Store, make_file  # noqa: E402

MIB = 1 << 20
CLIENT, CLIENT_SECRET = "client:1", "s&cret/ü %"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture
def nginx(running: Nginx) -> Nginx:
    for path in running.files.iterdir():
        path.unlink()
    running.clear()
    return running


@pytest.fixture
def proxy(nginx: Nginx) -> Iterator[FaultProxy]:
    with FaultProxy(nginx.address) as fault_proxy:
        yield fault_proxy


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer(CLIENT, CLIENT_SECRET, Nginx.token) as server:
        yield server


def ref(key: str) -> dict[str, str]:
    return {"name": "cred", "key": key}


@pytest.fixture
def store(nginx: Nginx, tmp_path: Path) -> Store:
    values = {
        "sk": PASSWORD + "\r\n",
        "user": USER + "\n",
        "password": PASSWORD + " \n",
        "wrong": "wrong",
        "empty": "\n",
        "id": CLIENT + "\n",
        "secret": CLIENT_SECRET,
        "cert": nginx.client.cert.read_text(),
        "key": nginx.client.key.read_text(),
    }
    folder = tmp_path / "secrets/cred"
    folder.mkdir(parents=True)
    for name, value in values.items():
        (folder / name).write_text(value)
    env = {"SSL_CERT_FILE": str(nginx.cert.ca)}
    return Store("http", tmp_path / "secrets", {"url": nginx.url}, env)


def at(store: Store, url: str, *arguments: Any, **fields: Any) -> Result:
    return store.run("", *arguments, url=url, **fields)


def good(store: Store, url: str, *arguments: Any, **fields: Any) -> Result:
    result = at(store, url, *arguments, **fields)
    assert result.ok, result.log
    return result


def bad(store: Store, url: str, *arguments: Any, **fields: Any) -> Result:
    result = at(store, url, *arguments, **fields)
    assert not result.ok
    for secret in (PASSWORD, CLIENT_SECRET, Nginx.token):
        assert secret not in result.log
    return result


def basic(user: str = "user", password: str = "password") -> dict[str, Any]:
    return {"auth": {"basicAuth": {"usernameSecret": ref(user), "passwordSecret": ref(password)}}}


def oauth2(tmp_path: Path, tokens: TokenServer, **fields: Any) -> dict[str, Any]:
    (tmp_path / "secrets/cred/token-url").write_text(f"{tokens.url}/token\n")
    secrets = {
        "clientIDSecret": ref("id"),
        "clientSecretSecret": ref("secret"),
        "tokenURLSecret": ref("token-url"),
    }
    return {"auth": {"oauth2": secrets | fields}}


def check_load(store: Store, nginx: Nginx, url: str, out: Path, size: int, **fields: Any) -> Result:
    data = make_file(nginx.files / "f", size)
    result = good(store, url, "get", out, **fields)
    assert out.read_bytes() == data
    return result


# Requests


@pytest.mark.parametrize("size", [0, 1000, 3 * MIB])
def test_put_and_get(store: Store, nginx: Nginx, tmp_path: Path, size: int) -> None:
    data = make_file(tmp_path / "in", size)
    url = f"{nginx.url}/a b/ü%41?x=%20y#fragment"
    good(store, url, "put-file", tmp_path / "in", "report.html", "")
    good(store, url, "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    put, get = nginx.requests()
    assert (nginx.files / "a b/üA").read_bytes() == data
    (nginx.files / "a b/üA").unlink()
    (nginx.files / "a b").rmdir()
    assert put["uri"] == get["uri"] == "/a%20b/%C3%BC%41?x=%20y"
    # What pre-signed URLs demand, and what they were not signed for.
    assert (put["length"], put["transfer"], put["type"]) == (str(size), "", "")
    assert get["encoding"] == "gzip"


def test_headers(store: Store, tmp_path: Path) -> None:
    headers = [("X-Test", "1"), ("x-test", "2"), ("Host", "other"), ("X-More", "ü"), ("Empty", "")]
    headers += [("Content-Length", "5"), ("Authorization", "Bearer x"), ("User-Agent", "me")]
    fields = {"headers": [{"name": n, "value": v} for n, v in headers]}
    with Scripted([answer(b"ok")]) as server:
        good(store, f"{server.url}/f", "get", tmp_path / "out", **fields)
        lines, host = server.requests[0], server.endpoint
    assert (tmp_path / "out").read_bytes() == b"ok"
    sent = ["X-Test: 1", "x-test: 2", "X-More: ü", "Empty:", "Authorization: Bearer x"]
    assert [line for line in lines if line in sent] == sent
    names = sorted(line.partition(":")[0].lower() for line in lines[1:])
    rest = ["host", "user-agent", "accept-encoding"]
    assert names == sorted(rest + ["x-test", "x-test", "x-more", "empty", "authorization"])
    assert f"Host: {host}" in lines and "User-Agent: me" in lines


@pytest.mark.parametrize(
    "headers, text",
    [
        ([{"name": "a b", "value": "x"}], "'a b' is no name"),
        ([{"name": "A", "value": "x\r\nB: y"}], "more than one line"),
        ([{"name": "A", "value": "x"}] * 101, "more than 100"),
    ],
)
def test_headers_that_cannot_be(
    store: Store, nginx: Nginx, tmp_path: Path, headers: list, text: str
) -> None:
    assert text in bad(store, f"{nginx.url}/f", "get", tmp_path / "out", headers=headers).error
    assert nginx.requests() == []


@pytest.mark.parametrize(
    "url, text",
    [
        ("", "does not begin with http"),
        ("/only/a/path", "does not begin with http"),
        ("ftp://h/f", "does not begin with http"),
        ("http:///f", "has no host"),
        ("http://h/a\nb", "control character"),
    ],
)
def test_urls_that_cannot_be(store: Store, tmp_path: Path, url: str, text: str) -> None:
    assert text in bad(store, url, "get", tmp_path / "out").error


# Answers


@pytest.mark.parametrize("status", [403, 405, 410])
def test_answers(store: Store, nginx: Nginx, tmp_path: Path, status: int) -> None:
    url = f"http://user:{CLIENT_SECRET.replace('/', '')}@{nginx.endpoint}/say/{status}?sig=x"
    (tmp_path / "in").write_bytes(b"1")
    load = bad(store, url, "get", tmp_path / "out").error
    save = bad(store, url, "put-file", tmp_path / "in", "f.txt", "").error
    assert "sig=x" not in load + save and "user:" not in load + save
    if status == 410:
        assert load == "not found: 410 Gone"
    else:
        start = f"permanent: loading content from {nginx.url}/say/{status} failed with reason: "
        assert load.startswith(start + str(status))
    start = f"permanent: saving file f.txt to {nginx.url}/say/{status} failed with reason: {status}"
    assert save.startswith(start)


def test_missing(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    missing = bad(store, f"{nginx.url}/f", "get", tmp_path / "out")
    assert missing.error == "not found: 404 Not Found"
    assert len(nginx.requests()) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_answers_that_pass(
    store: Store, proxy: FaultProxy, nginx: Nginx, tmp_path: Path, status: int
) -> None:
    proxy.faults.add(count=2, action={"kind": "status", "status": status})
    check_load(store, nginx, f"{proxy.url}/f", tmp_path / "out", 1000)
    (nginx.files / "f").unlink()
    proxy.faults.clear()
    proxy.faults.add(count=2, action={"kind": "status", "status": status})
    result = good(store, f"{proxy.url}/f", "put-file", tmp_path / "out", "f", "")
    assert result.attempts == 2
    assert (nginx.files / "f").read_bytes() == (tmp_path / "out").read_bytes()


def test_retry_after(store: Store, proxy: FaultProxy, nginx: Nginx, tmp_path: Path) -> None:
    answer = {"kind": "status", "status": 503, "headers": {"Retry-After": "1"}}
    proxy.faults.add(count=1, action=answer)
    result = check_load(store, nginx, f"{proxy.url}/f", tmp_path / "out", 1000)
    assert float(result.out.split()[1]) >= 1.0


# Cuts


@pytest.mark.parametrize("where", ["", "plain/", "gzip/"])
def test_resumption(
    store: Store, proxy: FaultProxy, nginx: Nginx, tmp_path: Path, where: str
) -> None:
    """By range and version; without a version, all of it again and compared."""
    proxy.faults.add(count=3, action={"kind": "cut_response", "bytes": MIB, "reset": True})
    check_load(store, nginx, f"{proxy.url}/{where}f", tmp_path / "out", 5 * MIB)
    requests = [r for r in nginx.requests() if r["method"] == "GET"]
    assert len(requests) == 4 or where  # what is sent again is cut at the same place
    assert all(bool(r["range"] and r["match"]) == (not where) for r in requests[1:])
    if where == "gzip/":
        assert {r["encoding"] for r in requests} == {"gzip"}


DATA = b"0123456789" * 10000
ETAG = {"etag": '"a"'}
# After half of it, what comes when the rest is asked for.
REPLACED = {
    "etag": (ETAG, answer(DATA, etag='"b"')),
    "length": ({}, answer(DATA + b"x")),
    "bytes": ({}, answer(b"1" + DATA[1:])),
    "refused": (ETAG, answer(status="412 Precondition Failed")),
}


@pytest.mark.parametrize("way", REPLACED)
def test_replaced_while_it_is_read(store: Store, tmp_path: Path, way: str) -> None:
    headers, second = REPLACED[way]
    with Scripted([answer(DATA[:50000], length=len(DATA), **headers), second]) as server:
        error = bad(store, f"{server.url}/f", "get", tmp_path / "out").error
    what = f"permanent: loading content from {server.url}/f"
    assert error.startswith(f"{what}: the file was replaced while it was read (2 attempts")


def test_deleted_while_it_is_read(store: Store, tmp_path: Path) -> None:
    """Which is not the same as not being there: nobody may skip it."""
    half = answer(DATA[:50000], length=len(DATA), **ETAG)
    with Scripted([half, answer(status="404 Not Found")]) as server:
        error = bad(store, f"{server.url}/f", "get", tmp_path / "out").error
    assert error.startswith("permanent: ") and "the file was deleted while it was read" in error


def test_ranges_that_are_not_served(store: Store, tmp_path: Path) -> None:
    """All of it again is as good, another range than asked for is not."""
    half = answer(DATA[:50000], length=len(DATA), **ETAG)
    with Scripted([half, answer(DATA, **ETAG)]) as server:
        good(store, f"{server.url}/f", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    other = answer(DATA[50001:], "206 Partial", content_range="bytes 50001-99999/100000", **ETAG)
    with Scripted([half, other]) as server:
        error = bad(store, f"{server.url}/f", "get", tmp_path / "out").error
    assert "another range than was asked for" in error


@pytest.mark.parametrize("kind", ["cut_request", "lost", "reset"])
def test_cut_uploads(
    store: Store, proxy: FaultProxy, nginx: Nginx, tmp_path: Path, kind: str
) -> None:
    data = make_file(tmp_path / "in", 3 * MIB)
    action = {"kind": kind} | ({"bytes": MIB} if kind == "cut_request" else {})
    proxy.faults.add(verb="PUT", count=2, action=action)
    for operation in (("put-file", tmp_path / "in", "f", ""), ("put-stream", tmp_path / "in", "f")):
        good(store, f"{proxy.url}/f", *operation)
        assert (nginx.files / "f").read_bytes() == data


@pytest.mark.parametrize("size", [0, 1000, MIB, 3 * MIB])
def test_streams(store: Store, nginx: Nginx, tmp_path: Path, size: int) -> None:
    """The length comes first: beyond a megabyte it takes a file to know it, and that is said."""
    data = make_file(tmp_path / "in", size)
    result = good(store, f"{nginx.url}/f", "put-stream", tmp_path / "in", "f.tgz")
    assert (nginx.files / "f").read_bytes() == data
    assert [r["length"] for r in nginx.requests()] == [str(size)]
    assert ("temporary file" in result.log) == (size > MIB)
    good(store, f"{nginx.url}/g", "drop-stream", tmp_path / "in")
    assert not (nginx.files / "g").exists()


def test_no_room_for_a_stream(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    make_file(tmp_path / "in", 3 * MIB)
    store.env["TMPDIR"] = "/proc"
    error = bad(store, f"{nginx.url}/f", "put-stream", tmp_path / "in", "f").error
    assert error.startswith("permanent: make a temporary file in /proc")
    assert nginx.requests() == []


def test_a_directory(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    for operation in (("put-directory", ""), ("put-directory", "a")):
        assert "is a directory" in bad(store, f"{nginx.url}/d", *operation).error
    (tmp_path / "in").write_bytes(b"1")
    error = bad(store, f"{nginx.url}/d", "put-file", tmp_path / "in", "f", "below").error
    assert "is a directory" in error
    assert nginx.requests() == []


# Encodings


def test_encoded_on_the_way(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    content = b"text " * 100000
    (nginx.files / "f").write_bytes(content)
    (nginx.files / "z").write_bytes(gzip.compress(content))
    own = {"headers": [{"name": "Accept-Encoding", "value": "gzip"}]}
    for path, fields, expected in (
        ("gzip/f", {}, content),
        ("stored/z", {}, content),
        ("z", {}, gzip.compress(content)),
        ("stored/z", own, gzip.compress(content)),
    ):
        good(store, f"{nginx.url}/{path}", "get", tmp_path / "out", **fields)
        found = (tmp_path / "out").read_bytes()
        assert (gzip.decompress(found) if found[:2] == b"\x1f\x8b" else found) == content
        assert (found[:2] == b"\x1f\x8b") == (expected[:2] == b"\x1f\x8b")
    (nginx.files / "bad").write_bytes(gzip.compress(content)[:-20])
    assert bad(store, f"{nginx.url}/stored/bad", "get", tmp_path / "out").error


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(store: Store, nginx: Nginx, tmp_path: Path, status: int) -> None:
    url = f"{nginx.url}/to/{status}/f"
    check_load(store, nginx, url, tmp_path / "out", 1000)
    make_file(tmp_path / "in", 2 * MIB)
    put = ("put-file", tmp_path / "in", "f", "")
    if status in (307, 308):
        good(store, url, *put)
        assert (nginx.files / "f").read_bytes() == (tmp_path / "in").read_bytes()
    else:  # as a GET it would look like success
        nginx.clear()
        error = bad(store, url, *put).error
        assert error.startswith(f"permanent: saving file f to {url} failed with reason: {status} ")
        assert [r["method"] for r in nginx.requests()] == ["PUT"]


def test_credentials_stay_with_their_host(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    check_load(store, nginx, f"{nginx.url}/to/307/f", tmp_path / "out", 10, **basic())
    check_load(store, nginx, f"{nginx.url}/to/308/f", tmp_path / "out", 10, **basic())
    seen = [(r["uri"], bool(r["authorization"])) for r in nginx.requests()]
    assert seen == [("/to/307/f", True), ("/f", False), ("/to/308/f", True), ("/f", True)]


def test_redirects_for_ever(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    error = bad(store, f"{nginx.url}/for-ever/f", "get", tmp_path / "out").error
    assert error.startswith("permanent: ") and "too many redirects" in error
    assert len(nginx.requests()) == 11


# Credentials


def test_basic(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    url = f"{nginx.url}/basic/f"
    header = {"headers": [{"name": "Authorization", "value": "Bearer x"}]}
    check_load(store, nginx, url, tmp_path / "out", 10, **header, **basic())
    good(store, url, "put-file", tmp_path / "out", "f", "", **basic())
    for fields in ({}, basic("user", "wrong"), basic("user", "empty")):
        error = bad(store, url, "get", tmp_path / "out", **fields).error
        assert "failed with reason: 401 Unauthorized (permanent)" in error
    assert nginx.requests()[-1]["authorization"] == ""  # half of it is none
    error = bad(store, url, "get", tmp_path / "out", **basic("user", "none")).error
    assert "http: passwordSecret: secret 'cred' has no key 'none'" in error
    nothing = {"auth": {"basicAuth": {"usernameSecret": {"name": "", "key": ""}}}}
    error = bad(store, url, "get", tmp_path / "out", **nothing).error
    assert "usernameSecret: names no secret" in error


def test_artifactory(store: Store, nginx: Nginx, tmp_path: Path) -> None:
    store.type = "artifactory"
    url = f"{nginx.url}/basic/f"
    fields = {"usernameSecret": ref("user"), "passwordSecret": ref("password")}
    missing = bad(store, url, "get", tmp_path / "out", **fields)
    assert missing.error == "not found: 404 Not Found" and missing.attempts == 1
    check_load(store, nginx, url, tmp_path / "out", 10, **fields)
    good(store, url, "put-stream", tmp_path / "out", "f", **fields)
    for missing in fields:
        rest = {name: value for name, value in fields.items() if name != missing}
        error = bad(store, url, "get", tmp_path / "out", **rest).error
        assert error == f"permanent: artifactory: {missing}: is required"
    nginx.clear()
    empty = {"usernameSecret": ref("empty"), "passwordSecret": ref("empty")}
    bad(store, url, "get", tmp_path / "out", **empty)
    assert nginx.requests()[0]["authorization"] == "Basic Og=="


@pytest.mark.parametrize("way", ["basic", "form"])
def test_oauth2(
    store: Store, nginx: Nginx, tokens: TokenServer, tmp_path: Path, way: str
) -> None:
    tokens.takes_basic, tokens.takes_form = way == "basic", way == "form"
    tokens.failures = [503]
    fields = oauth2(
        tmp_path,
        tokens,
        scopes=["a", "b/c"],
        endpointParams=[{"key": "audience", "value": "x&y"}],
    )
    fields["headers"] = [{"name": "Authorization", "value": "Bearer other"}]
    check_load(store, nginx, f"{nginx.url}/token/f", tmp_path / "out", 10, **fields)
    form = tokens.requests[-1]["form"]
    assert tokens.requests[-1]["basic"] == (way == "basic")
    assert (form["scope"], form["audience"]) == ("a b/c", "x&y")
    assert ("client_id" in form) == (way == "form")
    assert len(tokens.requests) == (2 if way == "basic" else 3)


def test_oauth2_refused(
    store: Store, nginx: Nginx, tokens: TokenServer, tmp_path: Path
) -> None:
    fields = oauth2(tmp_path, tokens)
    url = f"{nginx.url}/token/f"
    tokens.takes_basic = tokens.takes_form = False
    error = bad(store, url, "get", tmp_path / "out", **fields).error
    assert "fetch an OAuth2 token" in error and "invalid_client, status 401 (permanent)" in error
    assert nginx.requests() == []
    tokens.takes_basic, tokens.token_type, tokens.stale = True, None, 1
    tokens.requests.clear()
    check_load(store, nginx, url, tmp_path / "out", 10, **fields)  # a stale one is renewed
    assert len(tokens.requests) == 2
    tokens.stale = 9
    error = bad(store, url, "get", tmp_path / "out", **fields).error  # but once
    assert "401 Unauthorized (permanent)" in error
    tokens.stale = 1
    good(store, url, "put-file", tmp_path / "out", "f", "", **fields)


def test_oauth2_throttled(
    store: Store, nginx: Nginx, tokens: TokenServer, tmp_path: Path
) -> None:
    """A token server that asks for less gets it, from all artifacts together."""
    url, fields = f"{nginx.url}/token/f", oauth2(tmp_path, tokens)
    data = make_file(nginx.files / "f", 10)
    tokens.failures = [429]
    log = good(store, url, "get-each", tmp_path / "out", *"abcde", **fields).log
    assert (tmp_path / "out").read_bytes() == data
    first, second = (asked["when"] for asked in tokens.requests)
    assert second - first >= 1
    assert log.count("Attempt failed") == 1 and "class=throttled" in log


def test_oauth2_tokens_are_shared(
    store: Store, nginx: Nginx, tokens: TokenServer, tmp_path: Path
) -> None:
    """One for all artifacts of a process that ask in the same way; another when it has ended, or is refused."""
    url, fields = f"{nginx.url}/token/f", oauth2(tmp_path, tokens, scopes=["a"])
    data = make_file(nginx.files / "f", 10)
    for expires_in, stale, count in ((3600, 0, 1), (-1, 0, 5), (3600, 1, 2)):
        tokens.expires_in, tokens.stale = expires_in, stale
        tokens.requests.clear()
        good(store, url, "get-each", tmp_path / "out", *"abcde", **fields)
        assert (tmp_path / "out").read_bytes() == data
        assert len(tokens.requests) == count


def test_client_certificate(
    store: Store, nginx: Nginx, tokens: TokenServer, tmp_path: Path
) -> None:
    url = f"https://127.0.0.1:{nginx.tls_port}/closed/f"
    refs = {"clientCertSecret": ref("cert"), "clientKeySecret": ref("key")}
    fields = oauth2(tmp_path, tokens)
    fields["auth"]["clientCert"] = refs
    store.env["https_proxy"] = "http://127.0.0.1:1"  # as in Argo, not for those
    check_load(store, nginx, url, tmp_path / "out", 10, **fields)
    good(store, url, "put-file", tmp_path / "out", "f", "", **fields)
    assert tokens.requests == []  # a certificate comes first
    assert {r["client"] for r in nginx.requests()} == {"CN=127.0.0.1"}
    del store.env["https_proxy"]
    half = {"auth": {"clientCert": {"clientCertSecret": ref("cert")}}}
    assert "403 Forbidden" in bad(store, url, "get", tmp_path / "out", **half).error
    refs["clientKeySecret"] = ref("cert")
    assert bad(store, url, "get", tmp_path / "out", **fields).error.startswith("permanent: ")
    store.env["SSL_CERT_FILE"] = str(nginx.client.ca)
    error = bad(store, url, "get", tmp_path / "out").error
    assert "x509: certificate signed by unknown authority" in error


# Pods


def test_a_repository(lab: Lab, nginx: Nginx) -> None:
    """Keys of artifacts that name no host, merged with the archive location."""
    (nginx.files / "in.txt").write_bytes(b"text")
    repository = {
        "http": {
            "url": f"{nginx.url}/basic/runs/1?x=1",
            "auth": {
                "basicAuth": {"usernameSecret": ref("user"), "passwordSecret": ref("password")}
            },
        }
    }
    step = Step(
        lab,
        "cp /in/a /tmp/f; mkdir /tmp/d; echo 1 >/tmp/d/x",
        inputs=[
            artifact("a", "/in/a", {"http": {"url": "/basic/in.txt"}}),
            artifact("b", "/in/b", {"http": {"url": "/basic/none"}}, optional=True),
        ],
        artifacts=[
            artifact("f", "/tmp/f", archive={"none": {}}),
            artifact("d", "/tmp/d"),
        ],
        repository=repository,
        archive_logs=True,
    )
    add_secret(step)
    run = step.run(secrets=secrets_of(lab))
    assert_ok(run)
    runs = nginx.files / "runs/1"
    assert (runs / "f").read_bytes() == b"text"
    assert untgz((runs / "d.tgz").read_bytes())["d/x"] == b"1\n"
    assert (runs / "main.log").exists()
    urls = {a["name"]: a["http"] for a in step.outputs()["artifacts"]}
    assert urls["f"] == {"url": "/basic/runs/1/f"}
    assert "cred" not in json.dumps(step.outputs())
    for path in sorted(runs.iterdir()):
        path.unlink()
    runs.rmdir()
    runs.parent.rmdir()


def secrets_of(lab: Lab) -> dict[str, dict[str, str]]:
    own = {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key}
    return {"my-minio-cred": own, "cred": {"user": USER + "\n", "password": PASSWORD + "\n"}}


def add_secret(step: Step) -> None:
    """As the controller does for every secret of a template."""
    spec = step.pod["spec"]
    items = [{"key": key, "path": key} for key in ("user", "password")]
    spec["volumes"].append({"name": "cred", "secret": {"secretName": "cred", "items": items}})
    for container in spec["initContainers"] + spec["containers"]:
        if container["name"] != "main":
            container["volumeMounts"].append(
                {"name": "cred", "mountPath": "/argo/secret/cred", "readOnly": True}
            )


def test_a_directory_of_a_step(lab: Lab, nginx: Nginx) -> None:
    """It fails by its name, and what is beside it is saved."""
    step = Step(
        lab,
        "mkdir /tmp/d; echo 1 >/tmp/f",
        artifacts=[
            artifact("d", "/tmp/d", {"http": {"url": f"{nginx.url}/d"}}, archive={"none": {}}),
            artifact("f", "/tmp/f", {"http": {"url": f"{nginx.url}/f"}}, archive={"none": {}}),
        ],
    )
    run = step.run()
    message = assert_failure(
        run.result.containers["wait"], 64, "artifact d failed to save", "is a directory"
    )
    assert "artifact f" not in message
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["f"]


@pytest.mark.parametrize(
    ("path", "what"), [("", "URL"), ("d/f", "key 'd/f'")], ids=["without-a-path", "with-a-path"]
)
def test_two_outputs_of_one_url(lab: Lab, path: str, what: str) -> None:
    """Its query may grant access and is told nowhere, here or where one is stored."""
    with Scripted([answer(status="201 Created")]) as server:
        place = {"http": {"url": f"{server.url}/{path}?sig=secret"}}
        none: dict[str, Any] = {"none": {}}
        artifacts = [artifact(name, f"/tmp/{name}", place, archive=none) for name in ("a", "b")]
        step = Step(lab, "echo 1 >/tmp/a; echo 2 >/tmp/b", artifacts=artifacts)
        run = step.run()
        puts = [lines[0] for lines in server.requests]
    wait = run.result.containers["wait"]
    assert_failure(
        wait,
        64,
        f"artifact b failed to save: its {what} is also that of artifact a, which it would replace;",
    )
    assert "Saved artifact" in wait.log and "sig=secret" not in wait.log
    assert puts == [f"PUT /{path}?sig=secret HTTP/1.1"]
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["a"]
