"""Tells which lines of each target's parser its kept inputs reach (docs/testing.md).

    python3 -m tests.fuzz.coverage [--missing] [TARGET...]

The program build/coverage/fuzz/replay comes from `make SAN=coverage fuzz-replay`. What belongs to a
parser stands in parsers.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import seeds

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/coverage"
OBJECTS = BUILD / "obj"
KEPT = ROOT / "tests/fuzz/corpus"
TABLE = Path(__file__).with_name("parsers.txt")
PERCENT_MIN = 90
# What follows a failed system call or a refused allocation: no input makes them fail.
FAILED_CALL = re.compile(r"ENOMEM|no_memory|out of memory|-errno\b|error_errno\(")


class Source(NamedTuple):
    path: str
    # If there are any, these functions alone; else all but those.
    only: frozenset[str]
    without: frozenset[str]

    def has(self, function: str) -> bool:
        return function in self.only if self.only else function not in self.without


class Line(NamedTuple):
    number: int
    is_reached: bool


def parsers() -> dict[str, list[Source]]:
    table: dict[str, list[Source]] = {}
    target = ""
    for line in TABLE.read_text().splitlines():
        words = line.split("#")[0].split()
        if words and words[0].endswith(":"):
            target = words.pop(0)[:-1]
            table[target] = []
        if words:
            only, without = (frozenset(w[1:] for w in words[1:] if w[0] == sign) for sign in "+-")
            table[target].append(Source(words[0], only, without))
    return table


def replay(target: str, inputs: list[Path], directory: Path) -> None:
    """Leaves gcc's counts in the directory, as a tree like that of the objects."""
    environment = {
        **os.environ,
        "GCOV_PREFIX": str(directory),
        "GCOV_PREFIX_STRIP": str(len(OBJECTS.parts) - 1),
        "TMPDIR": str(directory),
    }
    command = [str(BUILD / "fuzz/replay"), target, *map(str, inputs)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)


def lines(source: Source, directory: Path) -> list[Line]:
    counts = directory / Path(source.path).with_suffix(".gcda")
    if not counts.exists():
        raise SystemExit(f"coverage: {source.path}: nothing of it was run")
    notes = counts.with_suffix(".gcno")
    if not notes.exists():
        notes.symlink_to(OBJECTS / Path(source.path).with_suffix(".gcno"))
    done = subprocess.run(
        ["gcov", "--json-format", "--stdout", str(counts)], check=True, capture_output=True, text=True
    )
    files = json.loads(done.stdout)["files"]
    counted = next(file["lines"] for file in files if file["file"].endswith(source.path))
    text = (ROOT / source.path).read_text().splitlines()
    unknown = (source.only | source.without) - {line.get("function_name", "") for line in counted}
    if unknown:
        raise SystemExit(f"coverage: {source.path}: no function {', '.join(sorted(unknown))}")
    reached: dict[int, bool] = {}
    for line in counted:
        number = line["line_number"]
        if source.has(line.get("function_name", "")) and not FAILED_CALL.search(text[number - 1]):
            reached[number] = reached.get(number, False) or line["count"] > 0
    return [Line(number, is_reached) for number, is_reached in sorted(reached.items())]


def inputs_of(target: str) -> list[Path]:
    made = BUILD / "seeds"
    return [path for parent in (KEPT, made) for path in sorted((parent / target).glob("*"))]


def show_missing(source: Source, found: list[Line]) -> None:
    text = (ROOT / source.path).read_text().splitlines()
    for line in found:
        if not line.is_reached:
            print(f"  {source.path}:{line.number}: {text[line.number - 1].strip()}")


def measure(target: str, sources: list[Source], want_missing: bool) -> bool:
    inputs = inputs_of(target)
    with tempfile.TemporaryDirectory(prefix="coverage.") as directory:
        replay(target, inputs, Path(directory))
        found = {source: lines(source, Path(directory)) for source in sources}
    total = sum(len(part) for part in found.values())
    reached = sum(line.is_reached for part in found.values() for line in part)
    percent = 100 * reached / total
    names = " ".join(source.path for source in sources)
    verdict = "" if percent >= PERCENT_MIN else f"  less than {PERCENT_MIN} %"
    print(f"{target:12} {len(inputs):4} {reached:5} of {total:4} {percent:5.1f} %  {names}{verdict}", flush=True)
    if want_missing:
        for source, part in found.items():
            show_missing(source, part)
    return not verdict


def main() -> int:
    table = parsers()
    parser = argparse.ArgumentParser(prog="python3 -m tests.fuzz.coverage")
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[[], *table])
    parser.add_argument("--missing", action="store_true", help="show the lines that are not reached")
    args = parser.parse_args()
    fuzzed = {path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.c")}
    if fuzzed != set(table):
        print(f"coverage: {TABLE.name} and the targets differ: {', '.join(sorted(fuzzed ^ set(table)))}")
        return 1
    seeds.write(BUILD / "seeds")
    print(f"{'target':12} {'inputs':>4} {'lines reached':>13} {'':9} of the parser")
    good = [measure(target, table[target], args.missing) for target in args.targets or sorted(table)]
    print(f"coverage: {sum(good)} of {len(good)} parsers are reached for {PERCENT_MIN} % of their lines or more")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
