"""Fuzzes targets with libFuzzer, in slices, and goes on where it was stopped (docs/testing.md).

    python3 -m tests.fuzz [--time SECONDS] [--afl] TARGET...
                                         --afl: with AFL++, for another kind of search
    python3 -m tests.fuzz --all          every target, ten minutes each
    python3 -m tests.fuzz --merge [TARGET...]
                                         adds to tests/fuzz/corpus what was found worth keeping

What is found lies in build/fuzz: corpus/<target>, findings/, and state.json with the seconds done.
The programs build/fuzz/fuzz_<target> come from `make fuzz-targets`, build/afl/fuzz_<target> from `make fuzz-afl`.
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

from tests.fuzz import afl, seeds

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/fuzz"
STATE = BUILD / "state.json"
KEPT = ROOT / "tests/fuzz/corpus"

TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in (ROOT / "tests/fuzz").glob("fuzz_*.c"))
SECONDS = 600
# Longest input; archives need some blocks, the others find the same in less, faster. In entries each
# dozen bytes is a file to make, look at and remove, and what crosses others takes a few lines.
BYTES_MAX = {
    "control": 1500,
    "entries": 256,
    "archive": 16384,
    "zip": 8192,
    "compress": 8192,
    "s3_xml": 10000,
}
BYTES_MAX_DEFAULT = 4096
# What an interrupted run loses at most.
SLICE_S = 60
# One input may take this long, sanitizers and a busy machine included.
INPUT_TIMEOUT_S = 10
MEMORY_MB = 2048
# Of what was found, inputs larger than this are not worth a place in the repository.
KEPT_BYTES_MAX = 2048
KEPT_FILES_MAX = 120


def load() -> dict[str, dict[str, int]]:
    try:
        return json.loads(STATE.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def save(state: dict[str, dict[str, int]]) -> None:
    new = STATE.with_suffix(".new")
    new.write_text(json.dumps(state, indent=1))
    new.rename(STATE)


def folders(target: str) -> list[str]:
    """Where inputs come from; new ones go into the first."""
    own = BUILD / "corpus" / target
    own.mkdir(parents=True, exist_ok=True)
    return [str(own)] + [str(p) for p in (KEPT / target, BUILD / "seeds" / target) if p.is_dir()]


def run(target: str, options: list[str], directories: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs the program with a scratch directory that is gone afterwards, in memory if there is room."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="fuzz.", dir=parent) as scratch:
        return subprocess.run(
            ["nice", str(BUILD / f"fuzz_{target}"), *options, *directories],
            env={**os.environ, "TMPDIR": scratch},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


def report(target: str, output: str) -> None:
    """What was found, and how to see it again."""
    print("\n".join(output.splitlines()[-40:]))
    found = re.findall(r"Test unit written to (\S+)", output)
    name = Path(found[-1]).relative_to(ROOT) if found else "(no input was written)"
    print(f"fuzz: {target}: FOUND something; replay it with: build/fuzz/fuzz_{target} {name}")


def fuzz_slice(target: str, seconds: int) -> int | None:
    """The number of inputs that were run, or None if something was found."""
    findings = BUILD / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={BYTES_MAX.get(target, BYTES_MAX_DEFAULT)}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={findings}/{target}-",
        "-print_final_stats=1",
    ]
    dictionary = ROOT / f"tests/fuzz/{target}.dict"
    if dictionary.is_file():
        options.append(f"-dict={dictionary}")
    done = run(target, options, folders(target))
    executed = re.search(r"number_of_executed_units:\s*(\d+)", done.stdout)
    if done.returncode != 0 or not executed:
        report(target, done.stdout)
        return None
    features = re.findall(r"DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)", done.stdout)
    cov, ft, corpus = features[-1] if features else ("?", "?", "?")
    print(f"fuzz: {target}: {executed[1]} inputs in {seconds} s; coverage {cov}, features {ft}, corpus {corpus}")
    return int(executed[1])


def fuzz(target: str, seconds: int, state: dict[str, dict[str, int]] | None = None) -> bool:
    """Until that many seconds are done; true if nothing was found. The state is kept if there is one."""
    mine = {"seconds": 0, "inputs": 0}
    if state is not None:
        mine = state.setdefault(target, mine)
    while mine["seconds"] < seconds:
        part = min(SLICE_S, seconds - mine["seconds"])
        executed = fuzz_slice(target, part)
        if executed is None:
            return False
        mine["seconds"] += part
        mine["inputs"] += executed
        if state is not None:
            save(state)
        sys.stdout.flush()
    print(f"fuzz: {target}: done, {mine['inputs']} inputs in {mine['seconds']} s, nothing found", flush=True)
    return True


def fuzz_one(targets: list[str], seconds: int | None) -> bool:
    """From the beginning, on top of the corpus that there is."""
    return all([fuzz(target, seconds or SECONDS) for target in targets])


def fuzz_with_afl(target: str, seconds: int) -> bool:
    """On top of the same corpus, to which it adds what it has found."""
    given = folders(target)
    done = afl.fuzz(target, seconds, BYTES_MAX.get(target, BYTES_MAX_DEFAULT), given)
    found = afl.keep(target, Path(given[0]))
    print(f"fuzz: {target}: AFL++: {done.executed} inputs in {seconds} s, {found} of them new")
    for crash in done.crashes:
        name = crash.relative_to(ROOT)
        print(f"fuzz: {target}: FOUND something; replay it with: build/fuzz/fuzz_{target} {name}")
    return not done.crashes


def fuzz_all() -> bool:
    state = load()
    if all(state.get(t, {}).get("seconds", 0) >= SECONDS for t in TARGETS):
        state = {}
    results = [fuzz(target, SECONDS, state) for target in TARGETS]
    print(f"fuzz: {sum(results)} targets passed, {len(results) - sum(results)} failed")
    return all(results)


def merge(target: str) -> bool:
    """Adds inputs that reach what the kept ones do not: small ones, the smallest first."""
    kept = KEPT / target
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        given = folders(target)[1:]
        options = ["-merge=1", f"-max_len={KEPT_BYTES_MAX}"]
        done = run(target, options, [directory, *given, str(BUILD / "corpus" / target)])
        if done.returncode != 0:
            report(target, done.stdout)
            return False
        known = {p.read_bytes() for folder in given for p in Path(folder).iterdir()}
        new = [p for p in Path(directory).iterdir() if p.read_bytes() not in known]
        new.sort(key=lambda p: p.stat().st_size)
        room = max(0, KEPT_FILES_MAX - len(known))
        for path in new[:room]:
            (kept / path.name[:12]).write_bytes(path.read_bytes())
        print(f"fuzz: {target}: {min(len(new), room)} of {len(new)} new inputs kept")
    return True


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python3 -m tests.fuzz", description=__doc__, formatter_class=raw)
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[[], *TARGETS])
    parser.add_argument("--time", type=int, help="seconds for each target")
    parser.add_argument("--afl", action="store_true", help="with AFL++ instead of libFuzzer")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--merge", action="store_true")
    args = parser.parse_args()
    seeds.write(BUILD / "seeds")
    if args.merge:
        return 0 if all([merge(target) for target in args.targets or TARGETS]) else 1
    if args.all:
        return 0 if fuzz_all() else 1
    if not args.targets:
        parser.error(f"which target? one of {', '.join(TARGETS)}")
    if args.afl:
        return 0 if all([fuzz_with_afl(target, args.time or SECONDS) for target in args.targets]) else 1
    return 0 if fuzz_one(args.targets, args.time) else 1


if __name__ == "__main__":
    sys.exit(main())
