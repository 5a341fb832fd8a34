"""The rows of artifact GC: ten thousand objects, near and far."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import data
from bench.figures import MB, Bar, Figure
from bench.subject import Subject
from bench.yard import SAMPLE_SECONDS, Json, Yard
from tests.lab import BUCKET
from tests.servers.relay import Relay

COUNT = 10_000 // data.SCALE
FAR_US = 5_000
PEAK = 24 * MB
NODES = 100
# Of the yardstick: the rest takes as long.
SAMPLE = 200
# Of the artifacts, to the reference: it keeps a connection for each, and descriptors are limited.
PORTION = 2
POD_SECONDS = 1800
NodesMaker = Callable[[int], dict[str, Json]]


@dataclass
class Outcome:
    seconds: float
    resident: float
    requests: float
    is_done: bool


def _artifacts(count: int) -> dict[str, Json]:
    """The objects of have_objects() below gc/, as artifacts of a hundred nodes."""
    found: dict[str, Json] = {f"wf-{node:04}": {} for node in range(NODES)}
    names = list(found)
    for number in range(count):
        key = f"gc/{number // 1000:03d}/{number:06d}"
        found[names[number * NODES // count]][f"a{number}"] = {"s3": {"key": key}}
    return found


def _directory(_count: int) -> dict[str, Json]:
    return {"wf": {"d": {"s3": {"key": "gc/"}}}}


def _delete(yard: Yard, subject: Subject, make_nodes: NodesMaker, delay_us: int) -> Outcome:
    """Seconds and requests are those of COUNT objects."""
    lab = yard.lab
    portion = PORTION if make_nodes is _artifacts and not subject.is_ours else 1
    count = COUNT // portion
    nodes = make_nodes(count)
    yard.forget("gc")
    yard.have_objects("gc", count, 10)
    lab.api.clear()
    with yard.distance(delay_us=delay_us) as relay:
        place = lab.location(relay.endpoint)
        lab.add_task(nodes, **dict.fromkeys(nodes, place))
        options: Json = {
            "executor": str(subject.binary),
            "controller": False,
            "sample_seconds": SAMPLE_SECONDS,
            # Those of a controller's pods are ours to keep: in 64 MiB the reference dies half-way.
            "memory_limits": subject.is_ours,
        }
        # Ten thousand lines would be the runner's to read.
        pod = lab.pod(log_level="info")
        with lab.runner(pod, api=lab.account(), **options) as runner:
            main = runner.run(POD_SECONDS).containers["main"]
        requests = relay.counts()["requests"]
    outcome = lab.outcome()
    is_done = main.exit_code == 0 and set(outcome.values()) == {True}
    is_done = is_done and len(outcome) == sum(len(node) for node in nodes.values())
    is_done = is_done and not any(path.is_file() for path in (yard.stored / "gc").rglob("*"))
    peak = float(main.peak_rss or main.max_rss or 0)
    return Outcome((main.seconds or 0.0) * portion, peak, float(requests * portion), is_done)


def _one_by_one(yard: Yard, relay: Relay, is_client_each: bool) -> float:
    """Seconds for COUNT objects, one behind the other, all signed before.

    IS_CLIENT_EACH: as Argo's executor deletes artifacts, each with a client of its own: it connects,
    asks for the bucket's region, and deletes. Else as it deletes the objects of a directory.
    """
    yard.forget("single")
    yard.have_objects("single", SAMPLE, 10)
    client = yard.gateway.client()
    keys = [f"single/000/{number:06d}" for number in range(SAMPLE)]
    asks = [("GET", *client.sign("GET", f"/{BUCKET}", {"location": ""})[:2])] if is_client_each else []
    signed = [
        [*asks, ("DELETE", *client.sign("DELETE", f"/{BUCKET}/{key}")[:2])] for key in keys
    ]  # fmt: skip
    connection = http.client.HTTPConnection(relay.host, relay.port)
    began = time.monotonic()
    for requests in signed:
        for verb, target, headers in requests:
            connection.request(verb, target, headers=dict(headers))
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{verb} {target}: {answer.status}")
        if is_client_each:
            connection.close()
    seconds = time.monotonic() - began
    connection.close()
    return seconds * COUNT / SAMPLE


def _row(
    yard: Yard, subjects: list[Subject], what: str, make_nodes: NodesMaker, delay_us: int
) -> list[Figure]:
    least = 10 if delay_us else 3
    with yard.distance(delay_us=delay_us) as relay:
        plain = _one_by_one(yard, relay, make_nodes is _artifacts)
    ours, *others = [_delete(yard, subject, make_nodes, delay_us) for subject in subjects]
    label = f"gc: {COUNT} objects, {what}, {delay_us / 1000:g} ms away"
    faster = [
        # Whoever has not done it all has no time.
        Figure("gc", f"  times faster than the {subject.label}", "x",
               [other.seconds / ours.seconds if other.is_done else 0.0], [Bar(least, is_least=True)])
        for subject, other in zip(subjects[1:], others)
    ]  # fmt: skip
    return [
        Figure("gc", label, "s", [ours.seconds], beside=[other.seconds for other in others]),
        *faster,
        Figure("gc", "  times faster than one by one", "x", [plain / ours.seconds],
               [Bar(least, is_least=True)]),
        Figure("gc", "  peak resident", "MB", [ours.resident], [Bar(PEAK)],
               beside=[other.resident for other in others]),
        Figure("gc", "  requests", "", [ours.requests], [Bar(COUNT * 0.01)],
               beside=[other.requests for other in others]),
        Figure("gc", "  all gone, results complete", "", [float(ours.is_done)],
               [Bar(1, is_least=True)], beside=[float(other.is_done) for other in others]),
    ]  # fmt: skip


def gc(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """As artifacts of a hundred nodes, and as one directory."""
    found = []
    for what, make_nodes in (("an artifact each", _artifacts), ("one directory", _directory)):
        for delay_us in (0, FAR_US):
            found += _row(yard, subjects, what, make_nodes, delay_us)
    return found
