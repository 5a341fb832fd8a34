"""Pods that a real 4.1.2 controller created, run with our executor: exit codes, messages, task
results and objects must be those that the record has. A difference that is meant is named here."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from tests.lab import (
    Lab,
    PodRun,
    node_of,
    recorded_objects,
    recorded_outcome,
    recorded_pods,
    recorded_results,
)
from tests.scenario import wait_until_seen

CASES = [
    "archives",
    "artifact-passing",
    "bad-command",
    "bad-input-artifact",
    "container-set",
    "exit-code-failure",
    "hello-world",
    "initless-artifact-passing",
    "initless-bad-input-artifact",
    "initless-container-set",
    "initless-hello-world",
    "initless-script",
    "initless-volume-artifacts",
    "large-template",
    "missing-output-parameter",
    "non-root",
    "output-parameter",
    "progress",
    "read-only-root",
    "script",
    "sidecar",
    "volume-artifacts",
]

# Archives differ in size with the compressor; logs of `ls -l` differ in dates and sizes. Their
# content is compared in tests of their own below.
SIZE_MAY_DIFFER = (".tgz", ".zip")
LOGS_WITH_DATES = {
    "artifact-passing-29fjd/artifact-passing-29fjd-use-2207195094/main.log",
    "script-lgqlk/script-lgqlk-print-4206167460/main.log",
    "volume-artifacts-v6rjr/volume-artifacts-v6rjr/main.log",
    "archives-gtmk6/archives-gtmk6-use-2940135226/main.log",
    "non-root-jtxs2/non-root-jtxs2/main.log",
    "read-only-root-blhbk/read-only-root-blhbk/main.log",
    "script-pgds2/script-pgds2-print-126124537/main.log",
    "volume-artifacts-fszgg/volume-artifacts-fszgg/main.log",
}


@pytest.fixture(scope="module", params=CASES)
def finished(request: pytest.FixtureRequest, session_lab: Lab) -> tuple[str, list[PodRun], Lab]:
    session_lab.api.clear()
    return request.param, session_lab.run_case(request.param), session_lab


def test_exit_codes_and_messages(finished: tuple[str, list[PodRun], Lab]) -> None:
    case, runs, _lab = finished
    recorded = recorded_outcome(case)
    for run in runs:
        assert run.result.outcome() == recorded[run.result.name], run.result.table()


def versions(objects: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """What a task result said, version by version: the label, and the outputs."""
    label = "workflows.argoproj.io/report-outputs-completed"
    return [(item["metadata"]["labels"][label], item.get("outputs")) for item in objects]


def test_task_results(finished: tuple[str, list[PodRun], Lab]) -> None:
    case, runs, _lab = finished
    recorded = recorded_results(case)
    for run in runs:
        theirs = recorded.get(node_of(run.pod), [])
        assert versions(run.history) == versions(theirs)
        for ours, other in zip(run.history, theirs):
            assert ours["metadata"]["labels"] == other["metadata"]["labels"]
            assert ours["metadata"]["ownerReferences"] == other["metadata"]["ownerReferences"]


def test_objects(finished: tuple[str, list[PodRun], Lab]) -> None:
    case, runs, lab = finished
    recorded = recorded_objects(case)
    if not recorded:
        assert case.removeprefix("initless-") in (
            "artifact-passing",
            "bad-input-artifact",
            "bad-command",
        )
        return
    prefix = runs[0].pod["metadata"]["labels"]["workflows.argoproj.io/workflow"] + "/"
    ours = lab.objects(prefix)
    assert set(ours) == set(recorded)
    for key, size in recorded.items():
        if not key.endswith(SIZE_MAY_DIFFER) and key not in LOGS_WITH_DATES:
            assert ours[key] == size, key


def members(archive: bytes) -> dict[str, tuple[str, int, bytes]]:
    """Name -> (type, mode, content or link) of a tar.gz."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for entry in tar:
            if entry.isfile():
                content = tar.extractfile(entry).read()
            else:
                content = entry.linkname.encode()
            found[entry.name] = (entry.type.decode(), entry.mode, content)
    return found


