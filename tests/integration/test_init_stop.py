"""SIGTERM while `init` waits for something that may never come: it ends at once, with 143, and
leaves nothing half-loaded."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.scenario import (
    Step,
    artifact,
    assert_failure,
    leftovers,
    location,
    stop_and_time,
    wait_until_seen,
)
from tests.servers.dns_blackhole import DnsBlackhole
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20
# The aim is 0.1 s; the rest is for other programs on this machine.
LIMIT_SECONDS = 0.3


@contextmanager
def never_accepts() -> Iterator[str]:
    """An address whose queue of connections is full: the kernel drops every further SYN."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        time.sleep(0.1)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def check_stop(runner, volumes: Path, number: int = signal.SIGTERM) -> None:
    seconds = stop_and_time(runner, "init", number)
    print(f"stopped after {seconds * 1000:.0f} ms")
    result = runner.wait(30)
    message = assert_failure(result.containers["init"], 128 + number)
    assert message.startswith("stopped (") and message.endswith("before the inputs were loaded")
    assert seconds < LIMIT_SECONDS
    assert leftovers(volumes) == []
    assert os.listdir(volumes / "input-artifacts") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_name_server_that_never_answers(lab: Lab, tmp_path: Path, number: int) -> None:
    place = location(lab, "key", "store.example:9000")
    step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
    with DnsBlackhole() as dns:
        options = {"resolv_conf": dns.resolv_conf, "volumes_dir": str(tmp_path)}
        with step.runner(**options) as runner:
            runner.start()
            wait_until_seen(lambda: dns.questions > 0, "a question to the name server")
            check_stop(runner, tmp_path, number)


def test_a_host_that_never_accepts(lab: Lab, tmp_path: Path) -> None:
    with never_accepts() as endpoint:
        step = Step(lab, inputs=[artifact("a", "/in/a", location(lab, "key", endpoint))])
        with step.only_init().runner(volumes_dir=str(tmp_path)) as runner:
            runner.start()
            wait_until_seen(lambda: "Loading artifact" in runner.log("init"), "the start")
            time.sleep(0.2)
            check_stop(runner, tmp_path)


def test_a_server_that_never_answers(lab: Lab, tmp_path: Path) -> None:
    with FaultProxy(None) as proxy:
        step = Step(lab, inputs=[artifact("a", "/in/a", location(lab, "key", proxy.endpoint))])
        with step.only_init().runner(volumes_dir=str(tmp_path)) as runner:
            runner.start()
            wait_until_seen(proxy.connections, "a connection")
            time.sleep(0.1)
            check_stop(runner, tmp_path)


def _asking(service: str, url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A location whose credentials come from URL, and the environment that says so."""
    place = {"bucket": BUCKET, "key": "key", "endpoint": "127.0.0.1:1", "useSDKCreds": True}
    if service == "oauth2":
        names = ("clientIDSecret", "clientSecretSecret", "tokenURLSecret")
        auth = {name: {"name": SECRET, "key": "accesskey"} for name in names}
        return {"http": {"url": "http://127.0.0.1:1/f", "auth": {"oauth2": auth}}}, {}
    if service == "oss":
        return {"oss": place}, {"ALIBABA_CLOUD_CREDENTIALS_URI": url}
    if service == "container":
        return {"s3": place}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}
    token = f"/argo/secret/{SECRET}/accesskey"
    role = {"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
    return {"s3": place}, {"AWS_ENDPOINT_URL_STS": url, **role}


@pytest.mark.parametrize("service", ["sts", "container", "oss", "oauth2"])
def test_a_service_of_keys_that_never_answers(lab: Lab, tmp_path: Path, service: str) -> None:
    with FaultProxy(None) as proxy:
        place, variables = _asking(service, f"{proxy.url}/keys")
        step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
        for name, value in {"AWS_REGION": "us-east-1", **variables}.items():
            step.set_env("init", name, value)
        # Also the OAuth2 client's, for which the lab mounts no others.
        keys = {"accesskey": proxy.url, "secretkey": "secret"}
        with step.runner(volumes_dir=str(tmp_path), secrets={SECRET: keys}) as runner:
            runner.start()
            wait_until_seen(proxy.connections, "a question for keys")
            time.sleep(0.1)
            check_stop(runner, tmp_path)


@pytest.mark.parametrize("form", ["object", "archive", "prefix"])
def test_a_download_that_stalls(lab: Lab, tmp_path: Path, form: str) -> None:
    key = f"{Step(lab).prefix}/o"
    data = os.urandom(2 * MIB)
    lab.s3.client().put(BUCKET, f"{key}/x" if form == "prefix" else key, data)
    fields = {"archive": {"zip": {}}} if form == "archive" else {}
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="GET", path=f"/{key}", action={"kind": "stall", "bytes": MIB})
        place = location(lab, key, proxy.endpoint)
        step = Step(lab, inputs=[artifact("a", "/in/a", place, **fields)]).only_init()
        with step.runner(volumes_dir=str(tmp_path)) as runner:
            runner.start()
            wait_until_seen(lambda: leftovers(tmp_path), "a file that is being loaded")
            check_stop(runner, tmp_path)


def bomb(file_bytes: int) -> bytes:
    """A tar.gz with one file of one letter: many gzip members, compressed once."""
    entry = tarfile.TarInfo("letters")
    entry.size = file_bytes
    block = 64 * MIB
    assert file_bytes % block == 0
    member = gzip.compress(b"x" * block, 1)
    head = gzip.compress(entry.tobuf(tarfile.GNU_FORMAT), 1)
    return head + member * (file_bytes // block) + gzip.compress(bytes(1024), 1)


def test_unpacking(lab: Lab, tmp_path: Path) -> None:
    """8 GiB to unpack: it is stopped long before."""
    key = f"{Step(lab).prefix}/bomb"
    lab.s3.client().put(BUCKET, key, bomb(8192 * MIB))
    step = Step(lab, inputs=[artifact("a", "/in/a", key)]).only_init()
    inside = tmp_path / "input-artifacts/a.tmpdir/letters"
    with step.runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: inside.exists() and inside.stat().st_size > 8 * MIB, "unpacking")
        check_stop(runner, tmp_path)


def test_a_pause_between_attempts(lab: Lab, tmp_path: Path) -> None:
    with FaultProxy(lab.s3.address) as proxy:
        answer = {"kind": "status", "status": 503, "headers": {"Retry-After": "60"}}
        proxy.faults.add(action=answer)
        place = location(lab, "key", proxy.endpoint)
        step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
        with step.runner(volumes_dir=str(tmp_path)) as runner:
            runner.start()
            wait_until_seen(lambda: proxy.requests(), "a request")
            time.sleep(0.3)
            assert len(proxy.requests()) == 1
            check_stop(runner, tmp_path)
