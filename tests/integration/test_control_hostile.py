"""Clients that the control server must survive, each with its outcome, by every way there is in."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import pytest

from tests.control import (
    CONT,
    POLITE,
    Answer,
    Control,
    KeepAlive,
    RemoteControl,
    Watcher,
    address_of,
    end,
    listening_pod,
    parse,
    serving,
)
from tests.lab import Lab
from tests.pod import PodRunner
from tests.servers.certs import ServerCert, make

WAYS = ("unix", "tcp", "tls")


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> ServerCert:
    return make(tmp_path_factory.mktemp("control-cert"))


@pytest.fixture(scope="module", params=WAYS)
def served(
    request: pytest.FixtureRequest, session_lab: Lab, cert: ServerCert
) -> Iterator[tuple[PodRunner, Control]]:
    """A pod that runs as long as the tests of this module, and the way in that they use."""
    way = request.param
    tls = cert if way == "tls" else None
    with serving(session_lab, **listening_pod(session_lab, POLITE, cert=tls)) as (runner, local):
        yield runner, local if way == "unix" else RemoteControl(address_of(runner), cert=tls)
        assert local.container()["termination"] == "running"
        assert local.terminate(signal=9).status == 202
        assert end(runner) == 137


@pytest.fixture
def running(served: tuple[PodRunner, Control]) -> Control:
    return served[1]


@pytest.fixture
def fresh(lab: Lab, served: tuple[PodRunner, Control], cert: ServerCert) -> Iterator[Control]:
    """The same way into a pod of the test's own, for what the others would feel."""
    tls = cert if isinstance(served[1], RemoteControl) and served[1].context else None
    is_local = not isinstance(served[1], RemoteControl)
    with serving(lab, **listening_pod(lab, POLITE, cert=tls)) as (runner, local):
        yield local if is_local else RemoteControl(address_of(runner), cert=tls)
        assert local.terminate(signal=9).status == 202
        assert end(runner) == 137


BAD_BODIES = [
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\x00",
    b'{"signal":"15"}',
    b'{"signal":0}',
    b'{"signal":65}',
    b'{"signal":15.5}',
    b'{"signal":1e99}',
    b'{"signal":null}',
    b'{"signal":99999999999999999999}',
    b'{"graceSeconds":-1}',
    b'{"graceSeconds":86401}',
    b'{"containers":"main"}',
    b'{"containers":[]}',
    b'{"containers":["wait"]}',
    b'{"containers":[1]}',
    b'{"containers":["main","main"]}',
    b'{"reason":7}',
    b'{"reason":"' + b"x" * 256 + b'"}',
    b'{"reason":"a\\u0000b"}',
    b'{"grace":1}',
    b"[" * 30000,
]


def test_bad_bodies(running: Control) -> None:
    for body in BAD_BODIES:
        answer = running.ask("POST", "/v1/terminate", body)
        assert answer.status == 400, (body[:60], answer)
        assert answer.json()["status"] == 400 and answer.json()["error"], body[:60]
    assert running.container()["termination"] == "running"


def test_statuses(running: Control) -> None:
    def status(method: str, path: str) -> tuple[int, str | None]:
        answer = running.ask(method, path)
        assert method == "HEAD" or answer.json()["status"] == answer.status
        return answer.status, answer.headers.get("allow")

    assert status("GET", "/") == (404, None)
    assert status("GET", "/v1/../etc/passwd") == (404, None)
    assert status("GET", "/v1/status/") == (404, None)
    assert status("GET", "/v1/terminate") == (405, "POST")
    assert status("POST", "/v1/status") == (405, "GET")
    assert status("DELETE", "/v1/status") == (405, "GET")
    assert status("HEAD", "/metrics") == (405, "GET")
    assert status("GET", "/v1/events") == (426, None)
    assert b" 101 " not in Watcher(running, "/v1/status").status


