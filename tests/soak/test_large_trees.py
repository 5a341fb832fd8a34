"""A tree of more entries than `wait` looks through: bounded for it, packed by the wrapper, whole."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.lab import BUCKET, Lab
from tests.scenario import Step, artifact, assert_ok

# More than SCAN_ENTRIES_MAX, in directories of 1,000.
ENTRIES = 1_000_500
SECONDS = 1200


def many_files() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for number in range(ENTRIES):
            archive.addfile(tarfile.TarInfo(f"{number // 1000}/{number}"))
    return buffer.getvalue()


@pytest.mark.seconds(SECONDS)
def test_more_than_a_million_entries(lab: Lab, tmp_path: Path) -> None:
    lab.s3.client().put(BUCKET, "soak/many", many_files())
    place = {"s3": {"key": "soak/many"}}
    step = Step(
        lab,
        "mkdir /tmp/d; tar xzf /in/many -C /tmp/d",
        inputs=[artifact("many", "/in/many", **place, archive={"none": {}})],
        artifacts=[artifact("d", "/tmp/d")],
    )
    run = step.run(timeout=SECONDS, volumes_dir=str(tmp_path))
    assert_ok(run)
    wait = run.result.containers["wait"]
    assert "it has too many entries" in wait.log
    assert wait.max_rss < 48 << 20
    data = lab.get(f"{step.prefix}/d.tgz")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
        assert sum(entry.isfile() for entry in archive) == ENTRIES
