"""Pods that a real 4.1.2 controller created, run with our executor: exit codes, messages, task
results and objects must be those that the record has. A difference that is meant is named here."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab import (
    Lab,
    PodRun,
    check_no_reports,
    node_of,
    recorded_objects,
    recorded_outcome,
    recorded_pods,
    recorded_results,
)
from tests.pod import DEADLINE_MESSAGE
from tests.scenario import wait_until_seen
from tests.servers.ports import free_port
from tests.servers.scripted import Scripted, answer

CASES = [
    "archives",
    "artifact-passing",
    "bad-command",
    "bad-input-artifact",
    "container-set",
    "deadline-template",
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
    "oom",
    "output-parameter",
    "progress",
    "read-only-root",
    "retry",
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


def without_early_reports(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """On a slow machine saving takes longer than a second, and what is stored by then is told
    before the rest (docs/states.md): of several such versions only the last is in the record."""
    said = versions(history)
    labels = [label for label, _outputs in said] + ["none"]
    is_early = [outputs and labels[i + 1] == "false" for i, (_label, outputs) in enumerate(said)]
    return [item for item, early in zip(history, is_early) if not early]


def test_task_results(finished: tuple[str, list[PodRun], Lab]) -> None:
    case, runs, _lab = finished
    recorded = recorded_results(case)
    for run in runs:
        theirs = recorded.get(node_of(run.pod), [])
        history = without_early_reports(run.history)
        assert versions(history) == versions(theirs)
        for ours, other in zip(history, theirs):
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


def test_inputs_without_init_container(lab: Lab) -> None:
    """The template itself, a web server and nobody give the inputs, all at a time. The server of the
    record told its visitors about themselves; this one has a fixed text."""
    (pod,) = recorded_pods("initless-raw-and-http-artifacts")
    with Scripted([answer(b"from the web\n")]) as server:
        text = json.dumps(pod).replace("httpbin:9100", server.endpoint)
        run = lab.run(lab.adapt(json.loads(text)))
    (outcome,) = recorded_outcome("initless-raw-and-http-artifacts").values()
    assert run.result.outcome() == outcome, run.result.table()
    (theirs,) = recorded_results("initless-raw-and-http-artifacts").values()
    assert versions(without_early_reports(run.history)) == versions(theirs)
    assert server.requests[0][0] == "GET /get?x=1 HTTP/1.1" and "x-a: b" in server.requests[0]
    log = lab.get("raw-and-http-artifacts-4tfwx/raw-and-http-artifacts-4tfwx/main.log").decode()
    assert log.endswith("from raw\nfrom the web\n")
    links = dict(re.findall(r" (\S+) -> (\S+)$", log, re.M))
    inputs = "/argo/inputs/artifacts"
    assert links == {"raw": f"{inputs}/raw", "web.json": f"{inputs}/web"}


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


# --- the controller stops what runs -----------------------------------------------------------


def run_stopped(lab: Lab, pod: dict[str, Any], play: Callable[[Any], None]) -> PodRun:
    """Runs a recorded pod; PLAY does what the controller did while main ran."""
    adapted = lab.adapt(pod)
    with lab.runner(adapted) as runner:
        runner.start()
        assert runner.wait_state("main", "running", 30)
        play(runner)
        result = runner.wait(60)
    check_no_reports(result)
    return PodRun(adapted, result, lab.history(node_of(adapted)))


def stop_after_a_second(runner: Any) -> None:
    """The record: `shutdown: Stop` 5 s after the submission, when main had run for a while."""
    runner.wait_for(lambda: False, 1)
    runner.controller_stop()


def test_stop_keeps_what_main_saved(lab: Lab) -> None:
    """The record's `wait` collected before main had saved its archive: it ended 64 (…/o.tgz: no
    such file or directory), and the output was lost. Ours waits for the living wrapper: the one
    difference, and it is meant. The exit handler's pod is as recorded."""
    bye, stopped = sorted(recorded_pods("stop"), key=lambda pod: -len(pod["metadata"]["name"]))
    run = run_stopped(lab, stopped, stop_after_a_second)
    theirs = recorded_outcome("stop")["stop-lmfhr"]
    theirs["containers"]["wait"] = {"init": False, "exitCode": 0, "reason": "Completed"}
    assert run.result.outcome() == theirs, run.result.table()
    artifact = {
        "name": "o",
        "path": "/tmp/o",
        "s3": {"key": "stop-lmfhr/stop-lmfhr/o.tgz"},
    }
    recorded = versions(recorded_results("stop")["stop-lmfhr"])
    ours = versions(run.history)
    assert [label for label, _outputs in ours] == [label for label, _outputs in recorded]
    logs = recorded[-1][1]["artifacts"]
    assert ours[-1][1]["artifacts"] == [artifact, *logs]
    assert members(lab.get("stop-lmfhr/stop-lmfhr/o.tgz"))["o"][2] == b"x\n"
    # What the shell says of its killed `sleep` depends on where the signal finds it.
    assert b"got TERM\n" in lab.get("stop-lmfhr/stop-lmfhr/main.log")
    last = lab.run(lab.adapt(bye))
    assert last.result.outcome() == recorded_outcome("stop")[bye["metadata"]["name"]]
    assert versions(last.history) == versions(recorded_results("stop")[node_of(bye)])


