"""A user's process that swaps directories of a volume that several pods use with links out of it, as fast
as it can, while inputs are put there and outputs are read from there.

    play(lab, directory, "loading")
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

from tests.lab import BUCKET, Lab
from tests.scenario import Step, artifact, describe, mount, tgz

AT_FDCWD, RENAME_EXCHANGE = -100, 2
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
WAYS = ("loading", "saving")
TREE = {"t": None, "t/d": None, **{f"t/d/{i}": MARK for i in range(50)}, **{f"t/{i}": MARK for i in range(50)}}


class Swapper:
    def __init__(self, volume: Path, pairs: dict[str, str]):
        self.volume, self.pairs = volume, pairs
        self.swaps = multiprocessing.Value("q", 0)
        self.process = multiprocessing.get_context("fork").Process(target=self.run, daemon=True)

    def run(self) -> None:
        libc = ctypes.CDLL(None)
        names = []
        for number, (name, target) in enumerate(self.pairs.items()):
            link = self.volume / f".link{number}"
            os.symlink(target, link)
            names.append((str(self.volume / name).encode(), str(link).encode()))
        while True:
            done = sum(libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0 for a, b in names)
            self.swaps.value += done


@contextlib.contextmanager
def swapping(volume: Path, pairs: dict[str, str] = PAIRS) -> Iterator[Swapper]:
    swapper = Swapper(volume, pairs)
    swapper.process.start()
    try:
        yield swapper
    finally:
        swapper.process.kill()
        swapper.process.join()


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


def make_claims(claims: Path) -> None:
    other, work = claims / "other", claims / "work"
    (other / "d").mkdir(parents=True)
    (other / "secret").write_bytes(SECRET)
    (other / "d/f").write_bytes(SECRET)
    for name in ("in", "deep/x", "out/d"):
        (work / name).mkdir(parents=True)
    for name in ("out/a", "out/d/f", "out/d/g"):
        (work / name).write_bytes(b"output")


def make_step(lab: Lab, way: str) -> Step:
    lab.s3.client().put(BUCKET, "swapped/tree.tgz", tgz(TREE))
    lab.s3.client().put(BUCKET, "swapped/file", MARK)
    step = Step(
        lab,
        "true",
        inputs=[
            artifact("tree", "/work/in/tree", "swapped/tree.tgz"),
            artifact("file", "/work/in/file", "swapped/file", archive={"none": {}}, mode=0o600),
            artifact("deep", "/work/deep/x/y/tree", "swapped/tree.tgz"),
        ],
        artifacts=[artifact("out", "/work/out"), artifact("d", "/work/out/d", archive={"none": {}})],
        mounts=[mount("work", "/work"), mount("other", "/other")],
    )
    for name in ("work", "other"):
        step.volume(name)["persistentVolumeClaim"] = {"claimName": name}
        del step.volume(name)["emptyDir"]
    if way == "loading":
        return step.only_init()
    step.template["inputs"]["artifacts"].clear()
    step.set_artifacts()
    return step


def play(lab: Lab, directory: Path, way: str) -> int:
    """One pod that only loads, or only saves, while it swaps: how many swaps there were."""
    claims = {name: str(directory / "claims" / name) for name in ("work", "other")}
    make_claims(directory / "claims")
    step = make_step(lab, way)
    before = state(Path(claims["other"]))
    with swapping(Path(claims["work"])) as swapper:
        run = step.run(volumes_dir=str(directory / "volumes"), claims=claims)
    assert all(container.exit_code is not None for container in run.result.containers.values()), describe(run)
    assert state(Path(claims["other"])) == before, describe(run)
    assert marked(directory / "volumes") == [], describe(run)
    for key in lab.objects(step.prefix):
        assert SECRET not in read(lab.get(key)), key
    return swapper.swaps.value


def read(data: bytes) -> bytes:
    """What an object holds, unpacked if it is an archive."""
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
