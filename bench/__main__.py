"""Measures the bars: `python3 -m bench [NAME...]`, as root, from the project's root.

Names: size version kill wrapper stdout life idle requests, and the rows of artifacts and of faults;
all by default, `-l` lists them. A pattern of the shell is a name too. In the environment:

REFERENCE=/path/to/argoexec   the same with that binary; rows of artifacts in turns with it
ARGOEXEC=build/argoexec       ours
ROWS=NAME,...                 names
QUICK=1                       a sixteenth of every size, for trying
RUNS=3                        rounds of a row

Exit code 1 if a bar is missed, 2 if something could not be measured.
"""

from __future__ import annotations

import fnmatch
import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import artifacts, confine, data, faults, gc, pods, requests, spawned, stdout, yard
from bench.figures import GIB, MIB, Bar, Figure, markdown_table, text_table
from bench.subject import Subject, reference
from tests.lab import ROOT
from tests.pod import SandboxError
from tests.pod.sandbox import linux

BINARY = Path(os.environ.get("ARGOEXEC", ROOT / "build/argoexec"))
RESULT = ROOT / "build/bench.md"


def size(subject: Subject) -> list[Figure]:
    """What the image is made of."""
    bytes_ = float(subject.binary.stat().st_size)
    return [Figure("size", "binary", "MB", [bytes_], [Bar(8 * MIB)])]


BENCHES: dict[str, Callable[[Subject, Path], list[Figure]]] = {
    "size": lambda subject, _: size(subject),
    "version": lambda subject, _: spawned.version(subject),
    "kill": lambda subject, _: spawned.kill(subject),
    "wrapper": lambda subject, _: spawned.wrapper(subject),
    "stdout": stdout.stdout,
    "life": pods.life,
    "idle": pods.idle,
    "requests": requests.requests,
}
TOGETHER: dict[str, Callable[[yard.Yard, list[Subject]], list[Figure]]] = {
    **{row.name: functools.partial(artifacts.measure, row) for row in artifacts.ROWS},
    "in-100k": artifacts.many,
    "limit": functools.partial(artifacts.under_limit, artifacts.ROWS),
    **faults.FAULTS,
    "gc": gc.gc,
    "confine": confine.confine,
}
# What the largest of the others keep in memory.
LEAST = 5 * GIB


def subjects() -> list[Subject]:
    """Ours, and the reference if somebody has it."""
    other = reference()
    return [Subject("ours", BINARY, True), *([other] if other else [])]


def machine() -> str:
    """What the figures depend on."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs, Linux {platform.release()}, load {load:.1f} at the end"


def scratch_directory(size: int) -> Path:
    """In memory, so that no disk is measured; servers need extended attributes there."""
    if yard.memory_available() < size:
        text = f"{yard.memory_available() // MIB} MiB of memory are free, {size // MIB} are needed"
        raise RuntimeError(f"{text}: choose other rows, or QUICK=1")
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / "build"))
    if not yard.memory_directory(directory, size):
        print("bench: on disk: the memory file system here takes no extended attributes")
    return directory


def chosen(words: list[str]) -> list[str]:
    """The names that match; all without words. A RuntimeError for a word that matches none."""
    known = [*BENCHES, *TOGETHER]
    words = words + [word for word in os.environ.get("ROWS", "").split(",") if word]
    for word in words:
        if not fnmatch.filter(known, word):
            raise RuntimeError(f"no such bench: {word} (of {' '.join(known)})")
    return [
        name for name in known if not words or any(fnmatch.fnmatch(name, word) for word in words)
    ]


def needed(names: list[str]) -> int:
    """Bytes of memory for what these leave behind while they run."""
    if not set(names) & set(TOGETHER):
        return LEAST
    return yard.NEEDED + (yard.NEEDED_BY_REFERENCE if reference() else 0)


def together(names: list[str], directory: Path) -> list[Figure]:
    """Those in which ours and the reference take turns."""
    figures: list[Figure] = []
    with yard.Yard(directory) as place:
        for name in names:
            print(f"bench: {name}", flush=True)
            try:
                figures += TOGETHER[name](place, subjects())
            except RuntimeError as error:
                print(f"bench: {error}", flush=True)
                figures.append(Figure(name, f"{name}: failed", "", [1.0], [Bar(0)]))
    return figures


def measure(names: list[str], directory: Path) -> list[Figure]:
    """Each bench for every subject, ours first."""
    figures: list[Figure] = []
    for name in [name for name in names if name in BENCHES]:
        for subject in subjects():
            print(f"bench: {name}, {subject.label}", flush=True)
            found = BENCHES[name](subject, directory)
            if not subject.is_ours:
                for figure in found:
                    figure.what, figure.bars = f"{figure.what} [reference]", []
            figures += found
    rows = [name for name in names if name in TOGETHER]
    return figures + (together(rows, directory) if rows else [])


def report(figures: list[Figure], version: str) -> None:
    """To the terminal, and to a file for the README."""
    text = [f"{version}, {machine()}", "", *markdown_table(figures), ""]
    if not data.QUICK:
        RESULT.write_text("\n".join(text), encoding="utf-8")
    print(f"\n{version}, {machine()}\n")
    print("\n".join(text_table(figures)))
    kept = "" if data.QUICK else f"; also in {RESULT}"
    bars = [figure for figure in figures if figure.is_judged]
    missed = [figure for figure in bars if not figure.is_met]
    print(f"\n{len(bars) - len(missed)} bars met, {len(missed)} missed{kept}")


def main() -> int:
    """The command line."""
    if sys.argv[1:] == ["-l"]:
        print(*BENCHES, *TOGETHER)
        return 0
    if os.geteuid() != 0:
        print("bench: needs root (namespaces, mounts)", file=sys.stderr)
        return 2
    began = time.monotonic()
    directory = None
    try:
        names = chosen(sys.argv[1:])
        directory = scratch_directory(needed(names))
        figures = measure(names, directory)
        argv = [BINARY, "version", "--short"]
        version = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        report(figures, version + (", QUICK: no figures to quote" if data.QUICK else ""))
        print(f"{time.monotonic() - began:.0f} s")
    except (OSError, RuntimeError, SandboxError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)
            if directory.exists():
                linux.umount(str(directory))
                directory.rmdir()
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
