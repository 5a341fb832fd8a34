"""Disks that become full at one place after the other, from the first byte that is written to the last: each
time all is there and whole, or one error names the artifact, and nothing half-written stays."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_emissary_outputs import OUTPUTS, WORK, declare, left_over, members, put
from tests.integration.test_emissary_outputs import artifact as output
from tests.pod.sandbox import linux
from tests.room import (
    ARGOEXEC,
    TERMINATION_LOG,
    VRA,
    container_file,
    environment,
    exit_code,
    in_room,
    run,
    write_template,
)
from tests.scenario import artifact, raw, tgz
from tests.servers.scripted import Scripted, answer

INPUTS = Path("/argo/inputs/artifacts")
PAGE = 4096
RANDOM = random.Random(1)
TREE: dict[str, bytes | str | None] = {
    "t": None,
    "t/first": RANDOM.randbytes(9000),
    "t/d": None,
    "t/d/second": RANDOM.randbytes(5000),
    "t/link": "first",
    "t/last": b"x",
}
FILE = RANDOM.randbytes(30000)


def disks(path: Path, pages: range, inodes: range = range(0)) -> Iterator[str]:
    """Empty file systems at PATH, each with more room than the one before: in bytes, then in files."""
    sizes = [f"size={n * PAGE}" for n in pages] + [f"nr_inodes={n},size=1m" for n in inodes]
    for size in sizes:
        linux.mount("tmpfs", str(path), "tmpfs", 0, f"mode=777,{size}")
        yield size
        linux.umount(str(path))


def expect_both(failures: dict[str, bool]) -> None:
    """In bytes and in files the smallest disk was too small, and the largest was not."""
    for limit in ("size", "nr_inodes"):
        results = [is_bad for disk, is_bad in failures.items() if disk.startswith(limit)]
        assert not results or (results[0] and not results[-1]), failures
    assert failures


# --- inputs ---------------------------------------------------------------------------------------


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in TREE.items():
            info = zipfile.ZipInfo(name if content is not None else name + "/")
            if isinstance(content, str):
                info.external_attr = 0o120777 << 16
            archive.writestr(info, content or b"")
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    """One frame of one block as it is (RFC 8878, 3.1.1)."""
    assert len(data) < 1 << 17
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data)) + block + data


FORMS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "raw": (b"", {}),
    "plain": (FILE, {"archive": {"none": {}}}),
    "tar": (tgz(TREE, ""), {"archive": {"tar": {}}}),
    "tar.gz": (tgz(TREE), {}),
    "tar.zst": (zstd(tgz(TREE, "")), {}),
    "zip": (zipped(), {"archive": {"zip": {}}}),
}


def load(place: dict[str, Any], **fields: Any) -> subprocess.CompletedProcess[bytes]:
    inputs = [artifact("a", "/in/a", place, **fields)]
    template = {"name": "t", "container": {}, "inputs": {"artifacts": inputs}}
    env = environment("init", ARGO_POD_NAME="pod", ARGO_TEMPLATE=json.dumps(template))
    TERMINATION_LOG.write_text("")
    return subprocess.run([ARGOEXEC, "init"], env=env, capture_output=True, timeout=30)


def assert_tree(top: Path) -> None:
    names = {name.removeprefix("t/"): content for name, content in TREE.items() if name != "t"}
    assert {str(path.relative_to(top)) for path in top.rglob("*")} == set(names)
    for name, content in names.items():
        if isinstance(content, bytes):
            assert (top / name).read_bytes() == content
        elif isinstance(content, str):
            assert os.readlink(top / name) == content


@pytest.mark.parametrize("form", FORMS)
@in_room
def test_an_input_is_loaded_or_is_not(form: str) -> None:
    data, fields = FORMS[form]
    INPUTS.mkdir(parents=True)
    failures = {}
    with Scripted([answer(data, etag='"1"')]) as server:
        place = raw(FILE.hex()) if form == "raw" else {"http": {"url": f"{server.url}/some/key"}}
        is_tree = form not in ("raw", "plain")
        for disk in disks(INPUTS, range(1, 18), range(1, 12 if is_tree else 5)):
            result = load(place, **fields)
            failures[disk] = result.returncode != 0
            if result.returncode == 0:
                assert os.listdir(INPUTS) == ["a"], disk
                if is_tree:
                    assert_tree(INPUTS / "a")
                else:
                    whole = FILE.hex().encode() if form == "raw" else FILE
                    assert (INPUTS / "a").read_bytes() == whole
                continue
            assert result.returncode == 64, disk
            message = TERMINATION_LOG.read_text()
            assert message.startswith("artifact a failed to load"), (disk, message)
            assert "no space left on device" in message, (disk, message)
            told = "(raw, permanent)" if form == "raw" else "(http object some/key, permanent)"
            assert message.endswith(told), (disk, message)
            assert os.listdir(INPUTS) == [], disk
    expect_both(failures)


# --- what wrappers write --------------------------------------------------------------------------


@in_room
def test_an_output_is_packed_or_is_not() -> None:
    """Whatever the disk, the command's own status is told; of its outputs the error or all."""
    content = RANDOM.randbytes(40000)
    failures = {}
    for disk in disks(VRA, range(5, 20), range(10, 16)):
        TERMINATION_LOG.write_text("")
        large, small = put("large", content), put("small")
        declare(output(large, "large"), output(small, "small"))
        result = run("sh", "-c", "exit 6")
        message = TERMINATION_LOG.read_text()
        failures[disk] = bool(message)
        assert (result.returncode, exit_code()) == (6, "6"), (disk, result.stderr)
        expected = {"large.tgz": {"large": ("file", content)}, "small.tgz": {"small": ("file", b"content")}}
        names = {Path(name).name for name in left_over()} if OUTPUTS.exists() else set()
        assert names <= set(expected), disk
        for name in names:
            assert members(str(WORK / name.removesuffix(".tgz"))) == expected[name], disk
        if not message:
            assert names == set(expected), disk
            continue
        missing = [name.removesuffix(".tgz") for name in expected if name not in names]
        assert missing and f"output artifact {missing[0]}" in message, (disk, message)
        assert "no space left on device" in message, (disk, message)
    expect_both(failures)


