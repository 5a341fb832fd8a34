"""A store answers 500 for 20 s, and for ever: tried for a minute, not too often, and then said."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from tests.servers.fault_proxy import FaultProxy
from tests.servers.oss import OssServer
from tests.store_driver import Store, make_file

BODY = "<Error><Code>InternalError</Code><Message>Oh.</Message></Error>"


def store_of(kind: str, oss: OssServer, endpoint: str, tmp_path: Path) -> Store:
    oss.create_bucket("my-bucket")
    folder = tmp_path / "secrets/cred"
    folder.mkdir(parents=True)
    (folder / "ak").write_text(oss.access_key)
    (folder / "sk").write_text(oss.secret_key)
    location = {
        "endpoint": endpoint,
        "bucket": "my-bucket",
        "accessKeySecret": {"name": "cred", "key": "ak"},
        "secretKeySecret": {"name": "cred", "key": "sk"},
    }
    if kind == "s3":
        location |= {"insecure": True, "region": "test-1"}
    make_file(tmp_path / "in", 10)
    store = Store(kind, tmp_path / "secrets", location)
    store.env = {"EXECUTOR_RETRY_BACKOFF_DURATION": "1s"}
    return store


@pytest.mark.parametrize("kind", ["s3", "oss"])
def test_for_ever(kind: str, tmp_path: Path) -> None:
    with OssServer() as oss, FaultProxy((oss.host, oss.port)) as proxy:
        proxy.faults.add(action={"kind": "status", "status": 500, "body": BODY})
        store = store_of(kind, oss, proxy.endpoint, tmp_path)
        result = store.bad("key", "put-file", tmp_path / "in", "x", "")
        assert "(InternalError, status 500, transient)" in result.error
        match = re.search(r"\((\d+) attempts in 1m\d+(\.\d+)?s: (\d+) transient\)", result.error)
        assert match and match[1] == match[3] and int(match[1]) <= 25, result.error
        assert len(proxy.requests()) == int(match[1])


def test_for_20_s(tmp_path: Path) -> None:
    with OssServer() as oss, FaultProxy((oss.host, oss.port)) as proxy:
        proxy.faults.add(action={"kind": "status", "status": 500, "body": BODY})
        healing = threading.Timer(20, proxy.faults.clear)
        healing.start()
        store_of("oss", oss, proxy.endpoint, tmp_path).good("key", "put-file", tmp_path / "in", "x", "")
        healing.join()
        assert len(proxy.requests()) <= 15
        assert proxy.requests()[-1]["time"] - proxy.requests()[0]["time"] <= 20 + 12 + 5
