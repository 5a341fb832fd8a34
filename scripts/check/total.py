"""Adds up the results of all stages; the last line is 'N passed, N failed, N skipped'.

usage: python3 scripts/check/total.py DIR     exits 1 if a test failed or none ran
"""

import sys
from pathlib import Path

import junit


def main() -> int:
    total = junit.Counts()
    for path in sorted(Path(sys.argv[1]).rglob("*.xml")):
        counts, failures, skips = junit.read(path)
        total = total.plus(counts)
        for line in failures:
            print(f"FAILED {line}")
        for line in skips:
            print(f"skipped {line}")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
