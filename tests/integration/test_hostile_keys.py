"""Keys that nobody should choose, and some do: of objects that are saved and loaded, and in the lists of servers.
Each is stored and fetched as exactly that key, becomes a file of that name, or is one clear error."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from tests.integration import test_oss_store, test_transfer_faults
from tests.integration.test_full_disks import INPUTS
from tests.room import ARGOEXEC, TERMINATION_LOG, environment, in_room
from tests.scenario import artifact
from tests.servers.oss import OssServer
from tests.servers.scripted import Scripted, answer
from tests.servers.swift import SwiftServer
from tests.store_driver import Store

BUCKET = "my-bucket"
swift, running, oss = test_transfer_faults.swift, test_oss_store.running, test_oss_store.oss

# --- of artifacts ---------------------------------------------------------------------------------

KEYS = {
    "dots": "a/../b",
    "dots-first": "../b",
    "dot": "a/./b",
    "slashes": "a//b",
    "newline": "a\nb",
    "blanks": " a\tb ",
    "signs": "a%2F?b#c&d=e;f+g\\h'\"<i>",
    "composed": "gr\u00fc\u00df-u\u0308-\U0001f600",
    "1024-bytes": "k" * 1024,
    "1024-bytes-of-others": "\u20ac" * 341 + "k",
}
REFUSED: dict[str, tuple[Any, str]] = {
    "1025-bytes": ("k" * 1025, "key: longer than 1024 bytes"),
    "zero": ("a\0b", "key: contains a zero byte"),
    "empty": ("", "key: is required"),
    "number": (5, "key: expected a string, found"),
}


@pytest.fixture
def s3_store(swift: SwiftServer, tmp_path: Path) -> Store:
    place = test_transfer_faults.store_for(
        tmp_path / "s3", f"{swift.host}:{swift.port}", swift.access_key, swift.secret_key
    )
    place.location["region"] = "test-1"
    return place


@pytest.fixture
def oss_store(oss: OssServer, tmp_path: Path) -> Store:
    return test_oss_store.store_for(tmp_path / "oss", oss)


def round_trip(store: Store, directory: Path, key: str) -> None:
    (directory / "in").write_bytes(b"content")
    store.good(key, "put-file", directory / "in", "x", "")
    store.good(key, "get", directory / "out")
    assert (directory / "out").read_bytes() == b"content"


@pytest.mark.parametrize("name", KEYS)
def test_key_of_s3(s3_store: Store, swift: SwiftServer, tmp_path: Path, name: str) -> None:
    round_trip(s3_store, tmp_path, KEYS[name])
    assert swift.client().get(BUCKET, KEYS[name]) == b"content"


@pytest.mark.parametrize("name", KEYS)
def test_key_of_oss(oss_store: Store, oss: OssServer, tmp_path: Path, name: str) -> None:
    round_trip(oss_store, tmp_path, KEYS[name])
    assert list(oss.objects(BUCKET)) == [KEYS[name]]
    # Of removal there is no way back: what a store might read as more than this key is refused.
    if name.startswith("dot"):
        assert "may mean the whole bucket" in oss_store.bad(KEYS[name], "remove", "").error
        return
    oss_store.good(KEYS[name], "remove", "")
    assert not oss.objects(BUCKET)


def test_half_of_a_pair(oss_store: Store, oss: OssServer, tmp_path: Path) -> None:
    """Becomes what Go's encoding/json makes of it."""
    round_trip(oss_store, tmp_path, "a\ud800b")
    assert list(oss.objects(BUCKET)) == ["a\ufffdb"]


@pytest.mark.parametrize("name", REFUSED)
def test_key_that_is_refused(s3_store: Store, oss_store: Store, tmp_path: Path, name: str) -> None:
    key, text = REFUSED[name]
    (tmp_path / "in").write_bytes(b"content")
    for error in (
        s3_store.bad(key, "put-file", tmp_path / "in", "x", "").error,
        oss_store.bad(key, "get", tmp_path / "out").error,
    ):
        assert error.startswith("permanent: ") and text in error and len(error) < 300


# --- in the lists of servers ----------------------------------------------------------------------