def test_archives_hold_what_main_wrote(lab: Lab) -> None:
    gen, use = lab.run_case("archives")
    key = "archives-gtmk6/archives-gtmk6-gen-3392224614/"
    tree = members(lab.get(key + "d-tgz.tgz"))
    assert {name: (kind, content) for name, (kind, _mode, content) in tree.items()} == {
        "d": ("5", b""),
        "d/1": ("0", b"1\n"),
        "d/link": ("2", b"1"),
        "d/sub": ("5", b""),
        "d/sub/2": ("0", b"2\n"),
        "d/sub/empty": ("5", b""),
    }
    assert tree["d/1"][1] == 0o600
    assert members(lab.get(key + "f-tgz.tgz"))["f"] == ("0", 0o755, b"f\n")
    assert members(lab.get(key + "d-tar0.tgz")).keys() == tree.keys()
    assert lab.get(key + "f") == b"f\n"
    log = lab.get("archives-gtmk6/archives-gtmk6-use-2940135226/main.log").decode()
    assert log.endswith("f\nf\n")
    for path in ("f-tgz", "f-none", "d-tgz", "d-none", "d-zip", "d-tar0"):
        assert path in log
    assert gen.result.phase == use.result.phase == "Succeeded"


def test_logs_of_the_user(lab: Lab) -> None:
    """What the recorded logs show beside dates: who runs, what can be read, what cannot."""
    lab.run_case("non-root")
    log = lab.get("non-root-jtxs2/non-root-jtxs2/main.log").decode()
    assert log.startswith("uid=8737 gid=0(root) groups=0(root),8737\nabc")
    lab.run_case("read-only-root")
    log = lab.get("read-only-root-blhbk/read-only-root-blhbk/main.log").decode()
    # Two streams: which of them is kept first is as open as it is in a terminal.
    assert sorted(log.splitlines()[1:]) == ["abcres", "touch: /x: Read-only file system"]
    lab.run_case("volume-artifacts")
    log = lab.get("volume-artifacts-fszgg/volume-artifacts-fszgg/main.log").decode()
    assert log.startswith("in the volumenot in a volume")
    lab.run_case("script")
    log = lab.get("script-pgds2/script-pgds2-print-126124537/main.log").decode()
    assert log.startswith("result was: 42\n/argo/staging/script\n")


def test_stubborn_sidecar_is_killed_when_its_grace_ends(lab: Lab) -> None:
    """The record's sidecar ignores SIGTERM and lived until the pod's deadline, 49 s too long. The
    pod fails all the same (137 of a sidecar), but it ends after the grace period of 10 s."""
    (run,) = lab.run_case("sidecar-stubborn")
    containers = run.result.containers
    assert containers["stubborn"].exit_code == 137
    assert containers["main"].exit_code == containers["wait"].exit_code == 0
    late = containers["stubborn"].finished - containers["main"].finished
    assert 9.5 < late < 15
    assert run.result.message == ""


def test_stop_with_a_shared_pid_namespace_loses_nothing(lab: Lab) -> None:
    """The record lost everything, 137 and 137: the controller's `kill 15 1` ended the pause process.
    The rule here: where PID 1 is not the container's role, the role gets the signal
    (docs/states.md), so that main ends of SIGTERM and `wait` saves and reports to the end."""
    (pod,) = (lab.adapt(pod) for pod in recorded_pods("stop-shared-pid"))
    with lab.runner(pod) as runner:
        runner.start()
        assert runner.wait_state("main", "running", 30)
        wait_until_seen(lambda: len(runner.memory("main")) > 1, "the command runs")
        runner.controller_stop()
        result = runner.wait(30)
    theirs = recorded_outcome("stop-shared-pid")[result.name]
    changed = {"main": 143, "wait": 0}
    for name, outcome in theirs["containers"].items():
        if name in changed:
            assert outcome["exitCode"] == 137
            outcome["exitCode"] = changed[name]
            outcome["reason"] = "Error" if changed[name] else "Completed"
    assert result.outcome() == theirs, result.table()
    history = lab.history(node_of(pod))
    recorded = recorded_results("stop-shared-pid")[node_of(pod)]
    assert versions(history)[: len(recorded)] == versions(recorded)
    (log,) = history[-1]["outputs"]["artifacts"]
    assert versions(history)[-1][0] == "true" and log["name"] == "main-logs"
    assert lab.get("stop-shared-pid-44x67/stop-shared-pid-44x67/main.log") == b""
