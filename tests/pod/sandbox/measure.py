"""Numbers about processes and folders, read from /proc and by walking."""

from __future__ import annotations

import os


def processes_of(mount_namespace: str) -> list[int]:
    """Every process whose mount namespace is this one (the target of its ns/mnt link)."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/ns/mnt") == mount_namespace:
                    found.append(int(entry))
            except OSError:
                continue
    return found


def _kilobytes(path: str, wanted: dict[str, str]) -> dict[str, int]:
    values = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            key, _, rest = line.partition(":")
            if key in wanted:
                values[wanted[key]] = int(rest.split()[0]) * 1024
    return values


def memory_of(pid: int) -> dict | None:
    """Resident, proportional, anonymous and peak resident bytes of a process; None if gone."""
    rollup = {"Rss": "rss", "Pss": "pss", "Anonymous": "anonymous"}
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
            result: dict = {"pid": pid, "command": file.read().strip()}
        result.update(_kilobytes(f"/proc/{pid}/smaps_rollup", rollup))
        result.update(_kilobytes(f"/proc/{pid}/status", {"VmHWM": "peak_rss"}))
    except OSError:
        return None
    return result if "rss" in result and "peak_rss" in result else None


def io_of(pid: int) -> dict[str, int]:
    """/proc/PID/io; for a zombie it holds the sum over itself and the children it reaped."""
    try:
        with open(f"/proc/{pid}/io", encoding="ascii") as file:
            pairs = (line.split(":") for line in file)
            return {key: int(value) for key, value in pairs}
    except OSError:
        return {}


def folder_size(path: str) -> dict[str, int]:
    """Apparent and allocated bytes and number of regular files below path, links counted once."""
    apparent = allocated = files = 0
    seen = set()
    stack = [path]
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone in the meantime
            if entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
            elif entry.is_file(follow_symlinks=False) and info.st_ino not in seen:
                seen.add(info.st_ino)
                apparent += info.st_size
                allocated += info.st_blocks * 512
                files += 1
    return {"apparent": apparent, "allocated": allocated, "files": files}
