"""Measured figures, their bars, and how both are shown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

MB = 1e6
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
# Unit -> how it is shown.
UNITS = {
    "ms": (1e-3, "ms"),
    "s": (1.0, "s"),
    "MB": (MB, "MB"),
    "KiB": (KIB, "KiB"),
    "MB/s": (MB, "MB/s"),
    "x": (1.0, "x"),
    "": (1.0, ""),
}


@dataclass(frozen=True)
class Bar:
    """What `statistic` of a figure must not exceed, or reach if is_least; seconds, bytes or plain."""

    limit: float
    statistic: str = "median"
    is_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.is_least else value <= self.limit

    @property
    def sign(self) -> str:
        return ">=" if self.is_least else "<="


@dataclass
class Figure:
    """Samples of one thing; seconds, bytes or plain numbers, shown in `unit`."""

    name: str
    what: str
    unit: str
    samples: list[float]
    bars: list[Bar] = field(default_factory=list)

    def statistic(self, name: str) -> float:
        ordered = sorted(self.samples)
        if name == "median":
            return statistics.median(ordered)
        if name == "p99":
            return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return ordered[0] if name == "min" else ordered[-1]

    def shown(self, value: float) -> str:
        scale, unit = UNITS[self.unit]
        digits = 0 if self.unit == "" else 2
        return f"{value / scale:,.{digits}f} {unit}".rstrip()

    @property
    def is_met(self) -> bool:
        return all(bar.is_met(self.statistic(bar.statistic)) for bar in self.bars)

    @property
    def bar_text(self) -> str:
        return ", ".join(
            f"{bar.statistic} {bar.sign} {self.shown(bar.limit)}" if len(self.samples) > 1 else
            f"{bar.sign} {self.shown(bar.limit)}"
            for bar in self.bars
        )  # fmt: skip

    @property
    def verdict(self) -> str:
        if not self.bars:
            return ""
        return "PASS" if self.is_met else "FAIL"

    def cells(self) -> tuple[str, ...]:
        values = [self.shown(self.statistic(name)) for name in ("min", "median", "p99")]
        if len(self.samples) == 1:
            values = ["", values[1], ""]
        return (self.what, *values, self.bar_text, self.verdict)


TITLES = ("what", "min", "median", "p99", "bar", "")


def text_table(figures: list[Figure]) -> list[str]:
    """For a terminal."""
    rows = [TITLES, *(figure.cells() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(TITLES))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4])]
        cells += [row[4].ljust(widths[4]), row[5]]
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown_table(figures: list[Figure]) -> list[str]:
    """For a README."""
    lines = ["| what | min | median | p99 | bar | |", "|---|---:|---:|---:|---|---|"]
    return lines + ["| " + " | ".join(figure.cells()) + " |" for figure in figures]
