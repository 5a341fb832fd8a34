"""OSS answers InternalError for ever: tried for a minute like any other outage, and then said."""

from __future__ import annotations

import re
from pathlib import Path

from tests.servers.oss import OssServer
from tests.store_driver import Store, make_file


def test_internal_error_for_ever(tmp_path: Path) -> None:
    with OssServer() as oss:
        oss.create_bucket("my-bucket")
        oss.faults.add(action={"kind": "error", "status": 500, "code": "InternalError"})
        folder = tmp_path / "secrets/cred"
        folder.mkdir(parents=True)
        (folder / "ak").write_text(oss.access_key)
        (folder / "sk").write_text(oss.secret_key)
        location = {
            "endpoint": oss.endpoint,
            "bucket": "my-bucket",
            "accessKeySecret": {"name": "cred", "key": "ak"},
            "secretKeySecret": {"name": "cred", "key": "sk"},
        }
        store = Store("oss", tmp_path / "secrets", location)
        store.env = {"EXECUTOR_RETRY_BACKOFF_DURATION": "1s"}
        make_file(tmp_path / "in", 10)
        result = store.bad("key", "put-file", tmp_path / "in", "x", "")
        assert "(InternalError, status 500, transient); request id" in result.error
        match = re.search(r"\((\d+) attempts in 1m\d+(\.\d+)?s: (\d+) transient\)", result.error)
        assert match and int(match[1]) <= 40, result.error
        assert len(oss.requests()) == int(match[1])
