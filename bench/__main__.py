"""Measures the bars: `python3 -m bench [NAME...]`, as root, from the project's root.

Names: size version kill wrapper stdout life idle requests transfer; all by default. REFERENCE=/path/to/argoexec in the
environment: the same with that binary, for comparison. Exit code 1 if a bar is missed, 2 if
something could not be measured.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import pods, requests, spawned, stdout, transfer
from bench.figures import MIB, Bar, Figure, markdown_table, text_table
from bench.subject import Subject, reference
from tests.lab import ROOT
from tests.pod import SandboxError

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
    "transfer": transfer.transfer,
}


def subjects() -> list[Subject]:
    """Ours, and the reference if somebody has it."""
    other = reference()
    return [Subject("ours", ROOT / "build/argoexec", True), *([other] if other else [])]


def machine() -> str:
    """What the figures depend on."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs, Linux {platform.release()}, load {load:.1f} at the end"


def scratch_directory() -> Path:
    """In memory, so that no disk is measured; Swift needs extended attributes there."""
    try:
        directory = Path(tempfile.mkdtemp(prefix="bench-", dir=transfer.MEMORY))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / "build"))
    try:
        os.setxattr(directory, "user.bench", b"1")
        return directory
    except OSError:
        directory.rmdir()
        return Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / "build"))


def measure(names: list[str], directory: Path) -> list[Figure]:
    """Each bench for every subject, ours first."""
    figures: list[Figure] = []
    for name in names:
        for subject in subjects():
            print(f"bench: {name}, {subject.label}", flush=True)
            found = BENCHES[name](subject, directory)
            if not subject.is_ours:
                for figure in found:
                    figure.what, figure.bars = f"{figure.what} [reference]", []
            figures += found
    return figures


def report(figures: list[Figure], version: str) -> None:
    """To the terminal, and to a file for the README."""
    text = [f"{version}, {machine()}", "", *markdown_table(figures), ""]
    RESULT.write_text("\n".join(text), encoding="utf-8")
    print(f"\n{version}, {machine()}\n")
    print("\n".join(text_table(figures)))
    bars = [figure for figure in figures if figure.bars]
    missed = [figure for figure in bars if not figure.is_met]
    print(f"\n{len(bars) - len(missed)} bars met, {len(missed)} missed; also in {RESULT}")


def main() -> int:
    """The command line."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        known = " ".join(BENCHES)
        print(f"bench: no such bench: {' '.join(unknown)} (of {known})", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("bench: needs root (namespaces, mounts)", file=sys.stderr)
        return 2
    directory = scratch_directory()
    try:
        figures = measure(names, directory)
        argv = [ROOT / "build/argoexec", "version", "--short"]
        version = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
        report(figures, version)
    except (OSError, RuntimeError, SandboxError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
