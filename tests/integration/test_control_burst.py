"""A thousand stop requests from ten clients, while a file is uploaded, by every way there is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control import burst_while_uploading, percentile
from tests.lab import Lab
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20
SIZE_MIB = 48


@pytest.mark.parametrize("way", ["unix", "tcp", "tls"])
def test_a_burst_while_uploading(lab: Lab, tmp_path: Path, way: str) -> None:
    """None is lost, none waits for the upload, and the upload is what it would have been."""
    with FaultProxy(lab.s3.address) as proxy:
        # Slow enough to outlast the burst, for each of the four parts that go side by side.
        proxy.faults.add(verb="PUT", path="/", action={"kind": "rate", "bytes_per_s": 12 * MIB})
        latencies = burst_while_uploading(lab, tmp_path, way, SIZE_MIB, proxy.endpoint)
    print(f"p50 {percentile(latencies, 0.5):.1f} ms, p99 {percentile(latencies, 0.99):.1f} ms")
    # An upload takes seconds; ten Python clients share two cores with the server and the store.
    assert percentile(latencies, 0.99) < 500
