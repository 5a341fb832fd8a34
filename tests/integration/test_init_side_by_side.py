"""Inputs are loaded side by side, and nobody can tell but by the clock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import BUCKET, Lab
from tests.scenario import (
    Step,
    artifact,
    assert_failure,
    assert_ok,
    leftovers,
    location,
    mount,
    raw,
    tgz,
)
from tests.servers.fault_proxy import FaultProxy

DELAY_S = 1.0


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def put(lab: Lab, data: bytes) -> str:
    key = f"side-by-side/{os.urandom(8).hex()}"
    lab.s3.client().put(BUCKET, key, data)
    return key


def test_slow_objects_do_not_add_up(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    names = [f"a{i}" for i in range(4)]
    keys = [put(lab, name.encode()) for name in names]
    for key in keys:
        proxy.faults.add(verb="GET", path=key, action={"kind": "delay", "seconds": DELAY_S})
    inputs = [
        artifact(name, f"/in/{name}", location(lab, key, proxy.endpoint))
        for name, key in zip(names, keys, strict=True)
    ]
    run = Step(lab, inputs=inputs).only_init().run(volumes_dir=str(tmp_path))
    assert_ok(run)
    init = run.result.containers["init"]
    assert init.finished - init.started < len(names) * DELAY_S
    for name in names:
        assert (tmp_path / "input-artifacts" / name).read_text() == name


def test_one_failure_ends_all(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    slow = put(lab, b"slow")
    proxy.faults.add(verb="GET", path=slow, action={"kind": "delay", "seconds": 25})
    inputs = [
        artifact("slow", "/in/slow", location(lab, slow, proxy.endpoint)),
        artifact("missing", "/in/missing", location(lab, "side-by-side/none", proxy.endpoint)),
        *(artifact(f"later-{i}", f"/in/l{i}", raw("x")) for i in range(4)),
    ]
    run = Step(lab, inputs=inputs).only_init().run(volumes_dir=str(tmp_path))
    init = run.result.containers["init"]
    assert_failure(init, 64, "artifact missing failed to load")
    assert "artifact slow" not in init.message
    assert init.finished - init.started < 20
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("is_below", [True, False])
def test_places_in_a_volume_that_overlap(
    lab: Lab, tmp_path: Path, proxy: FaultProxy, is_below: bool
) -> None:
    """The later one comes on top, however long the earlier one takes."""
    key = put(lab, tgz({"top": None, "top/f": b"first", "top/g": b"first"}))
    proxy.faults.add(verb="GET", path=key, action={"kind": "delay", "seconds": DELAY_S})
    second = put(lab, tgz({"top": None, "top/f": b"second"}))
    inputs = [
        artifact("first", "/v/d", location(lab, key, proxy.endpoint)),
        artifact("second", "/v/d/f", raw("second"))
        if is_below
        else artifact("second", "/v/d", location(lab, second, proxy.endpoint)),
    ]
    step = Step(lab, inputs=inputs, mounts=[mount("v", "/v")]).only_init()
    assert_ok(step.run(volumes_dir=str(tmp_path)))
    assert (tmp_path / "v/d/f").read_text() == "second"
    assert (tmp_path / "v/d/g").read_text() == "first"
    assert leftovers(tmp_path) == []
