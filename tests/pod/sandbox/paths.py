"""Path resolution below a folder that somebody else may have filled."""

from __future__ import annotations

import os
import stat

_LINKS_MAX = 40


def within(root: str, path: str) -> str:
    """Resolve path inside root: links, absolute ones too, cannot lead out of it."""
    done: list[str] = []
    todo = [part for part in path.split("/") if part][::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part == ".":
            continue
        if part == "..":
            del done[-1:]
            continue
        try:
            target = os.readlink("/".join([root, *done, part]))
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(f"too many levels of symbolic links: {path}")
        if target.startswith("/"):
            done.clear()
        todo.extend(reversed([piece for piece in target.split("/") if piece]))
    return "/".join([root, *done])


def sub_path(volume: str, path: str) -> str:
    """A volume's subPath: what is there, else a new directory with the volume's own mode."""
    target = within(volume, path)
    mode = stat.S_IMODE(os.stat(volume).st_mode)
    missing = []
    while not os.path.lexists(target):
        missing.append(target)
        target = os.path.dirname(target)
    for directory in reversed(missing):
        os.mkdir(directory)
        os.chmod(directory, mode)
    return missing[0] if missing else target
