"""The table "What an interruption leaves behind" of docs/states.md: each row is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.lab import ROOT, Lab
from tests.moments import EVENTS, MOMENTS, SMALL_DISKS, Left, play

# Pods mostly wait: for their grace period, for a slow store.
PODS_AT_A_TIME = 6
HEADING = "## What an interruption leaves behind"


@dataclass
class Row:
    """As it stands there: – is "none", "a or b" is a race that both may win."""

    moment: str
    event: str
    init: str
    main: str
    wait: str
    exitcode: str
    label: str
    reported: str
    message: str

    def __str__(self) -> str:
        return f"{self.moment}-{self.event}".replace(" ", "-")


def rows() -> list[Row]:
    text = (ROOT / "docs/states.md").read_text().partition(HEADING)[2].partition("\n## ")[0]
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 9 and not re.fullmatch(r"-*", cells[0]):
            found.append(Row(*cells))
    return found[1:]


ROWS = rows()


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, session_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Left]]]:
    """The pods of all rows that were asked for, several at a time."""
    session_lab.api.clear()
    wanted = {
        item.callspec.id for item in request.session.items if item.name.startswith("test_row[")
    }
    pool = ThreadPoolExecutor(PODS_AT_A_TIME)
    yield {
        str(row): pool.submit(
            play, session_lab, row.moment, row.event, tmp_path_factory.mktemp("volumes")
        )
        for row in ROWS
        if str(row) in wanted
    }
    pool.shutdown()
    session_lab.api.faults.clear()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row, played: dict[str, Future[Left]], session_lab: Lab) -> None:
    left = played[str(row)].result()
    result = left.run.result
    about = f"{row}\n{result.table()}\n" + "\n".join(
        f"--- {c.name}\n{c.log[-2000:]}" for c in result.containers.values()
    )
    ours = Row(
        row.moment,
        row.event,
        left.code("init"),
        left.code("main"),
        left.code("wait", "supervisor"),
        left.exit_codes.get("main", "–"),
        left.label(),
        ", ".join(left.reported()) or "–",
        left.message() or "–",
    )
    for name, expected in vars(row).items():
        found, allowed = getattr(ours, name), expected.split(" or ")
        is_right = any(a in found for a in allowed) if name == "message" else found in allowed
        assert is_right, f"{name}: {found!r}, not {expected!r}; {about}"
    assert_rules(row, left, session_lab, about)


def assert_rules(row: Row, left: Left, lab: Lab, about: str) -> None:
    """What holds in every row."""
    containers = left.run.result.containers
    stored = lab.objects()
    assert all(key in stored for key in left.keys()), about
    main = containers["main"].exit_code
    # A wrapper that ended by itself has written what it ended with; 64 may hide the command's own.
    if main is not None and main not in (64, 128, 137):
        assert left.exit_codes["main"] == str(main), about
    # Succeeded is what has run to its end, with all of its outputs.
    if left.run.result.phase == "Succeeded":
        assert main == 0 and left.label() == "true", about
    # Nobody waits for a report that never comes: it is complete, or its writer has visibly failed.
    aux = containers.get("wait") or containers["supervisor"]
    assert left.label() in ("true", "–") or aux.exit_code == 137, about
    for container in containers.values():
        assert container.exit_code != 64 or container.message, about
    # A supervisor that has died is noticed after 30 s of silence, everything else within the grace;
    # after a deadline main has ten seconds more, be it that it still comes.
    never_came = (row.moment, row.event) == ("image missing", "deadline")
    assert left.seconds < (45 if containers.get("supervisor") else 25 if never_came else 15), about


def test_the_table_is_whole() -> None:
    """Each moment and each event stand in it, and no row stands in it twice."""
    assert {row.moment for row in ROWS} == set(MOMENTS)
    assert {row.event for row in ROWS} == set(EVENTS)
    assert len({str(row) for row in ROWS}) == len(ROWS)
    always = {"stop", "kubelet", "shutdown", "oom"}
    for moment in MOMENTS:
        assert always <= {row.event for row in ROWS if row.moment == moment}, moment
    # What does not apply is named: who has not begun, or has ended, has no deadline.
    assert {row.moment for row in ROWS if row.event == "disk full"} == set(SMALL_DISKS)
    no_deadline = {"init loading", "init unpacking", "main cannot start", "reporting", "sidecar left"}
    assert {row.moment for row in ROWS if row.event == "deadline"} == set(MOMENTS) - no_deadline
