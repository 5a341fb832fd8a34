"""The rows of faults: what a bad server or network costs, in requests, bytes and time."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from bench import data
from bench.figures import MIB, RECORDED, Bar, Figure
from bench.subject import Subject
from bench.yard import Json, Outcome, Yard
from tests.pod import PodRunner
from tests.servers.dns_blackhole import DnsBlackhole
from tests.servers.ports import wait_until
from tests.servers.relay import Relay

OUTAGE_SECONDS = 3 if data.QUICK else 20
DISTURBED_SECONDS = 0.5 if data.QUICK else 5
SLOW_DELAY_US = 20_000
CUT_BYTES = 8 * MIB
# A part of an upload on a link that keeps cutting.
SMALL_PART = 5 * MIB
STALL_BYTES = 2 * MIB if data.QUICK else 8 * MIB
STALL_SECONDS = 60
START_SECONDS = 60
SAMPLE_SECONDS = 0.05
STOP_SECONDS = 0.1
# How often and of what class: what the final message of a failure has to tell.
TELLING = re.compile(r"\d+ attempts?.*(transient|InternalError)", re.DOTALL)

During = Callable[[PodRunner], None]
Column = tuple[str, str, str, Callable[[Outcome], float], list[Bar]]


def _in(key: str) -> Callable[[Yard, str], Json]:
    artifacts = [{"name": "in", "path": "/work/in", "s3": {"key": key}}]
    return lambda yard, endpoint: yard.template(endpoint, artifacts, [], "work")


def _out(path: str) -> Callable[[Yard, str], Json]:
    fields = {"archive": {"none": {}}, "s3": {"key": "out/file"}}
    artifacts = [{"name": "out", "path": f"/data/{path}", **fields}]
    return lambda yard, endpoint: yard.template(endpoint, [], artifacts, "data")


def _trials(
    yard: Yard,
    subjects: list[Subject],
    template: Callable[[Yard, str], Json],
    is_input: bool,
    during: During = lambda runner: None,
    **settings: int,
) -> list[Outcome]:
    """A pod for each subject, behind the relay with these settings."""
    outcomes = []
    for subject in subjects:
        yard.forget("out")
        with yard.distance(**settings) as relay:
            made = template(yard, relay.endpoint)
            outcome = yard.run(subject, made, is_input, during=during)
            outcome.counts = relay.counts()
        outcomes.append(outcome)
    return outcomes


def _figures(name: str, what: str, outcomes: list[Outcome], columns: list[Column]) -> list[Figure]:
    """The first outcome is ours."""
    recorded = RECORDED.get(name, {})
    ours, *others = outcomes
    if not ours.is_ok:
        print(f"bench: {name}: {ours.message[-1000:]}")
    all_columns: list[Column] = [("time", f"{name}: {what}", "s", lambda o: o.seconds, [])]
    all_columns += columns
    return [
        Figure(
            name,
            label,
            unit,
            [value(ours)],
            bars,
            beside=[value(other) for other in others],
            recorded=recorded.get(key, ""),
        )
        for key, label, unit, value, bars in all_columns
    ]


def _done(is_ok: bool = True) -> Column:
    what = "  succeeded" if is_ok else "  failed"
    return ("done", what, "", lambda o: float(o.is_ok == is_ok), [Bar(1, is_least=True)])


def _requests(limit: float) -> Column:
    return ("requests", "  requests", "", lambda o: o.counts["requests"], [Bar(limit)])


# --- refusals ------------------------------------------------------------------------------


def _object(yard: Yard) -> str:
    """A small one."""
    if not (yard.stored / "in/fault").exists():
        yard.have_objects("in/fault", 1, 1000)
    return "in/fault/000/000000"


def _then_well(relay: Relay, seconds: float) -> During:
    """So long after the first refusal the server is well again."""

    def during(runner: PodRunner) -> None:
        is_refused = lambda: relay.counts()["refused"] > 0 or runner.ended  # noqa: E731
        wait_until(is_refused, "a request", START_SECONDS)
        time.sleep(seconds)
        relay.set(refuse_status=0)

    return during


def outage(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """500 for 20 s, for a download and for an upload."""
    during = _then_well(yard.relay, OUTAGE_SECONDS)
    always = {"refuse_status": 500, "refuse_percent": 100}
    small = next(yard.have(data.pieces()).iterdir())
    figures = []
    for what, template, is_input in (
        ("down", _in(_object(yard)), True),
        ("up", _out(f"{small.parent.name}/{small.name}"), False),
    ):
        outcomes = _trials(yard, subjects, template, is_input, during, **always)
        what = f"500 for {OUTAGE_SECONDS} s, {what}"
        figures += _figures("500-for-20s", what, outcomes, [_done(), _requests(15)])
    return figures


def for_ever(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """500 for ever: an end, and a message that tells."""
    always = {"refuse_status": 500, "refuse_percent": 100}
    outcomes = _trials(yard, subjects[:1], _in(_object(yard)), True, **always)
    tells = lambda o: float(bool(TELLING.search(o.message)))  # noqa: E731
    columns: list[Column] = [
        _done(False),
        _requests(25),
        ("tells", "  message tells attempts and class", "", tells, [Bar(1, is_least=True)]),
    ]
    figures = _figures("500-for-ever", "500 for ever, down", outcomes, columns)
    figures[0].bars = [Bar(60, is_least=True), Bar(120)]
    return figures


class _Load(threading.Thread):
    """Samples how many requests the server has answered."""

    def __init__(self, relay: Relay):
        super().__init__(daemon=True)
        self._relay = relay
        self._done = threading.Event()
        self.samples: list[tuple[float, int]] = []

    def run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.samples.append((time.monotonic(), self._relay.counts()["answers"]))

    def stop(self) -> None:
        self._done.set()
        self.join()

    def rate(self, since: float) -> float:
        """Answers a second from then to the last one, without the slow ends."""
        most = self.samples[-1][1]
        busy = [sample for sample in self.samples if sample[0] >= since and sample[1] < most]
        if len(busy) < 3:
            raise RuntimeError("the transfer was over before its rate could be seen")
        return (busy[-1][1] - busy[0][1]) / (busy[-1][0] - busy[0][0])


def slow_down(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """503 SlowDown for 30 % of requests for 5 s, amid a prefix of many objects."""
    count = 10_000 // data.SCALE
    yard.have_objects("in/slow", count, 1000)
    figures, rates = [], []
    for is_disturbed in (False, True):
        load = _Load(yard.relay)
        ends: list[float] = []

        def during(runner: PodRunner, load: _Load = load, ends: list[float] = ends) -> None:
            load.start()
            answers = lambda: yard.relay.counts()["answers"]  # noqa: E731
            wait_until(lambda: answers() > count / 20 or runner.ended, "requests", START_SECONDS)
            if is_disturbed:
                yard.relay.set(refuse_status=503, refuse_percent=30)
                time.sleep(DISTURBED_SECONDS)
                yard.relay.set(refuse_status=0)
            ends.append(time.monotonic())

        # So far away that the transfer takes longer than the disturbance.
        far = {"delay_us": SLOW_DELAY_US}
        outcomes = _trials(yard, subjects[:1], _in("in/slow"), True, during, **far)
        load.stop()
        rates.append(load.rate(ends[0]))
        columns = [_done(), _requests(1.5 * (count + 11))]
        fault = f", 30 % SlowDown for {DISTURBED_SECONDS:g} s" if is_disturbed else ""
        what = f"{count} objects, {SLOW_DELAY_US // 1000} ms{fault}"
        figures += _figures("slow-down", what, outcomes, columns)
    yard.forget("in/slow")
    ratio = rates[1] / rates[0]
    what = "  requests a second afterwards, of undisturbed ones"
    return [*figures, Figure("slow-down", what, "x", [ratio], [Bar(0.7, is_least=True)])]


# --- connections ---------------------------------------------------------------------------


def _resent(size: int, direction: str) -> Callable[[Outcome], float]:
    return lambda o: (o.counts[direction] - size) / max(1, o.counts["cuts"])


def _cut_columns(size: int, direction: str) -> list[Column]:
    return [
        _done(),
        ("cuts", "  cuts", "", lambda o: o.counts["cuts"], [Bar(1, is_least=True)]),
        ("resent", "  moved again for each cut", "MB", _resent(size, direction),
         [Bar(2 * SMALL_PART)]),
    ]  # fmt: skip


def cut(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """Every connection breaks after 8 MiB."""
    source = yard.have(data.quarter())
    size = source.stat().st_size
    yard.have_object("in/quarter", source)
    label = f"{size // MIB} MiB, cut at each 8 MiB"
    outcomes = _trials(yard, subjects, _in("in/quarter"), True, cut_bytes=CUT_BYTES)
    figures = _figures("cut-in", f"{label}, down", outcomes, _cut_columns(size, "down_bytes"))
    outcomes = _trials(yard, subjects, _out(source.name), False, cut_bytes=CUT_BYTES)
    is_whole = yard.is_same("out/file", source)
    figures += _figures("cut-out", f"{label}, up", outcomes, _cut_columns(size, "up_bytes"))
    bars = [Bar(1, is_least=True)]
    return [*figures, Figure("cut-out", "  object is the file", "", [float(is_whole)], bars)]


def stall(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """The first connections fall silent in the middle; those after them are well."""
    source = yard.have(data.quarter())
    yard.have_object("in/quarter", source)
    relay = yard.relay

    def during(runner: PodRunner) -> None:
        wait_until(lambda: relay.counts()["stalls"] > 0 or runner.ended, "a stall", START_SECONDS)
        relay.set(stall_bytes=0)

    figures = []
    for what, template, is_input in (
        ("down", _in("in/quarter"), True),
        ("up", _out(source.name), False),
    ):
        silent = {"stall_bytes": STALL_BYTES}
        outcomes = _trials(yard, subjects[:1], template, is_input, during, **silent)
        found = _figures("stall", f"server falls silent, {what}", outcomes, [_done()])
        found[0].bars = [Bar(STALL_SECONDS * 1.5)]
        figures += found
    return figures


def _stop(
    yard: Yard, subject: Subject, template: Json, is_there: Callable[[], bool], **options: Any
) -> float:
    """From SIGTERM to the end of an init that waits for something."""
    times: list[float] = []

    def during(runner: PodRunner) -> None:
        wait_until(is_there, "what init waits for", START_SECONDS)
        times.append(time.time())
        runner.signal("init", signal.SIGTERM)
        runner.wait_state("init", "terminated", START_SECONDS)
        times.append(runner.containers["init"].finished or 0.0)

    yard.run(subject, template, True, during=during, **options)
    return times[1] - times[0]


def stop(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """SIGTERM to an init whose download has stalled, and to one whose name server is dead."""
    yard.have_object("in/quarter", yard.have(data.quarter()))
    stalled, dead = [], []
    for _ in range(5):
        with yard.distance(stall_bytes=STALL_BYTES) as relay:
            template = _in("in/quarter")(yard, relay.endpoint)
            is_there = lambda: relay.counts()["stalls"] > 0  # noqa: E731
            stalled.append(_stop(yard, subjects[0], template, is_there))
        with DnsBlackhole() as dns:
            template = _in("in/quarter")(yard, "store.example:9000")
            is_asked = lambda: dns.questions > 0  # noqa: E731
            options = {"resolv_conf": dns.resolv_conf}
            dead.append(_stop(yard, subjects[0], template, is_asked, **options))
    what, bar = "stop: SIGTERM -> init gone", Bar(STOP_SECONDS)
    return [
        Figure("stop", f"{what}, stalled download", "ms", stalled, [bar]),
        Figure("stop", f"{what}, dead name server", "ms", dead, [bar]),
    ]


FAULTS: dict[str, Callable[[Yard, list[Subject]], list[Figure]]] = {
    "500-for-20s": outage,
    "500-for-ever": for_ever,
    "slow-down": slow_down,
    "cut": cut,
    "stall": stall,
    "stop": stop,
}
