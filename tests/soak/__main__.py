"""Runs seeds, one after the other, and goes on where it was stopped.

    python3 -m tests.soak [--seeds N] [--first SEED]

$SOAK_SEEDS and $SOAK_FIRST are the defaults. What has been done is kept in build/soak/state.json:
the same range again goes on behind the last seed, a finished one starts over. Failures are written
to build/soak/seed-N.txt. $ARGOEXEC is the binary, else build/argoexec.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.lab import ROOT, Lab
from tests.soak.soak import run_seed

DIRECTORY = ROOT / "build/soak"
STATE = DIRECTORY / "state.json"


def start_at(first: int, seeds: int) -> int:
    """The next seed of this range."""
    try:
        state = json.loads(STATE.read_text())
    except (FileNotFoundError, ValueError):
        return first
    is_same = (state.get("first"), state.get("seeds")) == (first, seeds)
    return state["next"] if is_same and state["next"] < first + seeds else first


def remember(first: int, seeds: int, following: int) -> None:
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps({"first": first, "seeds": seeds, "next": following}))
    new.rename(STATE)


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("SOAK_SEEDS", "500")))
    parser.add_argument("--first", type=int, default=int(os.environ.get("SOAK_FIRST", "1")))
    args = parser.parse_args()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    executor = os.environ.get("ARGOEXEC", str(ROOT / "build/argoexec"))
    begin, end = start_at(args.first, args.seeds), args.first + args.seeds
    failed = 0
    with tempfile.TemporaryDirectory() as directory, Lab(Path(directory), executor) as lab:
        for seed in range(begin, end):
            try:
                print(run_seed(lab, seed), flush=True)
            except AssertionError as error:
                failed += 1
                record = DIRECTORY / f"seed-{seed}.txt"
                record.write_text(str(error))
                print(f"{str(error).splitlines()[0]} (see {record})", flush=True)
            remember(args.first, args.seeds, seed + 1)
    print(f"soak: {end - begin - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
