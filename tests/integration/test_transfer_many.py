"""Many small objects: side by side in both directions, a failure or a signal ends all of them."""

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
    stop_and_time,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

COUNT = 32
WIDTH = 16
DELAY_S = 0.5


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def put_prefix(lab: Lab) -> str:
    prefix = f"many/{os.urandom(8).hex()}"
    for number in range(COUNT):
        lab.s3.client().put(BUCKET, f"{prefix}/d{number % 3}/{number:02}", b"%d" % number)
    return prefix


def fetching(lab: Lab, prefix: str, proxy: FaultProxy) -> Step:
    inputs = [artifact("many", "/in/many", location(lab, prefix, proxy.endpoint))]
    return Step(lab, inputs=inputs).only_init()


def delayed(proxy: FaultProxy, verb: str, path: str, seconds: float) -> None:
    proxy.faults.add(verb=verb, path=path, action={"kind": "delay", "seconds": seconds})


def test_objects_of_a_prefix(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    prefix = put_prefix(lab)
    delayed(proxy, "GET", f"{prefix}/d", DELAY_S)
    run = fetching(lab, prefix, proxy).run(volumes_dir=str(tmp_path))
    assert_ok(run)
    init = run.result.containers["init"]
    assert init.finished - init.started < COUNT * DELAY_S / 2
    top = tmp_path / "input-artifacts/many"
    found = {int(path.name): path.read_text() for path in top.rglob("*") if path.is_file()}
    assert found == {number: str(number) for number in range(COUNT)}
    # The region, the object of that name that is not there, and the list of those below it.
    assert len(proxy.requests()) == 3 + COUNT
    assert len({request["connection"] for request in proxy.requests()}) <= WIDTH


def test_one_object_that_fails(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    prefix = put_prefix(lab)
    delayed(proxy, "GET", f"{prefix}/d0", 25)
    refused = {"kind": "status", "status": 403}
    proxy.faults.add(verb="GET", path=f"{prefix}/d1/13", action=refused)
    run = fetching(lab, prefix, proxy).run(volumes_dir=str(tmp_path))
    init = run.result.containers["init"]
    said = assert_failure(init, 64, "artifact many failed to load", "status 403")
    assert f"{prefix}/d1/13" in said
    assert init.finished - init.started < 20
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "input-artifacts/many").exists()


def test_signal_while_many_are_fetched(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    prefix = put_prefix(lab)
    delayed(proxy, "GET", f"{prefix}/d", 25)
    with fetching(lab, prefix, proxy).runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: len(proxy.requests()) >= 2 + WIDTH, "all connections are busy")
        assert stop_and_time(runner, "init") < 2
    assert leftovers(tmp_path) == []


def test_signal_while_ranges_are_fetched(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    key = f"many/{os.urandom(8).hex()}"
    lab.s3.client().put(BUCKET, key, os.urandom(64 << 20))
    proxy.faults.add(verb="GET", path=key, action={"kind": "rate", "bytes_per_s": 10 << 20})
    inputs = [artifact("large", "/in/large", location(lab, key, proxy.endpoint))]
    with Step(lab, inputs=inputs).only_init().runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: len(proxy.requests()) >= 4, "ranges are fetched")
        assert stop_and_time(runner, "init") < 2
    assert leftovers(tmp_path) == []


def test_files_of_a_directory(lab: Lab, tmp_path: Path, proxy: FaultProxy) -> None:
    script = (
        f"mkdir -p /v/d/a/b/c /v/d/empty; ln -s /etc/passwd /v/d/link; mkfifo /v/d/fifo;"
        f" for i in $(seq {COUNT}); do echo $i > /v/d/$([ $i -gt 9 ] && echo a/b/c/)$i; done"
    )
    outputs = [artifact("d", "/v/d", archive={"none": {}})]
    step = Step(lab, script, artifacts=outputs, mounts=[mount("v", "/v")], endpoint=proxy.endpoint)
    delayed(proxy, "PUT", step.key("d/"), DELAY_S)
    run = step.run(volumes_dir=str(tmp_path))
    assert_ok(run)
    stored = lab.s3.client().sizes(BUCKET, step.key("d/"))
    names = {key.removeprefix(step.key("d/")) for key in stored}
    assert names == {f"a/b/c/{i}" if i > 9 else f"{i}" for i in range(1, COUNT + 1)}
    assert lab.s3.client().get(BUCKET, step.key("d/a/b/c/17")) == b"17\n"
    wait = run.result.containers["wait"]
    main = run.result.containers["main"]
    assert wait.finished - main.finished < COUNT * DELAY_S / 2
    assert wait.log.count("Left out: neither a file nor a directory") == 2


def test_deep_directories(lab: Lab, tmp_path: Path) -> None:
    """Deeper than a job's stack would bear if it held a path for each level."""
    script = "cd /v; for i in $(seq 300); do mkdir d; cd d; done; echo deep > f"
    outputs = [artifact("v", "/v/d", archive={"none": {}})]
    step = Step(lab, script, artifacts=outputs, mounts=[mount("v", "/v")])
    assert_ok(step.run(volumes_dir=str(tmp_path)))
    key = step.key("d/" + "d/" * 299 + "f")
    assert lab.s3.client().sizes(BUCKET, step.key("d")) == {key: 5}
