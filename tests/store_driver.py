"""Single operations of a store, run by the driver tests/unit/test_object_store.c."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAME = "test_object_store"
# Short pauses: what is tested is that there are some, not how long they are.
FAST = {"EXECUTOR_RETRY_BACKOFF_DURATION": "10ms"}


def driver() -> Path:
    """The program beside the binary under test, or the one that the unit tests have built."""
    beside = Path(os.environ.get("ARGOEXEC", "build/san/argoexec")).parent / f"tests/{NAME}"
    for path in (os.environ.get("STORE_DRIVER", ""), beside, f"build/san/tests/{NAME}"):
        if path and (ROOT / path).is_file():
            return ROOT / path
    raise RuntimeError("make SAN=address,undefined unit-tests")


@dataclass
class Result:
    ok: bool
    out: str
    log: str

    @property
    def error(self) -> str:
        """The last line of stderr: the final message."""
        return self.log.rstrip("\n").rpartition("\n")[2]

    @property
    def attempts(self) -> int:
        """Failed ones, but for the question for the region, which Swift refuses and answers."""
        lines = [line for line in self.log.splitlines() if "Attempt failed" in line]
        return sum("find region" not in line for line in lines)


@dataclass
class Store:
    """A store's location, and the driver to use it."""

    type: str
    secrets: Path
    location: dict[str, Any]
    env: dict[str, str] = field(default_factory=dict)

    def run(self, key: str, *arguments: Any, **changes: Any) -> Result:
        location = json.dumps(self.location | {"key": key} | changes)
        command = [str(driver()), self.type, location, str(self.secrets), *map(str, arguments)]
        env = os.environ | FAST | self.env
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)
        assert "Sanitizer" not in done.stderr, done.stderr
        return Result(done.returncode == 0, done.stdout, done.stderr)

    def good(self, key: str, *arguments: Any, **changes: Any) -> Result:
        result = self.run(key, *arguments, **changes)
        assert result.ok, result.log
        return result

    def bad(self, key: str, *arguments: Any, **changes: Any) -> Result:
        result = self.run(key, *arguments, **changes)
        assert not result.ok
        assert self.secrets.joinpath("cred/sk").read_text().strip() not in result.log
        assert "Signature" not in result.log.replace("SignatureDoesNotMatch", "")
        return result


def make_file(path: Path, size: int) -> bytes:
    data = os.urandom(size)
    path.write_bytes(data)
    return data
