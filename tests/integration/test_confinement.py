"""What the processes of a pod have given up when strangers' bytes reach them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_staging_process import saving, staging, stored, two_inputs
from tests.lab import BUCKET, Lab, calls_in_force, calls_of_roles
from tests.scenario import (
    Step,
    artifact,
    assert_failure,
    assert_ok,
    location,
    mount,
    tgz,
    untgz,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

# include/uapi/linux/capability.h
DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, NET_BIND_SERVICE = 1, 3, 4, 6, 7, 10
OF_STAGE = {DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID}


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def capabilities(pid: int, name: str) -> set[int]:
    mask = int(status(pid)[name], 16)
    return {n for n in range(64) if mask >> n & 1}


def assert_confined(pid: int, used: set[int], permitted: set[int], filters: int) -> None:
    """USED and PERMITTED are what a process of root has of them."""
    shown = status(pid)
    has_any = capabilities(pid, "CapPrm") != set()
    assert capabilities(pid, "CapEff") == (used if has_any else set())
    assert capabilities(pid, "CapPrm") == (permitted if has_any else set())
    assert capabilities(pid, "CapInh") == capabilities(pid, "CapAmb") == set()
    assert shown["NoNewPrivs"] == "1"
    assert int(shown["Seccomp_filters"]) == filters
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    core = next(line for line in limits if line.startswith("Max core file size"))
    assert core.split()[-3:-1] == ["0", "0"]


def outer_filters(pid: int) -> int:
    """Of the container, which its processes have inherited."""
    return int(status(pid)["Seccomp_filters"])


def test_wait_and_its_child(lab: Lab, proxy: FaultProxy, argoexec: str) -> None:
    rule = proxy.faults.add(verb="PUT", path="/l", action={"kind": "stall_request", "bytes": 1000})
    step, key = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        role, child = runner.pid("wait"), staging(runner, "wait")
        outer = outer_filters(role)
        assert outer == outer_filters(os.getpid()) + (calls_of_roles(argoexec) != "unused")
        used = OF_STAGE - {FSETID} | {NET_BIND_SERVICE}
        assert_confined(role, used, OF_STAGE | {NET_BIND_SERVICE}, outer)
        assert_confined(child, OF_STAGE, OF_STAGE, outer + 1)
        wait_until_seen(lambda: "s" in stored(lab, key), "the small one")
        runner.stop(0)


def test_init_and_its_child(lab: Lab, proxy: FaultProxy, argoexec: str) -> None:
    """The child is there before its role has given up anything, and gives it up itself."""
    step, prefix = two_inputs(lab, proxy)
    with step.only_init().runner() as runner:
        runner.start()
        wait_until_seen(lambda: staging(runner, "init") != 0, "a staging process")
        role, child = runner.pid("init"), staging(runner, "init")
        outer = outer_filters(os.getpid())
        own = calls_of_roles(argoexec) != "unused"
        wait_until_seen(lambda: outer_filters(child) > outer, "a filter")
        wait_until_seen(lambda: outer_filters(role) == outer + own, "a filter of init")
        wait_until_seen(lambda: any(r["verb"] == "GET" for r in proxy.requests()), "a download")
        assert_confined(role, {DAC_OVERRIDE, FOWNER}, OF_STAGE, outer + own)
        assert_confined(child, OF_STAGE, OF_STAGE, outer + 1)
        runner.stop(0)


@pytest.mark.parametrize("mode, filters, privileges", [("off", 0, "0"), ("record", 1, "1")])
def test_as_the_environment_says(
    lab: Lab, proxy: FaultProxy, mode: str, filters: int, privileges: str
) -> None:
    step, prefix = two_inputs(lab, proxy)
    step.set_env("init", "ARGOEXEC_CONFINEMENT", mode)
    with step.only_init().runner() as runner:
        runner.start()
        wait_until_seen(lambda: any(r["verb"] == "GET" for r in proxy.requests()), "a download")
        role, child = runner.pid("init"), staging(runner, "init")
        assert outer_filters(child) == outer_filters(os.getpid()) + filters
        assert status(child)["NoNewPrivs"] == status(role)["NoNewPrivs"] == privileges
        runner.stop(0)


@pytest.mark.parametrize("container, code", [("init", 64), ("wait", 2)])
def test_a_word_that_there_is_not(lab: Lab, container: str, code: int) -> None:
    step = Step(lab)
    step.set_env(container, "ARGOEXEC_CONFINEMENT", "no")
    run = step.run()
    text = 'ARGOEXEC_CONFINEMENT "no": use auto, required, record or off'
    assert_failure(run.result.containers[container], code, text)


def test_required(lab: Lab) -> None:
    """Here nothing is refused: inputs from a store, outputs of a volume and of main's own files."""
    prefix = f"confined/{os.urandom(8).hex()}"
    lab.s3.client().put(BUCKET, f"{prefix}/in", tgz({"a": None, "a/b": b"deep"}))
    inputs = [artifact("in", "/in/a", location(lab, f"{prefix}/in"))]
    outputs = [artifact("volume", "/v/o"), artifact("own", "/tmp/d"), artifact("again", "/in/a")]
    script = "cp /in/a/b /v/o; mkdir /tmp/d; cp /in/a/b /tmp/d/c"
    step = Step(lab, script, inputs=inputs, artifacts=outputs, mounts=[mount("v", "/v")])
    for name in ("init", "wait"):
        step.set_env(name, "ARGOEXEC_CONFINEMENT", "required")
    assert_ok(step.run())
    assert untgz(lab.get(step.key("own.tgz"))) == {"d": None, "d/c": b"deep"}
    assert untgz(lab.get(step.key("again.tgz"))) == {"a": None, "a/b": b"deep"}


def test_what_is_told(lab: Lab, proxy: FaultProxy, argoexec: str) -> None:
    """Status and metrics, of `wait` and of the child that saves for it."""
    rule = proxy.faults.add(verb="PUT", path="/l", action={"kind": "stall_request", "bytes": 1000})
    step, _ = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        told = json.loads(runner.exec("wait", ["argoexec", "status"]).output)["confinement"]
        runner.stop(0)
    layers = ("capabilities", "no new privileges", "memory", "system calls", "files")
    expected = {("wait", layer): "in force" for layer in layers[:3]}
    expected |= {("wait", "system calls"): calls_of_roles(argoexec), ("wait", "files"): "unused"}
    expected |= {("stage", layer): "in force" for layer in layers}
    expected["stage", "system calls"] = calls_in_force()
    assert {(entry["process"], entry["layer"]): entry["state"] for entry in told} == expected


@pytest.mark.parametrize("count", [256, 257])
def test_many_directories(lab: Lab, count: int) -> None:
    """All of them are read; of one more than there are places for, none is a place."""
    names = [f"d{number}" for number in range(count)]
    script = f"cd /tmp && mkdir {' '.join(names)} && for d in *; do echo x >$d/f; done"
    step = Step(lab, script, artifacts=[artifact(name, f"/tmp/{name}") for name in names])
    run = step.run()
    assert_ok(run)
    assert len(step.outputs()["artifacts"]) == count
