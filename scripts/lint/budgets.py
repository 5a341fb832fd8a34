"""Checks the sizes of files and functions: a warning past the first number, a failure past the second.

usage: python3 scripts/lint/budgets.py     (from the top of the tree; needs pmccabe)
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from files import finish, project_files


class Budget(NamedTuple):
    warn: int
    fail: int


SOURCE_LINES = Budget(500, 800)
HEADER_LINES = Budget(150, 250)
FUNCTION_LINES = Budget(60, 100)
COMPLEXITY = Budget(15, 25)
MACROS_PER_1000_LINES = 2
FUNCTION_MACRO = re.compile(r"^\s*#\s*define\s+\w+\(", re.MULTILINE)


class Report:
    def __init__(self) -> None:
        self.failures: list[str] = []
        self.warnings: list[str] = []

    def check(self, where: str, what: str, value: int, budget: Budget) -> None:
        if value > budget.fail:
            self.failures.append(f"{where}: error: {what}: {value}, at most {budget.fail}")
        elif value > budget.warn:
            self.warnings.append(f"{where}: warning: {what}: {value}, better {budget.warn}")


def check_functions(report: Report, sources: list[str]) -> int:
    # Columns: modified complexity, complexity, statements, first line, lines, place, name.
    done = subprocess.run(["pmccabe", *sources], check=True, capture_output=True, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    for _, complexity, _, first, lines, place, *_ in rows:
        path, _, name = place.partition("): ")
        where = f"{path.split('(')[0]}:{first}"
        report.check(where, f"lines of {name}()", int(lines), FUNCTION_LINES)
        report.check(where, f"complexity of {name}()", int(complexity), COMPLEXITY)
    return len(rows)


def main() -> int:
    names = project_files(".c", ".h")
    report = Report()
    total = macros = 0
    for name in names:
        text = Path(name).read_text()
        lines = text.count("\n")
        total += lines
        macros += len(FUNCTION_MACRO.findall(text))
        report.check(f"{name}:1", "lines", lines, HEADER_LINES if name.endswith(".h") else SOURCE_LINES)
    if macros * 1000 > total * MACROS_PER_1000_LINES:
        report.warnings.append(
            f"all: warning: {macros} function-like macros in {total} lines, "
            f"better {MACROS_PER_1000_LINES} per 1000"
        )
    functions = check_functions(report, [name for name in names if name.endswith(".c")]) if names else 0
    for warning in report.warnings:
        print(warning)
    summary = f"{len(names)} files, {total} lines, {functions} functions, {len(report.warnings)} warnings"
    return finish("budgets", report.failures, summary)


if __name__ == "__main__":
    sys.exit(main())