PATHS = [
    "/v1/../../../../etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/v1/status%00",
    "/v1/status/%",
    "/v1/status/..",
    "/" + "../" * 500 + "x",
    "/v1/terminate/",
    "/metrics/x",
    "/\\..\\x",
]


def test_paths_lead_nowhere(running: Control) -> None:
    """A path names a resource or nothing; there are no files behind it."""
    for path in PATHS:
        answer = running.raw(running.http(f"GET {path} HTTP/1.1\nHost: x\nConnection: close"))
        assert answer == b"" or parse(answer).status in (400, 403, 404), (path, answer[:200])
    assert running.ask("GET", "/v1/x/../status?q=/../x").status == 200


def test_bodies_that_are_too_long(running: Control) -> None:
    post = "POST /v1/terminate HTTP/1.1\nHost: x"
    long = running.raw(running.http(post + "\nContent-Length: 10485760", b"x" * 10485760))
    assert long and parse(long).status == 413
    most = b'{"signal":18' + b" " * (65536 - 13) + b"}"
    assert running.ask("POST", "/v1/terminate", most).status == 202
    assert running.ask("POST", "/v1/terminate", most + b" ").status == 413


def test_lengths_that_are_none(running: Control) -> None:
    def raw(text: str, body: bytes = b"") -> Answer:
        return parse(running.raw(running.http("POST /v1/terminate HTTP/1.1\nHost: x" + text, body)))

    assert raw("").status == 411
    assert raw("\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n").status == 411
    assert raw("\nContent-Length: -5", b"{}").status == 400
    assert raw("\nContent-Length: 2x", b"{}").status == 400
    both = raw("\nTransfer-Encoding: chunked\nContent-Length: 2", b"{}")
    assert both.status == 411


def test_chunked_trickle_is_not_waited_for(running: Control) -> None:
    head = running.http("POST /v1/terminate HTTP/1.1\nHost: x\nTransfer-Encoding: chunked")
    with running.connect() as sock:
        sock.sendall(head + b"2\r\n")
        started = time.monotonic()
        assert sock.recv(65536).startswith(b"HTTP/1.1 411")
        assert time.monotonic() - started < 2


def test_http_1_0_and_bodies_where_none_belong(running: Control) -> None:
    old = parse(running.raw(running.http("GET /v1/status HTTP/1.0")))
    assert old.status == 200 and old.json()["role"] == "wait"
    get = "GET /v1/status HTTP/1.1\nHost: x\nContent-Length: 5"
    assert parse(running.raw(running.http(get, b"hello"))).status == 200


