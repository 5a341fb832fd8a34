"""The command line; see tests/schedules/__init__.py.

$SCHEDULES_COUNT and $SCHEDULES_FIRST are the defaults of --count and --first. What --soak has done
is kept in build/soak/schedules.json: the same range goes on where it was stopped, a finished one
starts over; failures are written to build/soak/schedule-N.txt. $ARGOEXEC is the binary, else
build/argoexec.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from tests.room import ROOT
from tests.schedules.run import describe, measure_patience, play_seed, run_seeds
from tests.schedules.stage import Stage

DIRECTORY = ROOT / "build/soak"
STATE = DIRECTORY / "schedules.json"
# How often the state is written, and progress printed.
EVERY_SEEDS, EVERY_SECONDS = 20, 10


class Progress:
    """Which seeds of a range have been played, and which have failed."""

    def __init__(self, first: int, count: int, is_kept: bool):
        self.range = [first, count]
        self.is_kept = is_kept
        self.done: set[int] = set()
        self.failed: list[int] = []
        if is_kept:
            DIRECTORY.mkdir(parents=True, exist_ok=True)
            self._load()

    def _load(self) -> None:
        try:
            state = json.loads(STATE.read_text())
        except (FileNotFoundError, ValueError):
            return
        first, count = self.range
        if state["range"] == self.range and state["below"] < first + count:
            self.done = set(range(first, state["below"])) | set(state["done"])
            self.failed = state["failed"]
            print(f"schedules: going on, {len(self.done)} are done", flush=True)

    def left(self) -> list[int]:
        first, count = self.range
        return [seed for seed in range(first, first + count) if seed not in self.done]

    def save(self) -> None:
        if not self.is_kept:
            return
        below = min(self.left(), default=sum(self.range))
        done = sorted(seed for seed in self.done if seed > below)
        state = {"range": self.range, "below": below, "done": done, "failed": self.failed}
        new = STATE.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.rename(STATE)

    def add(self, seed: int, text: str) -> None:
        self.done.add(seed)
        if text:
            self.failed.append(seed)
            lines = [line for line in text.splitlines() if line.startswith(("seed ", "again: "))]
            print("\n".join(lines) if self.is_kept else text, flush=True)
            if self.is_kept:
                (DIRECTORY / f"schedule-{seed}.txt").write_text(text + "\n")


def run_many(args: argparse.Namespace) -> int:
    progress = Progress(args.first, args.count, args.soak)
    began = reported = time.monotonic()
    for number, (seed, text) in enumerate(run_seeds(progress.left(), args.workers), 1):
        progress.add(seed, text)
        if number % EVERY_SEEDS == 0:
            progress.save()
        if time.monotonic() - reported > EVERY_SECONDS:
            reported = time.monotonic()
            each = (reported - began) / number
            done, failed = len(progress.done), len(progress.failed)
            print(f"schedules: {done}/{args.count}, {failed} failed, {each:.3f} s each", flush=True)
    progress.save()
    failed = len(progress.failed)
    seconds = time.monotonic() - began
    print(f"schedules: {len(progress.done) - failed} passed, {failed} failed in {seconds:.0f} s")
    if failed:
        print(f"schedules: failed seeds: {' '.join(map(str, sorted(progress.failed)))}")
    return 1 if failed else 0


def run_some(args: argparse.Namespace) -> int:
    patience = measure_patience()
    stage = Stage()
    failed = 0
    try:
        for seed in args.seeds * args.repeat:
            problems, record = play_seed(stage, seed, patience)
            failed += bool(problems)
            if problems or args.verbose:
                print(describe(seed, problems, record), flush=True)
            else:
                print(f"seed {seed}: ok", flush=True)
    finally:
        stage.close()
    return 1 if failed else 0


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("seeds", type=int, nargs="*", metavar="SEED")
    parser.add_argument("-v", "--verbose", action="store_true", help="plan and timeline")
    parser.add_argument("-n", "--repeat", type=int, default=1, help="play the seeds so often")
    count = int(os.environ.get("SCHEDULES_COUNT", "10000"))
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--first", type=int, default=int(os.environ.get("SCHEDULES_FIRST", "1")))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--soak", action="store_true", help="keep what was done, and go on there")
    args = parser.parse_args()
    return run_some(args) if args.seeds else run_many(args)


if __name__ == "__main__":
    sys.exit(main())
