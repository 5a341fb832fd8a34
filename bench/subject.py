"""What is measured: a binary, and where user programs come from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.pod.images import BUILD, Images

PROBES = Path(BUILD) / "probes"
IMAGE = "bench:1"


@dataclass(frozen=True)
class Subject:
    """An executor. Bars bind ours only; the other one is shown beside it."""

    label: str
    binary: Path
    is_ours: bool


def user_image(directory: Path) -> dict[str, str]:
    """An image with busybox and `moment`, for the runner."""
    root = directory / "image/rootfs"
    if not root.exists():
        shutil.copytree(Images().find("busybox:1").layers[0], root, symlinks=True)
        shutil.copy(PROBES / "moment", root / "bin/moment")
    return {IMAGE: str(directory / "image")}
