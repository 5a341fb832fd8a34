"""Judges what came out of a command, and what was kept of it: every line, once, in its order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.schedules.facts import Facts
from tests.schedules.plan import Container
from tests.schedules.record import Life

LINE = re.compile(rb"(\d+):(\d+):x*")
# What a killed command wrote to a terminal may end within a line.
GLUED_LINE = re.compile(rb"(\d+):(\d+):x*$")


def _lines(data: bytes, is_lenient: bool) -> tuple[dict[int, list[int]], list[bytes]]:
    """Attempt -> the numbers of its lines; and what is no line of anybody."""
    numbers: dict[int, list[int]] = {}
    strange = []
    *lines, rest = data.replace(b"\r\n", b"\n").split(b"\n")
    for line in lines:
        match = GLUED_LINE.search(line) if is_lenient else LINE.fullmatch(line)
        if match:
            numbers.setdefault(int(match[1]), []).append(int(match[2]))
        elif line != b"orphan":
            strange.append(line)
    if rest:
        strange.append(rest)
    return numbers, [] if is_lenient else strange


def _check_lines(
    life: Life, data: bytes, first: int, is_cut: bool, is_lenient: bool
) -> Iterator[str]:
    """The lines of the attempts from FIRST on are all there, once, and in their order."""
    numbers, strange = _lines(data, is_lenient)
    if strange:
        yield f"strange output: {strange[0][:100]!r}"
    for number, attempt in enumerate(life.attempts):
        found = numbers.pop(number, [])
        if number < first:
            if found:
                yield f"lines of attempt {number} were kept"
        elif found != list(range(len(found))):
            yield f"attempt {number}: lines are out of order or lost: {found[:200]}"
        elif len(found) > attempt.lines + 1:
            yield f"attempt {number}: {len(found)} lines, {attempt.lines} were written"
        elif len(found) < attempt.lines and not is_cut:
            lost = attempt.lines - len(found)
            yield f"attempt {number}: {lost} of {attempt.lines} lines are lost"
    if numbers:
        yield f"lines of attempts that there were not: {sorted(numbers)}"


def check_output(facts: Facts, container: Container, life: Life) -> Iterator[str]:
    was_killed = life.status == ("signal", 9)
    is_passed_on = facts.plan.is_captured or container.has_terminal
    is_cut = was_killed and is_passed_on
    is_lenient = container.has_terminal or is_cut
    for text in _check_lines(life, life.output, 0, is_cut, is_lenient):
        yield f"output: {text}"
    if life.kept_combined is not None:
        yield "`combined` was kept, though no logs are archived"
    if not facts.plan.is_captured:
        if life.kept_stdout is not None:
            yield "its output was kept, though nobody wants it"
        return
    if facts.removed(f"ctr/{life.name}/stdout"):
        return
    if life.kept_stdout is None and life.attempts:
        yield "stdout is missing"
    # One that died before it could say that it ran has emptied it, too.
    is_another = life.log.count("sub-process exited") > len(life.attempts)
    last, is_cut = len(life.attempts) - 1, was_killed or is_another
    for text in _check_lines(life, life.kept_stdout or b"", last, is_cut, is_lenient):
        yield f"stdout: {text}"
