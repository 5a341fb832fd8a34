"""A thousand deaths of the staging process, and of `wait`: goes on where it was stopped.

    DEATHS=1000 python3 -m pytest -s tests/soak/test_deaths.py
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.deaths import VICTIMS, Outcome, play, sent_again
from tests.integration.test_deaths import SENT_AGAIN_MAX
from tests.lab import ROOT, Lab

DEATHS = int(os.environ.get("DEATHS", "1000"))
BLOCK = 50
DIRECTORY = ROOT / "build/soak"


def remembered(state: Path) -> list[Outcome]:
    lines = state.read_text().splitlines() if state.exists() else []
    return [Outcome(**json.loads(line)) for line in lines]


@pytest.mark.seconds(4 * 3600)
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_at_random_instants(lab: Lab, victim: str) -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    state = DIRECTORY / f"deaths-{victim}.jsonl"
    outcomes = remembered(state)
    while len(outcomes) < DEATHS:
        block = range(len(outcomes), min(DEATHS, len(outcomes) + BLOCK))
        new = play(lab, victim, block)
        with state.open("a") as file:
            file.writelines(json.dumps(asdict(outcome)) + "\n" for outcome in new)
        outcomes += new
        print(f"{victim}: {len(outcomes)} of {DEATHS}, {sent_again(outcomes):.1%} sent again", flush=True)
    state.unlink()
    died = sum(outcome.has_died for outcome in outcomes)
    print(f"{victim}: {died} deaths, {sum(outcome.lost for outcome in outcomes)} readers lost")
    assert died > DEATHS / 2
    assert sent_again(outcomes) <= SENT_AGAIN_MAX
