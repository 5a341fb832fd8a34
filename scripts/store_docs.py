#!/usr/bin/env python3
"""The sections "by answer" of docs/stores/*.md, made from the classifier tables of the C code.

    store_docs.py            says which section is not what the tables say; exit code 1 then
    store_docs.py --write    makes them so

A section stands between two comments, of which the first names the source:
<!-- classes: executor/artifact/s3/classify.c --> … <!-- end -->
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALL = "executor/http/classify.c"
SECTION = re.compile(r"(<!-- classes: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
TABLE = re.compile(r"static const struct classify_row \w+\[\] = \{\n(.*?)\n\};", re.DOTALL)
ROW = re.compile(r"\{([^{}]*)\},")
FIELD = re.compile(r'\.(\w+) = ("(?:[^"\\]|\\.)*"|\w+),?')


class Unreadable(Exception):
    """A table that is not written as this program reads it."""


def rows(source: str) -> list[dict[str, str]]:
    """The fields of each row, in order."""
    text = (ROOT / source).read_text()
    tables = TABLE.findall(text)
    if len(tables) != 1:
        raise Unreadable(f"{source}: {len(tables)} tables of classify_row, want one")
    table = re.sub(r"/\*.*?\*/", "", tables[0], flags=re.DOTALL)
    found = []
    for body in ROW.findall(table):
        if FIELD.sub("", body).strip():
            raise Unreadable(f"{source}: a row has more than fields: {{{body}}}")
        found.append({name: value.strip('"') for name, value in FIELD.findall(body)})
    if ROW.sub("", table).strip():
        raise Unreadable(f"{source}: not a row: {ROW.sub('', table).strip()}")
    for row in found:
        if not row.get("class", "").startswith("ERROR_"):
            raise Unreadable(f"{source}: a row without class: {row}")
    return found


def answer(row: dict[str, str]) -> str:
    """What the row fits, in words."""
    words = []
    if "status" in row:
        last = f" to {row['status_last']}" if "status_last" in row else ""
        words.append(f"status {row['status']}{last}")
    if row.get("code"):
        words.append(f"`{row['code']}`")
    elif "code" in row:
        words.append("without a code")
    if "text" in row:
        words.append(f"a message with `{row['text']}`")
    if row.get("is_object") == "true":
        words.append("for an object that is read")
    return ", ".join(words)


def section(source: str) -> str:
    """The lines of the table, those that hold for all stores included."""
    lines = ["", "| answer | class |", "|---|---|"]
    for row in rows(source) + (rows(ALL) if source != ALL else []):
        lines.append(f"| {answer(row)} | {row['class'].removeprefix('ERROR_').lower().replace('_', ' ')} |")
    return "\n".join([*lines, "| anything else | permanent |", "", ""])


def main() -> int:
    wrong = count = 0
    for page in sorted((ROOT / "docs/stores").glob("*.md")):
        text = page.read_text()
        count += len(SECTION.findall(text))
        made = SECTION.sub(lambda match: match[1] + section(match[2]) + match[3], text)
        if made == text:
            continue
        if "--write" in sys.argv[1:]:
            page.write_text(made)
        else:
            wrong += 1
            print(f"{page.relative_to(ROOT)}: not what the tables say: scripts/store_docs.py --write")
    print(f"lint: store docs: {'failed' if wrong else 'ok'} ({count} sections)")
    return int(wrong > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unreadable as error:
        print(f"lint: store docs: failed: {error}")
        sys.exit(1)
