"""Outputs of the container's own files and of a volume, on whatever file system the node has: whoever
`wait` is, the same bytes are stored."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.scenario import DROP, Step, artifact, assert_ok, location, mount, secure, untgz

WAITS: dict[str, dict[str, Any]] = {
    "root": {},
    "8737": {"runAsUser": 8737},
    "no capabilities": {"capabilities": DROP},
}
# The same in both places: files with several names, with a hole, empty.
TREE = """
    for d in /tmp/d /v/d; do
        mkdir -p $d/many $d/empty; cd $d
        printf content >one; ln one many/two; ln -s one link; : >nothing; chmod 755 one
        printf start >holes; truncate -s 3000000 holes; printf end >>holes
        for i in $(seq 3); do echo $i >many/$i; done
        chmod -R go+rX .; find . -exec touch -h -d @1700000000 {} +
    done
"""
FORMS: dict[str, dict[str, Any]] = {"t": {}, "z": {"archive": {"zip": {}}}, "n": {"archive": {"none": {}}}}
PLACES = {"own": "/tmp/d", "volume": "/v/d"}

# What was stored first: digest of each object.
first: dict[str, str] = {}


def command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


def tmpfs(path: Path) -> None:
    command("mount", "-t", "tmpfs", "tmpfs", str(path))


def overlay(path: Path) -> None:
    """Whose upper layer lies on a tmpfs."""
    tmpfs(path)
    layers = [path / name for name in ("lower", "upper", "work")]
    for layer in layers:
        layer.mkdir()
    options = ",".join(f"{layer.name}dir={layer}" for layer in layers)
    command("mount", "-t", "overlay", "-o", options, "overlay", str(path))


# What mount says where the kernel has no such thing.
UNAVAILABLE = ("unknown filesystem type", "failed to setup loop device")


def on_loop(kind: str, size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        if not shutil.which(f"mkfs.{kind}"):
            pytest.skip(f"there is no mkfs.{kind}")
        image = path.with_suffix(".image")
        with open(image, "wb") as file:
            file.truncate(size)
        command(f"mkfs.{kind}", "-q", str(image))
        words = ["mount", "-t", kind, "-o", "loop", str(image), str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if any(text in done.stderr for text in UNAVAILABLE):
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr

    return make


SYSTEMS: dict[str, Callable[[Path], None]] = {
    "tmpfs": tmpfs,
    "overlay": overlay,
    "ext4": on_loop("ext4", 128 << 20),
    "xfs": on_loop("xfs", 320 << 20),
}


@pytest.fixture(params=SYSTEMS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    try:
        SYSTEMS[request.param](path)
        yield path
    finally:
        while path.is_mount():
            command("umount", str(path))


def outputs(lab: Lab, prefix: str) -> list[dict[str, Any]]:
    return [
        artifact(f"{place}-{name}", path, location(lab, f"{prefix}/{place}/{name}"), **form)
        for place, path in PLACES.items()
        for name, form in FORMS.items()
    ]


def test_the_same_bytes(lab: Lab, disk: Path) -> None:
    for number, (name, context) in enumerate(WAITS.items()):
        prefix = f"{disk.parent.name}/{number}"
        step = Step(lab, TREE, artifacts=outputs(lab, prefix), mounts=[mount("v", "/v")])
        secure(step, "wait", **context)
        run = step.run(work_dir=str(disk / f"pod{number}"))
        assert_ok(run)
        assert "Left an output to its wrapper" not in run.result.containers["wait"].log
        stored = {
            key.removeprefix(f"{prefix}/"): lab.get(key) for key in lab.objects(f"{prefix}/")
        }
        check_content(stored)
        for key, data in stored.items():
            relative = key.partition("/")[2]
            digest = hashlib.sha256(data).hexdigest()
            assert first.setdefault(relative, digest) == digest, (name, key)


def check_content(stored: dict[str, bytes]) -> None:
    plain = [f"n/{name}" for name in ("one", "many/two", "nothing", "holes")]
    plain += [f"n/many/{i}" for i in range(1, 4)]
    assert set(stored) == {f"{place}/{key}" for place in PLACES for key in ("t", "z", *plain)}
    for place in PLACES:
        members = untgz(stored[f"{place}/t"])
        assert len(members) == 11
        assert members["d/link"] == "one" and members["d/many/two"] == b"content"
        assert members["d/holes"] == b"start" + bytes(2999995) + b"end"
        assert stored[f"{place}/n/holes"] == members["d/holes"]
