"""A verdict on how hard the program is to exploit, as readelf sees it: one line for each property.

usage: python3 scripts/check/hardening.py build/argoexec     (from the top of the tree, after make)

What a file of ours or of a library that we build lacks is a failure. What the distribution's static
libraries lack is told, with the reason, and with what is in force all the same.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import link_map

OURS = str(Path("build").resolve())
# Of our objects: not all have arrays, or calls that can be checked.
GUARDED_SHARE_MIN, FORTIFIED_SHARE_MIN = 0.5, 0.25
# Machine → the marks that indirect branches (and returns) are checked.
MARKS = {"X86-64": ("IBT", "SHSTK"), "AArch64": ("BTI", "PAC")}
UNMARKED = (
    "the program has no mark, because the distribution's static libraries have none: {libraries}. A program "
    "that claims it would be ended where it calls them. All {ours} objects of ours and of the libraries "
    "that we build have it"
)


class Property(NamedTuple):
    name: str
    holds: bool
    # Why it is as it is, where it does not hold and cannot.
    explanation: str = ""

    def verdict(self) -> str:
        if self.holds:
            return "yes"
        return f"no: {self.explanation}" if self.explanation else "NO"


def readelf(*arguments: str) -> str:
    command = ["readelf", "--wide", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout


def unmarked(file: str, members: set[str], marks: tuple[str, ...]) -> int:
    """How many of the members of an archive (or the object alone) lack a mark."""
    parts = re.split(r"^File: (.*)$", readelf("--notes", file), flags=re.MULTILINE)
    if len(parts) == 1:
        return int(not all(mark in parts[0] for mark in marks))
    notes = {name.rpartition("(")[2].rstrip(")"): text for name, text in zip(parts[1::2], parts[2::2])}
    return sum(not all(mark in notes.get(member, "") for mark in marks) for member in members)


def branches(binary: str, machine: str, taken: dict[str, set[str]]) -> list[Property]:
    """Is control flow checked by the processor?"""
    marks = MARKS[machine]
    name = f"{' and '.join(marks)} marked"
    whole = unmarked(binary, set(), marks) == 0
    lacking = {file: count for file, members in taken.items() if (count := unmarked(file, members, marks))}
    ours = [file for file in lacking if file.startswith(OURS)]
    count = sum(len(members) or 1 for file, members in taken.items() if file.startswith(OURS))
    theirs = sorted({Path(file).name for file in lacking if not file.startswith(OURS)})
    why = UNMARKED.format(libraries=", ".join(theirs), ours=count) if theirs else ""
    return [Property(f"{name}: what we build", not ours), Property(f"{name}: the program", whole, why)]


def guards(objects: list[str]) -> list[Property]:
    """The compiler's checks, in our own objects: the program has no symbols any more."""
    symbols = re.split(r"^File: ", readelf("--symbols", *objects), flags=re.MULTILINE)[1:]
    guarded = sum("__stack_chk_fail" in text for text in symbols)
    fortified = sum(bool(re.search(r"UND __\w+_chk\b", text.replace("__stack_chk_fail", ""))) for text in symbols)
    count = len(objects)
    return [
        Property(f"stack protector ({guarded} of {count} objects)", guarded >= count * GUARDED_SHARE_MIN),
        Property(f"calls of libc fortified ({fortified} of {count} objects)", fortified >= count * FORTIFIED_SHARE_MIN),
    ]


def examine(binary: str) -> list[Property]:
    header, dynamic = readelf("--file-header", binary), readelf("--dynamic", binary)
    segments = readelf("--program-headers", binary).splitlines()
    machine = next(name for name in MARKS if name in header)
    objects = Path(binary).resolve().parent / "obj"
    taken = link_map.read(objects / "argoexec.map")
    return [
        Property("position independent (PIE)", "DYN (" in header and "PIE" in dynamic),
        Property("RELRO, all of it", any("GNU_RELRO" in s for s in segments) and "BIND_NOW" in dynamic),
        Property("stack not executable (NX)", any("GNU_STACK" in s and "RWE" not in s for s in segments)),
        Property("nothing writable and executable", not any("RWE" in s for s in segments)),
        Property("no relocations in code", "TEXTREL" not in dynamic),
        Property("no RPATH, no RUNPATH", "RPATH" not in dynamic and "RUNPATH" not in dynamic),
        *guards([file for file in taken if Path(file).is_relative_to(objects)]),
        *branches(binary, machine, taken),
    ]


def main() -> int:
    properties = examine(sys.argv[1])
    for item in properties:
        print(f"  {item.name}: {item.verdict()}")
    bad = [item for item in properties if not item.holds and not item.explanation]
    explained = sum(1 for item in properties if not item.holds and item.explanation)
    verdict = f"{len(bad)} properties missing" if bad else "ok"
    print(f"audit: {sys.argv[1]}: {verdict} ({len(properties)} properties, {explained} explained exceptions)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
