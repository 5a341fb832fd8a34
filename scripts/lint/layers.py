"""Checks every #include of the product against the table of rooms in layers.txt.

usage: python3 scripts/lint/layers.py     (from the top of the tree)
"""

import re
import sys
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from files import finish, project_files

TABLE = Path(__file__).with_name("layers.txt")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
NO_ROOM = ("tests/", "bench/", "scripts/")


def read_table() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    rooms: dict[str, list[str]] = {}
    headers: dict[str, set[str]] = {}
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        match = re.fullmatch(r"(room|header) (\S+):\s*(.*)", line)
        if not match:
            sys.exit(f"{TABLE}:{number}: cannot read: {line}")
        kind, name, rest = match.groups()
        if kind == "room":
            rooms[name] = rest.split()
        else:
            headers[name] = set(rest.split())
    graph = {
        room: {other for other in rooms for pattern in patterns if fnmatch(other, pattern)}
        for room, patterns in rooms.items()
    }
    unknown = {room for seen in headers.values() for room in seen} - set(graph)
    unknown |= {
        pattern
        for patterns in rooms.values()
        for pattern in patterns
        if not any(fnmatch(room, pattern) for room in rooms)
    }
    if unknown:
        sys.exit(f"{TABLE}: no such room: {', '.join(sorted(unknown))}")
    return graph, headers


def closure(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Rooms in reach of each room; a cycle ends the program."""
    reach: dict[str, set[str]] = {}
    try:
        for room in TopologicalSorter(graph).static_order():
            reach[room] = {room}.union(*(reach[below] for below in graph[room]))
    except CycleError as error:
        sys.exit(f"{TABLE}: the rooms form a cycle: {' -> '.join(error.args[1])}")
    return reach


def room_of(name: str, rooms: dict[str, set[str]]) -> str | None:
    return next((room for room in rooms if name == room or name.startswith(room + "/")), None)


def check_file(name: str, reach: dict[str, set[str]], headers: dict[str, set[str]]) -> list[str]:
    room = room_of(name, reach)
    if room is None:
        return [f"{name}:1: belongs to no room of {TABLE.name}"]
    failures = []
    for number, line in enumerate(Path(name).read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, target = match.groups()
        where = f"{name}:{number}"
        if quote == '"':
            other = room_of(target, reach)
            if not Path(target).is_file():
                failures.append(f"{where}: {target} is no path from the top of the tree")
            elif other is None:
                failures.append(f"{where}: {target} belongs to no room")
            elif other not in reach[room]:
                failures.append(f"{where}: {room} may not include {other} ({target})")
        else:
            for prefix, allowed in headers.items():
                if target.startswith(prefix) and room not in allowed:
                    failures.append(f"{where}: <{target}> belongs to {', '.join(sorted(allowed))}")
    return failures


def main() -> int:
    graph, headers = read_table()
    reach = closure(graph)
    names = [name for name in project_files(".c", ".h") if not name.startswith(NO_ROOM)]
    failures = [failure for name in names for failure in check_file(name, reach, headers)]
    return finish("layers", failures, f"{len(names)} files, {len(graph)} rooms, no cycle")


if __name__ == "__main__":
    sys.exit(main())