GARBAGE = [
    b"\x16\x03\x01" + bytes(range(256)),
    b"\x00" * 70000,
    b"GET\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
    b"BREW / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def test_what_is_not_http_ends_the_connection(running: Control) -> None:
    """With a refusal or without a word."""
    for data in GARBAGE:
        answer = running.raw(data)
        assert answer == b"" or parse(answer).status >= 400, (data[:20], answer[:100])


UPGRADES = ["h2c", "TLS/1.0", "x" * 200, "websocket, h2c"]


def test_upgrades_to_something_else(running: Control) -> None:
    """Refused, ignored or the end; what comes next on the connection is no matter."""
    for kind in UPGRADES:
        text = f"GET /v1/status HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: {kind}"
        with running.connect() as sock:
            sock.settimeout(8)
            sock.sendall(running.http(text))
            answer = sock.recv(65536)
            assert answer == b"" or parse(answer).status in (200, 400, 403, 404), (kind, answer)
            try:
                sock.sendall(running.http("GET /v1/status HTTP/1.1\nHost: x\nConnection: close"))
                while sock.recv(65536):
                    pass
            except (ConnectionError, ssl.SSLError):
                pass
    half = "GET /v1/events HTTP/1.1\nHost: x\nConnection: Upgrade\nUpgrade: websocket"
    answer = running.raw(running.http(half))
    assert b" 101 " not in answer


def test_watcher_that_talks(running: Control) -> None:
    """What a watcher sends is ignored, or ends it if it is no frame; others go on."""
    for data in (b"\x81\x85abcdhello", b"\x89\x80abcd", b"\xff" * 1000, b"\x82\xff" + b"\xff" * 8):
        watcher = Watcher(running)
        assert b" 101 " in watcher.status
        assert watcher.next()["container"]["name"] == "main"
        try:
            watcher.sock.sendall(data)
        except OSError:
            pass
        watcher.close()
    assert running.status()["role"] == "wait"


def test_pipelining(running: Control) -> None:
    request = running.http("GET /v1/status HTTP/1.1\nHost: x")
    last = running.http("GET /metrics HTTP/1.1\nHost: x\nConnection: close")
    answer = running.raw(request * 20 + last)
    assert answer.count(b"HTTP/1.1 200") == 21
    assert answer.endswith(b"# EOF\n")


def test_pipelined_bodies(running: Control) -> None:
    body = b'{"signal":%d}' % CONT
    post = running.http(f"POST /v1/terminate HTTP/1.1\nHost: x\nContent-Length: {len(body)}", body)
    bad = running.http("POST /v1/terminate HTTP/1.1\nHost: x\nContent-Length: 1", b"x")
    last = running.http("GET /v1/status HTTP/1.1\nHost: x\nConnection: close")
    answer = running.raw(post * 3 + bad + post + last)
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"202", b"202", b"202", b"400", b"202", b"200"]


def test_slow_reader_delays_nobody(running: Control) -> None:
    lazy = running.connect()
    lazy.setblocking(False)
    try:
        for _ in range(400):
            lazy.send(running.http("GET /metrics HTTP/1.1\nHost: x"))
    except (BlockingIOError, ssl.SSLWantWriteError):
        pass
    started = time.monotonic()
    assert running.terminate(signal=CONT).status == 202
    assert time.monotonic() - started < 1
    lazy.close()


def test_rate_limit_of_one_peer(fresh: Control) -> None:
    statuses = set()
    started = time.monotonic()
    with KeepAlive(fresh) as connection:
        for _ in range(6000):
            answer = connection.ask("GET", "/v1/status")
            statuses.add(answer.status)
            if answer.status == 429:
                assert answer.headers["connection"] == "close"
                break
    # A machine that is too busy for 500 per second never gets there.
    assert statuses == {200, 429} or time.monotonic() - started > (6000 - 2000) / 500
    time.sleep(0.2)


def test_a_thousand_idle_connections(fresh: Control) -> None:
    """Most are refused; those that are not are let go after 5 s, and others can come in again."""
    limit = 16 if isinstance(fresh, RemoteControl) else 32
    plain = fresh.connect_plain if isinstance(fresh, RemoteControl) else fresh.connect
    crowd = [plain() for _ in range(limit)]
    try:
        if not isinstance(fresh, RemoteControl) or not fresh.context:
            crowd[0].sendall(b"GET /v1/st")
            crowd[1].sendall(
                fresh.http("POST /v1/terminate HTTP/1.1\nHost: x\nContent-Length: 9", b"{")
            )
        started = time.monotonic()
        while len(crowd) < 1000:
            crowd.append(plain())
        # The first one too many.
        first = crowd[limit].recv(65536)
        assert first == b"" or parse(first).status == 503
        print(f"1000 connections in {time.monotonic() - started:.2f} s")
        refused = crowd[500].recv(65536)
        assert refused == b"" or parse(refused).status == 503
        assert refused or isinstance(fresh, RemoteControl) and fresh.context
        for sock in crowd[:limit]:
            sock.settimeout(12)
            assert sock.recv(65536) == b""
        deadline = time.monotonic() + 5
        while True:
            try:
                assert fresh.container()["termination"] == "running"
                break
            except (AssertionError, OSError, IndexError, ValueError):
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        for sock in crowd:
            sock.close()
