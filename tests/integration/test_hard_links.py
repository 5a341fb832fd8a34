"""Files with several names: one file again when we load them, independent files to everybody else."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.scenario import Step, artifact, assert_ok, mount

# Where the tree lies, and what else makes it what is meant.
PLACES = {
    "own files": ("/tmp/d", ":", mount("v", "/v")),
    "volume": ("/v/d", ":", mount("v", "/v")),
    "packed by the wrapper": ("/tmp/d", "echo x >/tmp/d/v/x", mount("v", "/tmp/d/v")),
}
TREE = """
    mkdir -p {0}/e; printf content >{0}/one; ln {0}/one {0}/e/two; ln {0}/one {0}/three
    ln {0}/three {0}/../elsewhere; printf alone >{0}/alone; {1}
"""
NAMES = ("one", "three", "e/two")


def save(lab: Lab, place: str) -> Step:
    path, script, volume = PLACES[place]
    step = Step(
        lab,
        TREE.format(path, script),
        artifacts=[
            artifact("d", path),
            artifact("z", path, archive={"zip": {}}),
            artifact("n", path, archive={"none": {}}),
        ],
        mounts=[volume],
    )
    assert_ok(step.run())
    return step


def load(lab: Lab, key: str, **form: Any) -> list[list[str]]:
    """The number of names and the inode of each file, as a step finds it that has it as input."""
    step = Step(
        lab,
        "cd /in/d; stat -c 'file %h %i' one three e/two; cat one three e/two; echo",
        inputs=[artifact("d", "/in/d", key, **form)],
    )
    run = step.run()
    assert_ok(run)
    lines = run.result.containers["main"].log.splitlines()
    assert "content" * 3 in lines
    return [line.split()[1:] for line in lines if line.startswith("file ")]


@pytest.mark.parametrize("place", PLACES)
def test_one_file_again(lab: Lab, place: str) -> None:
    step = save(lab, place)
    loaded = load(lab, step.key("d.tgz"))
    assert [names for names, _ in loaded] == ["3"] * 3
    assert len({inode for _, inode in loaded}) == 1
    assert [names for names, _ in load(lab, step.key("z.zip"), archive={"zip": {}})] == ["1"] * 3
    assert all(lab.get(step.key(f"d/{name}")) == b"content" for name in NAMES)


@pytest.mark.parametrize("place", PLACES)
def test_independent_to_others(lab: Lab, tmp_path: Path, place: str) -> None:
    """Regular members only: Argo's executor passes over the others."""
    archive = lab.get(save(lab, place).key("d.tgz"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        found = {os.path.relpath(m.name, "d"): m for m in members if not m.isdir()}
    assert {found[name].type for name in (*NAMES, "alone")} == {tarfile.REGTYPE}
    records = {"SCHILY.dev": "0", "SCHILY.nlink": "2"}
    for name in NAMES:
        assert found[name].size == 7
        assert found[name].pax_headers == {**records, "SCHILY.ino": "1"}
    assert found["alone"].size == 5
    assert found["alone"].pax_headers == {}
    subprocess.run(["tar", "-xzf", "-", "-C", tmp_path], input=archive, check=True)
    assert [(tmp_path / "d" / name).read_text() for name in NAMES] == ["content"] * 3
    assert {(tmp_path / "d" / name).stat().st_nlink for name in NAMES} == {1}
