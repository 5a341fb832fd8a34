"""The artifact rows: outputs and inputs of the shapes that workflows have.

Each row is a pod's template, run RUNS times for ours and, if there is one, for the reference, in
turns, with a plain curl of the same bytes in between where that is the same work.
"""

from __future__ import annotations

import functools
import os
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import data
from bench.figures import KIB, MB, MIB, RECORDED, Bar, Figure
from bench.subject import Subject
from bench.yard import Json, Outcome, Yard

RUNS = int(os.environ.get("RUNS", "3"))
# No further round once a row has taken this long: the reference needs a minute for one.
ROW_SECONDS = 60.0
PEAK = 48 * MB
# Log lines, exit codes, the termination message.
SMALL = 128 * KIB
HELD_SECONDS = 0.05
MEMORY_LIMIT = "32Mi"
NONE: Json = {"archive": {"none": {}}}
FAR = {"delay_us": 20_000, "bytes_a_second": 40_000_000}
SERVER_DELAY = {"delay_us": 5_000}


@dataclass(frozen=True)
class Row:
    """What one row moves and what it may take; ratios are of the reference's."""

    name: str
    what: str
    # Inputs or outputs of the template, and the volume that they are in, at /work or /data.
    artifacts: Callable[[Yard], list[Json]]
    is_input: bool
    volume: str = ""
    check: Callable[[Yard], str] = lambda yard: ""
    ratio: float | None = None
    cpu_ratio: float | None = None
    distance: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    # The object to fetch or the file to send with curl for comparison.
    curl: Callable[[Yard], tuple[str, Path | None]] | None = None
    # Main goes at once, however large the output is.
    is_held_short: bool = False
    # Bytes of a tar.gz of level 6.
    usual: Callable[[], int] | None = None
    unpacked: Callable[[], int] = lambda: 0

    @property
    def recorded(self) -> dict[str, str]:
        return RECORDED.get(self.name, {})


def _clean(yard: Yard) -> None:
    yard.forget("out")


def one(yard: Yard, subject: Subject, row: Row, limit: str = "") -> Outcome:
    """One pod; a RuntimeError if it did not do its work."""
    _clean(yard)
    is_direct = not row.distance and not row.requests
    endpoint = yard.gateway.endpoint if is_direct else yard.relay.endpoint
    artifacts = row.artifacts(yard)
    pair = (artifacts, []) if row.is_input else ([], artifacts)
    template = yard.template(endpoint, *pair, row.volume)
    with yard.distance(**row.distance) as relay:
        outcome = yard.run(subject, template, row.is_input, limit)
        outcome.counts = relay.counts()
    if not outcome.is_ok:
        raise RuntimeError(f"{row.name}, {subject.label}: {outcome.message[-1500:]}")
    if row.is_input and outcome.arrived != row.unpacked():
        text = f"{outcome.arrived} of {row.unpacked()} bytes have arrived"
        raise RuntimeError(f"{row.name}, {subject.label}: {text}")
    if wrong := row.check(yard):
        raise RuntimeError(f"{row.name}, {subject.label}: {wrong}")
    return outcome


def _stored_size(yard: Yard) -> float:
    return float(sum(path.stat().st_size for path in (yard.stored / "out").rglob("*.tgz")))


def _rounds(row: Row, yard: Yard, subjects: list[Subject]) -> tuple[dict[str, Any], list[float]]:
    """Outcomes by subject, and what curl took."""
    found: dict[str, Any] = {subject.label: [] for subject in subjects}
    found["sizes"] = []
    curls: list[float] = []
    began = time.monotonic()
    for number in range(RUNS):
        if number and time.monotonic() - began > ROW_SECONDS:
            break
        for subject in subjects:
            try:
                found[subject.label].append(one(yard, subject, row))
            except RuntimeError as error:
                if subject.is_ours:
                    raise
                print(f"bench: {error}", flush=True)
            if row.usual and subject.is_ours:
                found["sizes"].append(_stored_size(yard) / row.usual())
        if row.curl:
            _clean(yard)
            curls.append(yard.curl(*row.curl(yard)))
    _clean(yard)
    return found, curls


