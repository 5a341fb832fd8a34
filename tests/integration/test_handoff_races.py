"""A user's process that goes on changing its outputs while they are handed over and read: whatever comes
of it, nothing from outside the tree is stored, what is stored can be read, and errors name the artifact."""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.lab import Lab
from tests.scenario import Step, artifact, describe

SECRET = "lies beside the tree"
# Two racers: files become links, FIFOs and nothing, grow and shrink; a directory becomes a link, and is
# moved out of the tree and back.
SCRIPT = f"""
    mkdir -p /tmp/out /tmp/t/a/b; echo '{SECRET}' >/tmp/out/1; cp /tmp/out/1 /tmp/out/secret; cd /tmp/t
    for i in $(seq 150); do echo $i >a/$i; echo $i >a/b/$i; done; $MODE
    (i=0; while :; do i=$((i%150+1))
        rm -f a/$i; ln -s /tmp/out/secret a/$i; echo grown >>a/b/$i; : >a/b/$((i%9+1))
        rm -f a/$i; mkfifo a/$i; rm -f a/$i; echo back >a/$i
    done) </dev/null >/dev/null 2>&1 &
    (while :; do mv a/b /tmp/b; ln -s /tmp/out a/b; rm -f a/b; mv /tmp/b a/b; done) \\
        </dev/null >/dev/null 2>&1 &
    sleep 0.1
"""
CASES = {"open": (":", {}), "private": ("chmod -R go= a", {"runAsUser": 8737})}


@pytest.mark.parametrize("case", CASES)
def test_a_race(lab: Lab, case: str) -> None:
    mode, user = CASES[case]
    step = Step(
        lab,
        SCRIPT.replace("$MODE", mode),
        artifacts=[
            artifact("packed", "/tmp/t"),
            artifact("plain", "/tmp/t", archive={"none": {}}),
            artifact("calm", "/tmp/out/1", archive={"none": {}}),
        ],
    )
    # Where the wrapper is not PID 1, it ends nobody.
    step.pod["spec"]["shareProcessNamespace"] = True
    step.container("wait").setdefault("securityContext", {}).update(user)
    run = step.run()
    messages = run.result.containers["wait"].message + run.result.containers["main"].message
    stored = {item["name"] for item in step.outputs().get("artifacts", [])}
    assert "calm" in stored, describe(run)
    for name in {"packed", "plain"} - stored:
        assert f"artifact {name}" in messages, describe(run)
    check_archive(lab, step, "packed" in stored)
    for key in lab.objects(step.key("t/")):
        assert SECRET.encode() not in lab.get(key), key


def check_archive(lab: Lab, step: Step, is_stored: bool) -> None:
    assert bool(lab.objects(step.key("packed.tgz"))) == is_stored
    if not is_stored:
        return
    with tarfile.open(fileobj=io.BytesIO(lab.get(step.key("packed.tgz")))) as archive:
        for member in archive:
            assert member.name == "t" or member.name.startswith("t/")
            content = archive.extractfile(member) if member.isreg() else None
            assert content is None or SECRET.encode() not in content.read(), member.name
