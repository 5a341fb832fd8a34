"""The bench in its quick mode, so that it goes on working; and the relay that it looks through."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import BUCKET, ROOT
from tests.scenario import wait_until_seen
from tests.servers import versitygw
from tests.servers.relay import Relay
from tests.servers.versitygw import VersityGw

MIB = 1 << 20
pytestmark = pytest.mark.skipif(
    bool(versitygw.unavailable()), reason=f"versitygw: {versitygw.unavailable()}"
)


def bench(*names: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "bench", *names]
    env = os.environ | {"QUICK": "1", "RUNS": "1", "REFERENCE": "", "ROWS": ""}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def test_rows() -> None:
    done = bench("out-100-own-targz", "in-1000-5ms")
    # 1: a bar is missed, which a loaded machine may do.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "failed" not in done.stdout, done.stdout
    assert "out-100-own-targz: 6 artifacts of 1 MiB" in done.stdout
    assert "in-1000-5ms: prefix of 62 small objects" in done.stdout
    assert "bars met" in done.stdout


def test_an_unknown_name() -> None:
    done = bench("no-such-row")
    assert done.returncode == 2
    assert "no such bench: no-such-row (of size version" in done.stderr


@pytest.fixture(scope="module", name="gateway")
def _gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VersityGw]:
    with VersityGw(tmp_path_factory.mktemp("gateway")) as gateway:
        gateway.create_bucket(BUCKET)
        gateway.client().put(BUCKET, "key", bytes(MIB))
        yield gateway


@pytest.fixture(name="relay")
def _relay(gateway: VersityGw, tmp_path: Path) -> Iterator[Relay]:
    with Relay(gateway.port, tmp_path) as relay:
        yield relay


def fetch(gateway: VersityGw, relay: Relay) -> int:
    """Bytes of the object, through the relay."""
    client = gateway.client()
    # Signed for the gateway's own address, which the relay passes on as it is.
    target, headers, _ = client.sign("GET", f"/{BUCKET}/key")
    request = urllib.request.Request(relay.url + target, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return len(answer.read())


def test_a_relay_counts(gateway: VersityGw, relay: Relay) -> None:
    assert fetch(gateway, relay) == MIB
    counts = relay.counts()
    assert (counts["requests"], counts["gets"], counts["answers"]) == (1, 1, 1)
    # It counts what it has passed on after it has.
    wait_until_seen(lambda: relay.counts()["down_bytes"] > MIB, "all bytes in its counts")
    relay.clear()
    assert relay.counts()["requests"] == 0


def test_a_relay_is_far_and_thin(gateway: VersityGw, relay: Relay) -> None:
    relay.set(delay_us=200_000)
    began = time.monotonic()
    fetch(gateway, relay)
    assert time.monotonic() - began >= 0.2
    relay.clear()
    relay.set(bytes_a_second=4 * MIB)
    began = time.monotonic()
    fetch(gateway, relay)
    assert time.monotonic() - began >= 0.2


def test_a_relay_refuses_a_share(gateway: VersityGw, relay: Relay) -> None:
    relay.set(refuse_status=503, refuse_percent=50)
    refused = 0
    for _ in range(4):
        try:
            fetch(gateway, relay)
        except urllib.error.HTTPError as error:
            assert error.code == 503
            assert b"<Code>SlowDown</Code>" in error.read()
            refused += 1
    assert refused == relay.counts()["refused"] == 2


def test_a_relay_cuts(gateway: VersityGw, relay: Relay) -> None:
    relay.set(cut_bytes=MIB // 2)
    with pytest.raises(OSError):
        fetch(gateway, relay)
    assert relay.counts()["cuts"] == 1
    assert relay.counts()["down_bytes"] == MIB // 2


def test_a_relay_falls_silent(gateway: VersityGw, relay: Relay) -> None:
    relay.set(stall_bytes=1)
    target, headers, _ = gateway.client().sign("GET", f"/{BUCKET}/key")
    request = urllib.request.Request(relay.url + target, headers=headers)
    with pytest.raises(OSError):
        with urllib.request.urlopen(request, timeout=0.5) as answer:
            answer.read()
    assert relay.counts()["stalls"] == 1
