"""What every signal does to a wrapper and to the command behind it: one row for each number.

Tests are driven by these rows, and docs/states.md says the same in words.
"""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass

FIRST, LAST = 1, 64


class Way(enum.Enum):
    """What becomes of a signal on its way to the command."""

    FORWARDED = "forwarded to the command's process group"
    OURS = "acted on by the wrapper, not forwarded"
    NOISE = "dropped by the wrapper"
    ENDS_WRAPPER = "the kernel ends the wrapper"
    STOPS_WRAPPER = "the kernel stops the wrapper until SIGCONT"
    DROPPED = "the kernel drops it: PID 1 is safe from its own namespace"


class Effect(enum.Enum):
    """What a signal does to a command that has not prepared for it (signal(7))."""

    ENDS = "status 128 + its number"
    STOPS = "still running"
    NOTHING = "ignored"


@dataclass(frozen=True)
class Row:
    number: int
    # Sent with kill(2) to the wrapper: from outside of its PID namespace, or where it is not
    # PID 1; and by the command to PID 1.
    outside: Way
    inside: Way
    # By the file `signal` or the channel from `wait`. Nothing but the command is meant there.
    asked: Way
    effect: Effect


_OUTSIDE = {
    signal.SIGKILL: Way.ENDS_WRAPPER,
    signal.SIGSTOP: Way.STOPS_WRAPPER,
    signal.SIGCHLD: Way.OURS,
    signal.SIGURG: Way.NOISE,
}
_INSIDE = {**_OUTSIDE, signal.SIGKILL: Way.DROPPED, signal.SIGSTOP: Way.DROPPED}
_EFFECT = {
    signal.SIGCHLD: Effect.NOTHING,
    signal.SIGURG: Effect.NOTHING,
    signal.SIGWINCH: Effect.NOTHING,
    signal.SIGCONT: Effect.NOTHING,
    signal.SIGSTOP: Effect.STOPS,
    signal.SIGTSTP: Effect.STOPS,
    signal.SIGTTIN: Effect.STOPS,
    signal.SIGTTOU: Effect.STOPS,
}

TABLE = [
    Row(
        number,
        _OUTSIDE.get(number, Way.FORWARDED),
        _INSIDE.get(number, Way.FORWARDED),
        Way.FORWARDED,
        _EFFECT.get(number, Effect.ENDS),
    )
    for number in range(FIRST, LAST + 1)
]


def numbers(**wanted: object) -> list[int]:
    """The signals whose row says so: numbers(outside=Way.FORWARDED)."""
    return [
        row.number
        for row in TABLE
        if all(getattr(row, field) == value for field, value in wanted.items())
    ]
