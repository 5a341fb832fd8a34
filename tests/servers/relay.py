"""A relay in front of a server on loopback: distance, a thin pipe, cuts, refusals; and counts.

    with Relay(gateway.port, directory) as relay:
        relay.set(delay_us=5000, bytes_a_second=40_000_000)
        ...
        relay.counts()["requests"]

The work is done by the probe `relay` (tests/probes/relay.c), which is never the slowest of the
three: it moves about 2.5 GB a second. What is set holds from then on, also for
connections that are open. For faults in the middle of a message see fault_proxy.py.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from tests.servers.server import Server

PROBE = Path(__file__).resolve().parents[2] / "build/probes/relay"
# Kept in step with enum page of relay.c.
COUNTS = (
    "links", "open_links", "requests", "answers", "up_bytes", "down_bytes", "refused", "cuts",
    "stalls", "gets", "heads", "puts", "posts", "deletes",
)  # fmt: skip
SETTINGS = (
    "delay_us", "bytes_a_second", "cut_bytes", "stall_bytes", "refuse_status", "refuse_percent",
)  # fmt: skip
_FIRST_SETTING = 32
_PAGE_BYTES = 512


class Relay(Server):
    """Listens from the constructor to stop(), for the server on PORT of 127.0.0.1."""

    host = "127.0.0.1"

    def __init__(self, port: int, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"relay-{port}"
        path.write_bytes(bytes(_PAGE_BYTES))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _PAGE_BYTES)
        argv = [PROBE, str(port), path]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"relay: ended with code {self._process.wait()}")
        self.port = int(line)
        self._base = dict.fromkeys(COUNTS, 0)

    def _all(self) -> dict[str, int]:
        return dict(zip(COUNTS, struct.unpack_from(f"={len(COUNTS)}Q", self._page)))

    def counts(self) -> dict[str, int]:
        """Since the start or the last clear()."""
        return {name: value - self._base[name] for name, value in self._all().items()}

    def set(self, **settings: int) -> None:
        """Changes the settings that are named; 0 is off."""
        for name, value in settings.items():
            at = _FIRST_SETTING + SETTINGS.index(name)
            struct.pack_into("=Q", self._page, at * 8, value)

    def clear(self) -> None:
        """Everything off, all counts 0 but those of connections that are open."""
        self.set(**dict.fromkeys(SETTINGS, 0))
        self._base = self._all() | {"open_links": 0}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._page.close()
