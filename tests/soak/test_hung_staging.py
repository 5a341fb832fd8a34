"""A staging process that goes on no more: after a minute without a word its role takes another one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_staging_process import (
    assert_ok_result,
    asked,
    saving,
    staging,
    stored,
    two_inputs,
    wait_until_seen,
)
from tests.lab import Lab
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20
SILENCE = "answered nothing for a minute"


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def stop_child(runner, container: str) -> tuple[int, float]:
    child = staging(runner, container)
    os.kill(child, signal.SIGSTOP)
    return child, time.monotonic()


def check_replaced(runner, container: str, child: int, since: float) -> None:
    wait_until_seen(lambda: not Path(f"/proc/{child}").exists(), "its end", 120)
    assert 55 < time.monotonic() - since < 120
    wait_until_seen(lambda: SILENCE in runner.log(container), "a word of it")


def test_in_init(lab: Lab, proxy: FaultProxy) -> None:
    step, prefix = two_inputs(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: asked(proxy, "GET", f"{prefix}/large") == 1, "a download")
        wait_until_seen(lambda: "Loaded artifact" in runner.log("init"), "the small one")
        check_replaced(runner, "init", *stop_child(runner, "init"))
        assert_ok_result(runner.wait(60))
    assert asked(proxy, "GET", f"{prefix}/small") == 1


def test_in_wait(lab: Lab, proxy: FaultProxy) -> None:
    rule = proxy.faults.add(
        verb="PUT", path="/l", count=1, action={"kind": "stall_request", "bytes": 100_000}
    )
    step, key = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        check_replaced(runner, "wait", *stop_child(runner, "wait"))
        assert_ok_result(runner.wait(60))
    assert stored(lab, key) == {"l": 6 * MIB, "s": 6}


def test_all_of_it_was_frozen(lab: Lab, proxy: FaultProxy) -> None:
    """Role and child stood still together, for longer: nobody is to blame."""
    rule = proxy.faults.add(
        verb="PUT", path="/l", count=1, action={"kind": "rate", "bytes_per_s": MIB}
    )
    step, key = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        child = staging(runner, "wait")
        pids = [runner.pid("wait"), child]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        threading.Event().wait(90)
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        result = runner.wait(120)
        log = runner.log("wait")
    assert_ok_result(result)
    assert SILENCE not in log
    assert stored(lab, key) == {"l": 6 * MIB, "s": 6}
