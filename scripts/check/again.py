"""Tests that failed in a whole run, and how they fare alone: a machine that stands still for seconds
fails tests of what happens within them.

usage: python3 scripts/check/again.py list RESULTS.xml              their node ids, if they are few
       python3 scripts/check/again.py merge RESULTS.xml AGAIN.xml   takes over what passed alone
"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

# More than so many are no accident.
MOST = 5


def failed(root: ET.Element) -> dict[str, ET.Element]:
    """Node id of each failed test of a pytest run, with its element."""
    cases = {}
    for case in root.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            path = (case.get("classname") or "").replace(".", "/")
            cases[f"{path}.py::{case.get('name')}"] = case
    return cases


def list_failed(results: Path) -> None:
    ids = failed(ET.parse(results).getroot())
    if len(ids) <= MOST:
        for node_id in ids:
            print(node_id)


def merge(results: Path, again: Path) -> int:
    """1 if something failed again, or was not run."""
    tree, second = ET.parse(results), ET.parse(again).getroot()
    still = failed(second)
    ran = {f"{(c.get('classname') or '').replace('.', '/')}.py::{c.get('name')}" for c in second.iter("testcase")}
    left = 0
    for node_id, case in failed(tree.getroot()).items():
        if node_id in still or node_id not in ran:
            left += 1
            continue
        print(f"check: passed only when run again: {node_id}")
        for part in list(case):
            case.remove(part)
    tree.write(results, encoding="utf-8", xml_declaration=True)
    return 1 if left else 0


def main(words: list[str]) -> int:
    match words:
        case ["list", results]:
            list_failed(Path(results))
            return 0
        case ["merge", results, again]:
            return merge(Path(results), Path(again))
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
