"""A real API server behind bad weather: 30 % of the requests refused, 10 % of the answers lost, and a
minute in which nobody listens, which begins when main ends. Every run ends complete."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.integration.test_apiserver import HELD, assert_no_storm, assert_reported, disturb, let_go, reporting
from tests.lab import Lab
from tests.scenario import api_calls, wait_until_seen
from tests.servers.apiserver import ApiServer

OUTAGE_SECONDS = 60
RUNS = 5


@pytest.mark.seconds(600)
def test_a_minute(session_lab: Lab, tmp_path: Path) -> None:
    with ApiServer(tmp_path / "api") as api:
        lab = copy.copy(session_lab)
        lab.api = api  # type: ignore[assignment]
        for seed in range(RUNS):
            api.clear()
            disturb(api, seed)
            step = reporting(lab, HELD)
            with step.runner() as runner:
                runner.start()
                wait_until_seen(lambda: ("POST", 201) in api_calls(lab), "the placeholder", 60)
                api.suspend()
                wait_until_seen(lambda: "ready" in runner.log("main"), "main")
                let_go(runner)
                assert runner.wait_state("main", "terminated", 30)
                runner.wait_for(lambda: False, OUTAGE_SECONDS)
                api.resume()
                result = runner.wait(180)
            assert result.phase == "Succeeded", result.containers["wait"].log
            assert_reported(step)
            assert_no_storm(api)
            print(f"api outage: seed {seed}: {len(api.requests())} requests", flush=True)
