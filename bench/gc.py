"""The rows of artifact GC: ten thousand objects, near and far."""

from __future__ import annotations

import http.client
import time
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
# Of the yardstick: the rest takes as long.
SAMPLE = 200
POD_SECONDS = 1800


@dataclass
class Outcome:
    seconds: float
    resident: float
    requests: float
    is_done: bool


def _artifacts(nodes: int) -> dict[str, Json]:
    """COUNT artifacts, the objects of have_objects() below gc/."""
    found: dict[str, Json] = {f"wf-{node:04}": {} for node in range(nodes)}
    names = list(found)
    for number in range(COUNT):
        key = f"gc/{number // 1000:03d}/{number:06d}"
        found[names[number * nodes // COUNT]][f"a{number}"] = {"s3": {"key": key}}
    return found


def _directory() -> dict[str, Json]:
    return {"wf": {"d": {"s3": {"key": "gc/"}}}}


def _delete(yard: Yard, subject: Subject, nodes: dict[str, Json], delay_us: int) -> Outcome:
    lab = yard.lab
    yard.forget("gc")
    yard.have_objects("gc", COUNT, 10)
    lab.api.clear()
    with yard.distance(delay_us=delay_us) as relay:
        place = lab.location(relay.endpoint)
        lab.add_task(nodes, **dict.fromkeys(nodes, place))
        options: Json = {
            "executor": str(subject.binary), "controller": False, "sample_seconds": SAMPLE_SECONDS
        }  # fmt: skip
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
    return Outcome(main.seconds or 0.0, peak, float(requests), is_done)


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
    yard: Yard, subjects: list[Subject], what: str, nodes: dict[str, Json], delay_us: int
) -> list[Figure]:
    least = 10 if delay_us else 3
    with yard.distance(delay_us=delay_us) as relay:
        plain = _one_by_one(yard, relay, len(nodes) > 1)
    ours, *others = [_delete(yard, subject, nodes, delay_us) for subject in subjects]
    label = f"gc: {COUNT} objects, {what}, {delay_us / 1000:g} ms away"
    times = [other.seconds for other in others]
    return [
        Figure("gc", label, "s", [ours.seconds], ratio=1 / least, beside=times),
        Figure("gc", "  times faster than one by one", "x", [plain / ours.seconds],
               [Bar(least, is_least=True)]),
        Figure("gc", "  peak resident", "MB", [ours.resident], [Bar(PEAK)],
               beside=[other.resident for other in others]),
        Figure("gc", "  requests", "", [ours.requests], [Bar(COUNT * 0.01)],
               beside=[other.requests for other in others]),
        Figure("gc", "  all gone, results complete", "", [float(ours.is_done)],
               [Bar(1, is_least=True)]),
    ]  # fmt: skip


def gc(yard: Yard, subjects: list[Subject]) -> list[Figure]:
    """As artifacts of a hundred nodes, and as one directory."""
    found = []
    for what, nodes in (("an artifact each", _artifacts(100)), ("one directory", _directory())):
        for delay_us in (0, FAR_US):
            found += _row(yard, subjects, what, nodes, delay_us)
    return found