def test_stop_of_a_plain_command(lab: Lab) -> None:
    (pod,) = recorded_pods("stop-sleep")
    run = run_stopped(lab, pod, stop_after_a_second)
    name = pod["metadata"]["name"]
    assert run.result.outcome() == recorded_outcome("stop-sleep")[name], run.result.table()
    assert versions(run.history) == versions(recorded_results("stop-sleep")[node_of(pod)])
    assert lab.objects(f"{name}/") == recorded_objects("stop-sleep")


def test_deadline_of_the_workflow(lab: Lab) -> None:
    """ARGO_DEADLINE and the pod's own deadline are the same moment; a kubelet looks at its own only
    now and then, and in the record it came second, as it does here."""
    (pod,) = recorded_pods("deadline-workflow")
    pod["spec"]["activeDeadlineSeconds"] += 1
    run = run_stopped(lab, pod, lambda runner: None)
    theirs = recorded_outcome("deadline-workflow")[pod["metadata"]["name"]]
    # The pod has ended before the kubelet looked: who decided is told by the container alone.
    assert theirs.pop("message") == DEADLINE_MESSAGE
    ours = run.result.outcome()
    assert ours.pop("message") in (None, DEADLINE_MESSAGE)
    assert ours == theirs, run.result.table()
    assert versions(run.history) == versions(recorded_results("deadline-workflow")[node_of(pod)])


def test_daemon_ends_with_its_boundary(lab: Lab) -> None:
    """The record: the client ends, the controller stops the daemon, and, its workflow being
    complete, deletes the task results while the daemon's `wait` still finishes."""
    address, port = "10.244.0.4", str(free_port())
    texts = [json.dumps(pod) for pod in recorded_pods("daemon")]
    server, client = [
        json.loads(text.replace(address, "127.0.0.1").replace("8080", port)) for text in texts
    ]
    done: dict[str, PodRun] = {}

    def play(runner: Any) -> None:
        runner.wait_for(lambda: False, 1)
        done["client"] = lab.run(lab.adapt(client))
        lab.api.store.delete("argo", node_of(client))
        lab.api.store.delete("argo", node_of(server))
        runner.controller_stop()

    done["server"] = run_stopped(lab, server, play)
    recorded = recorded_outcome("daemon")
    for run in done.values():
        assert run.result.outcome() == recorded[run.result.name], run.result.table()
    assert done["client"].result.containers["main"].log.startswith("up\n")
    results = recorded_results("daemon")
    assert versions(done["client"].history) == versions(results[node_of(client)])
    # A version more than recorded: the deletion itself.
    ours = [entry for entry in lab.api.store.history(node_of(server)) if entry["type"] != "DELETED"]
    assert versions([entry["object"] for entry in ours]) == versions(results[node_of(server)])
    sizes = recorded_objects("daemon")
    assert lab.objects("daemon-nxxnd/").keys() == sizes.keys()
