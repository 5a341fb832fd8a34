"""What confinement costs: pods with it and pods without (ARGOEXEC_CONFINEMENT=off), in turns.

Compared is the least of each: what the machine can do when nothing else hits it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench import artifacts
from bench.figures import MB, Bar, Figure
from bench.subject import Subject
from bench.yard import Outcome, Yard

STARTS = 40
TRANSFERS = 10
# Of what takes a sixth of a second, fewer have no least that would come again.
SHORT_TRANSFERS = 60
SECONDS = 0.003
ANONYMOUS = 2 * MB
THROUGHPUT = 1.03
# tests/pod hands it to the containers that are the executor's.
VARIABLE = "ARGOEXEC_CONFINEMENT"
MODES = ("required", "off")
Pairs = dict[str, list[Outcome]]


@contextmanager
def _mode(mode: str) -> Iterator[None]:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = mode
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def _rounds(yard: Yard, subject: Subject, name: str, count: int) -> Pairs:
    """COUNT pods of a row of artifacts in each mode; who is first changes."""
    row = next(row for row in artifacts.ROWS if row.name == name)
    found: Pairs = {mode: [] for mode in MODES}
    for number in range(count):
        for mode in MODES if number % 2 else reversed(MODES):
            with _mode(mode):
                found[mode].append(artifacts.one(yard, subject, row))
    return found


def _least(outcomes: list[Outcome], value: Callable[[Outcome], float]) -> float:
    return min(value(outcome) for outcome in outcomes)


def _start(yard: Yard, subject: Subject) -> list[Figure]:
    """A role and its child, with so little to load that the start is most of it."""
    found = _rounds(yard, subject, "in-20", STARTS)
    least = [_least(found[mode], lambda o: o.seconds) for mode in MODES]
    times = [outcome.seconds for outcome in found[MODES[0]]]
    return [
        Figure("confine", f"confine: init with 20 small artifacts ({STARTS} pods)", "ms", times),
        Figure("confine", "  longer than without confinement", "ms",
               [least[0] - least[1]], [Bar(SECONDS)]),
    ]  # fmt: skip


def _transfer(
    yard: Yard, subject: Subject, name: str, what: str, count: int = TRANSFERS
) -> list[Figure]:
    found = _rounds(yard, subject, name, count)
    least = [_least(found[mode], lambda o: o.seconds) for mode in MODES]
    memory = [_least(found[mode], lambda o: o.anonymous) for mode in MODES]
    times = [outcome.seconds for outcome in found[MODES[0]]]
    return [
        Figure("confine", f"confine: {what}", "s", times),
        Figure("confine", f"  time, of that without confinement (least of {count})", "x",
               [least[0] / least[1]], [Bar(THROUGHPUT)]),
        Figure("confine", "  anonymous memory more, both processes", "MB",
               [max(0.0, memory[0] - memory[1])], [Bar(ANONYMOUS)]),
    ]  # fmt: skip


def confine(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """Ours only: the reference has nothing of the kind."""
    ours = subjects[0]
    return [
        *_start(yard, ours),
        *_transfer(yard, ours, "in-1g", "1 GiB in, plain"),
        *_transfer(yard, ours, "out-1g", "1 GiB out of a volume"),
        *_transfer(yard, ours, "in-10k-targz", "10,000 files in, tar.gz", SHORT_TRANSFERS),
    ]
