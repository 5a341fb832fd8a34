"""What the integration tests share: the servers, the binary under test, a limit for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.lab import ROOT, Lab
from tests.servers import apiserver

# No test may hang the run; the slowest one takes a small part of this.
TEST_SECONDS = 180

# A shell that runs the tests in the background has these two ignored, and all their children would.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def argoexec() -> str:
    """The binary under test: $ARGOEXEC, else what `make` builds."""
    path = os.environ.get("ARGOEXEC", str(ROOT / "build/argoexec"))
    assert os.access(path, os.X_OK), f"{path} does not exist: run make"
    return path


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory, argoexec: str) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), executor=argoexec) as lab:
        yield lab


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """The servers, with no objects, requests or faults of an earlier test in the API server."""
    session_lab.api.clear()
    yield session_lab
    session_lab.api.faults.clear()


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apiserver.ApiServer]:
    """A real API server."""
    if reason := apiserver.unavailable():
        pytest.skip(reason)
    with apiserver.ApiServer(tmp_path_factory.mktemp("apiserver")) as api:
        yield api


@pytest.fixture(autouse=True)
def time_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("seconds")
    seconds = marker.args[0] if marker else TEST_SECONDS

    def expire(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"the test took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bar: time, size or linkage of the release build; not for sanitizers")
    config.addinivalue_line("markers", "seconds(n): a limit of its own for this test")
