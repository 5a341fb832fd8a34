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
    # What the median may be of the reference's, and that one's samples of the same run.
    ratio: float | None = None
    beside: list[float] = field(default_factory=list)
    # What the reference took elsewhere: told, not judged.
    recorded: str = ""

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
    def measured_ratio(self) -> float:
        """Ours beside the reference's."""
        return self.statistic("median") / (statistics.median(self.beside) or 1e-9)

    @property
    def is_judged(self) -> bool:
        return bool(self.bars or (self.beside and self.ratio))

    @property
    def is_met(self) -> bool:
        if self.beside and self.ratio and self.measured_ratio > self.ratio:
            return False
        return all(bar.is_met(self.statistic(bar.statistic)) for bar in self.bars)

    @property
    def bar_text(self) -> str:
        texts = [
            f"{bar.statistic} {bar.sign} {self.shown(bar.limit)}" if len(self.samples) > 1 else
            f"{bar.sign} {self.shown(bar.limit)}"
            for bar in self.bars
        ]  # fmt: skip
        return ", ".join([*texts, *([f"<= {self.ratio:g} x reference"] if self.ratio else [])])

    @property
    def reference_text(self) -> str:
        if self.beside:
            return f"{self.shown(statistics.median(self.beside))}: {self.measured_ratio:.3f} x"
        return f"{self.recorded} (recorded)" if self.recorded else ""

    @property
    def verdict(self) -> str:
        if not self.is_judged:
            return ""
        return "PASS" if self.is_met else "FAIL"

    def cells(self) -> tuple[str, ...]:
        values = [self.shown(self.statistic(name)) for name in ("min", "median", "p99")]
        if len(self.samples) == 1:
            values = ["", values[1], ""]
        return (self.what, *values, self.bar_text, self.reference_text, self.verdict)


TITLES = ("what", "min", "median", "p99", "bar", "reference", "")


# Argo's executor 4.1.2 on a machine of 2 cores with versitygw on a tmpfs, by row and figure.
RECORDED = {
    "out-1g": {"time": "8.6 to 16 s", "cpu": "4.8 s", "resident": "1.2 to 2.3 GB"},
    "out-1g-targz": {"time": "57 to 60 s", "cpu": "55 s", "resident": "0.8 GB", "extra": "649 MiB"},
    "out-1g-own": {"time": "82 s", "held": "59 to 66 s", "written": "2.3 GB"},
    "out-1g-own-targz": {"time": "72 to 84 s", "held": "63 to 75 s", "extra": "2 x 649 MiB"},
    "out-10k": {"time": "12 s", "requests": "10,001"},
    "out-10k-own-targz": {"time": "4.1 s"},
    "out-100-own-targz": {"time": "9.5 to 13.7 s"},
    "in-1g": {"time": "2.1 to 2.6 s", "resident": "90 MB"},
    "in-1g-targz": {"time": "5.7 to 7.3 s", "extra": "0.65 GB"},
    "in-10k-targz": {"time": "1.35 s"},
    "in-1000": {"time": "2.1 s", "requests": "2,004"},
    "in-20": {"time": "0.35 s", "requests": "60"},
    "500-for-20s": {"requests": "33 to 41"},
    "cut-in": {"time": "exit 64 after 11 s"},
    "cut-out": {"time": "exit 64 after 70 s"},
    "stall": {"time": "hung after 150 s"},
}


def text_table(figures: list[Figure]) -> list[str]:
    """For a terminal."""
    rows = [TITLES, *(figure.cells() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(TITLES))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4])]
        cells += [row[4].ljust(widths[4]), row[5].ljust(widths[5]), row[6]]
        lines.append("  ".join(cells).rstrip())
    return lines


def markdown_table(figures: list[Figure]) -> list[str]:
    """For a README."""
    lines = ["| what | min | median | p99 | bar | reference | |"]
    lines += ["|---|---:|---:|---:|---|---|---|"]
    return lines + ["| " + " | ".join(figure.cells()) + " |" for figure in figures]
