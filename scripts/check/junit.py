"""JUnit XML: the one form in which every stage of `make check` reports.

usage: python3 scripts/check/junit.py FILE NAME REASON     writes one failed test
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple


class Counts(NamedTuple):
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(self, other)))

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def write(path: Path, suite: str, results: list[tuple[str, str | None]]) -> Counts:
    """Writes tests as (name, reason of the failure or None)."""
    failed = sum(1 for _, reason in results if reason)
    root = ET.Element("testsuite", name=suite, tests=str(len(results)), failures=str(failed))
    for name, reason in results:
        case = ET.SubElement(root, "testcase", name=name)
        if reason:
            ET.SubElement(case, "failure", message=reason)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return Counts(len(results) - failed, failed)


def read(path: Path) -> tuple[Counts, list[str], list[str]]:
    """Counts, and one line per failed and per skipped test."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    failures, skips = [], []
    for suite in ET.parse(path).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            name = f"{suite.get('name')}: {case.get('classname') or ''} {case.get('name')}"
            bad = [part for part in case if part.tag in ("failure", "error")]
            skipped = case.find("skipped")
            if bad:
                counts["failed"] += 1
                text = bad[0].get("message") or bad[0].text or ""
                failures.append(f"{name}: {' '.join(text.split())[:300]}")
            elif skipped is not None:
                counts["skipped"] += 1
                skips.append(f"{name}: {skipped.get('message') or ''}")
            else:
                counts["passed"] += 1
    return Counts(**counts), failures, skips


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], [(sys.argv[2], sys.argv[3])])
