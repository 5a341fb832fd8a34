"""Ten thousand artifacts, deleted by a pod that is killed again and again: all gone, all results there."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.gc import GcLab
from tests.scenario import wait_until_seen
from tests.servers import versitygw
from tests.servers.fault_proxy import FaultProxy

COUNT = 10_000
NODES = 500
KILLS = 8
SEED = 6
SECONDS = 600


@pytest.mark.seconds(SECONDS)
def test_killed_again_and_again(tmp_path: Path) -> None:
    if reason := versitygw.unavailable():
        pytest.skip(reason)
    random.seed(SEED)
    gateway = versitygw.VersityGw(tmp_path / "gateway")
    with GcLab(tmp_path / "lab", gateway) as gc, FaultProxy((gateway.host, gateway.port)) as proxy:
        nodes: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
        for number in range(COUNT):
            key = f"soak/{number % NODES}/{number}"
            gc.put(key)
            node = nodes.setdefault(f"n{number % NODES}", {})
            node[f"a{number}"] = {"s3": {"key": key}}
        gc.put("soak/1/1x", "soak/10000")
        gc.add_task(nodes, **dict.fromkeys(nodes, gc.location(proxy.endpoint)))
        proxy.faults.add(verb="POST", action={"kind": "delay", "seconds": 0.5})
        for _ in range(KILLS):
            known = len(gc.outcome())
            with gc.gc_runner() as runner:
                runner.start()
                wait_until_seen(lambda: len(gc.outcome()) > known or runner.ended, "results", 120)
                time.sleep(random.random())
                if not runner.ended:
                    runner.signal("main", signal.SIGKILL)
                runner.wait(60)
            assert len(gc.outcome()) >= known
        proxy.faults.clear()
        result = gc.run_gc()
        main = result.containers["main"]
        assert (main.exit_code, main.message) == (0, ""), main.log[-2000:]
        assert (main.peak_rss or main.max_rss or 0) < 24_000_000
        outcome = gc.outcome()
        assert len(outcome) == COUNT and set(outcome.values()) == {True}
        assert sorted(gc.objects()) == ["soak/1/1x", "soak/10000"]
