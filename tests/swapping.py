"""A user's process that swaps directories of a volume that several pods use with links out of it, as fast
as it can, while inputs are put there and outputs are read from there.

    play(lab, directory, "a file", World("off"))
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import io
import multiprocessing
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import BUCKET, Lab
from tests.pod.model import has_landlock
from tests.scenario import Json, Step, artifact, describe, mount, tgz

AT_FDCWD, RENAME_EXCHANGE = -100, 2
START_SECONDS = 60
SECRET = b"lies in another volume"
MARK = b"of the archive"
# What is swapped, and where the link that takes its place leads: seen from the executor, whose volumes
# of the user's container lie below /mainctrfs.
PAIRS = {
    "in": "/mainctrfs/other",
    "deep/x": "../../other",
    "in/tree": "../../other",
    "in/tree.tmpdir": "/mainctrfs/other",
    "in/tree/d": "../../../other",
    "in/.argo-file.tmp": "../../other/secret",
    "in/.argo-tree.tmp": "/mainctrfs/other",
    "in/.argo-tree.tmp/d": "../../../other",
    "out": "/mainctrfs/other",
    "out/d": "../../other",
    "out/d/f": "/mainctrfs/other/secret",
}


@dataclass(frozen=True)
class World:
    """What the executor's containers run in."""

    confinement: str
    profile: str = ""  # of seccomp, of those of the pod runner

    def __str__(self) -> str:
        return f"{self.confinement} {self.profile}".rstrip()


# Neither loading nor saving may need Landlock, or hide behind it.
OPEN, UNAIDED = World("off"), World("off", "no-openat2")
WORLDS = (OPEN, UNAIDED, *([World("auto")] if has_landlock() else []))
# What is loaded; saving is the other way.
LOADS = ("a file", "a prefix", "a tar", "a zip", "all at once")
WAYS = (*LOADS, "saving")
TREE = {"t": None, "t/d": None, **{f"t/d/{i}": MARK for i in range(50)}, **{f"t/{i}": MARK for i in range(50)}}


# The tests' servers are threads, so that a fork of this process may find a lock taken for ever.
SPAWN = multiprocessing.get_context("spawn")


def swap(volume: str, started: Any, swaps: Any) -> None:
    """For ever: both names of each pair change places."""
    libc = ctypes.CDLL(None)
    names = []
    for number, (name, target) in enumerate(PAIRS.items()):
        link = f"{volume}/.link{number}"
        os.symlink(target, link)
        names.append((f"{volume}/{name}".encode(), link.encode()))
    started.set()
    while True:
        swaps.value += sum(libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 for a, b in names)


@contextlib.contextmanager
def swapping(volume: str) -> Iterator[Any]:
    """Gives the number of swaps, as it grows; without a lock, which could be taken for ever by who is killed."""
    started, swaps = SPAWN.Event(), SPAWN.RawValue("q", 0)
    process = SPAWN.Process(target=swap, args=(volume, started, swaps), daemon=True)
    process.start()
    try:
        assert started.wait(START_SECONDS)
        yield swaps
    finally:
        process.kill()
        process.join()


def state(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Of everything there: any change to it changes the time of its last change."""
    found = {}
    for path in [directory, *directory.rglob("*")]:
        status = path.lstat()
        found[str(path.relative_to(directory))] = (status.st_mode, status.st_size, status.st_ctime_ns)
    return found


def marked(directory: Path) -> list[str]:
    """Files in which the content of inputs has come to lie."""
    return [
        str(path)
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20 and MARK in path.read_bytes()
    ]


def make_claims(directory: Path) -> dict[str, str]:
    """The volumes; they lie side by side in the pod alone, so that the swapper does not go through its own links."""
    other, work = directory / "other", directory / "away/work"
    (other / "d").mkdir(parents=True)
    (other / "secret").write_bytes(SECRET)
    (other / "d/f").write_bytes(SECRET)
    for name in ("in", "deep/x", "out/d"):
        (work / name).mkdir(parents=True)
    for name in ("out/a", "out/d/f", "out/d/g"):
        (work / name).write_bytes(b"output")
    return {"other": str(other), "work": str(work)}


def zipped(members: dict[str, bytes | None]) -> bytes:
    """An archive: None is a directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name if content else f"{name}/", content or b"")
    return out.getvalue()


def inputs_of(way: str) -> list[Json]:
    """Each sets permissions too, of all that it has brought."""
    kept: Json = {"archive": {"none": {}}, "mode": 0o755, "recurseMode": True}
    zip_: Json = {**kept, "archive": {"zip": {}}}
    tar: Json = {**kept, "archive": {"tar": {}}}
    chosen = {
        "a file": [artifact("file", "/data/in/file", "swapped/file", **kept)],
        "a prefix": [artifact("tree", "/data/in/tree", "swapped/prefix", **kept)],
        "a tar": [artifact("tree", "/data/in/tree", "swapped/tree.tgz", **tar)],
        "a zip": [artifact("tree", "/data/in/tree", "swapped/tree.zip", **zip_)],
        "all at once": [
            artifact("tree", "/data/in/tree", "swapped/tree.tgz"),
            artifact("file", "/data/in/file", "swapped/file", archive={"none": {}}, mode=0o600),
            artifact("deep", "/data/deep/x/y/tree", "swapped/tree.tgz"),
        ],
    }
    return chosen.get(way, [])


def make_step(lab: Lab, way: str) -> Step:
    client = lab.s3.client()
    if not lab.objects("swapped/"):
        client.put(BUCKET, "swapped/tree.tgz", tgz(TREE))
        client.put(BUCKET, "swapped/tree.zip", zipped(TREE))
        client.put(BUCKET, "swapped/file", MARK)
        for name, content in TREE.items():
            if content:
                client.put(BUCKET, f"swapped/prefix/{name.removeprefix('t/')}", content)
    step = Step(
        lab,
        "true",
        inputs=inputs_of(way),
        artifacts=[artifact("out", "/data/out"), artifact("d", "/data/out/d", archive={"none": {}})],
        mounts=[mount("work", "/data"), mount("other", "/other")],
    )
    for name in ("work", "other"):
        step.volume(name)["persistentVolumeClaim"] = {"claimName": name}
        del step.volume(name)["emptyDir"]
    return step


def play(lab: Lab, directory: Path, way: str, world: World) -> int:
    """One pod that only loads, or only saves, while it swaps: how many swaps there were."""
    claims = make_claims(directory / "claims")
    step = make_step(lab, way)
    for container in ("init", "wait"):
        step.set_env(container, "ARGOEXEC_CONFINEMENT", world.confinement)
        if world.profile:
            profile = {"type": "Localhost", "localhostProfile": world.profile}
            step.container(container).setdefault("securityContext", {})["seccompProfile"] = profile
    if way in LOADS:
        step.only_init()
    before = state(Path(claims["other"]))
    with swapping(claims["work"]) as swaps:
        run = step.run(volumes_dir=str(directory / "volumes"), claims=claims)
    assert all(container.exit_code is not None for container in run.result.containers.values()), describe(run)
    assert state(Path(claims["other"])) == before, describe(run)
    assert marked(directory / "volumes") == [], describe(run)
    for key in lab.objects(step.prefix):
        assert SECRET not in read(lab.get(key)), key
    return swaps.value


def read(data: bytes) -> bytes:
    """What an object holds, unpacked if it is an archive."""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
