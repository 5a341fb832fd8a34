"""Random cuts of uploads and downloads, seed after seed: goes on where it was stopped.

    TRANSFER_SEEDS=500 python3 -m pytest -s tests/soak/test_transfer_seeds.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration import test_transfer_faults as faults

# Fixtures.
swift, proxy, store = faults.swift, faults.proxy, faults.store

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("TRANSFER_SEEDS", "500"))
BLOCK = 10
STATE = ROOT / "build/soak/transfer-seeds"


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_random_cuts(store, proxy, swift, tmp_path, first):
    STATE.parent.mkdir(parents=True, exist_ok=True)
    done = int(STATE.read_text()) if STATE.exists() else 0
    for seed in range(max(first, done), first + BLOCK):
        faults.run_seed(store, proxy, swift, tmp_path, seed)
        STATE.write_text(str(seed + 1))
    print(f"{first + BLOCK} of {SEEDS} seeds", flush=True)
    if first + BLOCK >= SEEDS:
        STATE.unlink(missing_ok=True)
