"""A user's process that swaps directories of a volume that several pods use with links out of it, as fast
as it can, while inputs are put there and outputs are read from there.

    play(lab, directory, "loading", "auto")
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab import BUCKET, Lab
from tests.pod.model import has_landlock
from tests.scenario import Step, artifact, describe, mount, tgz

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
    "out": "/mainctrfs/other",
    "out/d": "../../other",
    "out/d/f": "/mainctrfs/other/secret",
}
# How, and with which confinement. Saving looks at each name of the way by itself; it needs no Landlock, and
# must not hide behind it. Loading needs it: docs/security.md.
WAYS = {"saving": ("auto", "off"), **({"loading": ("auto",)} if has_landlock() else {})}
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
    """Gives the number of swaps, as it grows."""
    started, swaps = SPAWN.Event(), SPAWN.Value("q", 0)
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


def make_step(lab: Lab, way: str) -> Step:
    lab.s3.client().put(BUCKET, "swapped/tree.tgz", tgz(TREE))
    lab.s3.client().put(BUCKET, "swapped/file", MARK)
    step = Step(
        lab,
        "true",
        inputs=[
            artifact("tree", "/data/in/tree", "swapped/tree.tgz"),
            artifact("file", "/data/in/file", "swapped/file", archive={"none": {}}, mode=0o600),
            artifact("deep", "/data/deep/x/y/tree", "swapped/tree.tgz"),
        ],
        artifacts=[artifact("out", "/data/out"), artifact("d", "/data/out/d", archive={"none": {}})],
        mounts=[mount("work", "/data"), mount("other", "/other")],
    )
    for name in ("work", "other"):
        step.volume(name)["persistentVolumeClaim"] = {"claimName": name}
        del step.volume(name)["emptyDir"]
    if way == "loading":
        return step
    step.template["inputs"]["artifacts"].clear()
    step.set_artifacts()
    return step


def play(lab: Lab, directory: Path, way: str, confinement: str) -> int:
    """One pod that only loads, or only saves, while it swaps: how many swaps there were."""
    claims = make_claims(directory / "claims")
    step = make_step(lab, way)
    for container in ("init",) if way == "loading" else ("init", "wait"):
        step.set_env(container, "ARGOEXEC_CONFINEMENT", confinement)
    if way == "loading":
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
