"""Runs AFL++ on a target: build/afl/fuzz_<target>, which `make fuzz-afl` builds."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/afl"
# Neither asks for a terminal nor for the machine to be set up for fuzzing.
QUIET = {
    name: "1"
    for name in (
        "AFL_NO_UI",
        "AFL_NO_AFFINITY",
        "AFL_SKIP_CPUFREQ",
        "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES",
        "AFL_NO_COLOR",
    )
}
INPUT_TIMEOUT_MS = 10_000


class Done(NamedTuple):
    executed: int
    crashes: list[Path]


def gather(folders: list[str], into: Path, bytes_max: int) -> None:
    """One folder of all inputs; there must be one at least."""
    for folder in folders:
        for path in Path(folder).iterdir():
            if 0 < path.stat().st_size <= bytes_max:
                shutil.copyfile(path, into / hashlib.sha1(path.read_bytes()).hexdigest())
    if not any(into.iterdir()):
        (into / "nothing").write_bytes(b"\n")


def fuzz(target: str, seconds: int, bytes_max: int, folders: list[str]) -> Done:
    out = BUILD / "out" / target
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    dictionary = ROOT / f"tests/fuzz/{target}.dict"
    words = ["-x", str(dictionary)] if dictionary.is_file() else []
    options = ["-V", str(seconds), "-t", str(INPUT_TIMEOUT_MS), "-G", str(bytes_max), *words]
    with tempfile.TemporaryDirectory(prefix="afl.") as directory:
        inputs, scratch = Path(directory) / "in", Path(directory) / "tmp"
        inputs.mkdir()
        scratch.mkdir()
        gather(folders, inputs, bytes_max)
        command = ["afl-fuzz", *options, "-i", str(inputs), "-o", str(out), "--", str(BUILD / f"fuzz_{target}")]
        done = subprocess.run(
            ["nice", *command],
            env={**os.environ, **QUIET, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    statistics = out / "default/fuzzer_stats"
    if done.returncode != 0 or not statistics.is_file():
        raise SystemExit("\n".join(done.stdout.splitlines()[-20:]))
    executed = re.search(r"execs_done\s*: (\d+)", statistics.read_text())
    crashes = sorted((out / "default/crashes").glob("id:*"))
    return Done(int(executed[1]) if executed else 0, crashes)


def keep(target: str, corpus: Path) -> int:
    """Adds AFL++'s own finds to the corpus; how many there were."""
    known = {path.read_bytes() for path in corpus.iterdir()}
    count = 0
    for path in sorted((BUILD / "out" / target / "default/queue").glob("id:*,src:*")):
        data = path.read_bytes()
        if data not in known:
            known.add(data)
            (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
            count += 1
    return count
