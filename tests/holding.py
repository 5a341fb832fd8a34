"""Holds a process up for certain: whoever opens one file stays in open(2) until it is let go (fanotify(7))."""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path
from types import TracebackType

# uapi/linux/fanotify.h
FAN_CLOEXEC = 0x1
FAN_CLASS_CONTENT = 0x4
FAN_MARK_ADD = 0x1
FAN_OPEN_PERM = 0x10000
AT_FDCWD = -100

LIBC = ctypes.CDLL(None, use_errno=True)


class Hold:
    """From the constructor to let_go(); a process that is held can still be killed."""

    def __init__(self, path: Path):
        self._group = LIBC.fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, os.O_RDONLY | os.O_CLOEXEC)
        if self._group < 0:
            raise OSError(ctypes.get_errno(), "fanotify_init")
        mask, name = ctypes.c_uint64(FAN_OPEN_PERM), os.fsencode(path)
        if LIBC.fanotify_mark(self._group, FAN_MARK_ADD, mask, AT_FDCWD, name) < 0:
            number = ctypes.get_errno()
            os.close(self._group)
            raise OSError(number, "fanotify_mark", str(path))

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.let_go()

    def has_somebody(self) -> bool:
        # The question is never read: closing the group is the answer to it, and it is "yes".
        return bool(select.select([self._group], [], [], 0)[0])

    def let_go(self) -> None:
        if self._group >= 0:
            os.close(self._group)
            self._group = -1
