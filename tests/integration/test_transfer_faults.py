"""Large objects through connections that are cut: what has arrived is not sent again."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.integration.test_s3_store import store_for  # noqa: E402
from tests.servers import swift as swift_server  # noqa: E402
from tests.servers.fault_proxy import FaultProxy  # noqa: E402
from tests.servers.ports import wait_until  # noqa: E402
from tests.store_driver import Result, Store, driver, make_file  # noqa: E402

MIB = 1 << 20
BUCKET = "my-bucket"
PART = 16 * MIB
SMALL_PART = 5 * MIB
CUT = 8 * MIB
SEEDS = 4
STALL_MS = "1500"


@pytest.fixture(scope="module")
def swift(tmp_path_factory):
    if reason := swift_server.unavailable():
        pytest.skip(reason)
    with swift_server.SwiftServer(tmp_path_factory.mktemp("swift"), region="test-1") as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def proxy(swift) -> Iterator[FaultProxy]:
    with FaultProxy((swift.host, swift.port)) as proxy:
        yield proxy


@pytest.fixture
def store(proxy, swift, tmp_path) -> Store:
    store = store_for(tmp_path, proxy.endpoint, swift.access_key, swift.secret_key)
    store.location["region"] = "test-1"
    return store


def stored(result: Result) -> list[str]:
    """Size, ETag and checksum as the driver tells them."""
    return next(line for line in result.out.splitlines() if line.startswith("stored ")).split()[1:]


def checksum(data: bytes, size: int) -> str:
    parts = [hashlib.sha256(data[i : i + size]) for i in range(0, max(1, len(data)), size)]
    if len(parts) == 1:
        return f"sha256:{parts[0].hexdigest()}"
    whole = hashlib.sha256(b"".join(part.digest() for part in parts))
    return f"sha256:{whole.hexdigest()}-{len(parts)}"


def uploaded(proxy: FaultProxy) -> int:
    return sum(r["request_bytes"] for r in proxy.requests() if "partNumber" in r["path"])


@pytest.mark.parametrize("size", [0, PART, PART + 1, 3 * PART])
def test_what_is_known_of_a_file(store, swift, tmp_path, size):
    data = make_file(tmp_path / "in", size)
    result = store.good("known", "put-file", tmp_path / "in", "x", "")
    etag = swift.client().head(BUCKET, "known")["etag"]
    assert stored(result) == [str(size), etag, checksum(data, PART)]


def test_what_is_known_of_a_stream(store, swift, tmp_path):
    data = make_file(tmp_path / "in", 2 * SMALL_PART + 1)
    result = store.good("known", "put-stream", tmp_path / "in", "x")
    etag = swift.client().head(BUCKET, "known")["etag"]
    assert stored(result) == [str(len(data)), etag, checksum(data, SMALL_PART)]


def test_file_is_cut_always(store, proxy, swift, tmp_path):
    """No part of more than 8 MiB arrives: smaller ones do."""
    data = make_file(tmp_path / "in", 5 * PART + 12345)
    cut = {"kind": "cut_request", "bytes": CUT}
    proxy.faults.add(verb="PUT", path="partNumber=", action=cut)
    result = store.good("always", "put-file", tmp_path / "in", "x", "")
    assert swift.client().get(BUCKET, "always") == data
    assert stored(result)[0] == str(len(data))
    assert swift.client().list_uploads(BUCKET) == {}
    cuts = sum(r["fault"] == "cut_request" and r["status"] is None for r in proxy.requests())
    assert cuts > 0
    assert uploaded(proxy) - len(data) <= cuts * CUT


def test_stream_is_cut_always(store, proxy, swift, tmp_path):
    data = make_file(tmp_path / "in", 30 * MIB)
    cut = {"kind": "cut_request", "bytes": CUT}
    proxy.faults.add(verb="PUT", path="partNumber=", action=cut)
    store.good("always", "put-stream", tmp_path / "in", "x")
    assert swift.client().get(BUCKET, "always") == data
    assert swift.client().list_uploads(BUCKET) == {}
    assert uploaded(proxy) == len(data)


def gets(proxy: FaultProxy) -> list[tuple[int, str, int]]:
    """Where each read began, where it was to end ("" = with the object), and how much of it was sent."""
    reads = []
    for r in proxy.requests():
        if r["verb"] == "GET":
            first, _, last = r["headers"].get("range", "bytes=0-").removeprefix("bytes=").partition("-")
            reads.append((int(first), last, r["response_bytes"]))
    return reads


def expect_no_byte_twice(reads: list[tuple[int, str, int]], is_reset: bool) -> None:
    """Each read of the same range begins where the one before it was cut. Of what is sent before a reset
    some may not arrive."""
    for (first, _, size), (following, _, _) in zip(reads, reads[1:]):
        if is_reset:
            assert first <= following <= first + size
        else:
            assert following == first + size


@pytest.mark.parametrize("is_reset", [True, False])
def test_download_is_cut_always(store, proxy, swift, tmp_path, is_reset):
    data = random.Random(1).randbytes(60 * MIB)
    swift.client().put(BUCKET, "always", data)
    cut = {"kind": "cut_response", "bytes": CUT, "reset": is_reset}
    proxy.faults.add(verb="GET", path="/always", action=cut)
    store.good("always", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    received = sum(size for _, _, size in gets(proxy))
    lost = len(data) // CUT * CUT if is_reset else 0
    # And what one connection had sent beyond where several took over.
    assert len(data) <= received <= len(data) + lost + CUT


@pytest.mark.parametrize("is_reset", [True, False])
def test_only_what_is_missing_is_read_again(store, proxy, swift, tmp_path, is_reset):
    """Too small for several connections."""
    data = random.Random(1).randbytes(31 * MIB + 5)
    swift.client().put(BUCKET, "single", data)
    cut = {"kind": "cut_response", "bytes": MIB, "reset": is_reset}
    proxy.faults.add(verb="GET", path="/single", action=cut)
    store.good("single", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    expect_no_byte_twice(gets(proxy), is_reset)
    if not is_reset:
        assert sum(size for _, _, size in gets(proxy)) == len(data)


def ranges(proxy: FaultProxy) -> list[str]:
    return [r["headers"]["range"] for r in proxy.requests() if "range" in r["headers"]]


def slow_object(proxy: FaultProxy, swift, size: int, **fault) -> bytes:
    """An object that comes slowly over each connection; FAULT says what else befalls its ranges."""
    data = random.Random(size).randbytes(size)
    swift.client().put(BUCKET, "slow", data)
    if fault:
        proxy.faults.add(verb="GET", path="/slow", **fault)
    proxy.faults.add(verb="GET", path="/slow", action={"kind": "rate", "bytes_per_s": 20 * MIB})
    return data


def test_slow_object_comes_over_several_connections(store, proxy, swift, tmp_path):
    data = slow_object(proxy, swift, 70 * MIB + 17)
    store.good("slow", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert len(ranges(proxy)) >= 8
    reads = [r for r in proxy.requests() if r["verb"] == "GET"]
    # Kept for the next range; the first one is closed where the others take over.
    assert 1 < len({r["connection"] for r in reads}) <= 7
    assert "range" not in reads[0]["headers"]
    assert all(r["headers"]["if-match"] == reads[1]["headers"]["if-match"] for r in reads[1:])
    # What the first connection had sent beyond where the others took over.
    assert sum(r["response_bytes"] for r in reads) < len(data) + 8 * MIB


def driver_pid() -> int:
    tasks = Path("/proc/self/task").iterdir()
    pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    [pid] = [pid for pid in pids if Path(f"/proc/{pid}/exe").resolve() == driver()]
    return pid


@pytest.mark.parametrize("delay_s", [0, 0.5])
def test_burst_behind_a_slow_start(store, proxy, swift, tmp_path, delay_s):
    """What was believed to come slowly comes at once, before the others can take over or when they do,
    and while nobody reads."""
    data = random.Random(3).randbytes(100 * MIB)
    swift.client().put(BUCKET, "burst", data)
    slow = {"kind": "rate", "bytes_per_s": 10 * MIB, "bytes": 12 * MIB}
    proxy.faults.add(verb="GET", path="/burst", count=1, action=slow)
    if delay_s:
        proxy.faults.add(verb="GET", path="/burst", action={"kind": "delay", "seconds": delay_s})
    with ThreadPoolExecutor() as pool:
        run = pool.submit(store.good, "burst", "get", tmp_path / "out")
        wait_until(lambda: ranges(proxy), "ranges are asked for")
        for signum in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(driver_pid(), signum)
            time.sleep(1)
        run.result()
    assert (tmp_path / "out").read_bytes() == data
    # The range that was asked for too early, or what the proxy's own socket holds.
    assert sum(size for _, _, size in gets(proxy)) <= len(data) + 6 * MIB


@pytest.mark.parametrize("status", [403, 412, 503])
def test_refused_ranges_cost_nothing_but_speed(store, proxy, swift, tmp_path, status):
    data = slow_object(proxy, swift, 40 * MIB, nth=2, action={"kind": "status", "status": status})
    store.good("slow", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("nth", [2, 3, 4])
def test_cut_ranges_are_resumed(store, proxy, swift, tmp_path, nth):
    cut = {"kind": "cut_response", "bytes": 3 * MIB, "reset": True}
    data = slow_object(proxy, swift, 40 * MIB, nth=nth, action=cut)
    store.good("slow", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("is_reset", [True, False])
def test_ranges_that_are_cut_more_than_once(store, proxy, swift, tmp_path, is_reset):
    """Of each range, too, only the missing end is asked for again."""
    cut = {"kind": "cut_response", "bytes": MIB + 1, "reset": is_reset}
    data = slow_object(proxy, swift, 40 * MIB, nth=2, action=cut)
    store.good("slow", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    reads = gets(proxy)[1:]
    ends = {end for _, end, _ in reads}
    assert len(reads) > 3 * len(ends) > 0
    for end in ends:
        expect_no_byte_twice([read for read in reads if read[1] == end], is_reset)


def test_stalled_download_goes_on(store, proxy, swift, tmp_path):
    data = random.Random(2).randbytes(9 * MIB)
    swift.client().put(BUCKET, "stalled", data)
    for stall in ({"bytes": 5 * MIB}, {}):
        proxy.faults.add(verb="GET", path="/stalled", count=1, action={"kind": "stall"} | stall)
    store.env["STALL_MS"] = STALL_MS
    result = store.good("stalled", "get", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert result.log.count("i/o timeout") >= 2


@pytest.mark.parametrize("operation", ["put-file", "put-stream"])
def test_server_that_stops_reading(store, proxy, swift, tmp_path, operation):
    data = make_file(tmp_path / "in", 2 * PART)
    stall = {"kind": "stall_request", "bytes": MIB}
    proxy.faults.add(verb="PUT", path="partNumber=2", count=1, action=stall)
    store.env["STALL_MS"] = STALL_MS
    more = [""] if operation == "put-file" else []
    result = store.good("stopped", operation, tmp_path / "in", "x", *more)
    assert swift.client().get(BUCKET, "stopped") == data
    assert "i/o timeout" in result.log
    assert swift.client().list_uploads(BUCKET) == {}


def test_end_of_an_upload_over_a_slow_line(store, swift, tmp_path):
    """All of it is in the kernel's hands, and leaves them for longer than a server may say nothing."""
    data = make_file(tmp_path / "in", 3 * MIB // 2)
    with FaultProxy(swift.address, receive_bytes=64 * 1024) as proxy:
        slow = {"kind": "rate", "bytes_per_s": MIB // 4, "step": 16 * 1024}
        proxy.faults.add(verb="PUT", path="/slow", action=slow)
        store.location["endpoint"] = proxy.endpoint
        store.env["STALL_MS"] = STALL_MS
        result = store.good("slow", "put-file", tmp_path / "in", "x", "")
    assert swift.client().get(BUCKET, "slow") == data
    assert "i/o timeout" not in result.log


def test_length_that_is_a_lie(store, proxy, swift, tmp_path):
    swift.client().put(BUCKET, "lie", b"x" * 1000)
    proxy.faults.add(verb="GET", path="/lie", action={"kind": "wrong_length", "delta": 10})
    result = store.bad("lie", "get", tmp_path / "out")
    assert "get object my-bucket/lie" in result.error and "status 416" in result.error


def schedule(proxy: FaultProxy, seed: int) -> None:
    """Some of the connections are cut, anywhere in either direction, or their answer is lost."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 8)):
        kind = chance.choice(["cut_request", "cut_response", "lost", "reset", "close"])
        action = {"kind": kind}
        if kind.startswith("cut"):
            action["bytes"] = chance.randrange(0, chance.choice([1000, MIB, PART]))
        verb = chance.choice(["PUT", "POST", "GET"])
        proxy.faults.add(verb=verb, path="/r", nth=chance.randrange(1, 6), count=1, action=action)


def count_faults(proxy: FaultProxy) -> int:
    return sum(r["fault"] is not None for r in proxy.requests())


def run_seed(store: Store, proxy: FaultProxy, swift, directory: Path, seed: int) -> None:
    """What is sent again: no more than two parts for each fault."""
    size = random.Random(seed).randrange(1, 60 * MIB)
    data = make_file(directory / "in", size)
    ways = {PART: ("put-file", directory / "in", "x", ""), SMALL_PART: ("put-stream", directory / "in", "x")}
    for part, operation in ways.items():
        proxy.clear()
        schedule(proxy, seed)
        store.good("r", *operation)
        assert swift.client().get(BUCKET, "r") == data, f"seed {seed}"
        assert swift.client().list_uploads(BUCKET) == {}, f"seed {seed}"
        sent = sum(r["request_bytes"] for r in proxy.requests() if r["verb"] == "PUT")
        assert sent <= size + 2 * part * count_faults(proxy), f"seed {seed}"
    proxy.clear()
    schedule(proxy, seed)
    store.good("r", "get", directory / "out")
    assert (directory / "out").read_bytes() == data, f"seed {seed}"
    received = sum(read for _, _, read in gets(proxy))
    assert received <= size + CUT + 2 * PART * count_faults(proxy), f"seed {seed}"
    if size < 32 * MIB:  # too small for several connections
        expect_no_byte_twice(gets(proxy), is_reset=True)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_cuts(store, proxy, swift, tmp_path, seed):
    run_seed(store, proxy, swift, tmp_path, seed)
