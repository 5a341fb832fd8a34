"""Directories of a volume that are swapped with links out of it, at any moment: nothing is written or read
where they lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Lab
from tests.swapping import WAYS, WORLDS, play

@pytest.mark.parametrize("way", WAYS)
def test_links_that_are_swapped_lead_nowhere(lab: Lab, tmp_path: Path, way: str) -> None:
    swaps = 0
    for world in WORLDS:
        swaps += play(lab, tmp_path / str(world), way, world)
    assert swaps > 1000
