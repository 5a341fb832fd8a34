"""A burst of stop requests while 1 GiB is uploaded at full speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control import burst_while_uploading, percentile
from tests.lab import Lab

SIZE_MIB = 1024


@pytest.mark.seconds(900)
@pytest.mark.parametrize("way", ["unix", "tcp", "tls"])
def test_a_burst_while_a_gigabyte_is_uploaded(lab: Lab, tmp_path: Path, way: str) -> None:
    latencies = burst_while_uploading(lab, tmp_path, way, SIZE_MIB)
    p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
    print(f"{way}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {max(latencies):.0f} ms")
    assert p99 < 500
