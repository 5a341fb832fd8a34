"""The first of the deaths of tests/deaths.py; `make soak` has a thousand of each."""

from __future__ import annotations

import pytest

from tests.deaths import VICTIMS, play, sent_again
from tests.lab import Lab

DEATHS = 100


# Four of twenty are on their way, half sent each; and what has arrived by then is seen.
SENT_AGAIN_MAX = 0.10


@pytest.mark.seconds(600)
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_at_random_instants(lab: Lab, victim: str) -> None:
    outcomes = play(lab, victim, range(DEATHS))
    assert len(outcomes) == DEATHS
    assert sum(outcome.has_died for outcome in outcomes) > DEATHS / 2
    print(f"{victim}: {sent_again(outcomes):.1%} sent again")
    assert sent_again(outcomes) <= SENT_AGAIN_MAX