@in_room
def test_an_exit_code_has_its_room_or_it_is_said_before() -> None:
    """Put aside before the command runs, it is there however much the command writes."""
    failures = {}
    for disk in disks(VRA, range(1, 10), range(2, 10)):
        write_template()
        fill = "dd if=/dev/zero of=/var/run/argo/fill bs=4k 2>/dev/null; exit 6"
        result = run("sh", "-c", fill)
        is_refused = b"Error: mkdir /var/run/argo/ctr" in result.stderr
        failures[disk] = is_refused or b"No room for the exit code" in result.stderr
        if is_refused:
            assert (result.returncode, exit_code()) == (64, None), (disk, result.stderr)
            assert b"no space left on device" in result.stderr, disk
        elif failures[disk]:
            assert exit_code() is None and b"Failed to write exit code" in result.stderr, disk
        else:
            assert (result.returncode, exit_code()) == (6, "6"), (disk, result.stderr)
    expect_both(failures)


@in_room
def test_captured_output_is_whole_or_said_to_be_cut() -> None:
    text = RANDOM.randbytes(40000).hex()
    Path("/tmp/text").write_text(text)
    failures = {}
    for disk in disks(VRA, range(5, 60, 3)):
        write_template(archiveLocation={"archiveLogs": True})
        result = run("sh", "-c", "cat /tmp/text; exit 3", env={"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"})
        assert (result.returncode, exit_code()) == (3, "3"), (disk, result.stderr)
        assert result.stdout.decode() == text
        kept = [container_file(name).read_text() for name in ("stdout", "combined")]
        failures[disk] = kept != [text, text]
        assert all(text.startswith(part) for part in kept), disk
        assert failures[disk] == (b"The copy of the output is incomplete" in result.stderr), disk
    expect_both(failures)
