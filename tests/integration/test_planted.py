"""A staging process that has fallen to an attacker: what it tries, and what becomes of the rest.

The binary is one of its own (make planted, tests/planted/corruption.c)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.lab import BUCKET, ROOT, Lab
from tests.pod import PodRunner
from tests.scenario import DROP, Step, artifact, assert_failure, mount, secure, untgz

PLANTED = ROOT / "build/planted/argoexec"
NONE = {"none": {}}
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"

# What ends the process, and the call that its role names.
STOPPED = {
    "exec": "execve",
    "exec-memory": "execveat",
    "code": "mmap",
    "fork": "clone",
    "namespace": "unshare",
    "root": "setresuid",
    "mount": "mount",
    "chroot": "chroot",
    "device": "mknodat",
    "raw": "socket",
    "packet": "socket",
    "vsock": "socket",
    "stop": "kill",
    "stop-all": "kill",
    "key": "add_key",
    "terminal": "ioctl",
    "dumpable": "prctl",
    "listen": "listen",
}
KILLED = ("ptrace", "copy", "bpf", "userfaultfd", "io-uring", "pidfd")
REFUSED = (
    "token",
    "secrets",
    "program",
    "parent-memory",
    "parent-environment",
    "write-shared",
    "write-volume",
    "remove",
    "link",
    "port",
)


@pytest.fixture(scope="module")
def planted_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    assert os.access(PLANTED, os.X_OK), f"{PLANTED} does not exist: run make planted"
    with Lab(tmp_path_factory.mktemp("planted"), executor=str(PLANTED)) as lab:
        lab.runner_type = PodRunner
        yield lab


def expectations() -> dict[str, str]:
    """The end of each artifact's error."""
    expected = {f"planted-{a}": f"planted {a}: permission denied" for a in REFUSED}
    for action, call in STOPPED.items():
        text = f"the staging process was stopped at the system call {call}, 4 times"
        expected[f"planted-{action}"] = text
    for action in KILLED:
        text = "the staging process was killed at a forbidden system call, 4 times"
        expected[f"planted-{action}"] = text
    expected["planted-ask"] = (
        f"open {TOKEN}: files with credentials are read where secrets are mounted, "
        "where an environment variable says, and at home"
    )
    expected["planted-netlink"] = "planted netlink: address family not supported by protocol"
    return expected


FAILURE = re.compile(r'msg="Failed to save artifact" artifactName=(\S+) error="([^"]*)"')


@pytest.mark.parametrize("user", ["root", "8737"])
def test_a_child_that_saves(planted_lab: Lab, user: str) -> None:
    """Every action fails, each death is told truthfully, all others are stored."""
    expected = expectations()
    script = "echo good >/v/good; mkdir -p /tmp/d/e; echo deep >/tmp/d/e/f"
    artifacts = [artifact(name, "/v/good", archive=NONE) for name in expected]
    artifacts += [artifact("good", "/v/good", archive=NONE), artifact("tree", "/tmp/d")]
    step = Step(planted_lab, script, artifacts=artifacts, mounts=[mount("v", "/v")])
    if user != "root":
        secure(step, "wait", runAsUser=int(user), capabilities=DROP)
    with step.runner() as runner:
        runner.start()
        result = runner.wait(120)
        volume = runner.volume_path("v")
        assert os.listdir(volume) == ["good"]
        log = runner.log("wait")
    failures = dict(FAILURE.findall(log))
    assert failures.keys() == expected.keys(), log[-3000:]
    place = f"s3 object {BUCKET}/{step.prefix}/good, permanent"
    for name, text in expected.items():
        assert failures[name] == f"artifact {name} failed to save: {text} ({place})"
    assert_failure(result.containers["wait"], 64, "failed to save: ")
    assert {a["name"] for a in step.outputs()["artifacts"]} == {"good", "tree"}
    tree = untgz(planted_lab.get(f"{step.prefix}/tree.tgz"))
    assert tree["d/e/f"] == b"deep\n"


def test_a_child_that_lies(planted_lab: Lab) -> None:
    """What it says is stored elsewhere is not reported, there or here."""
    artifacts = [artifact(name, "/v/x", archive=NONE) for name in ("planted-place", "good")]
    step = Step(planted_lab, "echo x >/v/x", artifacts=artifacts, mounts=[mount("v", "/v")])
    run = step.run()
    text = "artifact planted-place failed to save: the staging process told of another place"
    assert_failure(run.result.containers["wait"], 64, text)
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["good"]


@pytest.mark.parametrize("action", ["exec", "ptrace", "secrets", "shadow", "write-shared"])
def test_a_child_that_loads(planted_lab: Lab, action: str) -> None:
    """An input fails with the reason, and init with it."""
    inputs = [artifact(f"planted-{action}", "/in/a", {"raw": {"data": "x"}})]
    step = Step(planted_lab, inputs=inputs).only_init()
    run = step.run()
    expected = {
        "exec": "was stopped at the system call execve, 4 times",
        "ptrace": "was killed at a forbidden system call, 4 times",
        "shadow": "planted shadow: ",  # permission denied, where there is one
    }.get(action, f"planted {action}: permission denied")
    message = assert_failure(run.result.containers["init"], 64, expected)
    assert "SUCCEEDED" not in message
