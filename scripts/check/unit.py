"""Runs the unit-test binaries and collects cmocka's results.

usage: python3 scripts/check/unit.py DIR-OF-BINARIES DIR-OF-RESULTS
A binary that crashes, leaks or hangs counts as a failed test of its own.
"""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import junit

# Sanitizers and a busy machine included; the slowest binary takes a few seconds.
TIMEOUT_S = 180


def run(binary: Path, results: Path) -> tuple[junit.Counts, str]:
    """Once more after a failure, as check.sh does it with integration tests."""
    counts, output = run_once(binary, results)
    if not counts.failed:
        return counts, output
    for path in results.glob(f"{binary.name}-*.xml"):
        path.unlink()
    again, again_output = run_once(binary, results)
    if not again.failed:
        output += f"\ncheck: passed only when run again: {binary.name}"
        return again, output
    return again, again_output


def run_once(binary: Path, results: Path) -> tuple[junit.Counts, str]:
    environment = dict(os.environ)
    environment["CMOCKA_MESSAGE_OUTPUT"] = "xml"
    # cmocka does not create the file if its name is taken, and does not write one after a crash.
    environment["CMOCKA_XML_FILE"] = str(results / f"{binary.name}-%g.xml")
    try:
        done = subprocess.run(
            [binary],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
        )
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        output, status = expired.stdout or b"", f"no end within {TIMEOUT_S} s"
    (results / f"{binary.name}.log").write_bytes(output)
    counts = junit.Counts()
    for path in results.glob(f"{binary.name}-*.xml"):
        counts = counts.plus(junit.read(path)[0])
    if (status != 0 and not counts.failed) or not sum(counts):
        path = results / f"{binary.name}-exit.xml"
        reason = f"exit {status}" if sum(counts) else f"exit {status}, no test finished"
        counts = counts.plus(junit.write(path, binary.name, [("the program itself", reason)]))
    return counts, output.decode(errors="replace") if counts.failed else ""


def main() -> int:
    # A shell that runs this in the background has these two ignored, and all their children would.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    binaries = sorted(p for p in Path(sys.argv[1]).glob("test_*") if os.access(p, os.X_OK) and p.is_file())
    # A test whose source is gone leaves its binary behind.
    binaries = [p for p in binaries if Path("tests/unit", f"{p.name}.c").is_file()]
    results = Path(sys.argv[2])
    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for binary, (counts, output) in zip(binaries, pool.map(lambda b: run(b, results), binaries)):
            print(f"check: {binary.name}: {counts}")
            print("\n".join(output.splitlines()[-60:]), end="\n" if output else "")
            failed = failed or counts.failed > 0
    return 1 if failed or not binaries else 0


if __name__ == "__main__":
    sys.exit(main())
