"""Random cuts of uploads and downloads, seed after seed: goes on where it was stopped.

    TRANSFER_SEEDS=500 python3 -m pytest -s tests/soak/test_transfer_seeds.py
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.integration import test_transfer_faults as faults

# Fixtures.
swift, proxy, store = faults.swift, faults.proxy, faults.store

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("TRANSFER_SEEDS", "500"))
STATE = ROOT / "build/soak/transfer-seeds"


def test_random_cuts(store, proxy, swift, tmp_path):
    STATE.parent.mkdir(parents=True, exist_ok=True)
    first = int(STATE.read_text()) if STATE.exists() else 0
    for seed in range(first if first < SEEDS else 0, SEEDS):
        faults.run_seed(store, proxy, swift, tmp_path, seed)
        STATE.write_text(str(seed + 1))
        if (seed + 1) % 25 == 0:
            print(f"{seed + 1} of {SEEDS} seeds", flush=True)