# Keys as they stand in the list, and the files that come of them, or the error.
LISTS: dict[str, tuple[list[str], set[bytes] | str]] = {
    "newline": (["k/a%0Ab"], {b"a\nb"}),
    "not-utf-8": (["k/%FF", "k/%C0%AF"], {b"\xff", b"\xc0\xaf"}),
    "surrogate": (["k/%ED%A0%80"], {b"\xed\xa0\x80"}),
    "escape-sequence": (["k/%1B%5B31m"], {b"\x1b[31m"}),
    "backslash": (["k/..%5C..%5Cx"], {b"..\\..\\x"}),
    "case": (["k/a", "k/A"], {b"a", b"A"}),
    "dot-inside": (["k/a/./b"], {b"a", b"a/b"}),
    "markers": (["k/", "k/e/", "k/e/f"], {b"e", b"e/f"}),
    "255-bytes": (["k/" + "n" * 255], {b"n" * 255}),
    "1024-bytes": (["k/" + "/".join(["d" * 200] * 5)], {b"/".join([b"d" * 200] * n) for n in range(1, 6)}),
    "zero": (["k/a%00b"], "a"),
    "dots": (["k/../../x"], "illegal object key 'k/../../x'"),
    "dots-encoded": (["k/%2E%2E/x"], "illegal object key 'k/../x'"),
    "slash-encoded": (["k/%2Fetc/x"], "illegal object key 'k//etc/x'"),
    "slashes": (["k/a//b"], "illegal object key 'k/a//b'"),
    "empty": ([""], "illegal object key ''"),
    "not-below": (["kk/a"], "illegal object key 'kk/a'"),
    "256-bytes": (["k/" + "n" * 256], "file name too long"),
    "5000-bytes": (["k/" + "/".join(["d" * 200] * 25)], "the path is too long"),
    "file-and-directory": (["k/a", "k/a/b"], "/a: "),
}


def lister(kind: str, keys: list[str]) -> Any:
    """No object of that name; the keys are below it, each with its own name as content."""

    def reply(lines: list[str], _peer: socket.socket) -> bytes:
        path, _, query = lines[0].split()[1].partition("?")
        if "prefix=" in query:
            items = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
            page = f"<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{items}"
            return answer(f"<ListBucketResult>{page}</ListBucketResult>".encode(), content_type="application/xml")
        if "/k/" in path:
            return answer(unquote_to_bytes(path.partition("/k/")[2]), etag='"e"')
        document = b"<Error><Code>NoSuchKey</Code><Message>It is not there.</Message></Error>"
        return answer(document, "404 Not Found", content_type="application/xml")

    return reply


def below(directory: bytes) -> set[bytes]:
    return {
        os.path.relpath(os.path.join(top, name), directory)
        for top, directories, files in os.walk(directory)
        for name in directories + files
    }


def place_at(kind: str, server: Scripted) -> dict[str, Any]:
    folder = Path("/argo/secret/cred")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "s"):
        (folder / name).write_text("key")
    keys = {"accessKeySecret": {"name": "cred", "key": "a"}, "secretKeySecret": {"name": "cred", "key": "s"}}
    more = {"region": "us-east-1", "insecure": True} if kind == "s3" else {}
    scheme = "" if kind == "s3" else "http://"
    endpoint = f"{scheme}127.0.0.1:{server.port}"
    return {kind: {"endpoint": endpoint, "bucket": "bucket", "key": "k", **keys, **more}}


def load(place: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    inputs = [artifact("a", "/in/a", place, archive={"none": {}})]
    template = {"name": "t", "container": {}, "inputs": {"artifacts": inputs}}
    text = json.dumps(template, ensure_ascii=False)
    env = environment("init", ARGO_POD_NAME="pod", ARGO_TEMPLATE=text)
    return subprocess.run([ARGOEXEC, "init"], env=env, capture_output=True, timeout=30)


@pytest.mark.parametrize("kind", ["s3", "oss"])
@pytest.mark.parametrize("name", LISTS)
@in_room
def test_list(kind: str, name: str) -> None:
    keys, expected = LISTS[name]
    INPUTS.mkdir(parents=True)
    with Scripted([lister(kind, keys)]) as server:
        result = load(place_at(kind, server))
    if isinstance(expected, str):
        message = TERMINATION_LOG.read_text()
        assert result.returncode == 64, result.stderr
        assert message.startswith("artifact a failed to load") and expected in message, message
        assert len(message) < 4096 and "\n" not in message
        assert os.listdir(INPUTS) == []
        assert not list(Path("/").glob("x")) and not list(Path("/argo").rglob("x"))
    else:
        assert result.returncode == 0, result.stderr
        assert os.listdir(INPUTS) == ["a"]
        assert below(os.fsencode(INPUTS / "a")) == expected


@pytest.mark.parametrize("key", ["a\udcffb", "a\udced\udca0\udc80b"], ids=["not-utf-8", "surrogate"])
@in_room
def test_template_that_is_no_utf_8(key: str) -> None:
    """Raw bytes, as no API server would let them pass."""
    INPUTS.mkdir(parents=True)
    result = load({"s3": {"endpoint": "h", "bucket": "bucket", "key": key}})
    assert result.returncode == 2
    assert "invalid utf-8" in TERMINATION_LOG.read_text(), TERMINATION_LOG.read_text()
    assert os.listdir(INPUTS) == []
