"""A minute of pods whose volume is swapped away beneath them, each way.

    SECONDS_OF_SWAPS=60 python3 -m pytest -s tests/soak/test_swapped_links.py
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.swapping import WAYS, WORLDS, play

DURATION_S = int(os.environ.get("SECONDS_OF_SWAPS", "60"))


@pytest.mark.seconds(30 * 60)
@pytest.mark.parametrize("way", WAYS)
def test_links_that_are_swapped_lead_nowhere(lab: Lab, tmp_path: Path, way: str) -> None:
    end = time.monotonic() + DURATION_S
    pods = swaps = 0
    while time.monotonic() < end:
        swaps += play(lab, tmp_path / "pod", way, WORLDS[pods % len(WORLDS)])
        shutil.rmtree(tmp_path / "pod")
        pods += 1
    print(f"{way}: {pods} pods, {swaps} swaps", flush=True)
    assert swaps > 1000