def measure(row: Row, yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """All figures of a row."""
    found, curls = _rounds(row, yard, subjects)
    ours, others = found["ours"], found.get("reference", [])

    def figure(
        key: str, what: str, unit: str, value: Callable[[Outcome], float], *bars: Bar, **more: Any
    ) -> Figure:
        return Figure(
            row.name,
            what,
            unit,
            [value(outcome) for outcome in ours],
            list(bars),
            beside=[value(outcome) for outcome in others],
            recorded=row.recorded.get(key, ""),
            **more,
        )

    peak = Bar(PEAK, "max")
    written = row.unpacked() + SMALL
    name = f"{row.name}: {row.what}"
    figures = [figure("time", name, "s", lambda o: o.seconds, ratio=row.ratio)]
    if curls:
        figures.append(Figure(row.name, "  curl beside it", "s", curls))
    if not row.is_input and not row.volume:
        bar = Bar(HELD_SECONDS)
        bars = [Bar(HELD_SECONDS)] if row.is_held_short else []
        figures.append(figure("held", "  main held", "ms", lambda o: o.held, *bars))
    figures += [
        figure("cpu", "  CPU", "s", lambda o: o.cpu, ratio=row.cpu_ratio),
        figure("resident", "  peak resident, all processes", "MB", lambda o: o.resident, peak),
        figure("anonymous", "  anonymous", "MB", lambda o: o.anonymous),
        figure("written", "  written", "MB", lambda o: max(0, o.written), Bar(written, "max")),
        figure("extra", "  extra space", "MB", lambda o: max(0, o.extra), Bar(MIB, "max")),
    ]
    if row.usual:
        bar = Bar(1.05, "max")
        figures.append(Figure(row.name, "  size, of gzip -6's", "x", found["sizes"], [bar]))
    if row.requests:
        bar = Bar(row.requests, "max")
        figures.append(figure("requests", "  requests", "", lambda o: o.counts["requests"], bar))
    return figures


def under_limit(rows: list[Row], yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """Every row once in containers with a small limit of memory."""
    ours = subjects[0]
    failed = []
    charged = 0
    for row in rows:
        print(f"bench: {row.name} in {MEMORY_LIMIT}", flush=True)
        try:
            outcome = one(yard, ours, row, MEMORY_LIMIT)
        except RuntimeError as error:
            failed.append(row.name)
            print(f"bench: {error}", flush=True)
            continue
        if outcome.charged is None:
            print("bench: limit is left out: no control group of memory can be had here")
            return []
        charged = max(charged, outcome.charged)
    _clean(yard)
    what = f"limit: {len(rows)} rows in containers of {MEMORY_LIMIT}: failed {' '.join(failed)}"
    return [
        Figure("limit", what.removesuffix(": failed "), "", [float(len(failed))], [Bar(0)]),
        Figure("limit", "  most that was charged, page cache too", "MB", [float(charged)]),
    ]


# --- the rows ------------------------------------------------------------------------------


def _output(name: str, path: str, **fields: Any) -> Json:
    return {"name": name, "path": path, **fields, "s3": {"key": f"out/{name}"}}


def _packed_output(name: str, path: str) -> Json:
    return {"name": name, "path": path, "s3": {"key": f"out/{name}.tgz"}}


def _input(name: str, key: str) -> Json:
    return {"name": name, "path": f"/work/{name}", "s3": {"key": key}}


def _out_large(yard: Yard) -> list[Json]:
    return [_output("large", f"/data/{yard.have(data.mixed()).name}", **NONE)]


def _out_large_packed(yard: Yard) -> list[Json]:
    return [_packed_output("large", f"/data/{yard.have(data.mixed()).name}")]


def _is_large_there(yard: Yard) -> str:
    is_same = yard.is_same("out/large", data.mixed())
    return "" if is_same else "the object is not what the file is"


def _packed_count(yard: Yard, key: str, expected: int) -> str:
    """Reads all of it, so that a broken archive is found."""
    with tarfile.open(yard.stored / key) as archive:
        found = sum(entry.size for entry in archive if entry.isfile())
    return "" if found == expected else f"{key}: {found} of {expected} bytes in the archive"


def _is_large_packed(yard: Yard) -> str:
    return _packed_count(yard, "out/large.tgz", data.LARGE)


def _out_files(yard: Yard) -> list[Json]:
    return [_output("files", f"/data/{yard.have(data.small_files()).name}", **NONE)]


def _out_files_packed(yard: Yard) -> list[Json]:
    return [_packed_output("files", f"/data/{yard.have(data.small_files()).name}")]


def _files_size() -> int:
    return sum(path.stat().st_size for path in data.small_files().rglob("*.csv"))


def _are_files_there(yard: Yard) -> str:
    stored = [path for path in (yard.stored / "out").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in stored)
    is_whole = len(stored) == data.FILES and size == _files_size()
    return "" if is_whole else f"{len(stored)} objects, {size} bytes"


def _are_files_packed(yard: Yard) -> str:
    return _packed_count(yard, "out/files.tgz", _files_size())


def _out_pieces(yard: Yard) -> list[Json]:
    paths = sorted(yard.have(data.pieces()).iterdir())
    place = f"/data/{data.pieces().name}"
    return [_packed_output(f"p{path.name}", f"{place}/{path.name}") for path in paths]


def _are_pieces_there(yard: Yard) -> str:
    count = len(list((yard.stored / "out").glob("*.tgz")))
    return "" if count == data.PIECES else f"{count} objects"


def _in_large(yard: Yard) -> list[Json]:
    yard.have_object("in/large", data.mixed())
    return [_input("large", "in/large")]


def _in_packed(source: Callable[[], Path]) -> Callable[[Yard], list[Json]]:
    def artifacts(yard: Yard) -> list[Json]:
        packed = data.packed(source())
        yard.have_object(f"in/{packed.name}", packed)
        return [_input("packed", f"in/{packed.name}")]

    return artifacts


def _in_many(count: int, size: int = 1000) -> Callable[[Yard], list[Json]]:
    def artifacts(yard: Yard) -> list[Json]:
        if not (yard.stored / f"in/many-{count}").exists():
            yard.have_objects(f"in/many-{count}", count, size)
        return [_input("many", f"in/many-{count}")]

    return artifacts


def _in_twenty(yard: Yard) -> list[Json]:
    _in_many(1000 // data.SCALE)(yard)
    key = f"in/many-{1000 // data.SCALE}/000"
    return [_input(f"in{number}", f"{key}/{number:06d}") for number in range(20)]


_PREFIX = 1000 // data.SCALE
# One page of a listing for each thousand, and what a directory may ask beside.
_PREFIX_REQUESTS = _PREFIX + 5


def _large(name: str, what: str, **fields: Any) -> Row:
    """1 GiB out as it is, from a volume or not."""
    source = lambda yard: ("out/large", yard.have(data.mixed()))  # noqa: E731
    return Row(name, what, _out_large, False, check=_is_large_there, curl=source, **fields)


def _large_packed(name: str, what: str, **fields: Any) -> Row:
    usual = lambda: data.packed(data.mixed()).stat().st_size  # noqa: E731
    return Row(name, what, _out_large_packed, False, check=_is_large_packed, usual=usual, **fields)


def _inward(name: str, what: str, artifacts: Callable[[Yard], list[Json]], **fields: Any) -> Row:
    return Row(name, what, artifacts, True, "work", **fields)


def _size_of(what: str) -> str:
    return f"{data.LARGE // MIB} MiB {what}"


ROWS = [
    _large("out-1g", _size_of("in a volume"), volume="data", ratio=0.6, cpu_ratio=0.5),
    _large_packed("out-1g-targz", _size_of("in a volume, tar.gz"), volume="data", ratio=0.15),
    _large("out-1g-own", _size_of("own files"), ratio=0.08, is_held_short=True),
    _large_packed(
        "out-1g-own-targz", _size_of("own files, tar.gz"), ratio=0.12, is_held_short=True,
    ),
    Row(
        "out-10k", f"{data.FILES} files in a volume, none", _out_files, False, "data",
        _are_files_there, 0.75,
    ),
    Row(
        "out-10k-5ms", f"{data.FILES} files, volume, none, 5 ms", _out_files, False, "data",
        _are_files_there, 0.12, distance=SERVER_DELAY, requests=data.FILES + 5,
    ),
    Row(
        "out-10k-own-targz", f"{data.FILES} own files, tar.gz", _out_files_packed, False,
        check=_are_files_packed, ratio=0.2,
    ),
    Row(
        "out-100-own-targz", f"{data.PIECES} artifacts of 1 MiB, own, tar.gz", _out_pieces, False,
        check=_are_pieces_there, ratio=0.12,
    ),
    _inward(
        "in-1g", _size_of("plain"), _in_large, ratio=1.0, cpu_ratio=0.8,
        curl=lambda yard: ("in/large", None), unpacked=lambda: data.LARGE,
    ),
    _inward(
        "in-1g-far", _size_of("plain, 20 ms, 40 MB/s a connection"), _in_large, ratio=0.4,
        distance=FAR, unpacked=lambda: data.LARGE,
    ),
    _inward(
        "in-1g-targz", _size_of("tar.gz"), _in_packed(data.mixed), ratio=0.6,
        unpacked=lambda: data.LARGE,
    ),
    _inward(
        "in-10k-targz", f"{data.FILES} files, tar.gz", _in_packed(data.small_files), ratio=0.5,
        unpacked=_files_size,
    ),
    _inward(
        "in-1000", f"prefix of {_PREFIX} small objects", _in_many(_PREFIX), ratio=0.3,
        unpacked=lambda: _PREFIX * 1000,
    ),
    _inward(
        "in-1000-5ms", f"prefix of {_PREFIX} small objects, 5 ms", _in_many(_PREFIX), ratio=0.1,
        distance=SERVER_DELAY, requests=_PREFIX_REQUESTS, unpacked=lambda: _PREFIX * 1000,
    ),
    _inward(
        "in-20", "20 small artifacts", _in_twenty, ratio=0.15, unpacked=lambda: 20_000,
    ),
    _inward(
        "in-20-requests", "20 small artifacts, counted", _in_twenty, requests=21,
        unpacked=lambda: 20_000,
    ),
]  # fmt: skip


def many(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """Ten times as many objects: ten times the time, and no more memory."""
    found = []
    counts = (10_000 // data.SCALE, 100_000 // data.SCALE)
    for count in counts:
        what = f"in-100k: prefix of {count} objects"
        size = functools.partial(int, count * 100)
        row = _inward("in-100k", what, _in_many(count, 100), requests=count, unpacked=size)
        outcome = one(yard, subjects[0], row)
        found.append(outcome)
        yard.forget(f"in/many-{count}")
    few, most = found
    growth = (most.anonymous - few.anonymous) / MB
    return [
        Figure("in-100k", f"in-100k: prefix of {counts[1]} objects", "s", [most.seconds]),
        Figure("in-100k", "  time, of 10 x that of a tenth", "x",
               [most.seconds / few.seconds / 10], [Bar(1.3)]),
        Figure("in-100k", "  anonymous memory more than with a tenth", "MB",
               [growth * MB], [Bar(4 * MB)]),
        Figure("in-100k", "  peak resident, all processes", "MB", [most.resident], [Bar(PEAK)]),
        Figure("in-100k", "  requests", "", [float(most.counts["requests"])],
               [Bar(counts[1] * 1.005)]),
    ]  # fmt: skip
