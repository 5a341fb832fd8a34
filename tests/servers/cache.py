"""Where programs that the tests build for themselves are kept, outside of the tree."""

import os
from pathlib import Path


def directory(name: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tiphys" / name
