"""What a pod did, as text for a terminal of 100 columns."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.lab import PodRun
from tests.pod.result import ContainerResult, PodResult, size

WIDTH = 100
_BAR = 22
_LOG_LINES = 8
_JSON_LINES = 60
_LOG_LINE = re.compile(r"time=[-0-9]+T([:.0-9]+)Z level=([A-Z]+) msg=")


def rule(title: str = "") -> str:
    return f"--- {cut(title, WIDTH - 8)} ".ljust(WIDTH, "-") if title else "-" * WIDTH


def cut(text: str, width: int = WIDTH) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _bytes(value: int | None) -> str:
    return "-" if value is None else size(value)


def _bar(container: ContainerResult, result: PodResult) -> str:
    """Where in the pod's life the container ran."""
    if container.started is None or container.finished is None:
        return ""
    scale = _BAR / (result.finished - result.started)
    begin = min(_BAR - 1, int((container.started - result.started) * scale))
    end = max(begin + 1, round((container.finished - result.started) * scale))
    return (" " * begin + "#" * (end - begin)).ljust(_BAR)


def timeline(result: PodResult) -> list[str]:
    """Containers: when, how they ended, what they took."""
    row = "{:<10}{:>9}{:>9}{:>9}  {:<5}{:>9}{:>10}{:>10}  |{}|"
    titles = ("start", "end", "ms", "exit", "resident", "anonymous", "written")
    lines = [row.format("container", *titles, "time".center(_BAR))]
    for container in result.containers.values():
        seconds = container.seconds
        at = [container.started, container.finished]
        times = ["-" if t is None else f"{(t - result.started) * 1000:.1f}" for t in at]
        lines.append(
            row.format(
                container.name[:10],
                *times,
                "-" if seconds is None else f"{seconds * 1000:.1f}",
                "-" if container.exit_code is None else str(container.exit_code),
                _bytes(container.peak_rss),
                _bytes(container.peak_anonymous),
                _bytes(container.io.get("wchar")),
                _bar(container, result).ljust(_BAR),
            )
        )
        if container.message or container.state != "terminated":
            text = f"{container.reason}: {container.message}".replace("\n", " ")
            lines.append(cut(f"{'':10}{text}"))
    return lines


def _shorten(line: str) -> str:
    """The executor's log lines without the date and names that every line has."""
    match = _LOG_LINE.match(line)
    if not match:
        return line
    return f"{match[1]} {match[2]:<5} {line[match.end() :].removesuffix(' argo=true')}"


def logs(result: PodResult) -> list[str]:
    """The ends of the containers' logs."""
    lines = []
    for container in result.containers.values():
        own = container.log.splitlines()
        more = f" (last {_LOG_LINES} of {len(own)} lines)" if len(own) > _LOG_LINES else ""
        if own:
            lines.append(f"{container.name}{more}")
            lines += [cut(f"  | {_shorten(line)}", WIDTH - 2) for line in own[-_LOG_LINES:]]
    return lines


def objects(stored: dict[str, int]) -> list[str]:
    return [f"{size(count):>12}  {cut(key, WIDTH - 14)}" for key, count in sorted(stored.items())]


def task_result(run: PodRun) -> list[str]:
    """The parts of the object that the controller reads."""
    found = run.task_result
    if not found:
        return ["none was written"]
    relevant: dict[str, Any] = {
        "metadata": {key: found["metadata"].get(key) for key in ("name", "labels")},
        "outputs": found.get("outputs"),
    }
    lines = json.dumps(relevant, indent=2).splitlines()
    if len(lines) > _JSON_LINES:
        lines = [*lines[:_JSON_LINES], f"... {len(lines) - _JSON_LINES} more lines"]
    return [cut(line, WIDTH - 2) for line in lines]


def table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their longest cell, numbers to the right of the first one."""
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    lines = []
    for row in [titles, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("   ".join(cells))
    lines.insert(1, "   ".join("-" * width for width in widths))
    return lines
