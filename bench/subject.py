"""What is measured: a binary, and where user programs come from."""

from __future__ import annotations

import os
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


def reference() -> Subject | None:
    """$REFERENCE, if somebody has one."""
    name = os.environ.get("REFERENCE")
    if not name:
        return None
    path = Path(name).resolve()
    if not os.access(path, os.X_OK):
        raise RuntimeError(f"REFERENCE={name}: no program")
    return Subject("reference", path, False)


def user_image(directory: Path) -> dict[str, str]:
    """An image with busybox, `moment` and `flood`, for the runner."""
    root = directory / "image/rootfs"
    if not root.exists():
        shutil.copytree(Images().find("busybox:1").layers[0], root, symlinks=True)
        for probe in ("moment", "flood"):
            shutil.copy(PROBES / probe, root / "bin" / probe)
    return {IMAGE: str(directory / "image")}
