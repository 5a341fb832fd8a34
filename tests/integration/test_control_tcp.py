"""Control requests by TCP: only if asked for, only with the token, and never at others' cost."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.control import (
    CONT,
    POLITE,
    STUBBORN,
    TOKEN,
    Control,
    KeepAlive,
    RemoteControl,
    Watcher,
    address_of,
    check_schema,
    documented_schemas,
    end,
    listening,
    listening_pod,
    serving,
    template,
)
from tests.lab import ROOT, SECRET, Lab
from tests.layout import pod_for
from tests.pod import PodRunner
from tests.servers.certs import ServerCert, make

OUT = {"name": "out", "path": "/tmp/out", "archive": {"none": {}}, "s3": {"key": "control/out"}}


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> ServerCert:
    return make(tmp_path_factory.mktemp("control-cert"))


@pytest.fixture
def plain(lab: Lab) -> Iterator[tuple[PodRunner, Control, RemoteControl]]:
    with serving(lab, **listening_pod(lab, POLITE)) as (runner, local):
        yield runner, local, RemoteControl(address_of(runner))
        local.terminate(signal=9)
        assert end(runner) == 137


@pytest.fixture
def secured(lab: Lab, cert: ServerCert) -> Iterator[tuple[PodRunner, Control, RemoteControl]]:
    with serving(lab, **listening_pod(lab, POLITE, cert=cert)) as (runner, local):
        yield runner, local, RemoteControl(address_of(runner), cert=cert)
        local.terminate(signal=9)
        assert end(runner) == 137


def replace(runner: PodRunner, **files: str | None) -> None:
    """Gives the mounted secret other files, as a kubelet does: all of them by one rename."""
    root = Path(runner.volume_path("control"))
    old = (root / "..data").resolve()
    new = root / f"..{time.monotonic_ns()}"
    new.mkdir()
    for path in old.iterdir():
        (new / path.name).write_bytes(path.read_bytes())
    for name, text in files.items():
        if text is None:
            (new / name).unlink()
        else:
            (new / name).write_text(text)
    (root / "..link").symlink_to(new.name)
    os.replace(root / "..link", root / "..data")


def test_without_a_token_nobody_listens_and_nothing_is_lost(lab: Lab) -> None:
    """Also: nothing listens where nothing was said."""
    for listen, lines in (("127.0.0.1:0", 1), ("", 0)):
        manifest = pod_for(template(lab, "echo kept >/tmp/out", [OUT]), "wf", "wf-control")
        options = listening(
            lab,
            manifest,
            "",
            ARGOEXEC_CONTROL_LISTEN=listen,
            ARGOEXEC_CONTROL_TOKEN_FILE="",
        )
        lab.s3.client().delete("my-bucket", "control/out")
        with lab.runner(options["manifest"], secrets=options["secrets"]) as runner:
            runner.start()
            assert end(runner) == 0
            log = runner.log("wait")
        errors = [line for line in log.splitlines() if "level=ERROR" in line]
        assert len(errors) == lines and "Listening" not in log, log
        assert all("ARGOEXEC_CONTROL_TOKEN_FILE" in line for line in errors), log
        assert lab.get("control/out") == b"kept\n"


def test_port_that_is_taken(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(lab, **listening_pod(lab, POLITE, address)) as (runner, local):
            log = runner.log("wait")
            assert "ARGOEXEC_CONTROL_LISTEN: listen on" in log and "address already in use" in log
            assert local.terminate().status == 202
            assert end(runner) == 7


WRONG = [
    "",
    "Authorization: Bearer\r\n",
    "Authorization: Bearer \r\n",
    f"Authorization: Bearer {TOKEN[:-1]}\r\n",
    f"Authorization: Bearer {TOKEN}x\r\n",
    f"Authorization: Bearer {TOKEN.upper()}\r\n",
    f"Authorization: Basic {TOKEN}\r\n",
    f"Authorization: {TOKEN}\r\n",
    f"Authorization: Bearer x\r\nAuthorization: Bearer {TOKEN}\r\n",
    f"X-Authorization: Bearer {TOKEN}\r\n",
    f"Authorization: Bearer {'x' * 3000}\r\n",
]
ASKED = [("GET", "/v1/status"), ("GET", "/metrics"), ("GET", "/nothing"), ("POST", "/v1/terminate")]


def test_everything_needs_the_token(plain: tuple[PodRunner, Control, RemoteControl]) -> None:
    runner, local, remote = plain
    refused = 0
    for headers in WRONG:
        stranger = RemoteControl(remote.address)
        stranger.headers = headers
        for method, path in ASKED:
            answer = stranger.ask(method, path)
            assert answer.status == 401, (headers, path, answer)
            assert answer.headers["www-authenticate"] == 'Bearer realm="argoexec"'
            assert answer.headers["connection"] == "close" and answer.json()["status"] == 401
        watcher = Watcher(stranger)
        assert b" 401 " in watcher.status and b"www-authenticate: Bearer" in watcher.headers
        watcher.close()
        refused += len(ASKED) + 1
        time.sleep(0.1)
    assert local.container()["termination"] == "running"
    for scheme in ("Bearer ", "bearer ", "BEARER   "):
        remote.headers = f"Authorization: {scheme}{TOKEN}\r\n"
        assert remote.status()["role"] == "wait"
    text = local.ask("GET", "/metrics").body.decode()
    assert f"argoexec_unauthorized_requests_total {refused}\n" in text
    log = runner.log("wait")
    assert log.count("Refused a control request") == 1 and TOKEN not in log, log


def test_who_asked(lab: Lab) -> None:
    with serving(lab, **listening_pod(lab, POLITE)) as (runner, _local):
        check_who_asked(runner, RemoteControl(address_of(runner)))


def check_who_asked(runner: PodRunner, remote: RemoteControl) -> None:
    watcher = Watcher(remote)
    with KeepAlive(remote) as connection:
        host, port = connection.sock.getsockname()
        answer = connection.ask("POST", "/v1/terminate", {"reason": "by TCP", "graceSeconds": 60})
        assert (answer.status, answer.json()) == (202, {"id": "t1", "outcome": "accepted"})
    while (event := watcher.next())["container"]["termination"] == "running":
        pass
    schemas = documented_schemas()
    check_schema(event, schemas["Event"], schemas)
    asked = event["container"]["request"]
    assert (asked["source"], asked["peer"], asked["reason"]) == ("control", f"{host}:{port}", "by TCP")
    assert "uid" not in asked and "pid" not in asked
    watcher.close()
    assert end(runner) == 7
    lines = [line for line in runner.log("wait").splitlines() if "Termination requested" in line]
    assert len(lines) == 1 and f"{host}:{port}" in lines[0] and "source=control" in lines[0], lines


def test_token_is_replaced(plain: tuple[PodRunner, Control, RemoteControl]) -> None:
    runner, _local, remote = plain
    second = RemoteControl(remote.address, "the-second-token-0123456789")

    def statuses() -> list[int]:
        return [item.ask("GET", "/v1/status").status for item in (remote, second)]

    assert statuses() == [200, 401]
    replace(runner, token="  the-second-token-0123456789\n\n")
    assert statuses() == [401, 200]
    for bad in ("too short", "", "x" * 3000, "with a blank in it 0123456789", None):
        replace(runner, token=bad)
        assert statuses() == [401, 401], bad
    replace(runner, token=TOKEN)
    assert statuses() == [200, 401]
    log = runner.log("wait")
    assert log.count("The control token is unusable") == 5
    assert log.count("The control token was replaced") == 2
    assert TOKEN not in log and "second-token" not in log


def test_certificate_is_replaced(
    secured: tuple[PodRunner, Control, RemoteControl], tmp_path: Path, cert: ServerCert
) -> None:
    runner, _local, remote = secured
    other = make(tmp_path / "other")
    new = RemoteControl(remote.address, cert=other)
    assert remote.status()["role"] == "wait"
    with pytest.raises(ssl.SSLCertVerificationError):
        new.status()
    replace(runner, **{"tls.crt": other.cert.read_text()})  # and not yet its key
    assert remote.status()["role"] == "wait"
    replace(runner, **{"tls.key": other.key.read_text()})
    assert new.status()["role"] == "wait"
    with pytest.raises(ssl.SSLCertVerificationError):
        remote.status()
    replace(runner, **{"tls.key": None})
    assert new.status()["role"] == "wait"
    log = runner.log("wait")
    assert log.count("The new control certificate is unusable") == 2
    assert log.count("The control certificate was replaced") == 1
    assert cert.key.read_text().splitlines()[1] not in log


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_as_it_should_not_be(secured: tuple[PodRunner, Control, RemoteControl]) -> None:
    _runner, local, remote = secured
    started = time.monotonic()
    with ExitStack() as stack:
        slow = [stack.enter_context(remote.connect_plain(12)) for _ in range(4)]
        slow[1].sendall(b"\x16\x03\x01")
        slow[2].sendall(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc")
        for data in (remote.http("GET /v1/status HTTP/1.1\nHost: x"), b"\xff" * 5000):
            with remote.connect_plain() as sock:
                sock.sendall(data)
                try:
                    answer = sock.recv(65536)
                except ConnectionResetError:
                    answer = b""
                assert b"HTTP" not in answer  # a TLS alert at most
        # While they dawdle, all is served.
        assert remote.terminate(signal=CONT).status == 202
        assert local.terminate(signal=CONT).status == 202
        for sock in slow:
            assert sock.recv(65536) == b""
    assert 4 < time.monotonic() - started < 9
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with remote.connect_plain() as sock, pytest.raises(ssl.SSLError):
        old.wrap_socket(sock, server_hostname="127.0.0.1")
    with KeepAlive(remote) as connection:
        assert connection.sock.version() == "TLSv1.3"  # type: ignore[attr-defined]


def test_strangers_do_not_take_the_place_of_others(
    plain: tuple[PodRunner, Control, RemoteControl],
) -> None:
    """16 connections of one address, 32 of all; the unix socket has its own 32."""
    _runner, local, remote = plain
    with ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3"):
            remote.source = (source, 0)
            held = [stack.enter_context(remote.connect()) for _ in range(16)]
            assert remote.ask("GET", "/v1/status").status == 503
            # The first address leaves room for the second one, both together for nobody.
            remote.source = ("127.0.0.4", 0)
            expected = 200 if source == "127.0.0.2" else 503
            assert remote.ask("GET", "/v1/status").status == expected
            assert len(held) == 16
        assert local.status()["role"] == "wait"
        with ExitStack() as locals_:
            for _ in range(31):
                locals_.enter_context(local.connect())
            assert local.status()["role"] == "wait"
    time.sleep(0.1)
    remote.source = None
    assert remote.status()["role"] == "wait"


def test_ipv6(lab: Lab, tmp_path: Path) -> None:
    cert = make(tmp_path / "six", ("::1",))
    with serving(lab, **listening_pod(lab, STUBBORN, "[::]:0", cert=cert)) as (runner, local):
        host, port = address_of(runner)
        assert host == "::"
        six = RemoteControl(("::1", port), cert=cert)
        assert six.terminate(signal=CONT).status == 202
        # One socket, both families; the certificate names only one of them.
        with socket.create_connection(("127.0.0.1", port)) as sock:
            context = cert.client_context()
            context.check_hostname = False
            context.wrap_socket(sock).close()
        six.terminate(graceSeconds=60)
        assert local.container()["request"]["peer"].startswith("[::1]:")
        six.terminate(graceSeconds=0)
        assert end(runner) == 137


def test_the_documented_patch(lab: Lab, tmp_path: Path) -> None:
    """deploy/control/workflow.yaml, applied as the controller does it: lists are joined by name."""
    yaml = pytest.importorskip("yaml", reason="package python3-yaml is not installed")
    document = yaml.safe_load((ROOT / "deploy/control/workflow.yaml").read_text(encoding="utf-8"))
    patch = yaml.safe_load(document["spec"]["podSpecPatch"])
    manifest = pod_for(template(lab, POLITE), "wf", "wf-control")
    (change,) = patch["containers"]
    (wait,) = (c for c in manifest["spec"]["containers"] if c["name"] == change["name"])
    # In a pod of the host's network the port may be taken; nothing else is changed.
    assert change["env"][0] == {"name": "ARGOEXEC_CONTROL_LISTEN", "value": "0.0.0.0:8443"}
    change["env"][0]["value"] = "0.0.0.0:0"
    wait["env"] += change["env"]
    wait["volumeMounts"] += change["volumeMounts"]
    manifest["spec"]["volumes"] += patch["volumes"]
    cert = make(tmp_path, ("wait.tiphys.internal",))
    secrets = {
        SECRET: {"accesskey": lab.s3.access_key, "secretkey": lab.s3.secret_key},
        "tiphys-control-token": {"token": TOKEN},
        "tiphys-control-tls": {"tls.crt": cert.cert.read_text(), "tls.key": cert.key.read_text()},
    }
    with serving(lab, manifest, secrets=secrets) as (runner, _local):
        remote = RemoteControl(("127.0.0.1", address_of(runner)[1]), cert=cert)
        remote.server_name = "wait.tiphys.internal"
        assert remote.terminate().status == 202
        assert end(runner) == 7


@pytest.mark.bar
def test_a_flood_of_handshakes_delays_nobody(
    secured: tuple[PodRunner, Control, RemoteControl],
) -> None:
    _runner, local, remote = secured
    stop = threading.Event()
    handshakes = [0]

    def flood(source: str) -> None:
        stranger = RemoteControl(remote.address, None)
        stranger.context, stranger.source = remote.context, (source, 0)
        while not stop.is_set():
            try:
                stranger.connect(2).close()
                handshakes[0] += 1
            except OSError:
                pass

    threads = [threading.Thread(target=flood, args=(f"127.0.1.{i}",)) for i in range(1, 5)]
    for thread in threads:
        thread.start()
    latencies = []
    try:
        with KeepAlive(local) as connection:
            for _ in range(200):
                started = time.monotonic()
                assert connection.ask("POST", "/v1/terminate", {"signal": CONT}).status == 202
                latencies.append((time.monotonic() - started) * 1000)
                time.sleep(0.005)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    latencies.sort()
    print(f"p50 {latencies[100]:.1f} ms, p99 {latencies[198]:.1f} ms, {handshakes[0]} handshakes")
    # The flood's own Python shares two cores with the server, and this thread's lock with it.
    assert latencies[198] < 100
