"""A store that nobody answers for: it is waited for, for a minute, and then said."""

from __future__ import annotations

import re

import pytest

from tests.lab import Lab
from tests.scenario import Step, artifact, assert_failure, location
from tests.servers.ports import free_port


@pytest.mark.parametrize("pause", ["20ms", "1s"])
def test_an_unreachable_store(lab: Lab, pause: str) -> None:
    """However short the pauses are: an outage is not given up within a minute, nor after two."""
    place = location(lab, "key", f"127.0.0.1:{free_port()}")
    step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
    step.set_env("init", "EXECUTOR_RETRY_BACKOFF_DURATION", pause)
    container = step.run(timeout=150).result.containers["init"]
    message = assert_failure(container, 64, "artifact a failed to load", "connection refused")
    assert re.search(r"\(\d+ attempts in 1m\d+(\.\d+)?s: \d+ transient\)", message), message
    assert container.seconds is not None and 60 <= container.seconds <= 120
