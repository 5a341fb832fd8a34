"""A handful of the random pods of tests/soak; `make soak` runs hundreds."""

from __future__ import annotations

import pytest

from tests.lab import Lab
from tests.soak.soak import run_seed

SEEDS = range(1, 21)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_pod(lab: Lab, seed: int) -> None:
    print(run_seed(lab, seed))
