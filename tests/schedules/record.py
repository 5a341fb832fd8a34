"""What happened while a schedule was carried out; moments are monotonic nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.schedules.act import Attempt


@dataclass
class Deed:
    """Something done to the pod, between two moments."""

    kind: str
    target: str
    began: int
    ended: int = 0
    signo: int = 0
    text: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    has_worked: bool = False  # as far as the doer can tell
    is_certain: bool = False  # a signal that PID 1 must have got


@dataclass
class Life:
    """One container."""

    name: str
    started: int
    seen: int  # its first process was known to run
    ended: int
    status: tuple[str, int] | None
    output: bytes
    message: str  # termination message
    log: str
    attempts: list[Attempt]
    exit_code: str | None = None  # the file
    kept_stdout: bytes | None = None
    kept_combined: bytes | None = None

    @property
    def code(self) -> int | None:
        """As the kubelet reports it."""
        if self.status is None or self.status[0] == "lost":
            return None
        return self.status[1] + (128 if self.status[0] == "signal" else 0)


@dataclass
class Record:
    began: int
    lives: dict[str, Life] = field(default_factory=dict)
    deeds: list[Deed] = field(default_factory=list)
    timeline: list[tuple[int, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # found while it went on
    files: list[str] = field(default_factory=list)  # left in /var/run/argo
    history: list[dict[str, Any]] = field(default_factory=list)  # of the task result
    lag: int = 0  # the longest time by which something was done too late, ns
    was_cleared_away: int = 0  # when the containers that went on for too long were killed

    def show(self) -> str:
        moments = sorted(self.timeline)
        return "\n".join(f"{(at - self.began) / 1e6:9.1f} ms  {text}" for at, text in moments)
