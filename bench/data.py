"""What the artifact rows move: made once, kept below build/bench-data, the same everywhere."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import GIB, KIB, MIB
from tests.lab import ROOT

CACHE = ROOT / "build/bench-data"
QUICK = bool(os.environ.get("QUICK"))
# Quick mode is for trying: everything a sixteenth.
SCALE = 16 if QUICK else 1
LARGE = GIB // SCALE
FILES = 10_000 // SCALE
PIECES = 100 // SCALE
FILES_A_DIRECTORY = 100
_CSV_BLOCKS = 32
_WORDS = "north south east west red green blue open closed pending shipped".split()
_PACK_LEVEL = 6


def _csv(source: random.Random) -> bytes:
    lines, size, number = [], 0, source.randrange(1 << 24)
    while size < MIB:
        number += 1
        words = ",".join(source.choices(_WORDS, k=3))
        line = f"{number},{source.random() * 1000:.3f},{words},{source.randrange(1 << 16)}\n"
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()[:MIB]


def _mixed(size: int) -> Iterator[bytes]:
    """MiB by MiB: bytes that cannot be compressed, and text that can."""
    source = random.Random(1)
    text = [_csv(source) for _ in range(min(_CSV_BLOCKS, size // MIB))]
    for number in range(size // MIB):
        yield text[number // 2 % len(text)] if number % 2 else source.randbytes(MIB)


def _made(path: Path) -> Path:
    """A name to write to, that becomes the path by a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.{os.getpid()}")


def mixed() -> Path:
    """One file of LARGE bytes."""
    path = CACHE / f"mixed-{LARGE // MIB}m"
    if not path.exists():
        print(f"bench: making {path.name}", flush=True)
        partial = _made(path)
        with partial.open("wb") as file:
            file.writelines(_mixed(LARGE))
        partial.rename(path)
    return path


def quarter() -> Path:
    """The first quarter of that file."""
    path = CACHE / f"mixed-{LARGE // MIB // 4}m-of-{LARGE // MIB}m"
    if not path.exists():
        partial = _made(path)
        with mixed().open("rb") as source, partial.open("wb") as file:
            for _ in range(LARGE // MIB // 4):
                file.write(source.read(MIB))
        partial.rename(path)
    return path


def small_files() -> Path:
    """A directory with FILES files of 0.2 to 4 KB in directories of a hundred."""
    path = CACHE / f"files-{FILES}"
    if not path.exists():
        partial, source = _made(path), random.Random(2)
        text = _csv(source)
        for number in range(FILES):
            directory = partial / f"{number // FILES_A_DIRECTORY:03d}"
            directory.mkdir(parents=True, exist_ok=True)
            size, start = source.randint(200, 4000), source.randrange(MIB - 4000)
            (directory / f"{number:05d}.csv").write_bytes(text[start : start + size])
        partial.rename(path)
    return path


def pieces() -> Path:
    """A directory with PIECES files of 1 MiB."""
    path = CACHE / f"pieces-{PIECES}"
    if not path.exists():
        partial = _made(path)
        partial.mkdir()
        for number, block in enumerate(_mixed(PIECES * MIB)):
            (partial / f"{number:03d}").write_bytes(block)
        partial.rename(path)
    return path


def packed(source: Path) -> Path:
    """The same as a tar.gz of level 6, which is what the reference makes."""
    path = source.with_name(f"{source.name}.tgz")
    if not path.exists():
        print(f"bench: packing {source.name}, once", flush=True)
        partial = _made(path)
        with gzip.open(partial, "wb", _PACK_LEVEL) as stream:
            with tarfile.open(fileobj=stream, mode="w|", bufsize=256 * KIB) as archive:
                archive.add(source, source.name)
        partial.rename(path)
    return path


def place(source: Path, target: Path) -> Path:
    """A copy at `target`, in memory."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    return target
