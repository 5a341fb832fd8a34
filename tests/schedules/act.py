"""What a user's process is to do, and what it has done: the Python side of tests/probes/actor.c."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from pathlib import Path

FOR_EVER = -1

# What the kernel does with a signal that nobody handles (signal(7)).
IGNORED_SIGNALS = {17, 18, 23, 28}
STOP_SIGNALS = {19, 20, 21, 22}
# The actor ignores SIGPIPE.
HARMLESS_SIGNALS = IGNORED_SIGNALS | STOP_SIGNALS | {13}


@dataclass
class Part:
    """The actor's arguments, see there; times in milliseconds."""

    life: int = 0
    code: int = 0
    die: int = 0
    codes: int = 0
    attempts: int = 0
    term: str = "default"
    tcode: int = 0
    tdelay: int = 0
    tlines: int = 0
    lines: int = 0
    width: int = 20
    close: int = -1
    orphan: str = ""
    zombies: int = 0
    child: str = ""
    shell: int = 0
    stop: int = -1
    file: str = ""
    message: str = ""

    def words(self) -> list[str]:
        standard = Part()
        return [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(standard, field.name)
        ]

    def dies_of(self, signo: int) -> bool:
        """Once it has got ready."""
        if signo == 15:
            return self.term == "default"
        return signo not in HARMLESS_SIGNALS


@dataclass
class Attempt:
    """One run's record, as struct record of actor.c; 0: it did not happen."""

    started: int
    ready: int
    terms: int
    term_at: int
    lines: int
    end_kind: int
    end_value: int
    ended: int
    stopped: int
    is_closed: int

    @property
    def code(self) -> int | None:
        """How it ended by itself."""
        if self.end_kind == 0:
            return None
        return self.end_value + (128 if self.end_kind == 2 else 0)


def read_attempts(directory: Path) -> list[Attempt]:
    attempts = []
    for number in range(100):
        path = directory / str(number)
        if not path.exists():
            break
        data = path.read_bytes().ljust(80, b"\0")
        attempts.append(Attempt(*struct.unpack("=10q", data[:80])))
    return attempts
