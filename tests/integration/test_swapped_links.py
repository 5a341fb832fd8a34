"""Directories of a volume that are swapped with links out of it, at any moment: nothing is written or read
where they lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Lab
from tests.swapping import WAYS, play

PODS = 2


@pytest.mark.parametrize("way", WAYS)
def test_links_that_are_swapped_lead_nowhere(lab: Lab, tmp_path: Path, way: str) -> None:
    swaps = 0
    for number in range(PODS):
        for confinement in WAYS[way]:
            swaps += play(lab, tmp_path / f"{confinement}{number}", way, confinement)
    assert swaps > 1000
