"""The first of the random schedules of tests/schedules; `make soak` plays ten thousand."""

from __future__ import annotations

import pytest

from tests.schedules.run import run_seeds

CHUNKS, SEEDS_PER_CHUNK = 4, 50


@pytest.mark.seconds(300)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_schedules(chunk: int) -> None:
    first = 1 + chunk * SEEDS_PER_CHUNK
    failures = [text for _seed, text in run_seeds(range(first, first + SEEDS_PER_CHUNK)) if text]
    assert not failures, "\n\n".join(failures)
