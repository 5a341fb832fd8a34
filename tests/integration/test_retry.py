"""The retry engine as users meet it: how often, when, what is told. Each way of failing against both
object stores, through a proxy that answers in their place. Long outages are in tests/soak and bench."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers.fault_proxy import FaultProxy  # noqa: E402
from tests.servers.oss import OssServer  # noqa: E402
from tests.store_driver import Store, make_file  # noqa: E402

BUCKET = "my-bucket"


@pytest.fixture(scope="module")
def oss() -> Iterator[OssServer]:
    with OssServer() as oss:
        oss.create_bucket(BUCKET)
        yield oss


@pytest.fixture(scope="module")
def shared(oss: OssServer) -> Iterator[FaultProxy]:
    with FaultProxy((oss.host, oss.port)) as proxy:
        proxy.oss = oss
        yield proxy


@pytest.fixture
def proxy(shared: FaultProxy) -> FaultProxy:
    shared.clear()
    return shared


@pytest.fixture
def store(proxy: FaultProxy, tmp_path: Path) -> Store:
    return store_of("oss", proxy, tmp_path)


def store_of(kind: str, proxy: FaultProxy, directory: Path) -> Store:
    folder = directory / "secrets/cred"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ak").write_text(proxy.oss.access_key)
    (folder / "sk").write_text(proxy.oss.secret_key)
    make_file(directory / "in", 1000)
    location: dict[str, Any] = {"endpoint": proxy.endpoint, "bucket": BUCKET}
    if kind == "s3":
        location |= {"insecure": True, "region": "test-1"}
    secrets = {f"{name}KeySecret": {"name": "cred", "key": key} for name, key in KEYS}
    return Store(kind, directory / "secrets", location | secrets)


KEYS = [("access", "ak"), ("secret", "sk")]


def document(code: str, message: str = "") -> str:
    text = f"<Message>{message}</Message>" if message else ""
    return f"<Error><Code>{code}</Code>{text}<RequestId>5C1B</RequestId></Error>"


def refuse(status: int, body: str = "", **headers: str) -> dict[str, Any]:
    return {"kind": "status", "status": status, "body": body, "headers": headers}


def put(store: Store, tmp_path: Path) -> tuple[Any, ...]:
    return "a/b", "put-file", tmp_path / "in", "x", ""


def records(log: str) -> list[dict[str, str]]:
    """The fields of each record of a failed attempt."""
    found = []
    for line in log.splitlines():
        if 'msg="Attempt failed' in line:
            pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', line)
            found.append({name: value.strip('"') for name, value in pairs})
    return found


def test_an_outage_of_seconds(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    """With the pauses that everybody has."""
    store.env["EXECUTOR_RETRY_BACKOFF_DURATION"] = "1s"
    proxy.faults.add(action=refuse(500))
    healing = threading.Timer(2.5, proxy.faults.clear)
    healing.start()
    store.good(*put(store, tmp_path))
    healing.join()
    assert 4 <= len(proxy.requests()) <= 12
    assert proxy.requests()[-1]["time"] - proxy.requests()[0]["time"] >= 2


def test_each_failure_is_told(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.faults.add(count=6, action=refuse(500, document("InternalError", "Oh.")))
    result = store.good(*put(store, tmp_path))
    told = records(result.log)
    assert [record["attempt"] for record in told] == ["1", "2", "3", "4", "5", "6"]
    assert [record["level"] for record in told] == ["INFO", *["DEBUG"] * 4, "INFO"]
    first = told[0]
    assert (first["operation"], first["bucket"], first["key"]) == ("put object", BUCKET, "a/b")
    assert (first["class"], first["code"]) == ("transient", "InternalError")
    assert first["requestId"] == "5C1B"
    assert 0 <= int(first["pauseMs"]) <= 200
    assert "Oh. (InternalError, status 500, transient)" in first["error"]


def test_the_end_tells_all(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    proxy.faults.add(count=2, action=refuse(500))
    proxy.faults.add(count=1, action=refuse(503, document("SlowDown")))
    proxy.faults.add(action=refuse(403, document("AccessDenied", "No.")))
    error = store.bad(*put(store, tmp_path)).error
    counts = r"\(4 attempts in [0-9.]+m?s: 1 permanent, 2 transient, 1 throttled\)"
    assert re.search(counts, error), error
    assert len(proxy.requests()) == 4


@pytest.mark.parametrize("kind", ["s3", "oss"])
@pytest.mark.parametrize(
    "status, code",
    [(500, "InternalError"), (500, ""), (502, ""), (520, "Odd"), (599, ""), (408, ""), (499, "")],
)
def test_outages_are_alike(
    proxy: FaultProxy, tmp_path: Path, kind: str, status: int, code: str
) -> None:
    """What S3 tries again OSS does too: as often, with the same words."""
    store = store_of(kind, proxy, tmp_path)
    proxy.faults.add(count=3, action=refuse(status, document(code) if code else ""))
    proxy.faults.add(action=refuse(403, document("AccessDenied", "No.")))
    error = store.bad(*put(store, tmp_path)).error
    assert re.search(r"\(4 attempts in [0-9.]+m?s: 1 permanent, 3 transient\)", error), error


@pytest.mark.parametrize("name, value, least", [("Retry-After", "1", 1.0), ("x-ms-retry-after-ms", "600", 0.6)])
def test_the_servers_wish(
    store: Store, proxy: FaultProxy, tmp_path: Path, name: str, value: str, least: float
) -> None:
    proxy.faults.add(count=1, action=refuse(503, **{name: value}))
    store.good(*put(store, tmp_path))
    first, second = proxy.requests()
    assert second["time"] - first["time"] >= least


@pytest.mark.parametrize("steps, attempts", [("1", 2), ("2", 4)])
def test_few_rounds_outlast_an_outage(
    store: Store, proxy: FaultProxy, tmp_path: Path, steps: str, attempts: int
) -> None:
    """However few rounds they leave: an outage is not given up for a minute."""
    store.env |= {"EXECUTOR_RETRY_BACKOFF_STEPS": steps}
    proxy.faults.add(count=attempts, action=refuse(500))
    proxy.faults.add(action=refuse(404, document("NoSuchBucket", "None.")))
    result = store.bad(*put(store, tmp_path))
    assert len(proxy.requests()) == attempts + 1
    assert f"({attempts + 1} attempts in " in result.error


@pytest.mark.parametrize(
    "kind, pattern",
    [
        ("oss", '^oss: service returned error: StatusCode=400, ErrorCode=Odd, ErrorMessage="Full."'),
        ("s3", r"^Full\.$"),
        ("s3", r"put object my-bucket/a/b: Full\."),
    ],
)
def test_patterns_for_gos_words(proxy: FaultProxy, tmp_path: Path, kind: str, pattern: str) -> None:
    store = store_of(kind, proxy, tmp_path)
    proxy.faults.add(action=refuse(400, document("Odd", "Full.")), count=1)
    proxy.faults.add(action=refuse(403, document("AccessDenied", "No.")))
    assert "Full." in store.bad(*put(store, tmp_path)).error
    assert len(proxy.requests()) == 1
    proxy.clear()
    proxy.faults.add(action=refuse(400, document("Odd", "Full.")), count=1)
    proxy.faults.add(action=refuse(403, document("AccessDenied", "No.")))
    store.env["TRANSIENT_ERROR_PATTERN"] = pattern
    result = store.bad(*put(store, tmp_path))
    assert "No. (AccessDenied" in result.error and len(proxy.requests()) == 2
    assert records(result.log)[0]["class"] == "transient"


def test_a_connection_serves_again(store: Store, proxy: FaultProxy, tmp_path: Path) -> None:
    """Failures that leave the connection whole do not cost another one."""
    proxy.faults.add(count=4, action=refuse(500))
    store.good(*put(store, tmp_path))
    assert len({request["connection"] for request in proxy.requests()}) == 1


@pytest.mark.parametrize("kind", ["s3", "oss"])
@pytest.mark.parametrize("code", ["", "NoSuchKey", "NoSuchBucket"])
@pytest.mark.parametrize("operation", ["get", "put-file"])
def test_only_an_object_may_be_missing(
    proxy: FaultProxy, tmp_path: Path, operation: str, code: str, kind: str
) -> None:
    """And only where it is read: nothing else is a reason to skip an optional input."""
    proxy.faults.add(action=refuse(404, document(code) if code else ""))
    store = store_of(kind, proxy, tmp_path)
    arguments = ["in", "x", ""] if operation == "put-file" else ["out"]
    arguments[0] = tmp_path / arguments[0]
    error = store.bad("a/b", operation, *arguments).error
    is_missing = operation == "get" and code != "NoSuchBucket"
    assert error.startswith("not found: " if is_missing else "permanent: ")
    assert len(proxy.requests()) == 1
