"""A transfer that takes longer than ten seconds is logged every ten seconds: which, how far, how fast.

Of an upload what the store has confirmed counts, part by part.
"""

from __future__ import annotations

import os
import re

from tests.lab import BUCKET, Lab
from tests.scenario import Step, artifact, location, mount
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20
SIZE = 30 * MIB


def lines(log: str, message: str) -> list[tuple[int, int, int]]:
    """Bytes, of how many, and bytes in a second, of each such line."""
    pattern = rf'msg="{message}" artifactName=a bytes=(\d+) bytesTotal=(\d+) bytesPerSecond=(\d+)'
    return [(int(a), int(b), int(c)) for a, b, c in re.findall(pattern, log)]


def check(found: list[tuple[int, int, int]], seconds: float) -> None:
    assert seconds // 10 - 1 <= len(found) <= seconds // 10 + 1, (found, seconds)
    assert all(total == SIZE and 0 <= done < SIZE for done, total, _ in found), found
    assert [done for done, _, _ in found] == sorted(done for done, _, _ in found)
    for number, (done, _, rate) in enumerate(found):
        assert 0.8 * done / (10.5 * (number + 1)) <= rate <= 1.2 * done / (10 * (number + 1)), found


def test_in_and_out(lab: Lab) -> None:
    key = f"long/{os.urandom(8).hex()}"
    lab.s3.client().put(BUCKET, f"{key}/a", os.urandom(SIZE))
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="GET", path="/a", action={"kind": "rate", "bytes_per_s": MIB // 2})
        proxy.faults.add(verb="PUT", path="/b", action={"kind": "rate", "bytes_per_s": MIB // 2})
        step = Step(
            lab,
            "cp /in/a /v/b",
            inputs=[
                artifact("a", "/in/a", location(lab, f"{key}/a", proxy.endpoint), archive={"none": {}})
            ],
            artifacts=[
                artifact("a", "/v/b", location(lab, f"{key}/b", proxy.endpoint), archive={"none": {}})
            ],
            mounts=[mount("v", "/v")],
        )
        run = step.run(300).result
    assert {c.exit_code for c in run.containers.values()} == {0}
    for container, message in (("init", "Still loading artifact"), ("wait", "Still saving artifact")):
        result = run.containers[container]
        print(container, lines(result.log, message))
        assert result.started is not None and result.finished is not None
        check(lines(result.log, message), result.finished - result.started)
