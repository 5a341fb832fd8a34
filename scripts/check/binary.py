"""Checks what the linker made: static-PIE, hardened, small, without traces of the build machine.

usage: python3 scripts/check/binary.py build/argoexec [JUNIT-FILE]
"""

import os
import subprocess
import sys
from pathlib import Path

import hardening
import junit
import link_map
import sbom

BYTES_MAX = 8 * 1024 * 1024


def tool(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def examine(binary: str) -> list[tuple[str, str | None]]:
    dynamic = tool("readelf", "--wide", "--dynamic", binary)
    segments = tool("readelf", "--wide", "--program-headers", binary)
    # The linker drops the mark from the program because the distribution's libc.a lacks it.
    notes = tool("readelf", "--wide", "--notes", "build/obj/argoexec.o")
    sections = tool("readelf", "--wide", "--section-headers", binary)
    size = os.path.getsize(binary)
    here = os.getcwd().encode()
    checks = [
        ("static-PIE", "DYN (" in tool("readelf", "--file-header", binary) and "PIE" in dynamic),
        ("no interpreter", "INTERP" not in segments),
        ("no RPATH, no RUNPATH", "RPATH" not in dynamic and "RUNPATH" not in dynamic),
        ("no shared library", "(NEEDED)" not in dynamic),
        ("RELRO and immediate binding", "GNU_RELRO" in segments and "BIND_NOW" in dynamic),
        ("stack not executable", any("GNU_STACK" in s and "RWE" not in s for s in segments.splitlines())),
        ("no segment writable and executable", not any("RWE" in s for s in segments.splitlines())),
        ("our code has control-flow protection", "IBT" in notes or "BTI" in notes),
        ("stripped", ".symtab" not in sections and ".debug_info" not in sections),
        (f"size {size} at most {BYTES_MAX}", size <= BYTES_MAX),
        ("no path of the build machine", here not in Path(binary).read_bytes()),
        ("runs in an empty environment", tool("env", "-i", binary, "version").startswith("argoexec: ")),
        *((item.name, item.holds or bool(item.explanation)) for item in hardening.examine(binary)),
    ]
    results = [(name, None if good else "is not so") for name, good in checks]
    _, troubles = sbom.collect(link_map.read(Path(binary).parent / "obj/argoexec.map"))
    return [*results, ("all that is linked in has a package and a licence", "; ".join(troubles) or None)]


def main() -> int:
    results = examine(sys.argv[1])
    for name, reason in results:
        if reason:
            print(f"check: {sys.argv[1]}: {name}: {reason}")
    if len(sys.argv) > 2:
        junit.write(Path(sys.argv[2]), "binary", results)
    print(f"check: {sys.argv[1]}: {sum(1 for _, r in results if not r)} of {len(results)} properties hold")
    return 1 if any(reason for _, reason in results) else 0


if __name__ == "__main__":
    sys.exit(main())
