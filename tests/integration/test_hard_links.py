"""Files with several names: independent files to whoever may load them with Argo's executor, one file
where the operator says that nobody does (ARGOEXEC_TAR_HARD_LINKS)."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.scenario import Step, artifact, assert_ok, mount

PLACES = {"own files": "/tmp/d", "volume": "/v/d"}
TREE = """
    mkdir -p {0}/e; printf content >{0}/one; ln {0}/one {0}/e/two; ln {0}/one {0}/three
    ln {0}/three {0}/../elsewhere; printf alone >{0}/alone
"""


def save(lab: Lab, path: str, is_kept: bool) -> Step:
    step = Step(
        lab,
        TREE.format(path),
        artifacts=[
            artifact("d", path),
            artifact("z", path, archive={"zip": {}}),
            artifact("n", path, archive={"none": {}}),
        ],
        mounts=[mount("v", "/v")],
    )
    if is_kept:
        step.set_env("wait", "ARGOEXEC_TAR_HARD_LINKS", "true")
    assert_ok(step.run())
    return step


def load(lab: Lab, key: str) -> list[list[str]]:
    """The number of names and the inode of each file, as a step finds it that has it as input."""
    step = Step(
        lab,
        "cd /in/d; stat -c 'file %h %i' one three e/two; cat one three e/two; echo",
        inputs=[artifact("d", "/in/d", key)],
    )
    run = step.run()
    assert_ok(run)
    lines = run.result.containers["main"].log.splitlines()
    assert "content" * 3 in lines
    return [line.split()[1:] for line in lines if line.startswith("file ")]


@pytest.mark.parametrize("place", PLACES)
def test_kept(lab: Lab, tmp_path: Path, place: str) -> None:
    step = save(lab, PLACES[place], True)
    archive = lab.get(step.key("d.tgz"))
    subprocess.run(["tar", "-xzf", "-", "-C", tmp_path], input=archive, check=True)
    names = [tmp_path / "d" / name for name in ("one", "three", "e/two")]
    assert [name.read_text() for name in names] == ["content"] * 3
    assert len({name.stat().st_ino for name in names}) == 1
    assert names[0].stat().st_nlink == 3
    loaded = load(lab, step.key("d.tgz"))
    assert [names for names, _ in loaded] == ["3"] * 3
    assert len({inode for _, inode in loaded}) == 1
    assert_independent_elsewhere(lab, step)


def assert_independent_elsewhere(lab: Lab, step: Step) -> None:
    assert all(lab.get(step.key(f"d/{n}")) == b"content" for n in ("one", "three", "e/two"))


@pytest.mark.parametrize("place", PLACES)
def test_independent_by_default(lab: Lab, place: str) -> None:
    step = save(lab, PLACES[place], False)
    with tarfile.open(fileobj=io.BytesIO(lab.get(step.key("d.tgz")))) as archive:
        found = {os.path.relpath(m.name, "d"): (m.type, m.size) for m in archive if not m.isdir()}
    assert found == {
        "one": (tarfile.REGTYPE, 7),
        "three": (tarfile.REGTYPE, 7),
        "e/two": (tarfile.REGTYPE, 7),
        "alone": (tarfile.REGTYPE, 5),
    }
    assert [names for names, _ in load(lab, step.key("d.tgz"))] == ["1"] * 3
    assert_independent_elsewhere(lab, step)
