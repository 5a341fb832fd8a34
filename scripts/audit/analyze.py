"""Looks for faults in the program's sources with gcc's and clang's analyzers and clang-tidy's security checks.

usage: python3 scripts/audit/analyze.py gcc|clang     (from the top of the tree; needs compile_commands.json)

A finding that is explained in exceptions.txt is none; an explanation that nothing needs any more is told.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path("scripts/audit")
PRODUCT = re.compile(r"(executor|signal|init|emissary|wait|gc)/|argoexec\.c$")
# What the header tells of is written there.
WITHOUT_HEADER = "executor/base/error.c"
TIMEOUT_S = 600

# At -O0 nothing is inlined or merged before the analyzer sees it. It may look at ten times as many
# states as it does by itself; it says nowhere that it has given up.
GCC = ["-O0", "-fanalyzer", "-fdiagnostics-path-format=none", "-fno-diagnostics-show-caret"]
GCC += ["--param=analyzer-bb-explosion-factor=50", "--param=analyzer-max-enodes-per-program-point=80"]
# Beside those of .clang-tidy: what is switched off there because it does not know of error_set().
CLANG = "clang-analyzer-core.*"
FINDING = re.compile(r"(?P<file>[^:\s]+):(?P<line>\d+):\d+: (?:warning|error): .*\[(?:-W)?(?P<check>[^\],]+)[^\]]*\]$")


class Explained(NamedTuple):
    check: str
    file: str
    text: str

    def covers(self, check: str, file: str, message: str, line: str) -> bool:
        return check == self.check and file == self.file and (self.text in message or self.text in line)


def exceptions(tool: str) -> list[Explained]:
    """Lines 'CHECK FILE: PART OF THE MESSAGE OR LINE'; '#' is before the reason of those that follow."""
    found = []
    for line in (HERE / "exceptions.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            place, _, text = line.partition(": ")
            check, file = place.split()
            if check.startswith("analyzer-") == (tool == "gcc"):
                found.append(Explained(check, file, text))
    return found


def command(tool: str, entry: dict) -> list[str]:
    header = [] if entry["file"] == WITHOUT_HEADER else ["-include", str(HERE / "failures.h")]
    if tool == "clang":
        extra = [f"--extra-arg={word}" for word in header]
        return ["clang-tidy", "--quiet", "-p", ".", f"--checks={CLANG}", *extra, entry["file"]]
    words = [word for word in entry["arguments"] if word not in ("ccache", "-Werror", "-O2", "-c")]
    words = [word for word in words if not word.startswith(("-fsanitize", "-D_FORTIFY_SOURCE"))]
    return [*words[:-1], *GCC, *header, "-c", entry["file"], "-o", "/dev/null"]


def analyze(tool: str, entry: dict) -> tuple[list[tuple[str, str, int]], str]:
    """(check, file, line) of each finding, and what was said if the tool itself failed."""
    done = subprocess.run(
        ["nice", *command(tool, entry)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "LC_ALL": "C"},
    )
    said = done.stdout + done.stderr
    found = set()
    for line in said.splitlines():
        match = FINDING.match(line)
        # The compiler's own warnings are those of the build, with its optimisation.
        if match and (tool == "clang" or match["check"].startswith("analyzer-")):
            file = os.path.relpath(match["file"])
            found.add((match["check"], file, int(match["line"]), line.replace(os.getcwd() + "/", "")))
    broken = done.returncode != 0 and not found
    return sorted(found), said if broken else ""


def main() -> int:
    tool = sys.argv[1]
    entries = [e for e in json.loads(Path("compile_commands.json").read_text()) if PRODUCT.match(e["file"])]
    known = exceptions(tool)
    used: set[Explained] = set()
    bad: set[str] = set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, trouble in pool.map(lambda entry: analyze(tool, entry), entries):
            if trouble:
                bad.add(trouble)
            for check, file, number, text in found:
                line = Path(file).read_text().splitlines()[number - 1]
                covering = [e for e in known if e.covers(check, file, text, line)]
                used.update(covering)
                if not covering:
                    bad.add(text)
    for text in sorted(bad):
        print(text)
    for stale in sorted(set(known) - used):
        print(f"audit: {tool}: no longer found: {stale.check} {stale.file}: {stale.text}")
    verdict = f"{len(bad)} findings" if bad else "ok"
    print(f"audit: {tool}: {verdict} ({len(entries)} files, {len(used)} explained exceptions)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
