"""How `wait` learns that main has ended, what SIGTERM and deadlines do to it, and what user code
can make it read: nothing that is not the user's."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.pod import PodRunner
from tests.scenario import (
    Step,
    artifact,
    assert_failure,
    assert_ok,
    describe,
    label_of,
    mount,
    parameter,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

NONE = {"none": {}}
SECRET_PATH = "/argo/secret/my-minio-cred/secretkey"
# What `wait` can read and nobody shall get: a secret, a system file, its own environment.
TARGETS = [SECRET_PATH, "/etc/passwd", "/proc/self/environ"]


def ended(step: Step, runner: PodRunner, timeout: float = 30):
    result = runner.wait(timeout)
    assert label_of(step.history()[-1]) == "true"
    return result.containers


# --- hostile files --------------------------------------------------------------------------------


def stored(lab: Lab, step: Step) -> bytes:
    return b"".join(lab.get(key) for key in lab.objects(step.prefix))


def assert_nothing_leaked(lab: Lab, step: Step, log: str) -> None:
    everything = stored(lab, step) + str(step.history()).encode() + log.encode()
    assert lab.s3.secret_key.encode() not in everything
    assert b"root:x:0:0" not in everything
    assert b"ARGO_POD_UID" not in everything


@pytest.mark.parametrize("target", TARGETS)
def test_links_in_the_shared_directory(lab: Lab, target: str) -> None:
    """Main's log, result, parameters and archives are links to what `wait` may read."""
    script = f"""
        cd /var/run/argo; mkdir -p ctr/main outputs/parameters/tmp outputs/artifacts/tmp
        ln -sf {target} ctr/main/combined; ln -sf {target} ctr/main/stdout
        ln -sf {target} outputs/parameters/tmp/p
        ln -sf {target} outputs/artifacts/tmp/a.tgz; ln -sf {target} outputs/artifacts/tmp/n.tgz
        echo 0 >ctr/main/exitcode; sleep 100
    """
    step = Step(
        lab,
        parameters=[parameter("p", "/tmp/p")],
        artifacts=[artifact("a", "/tmp/a"), artifact("n", "/tmp/n", archive=NONE, optional=True)],
        archive_logs=True,
        has_result=True,
    ).plain_main(script)
    with step.runner(controller=False) as runner:
        runner.start()
        assert runner.wait_state("wait", "terminated", 30)
        container = runner.containers["wait"]
    assert_failure(container, 64)
    for name in ("stdout", "outputs/parameters/tmp/p", "outputs/artifacts/tmp/a.tgz", "combined"):
        assert name in container.log
    assert step.outputs() == {"parameters": [step.template["outputs"]["parameters"][0]]}
    assert label_of(step.history()[-1]) == "true"
    assert lab.objects(step.prefix) == {}
    assert_nothing_leaked(lab, step, container.log)


@pytest.mark.parametrize("place", ["ctr", "ctr/main", "outputs", "outputs/artifacts"])
def test_directories_that_became_links(lab: Lab, place: str) -> None:
    script = f"""
        cd /var/run/argo; mkdir -p ctr/main outputs/artifacts/tmp; echo 0 >ctr/main/exitcode
        sleep 0.2; rm -rf {place}; ln -s /argo/secret/my-minio-cred {place}; sleep 100
    """
    artifacts = [artifact("a", "/secretkey", archive=NONE)]
    step = Step(lab, artifacts=artifacts, archive_logs=True).plain_main(script)
    with step.runner(controller=False) as runner:
        runner.start()
        assert runner.wait_state("wait", "terminated", 30)
        container = runner.containers["wait"]
    assert container.exit_code == 64, container.log
    assert lab.objects(step.prefix) == {}
    assert_nothing_leaked(lab, step, container.log)


@pytest.mark.parametrize(
    "target", [*TARGETS, f"../../..{SECRET_PATH}", "/v2/other", "/mainctrfs/v2/other"]
)
def test_links_in_a_volume(lab: Lab, target: str) -> None:
    script = f"""
        printf other >/v2/other; mkdir -p /v/d/e
        ln -s {target} /v/file; ln -s $(dirname {target}) /v/up; ln -s {target} /v/d/inside
        ln -s $(dirname {target}) /v/d/e/updir
    """
    last = os.path.basename(target)
    artifacts = [
        artifact("file", "/v/file", archive=NONE),
        artifact("tar", "/v/file"),
        artifact("zip", "/v/file", archive={"zip": {}}, optional=True),
        artifact("up", f"/v/up/{last}", archive=NONE),
        artifact("dir", "/v/up"),
        artifact("d-none", "/v/d", archive=NONE),
        artifact("d-tar", "/v/d"),
        artifact("d-zip", "/v/d", archive={"zip": {}}),
    ]
    step = Step(
        lab, script, artifacts=artifacts, mounts=[mount("v", "/v"), mount("v2", "/v2")]
    )
    run = step.run()
    log = run.result.containers["wait"].log
    message = assert_failure(run.result.containers["wait"], 64)
    assert message.count("; ") >= 5, message
    assert {a["name"] for a in step.outputs()["artifacts"]} == {"d-none", "d-tar", "d-zip"}
    assert_nothing_leaked(lab, step, log)
    assert b"other" not in b"".join(
        lab.get(key) for key in lab.objects(step.prefix) if not key.endswith((".tgz", ".zip"))
    )


def test_a_parameter_that_is_a_link_out_of_its_volume(lab: Lab) -> None:
    parameters = [parameter("p", "/v/p")]
    step = Step(lab, f"ln -s {SECRET_PATH} /v/p", parameters=parameters, mounts=[mount("v", "/v")])
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "/mainctrfs/v/p")
    assert_nothing_leaked(lab, step, run.result.containers["wait"].log)


@pytest.mark.parametrize("what", ["mkfifo {}", "mkdir {}", "ln -s {} {}", "truncate -s 4G {}"])
def test_files_of_a_wrong_kind(lab: Lab, what: str) -> None:
    """A FIFO, a directory, a loop, a huge sparse file in place of a parameter: no hang."""
    path = "/var/run/argo/outputs/parameters/tmp/p"
    script = f"mkdir -p $(dirname {path}) /var/run/argo/ctr/main; {what.replace('{}', path)}"
    script += "; echo 0 >/var/run/argo/ctr/main/exitcode"
    step = Step(lab, parameters=[parameter("p", "/tmp/p")]).plain_main(script)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, path)


# --- main's end -----------------------------------------------------------------------------------


EVERYTHING = {
    "deleted": "rm -rf /var/run/argo/* /var/run/argo/.[!.]*",
    "replaced": """cd /var/run/argo; for f in * ctr/main/*; do
        rm -rf $f; mkdir -p $(dirname $f); mkfifo $f || mkdir -p $f; done""",
}


@pytest.mark.parametrize("how", EVERYTHING)
@pytest.mark.parametrize("is_stopped", [False, True])
def test_everything_in_the_shared_directory(lab: Lab, how: str, is_stopped: bool) -> None:
    """Binary, template, sockets, files: main has what it has, `wait` still sees how it ends, and a
    stop, which nobody can execute in main any more, reaches it through `wait`."""
    last = "exec sleep 100" if is_stopped else "exit 7"
    script = f"printf v >/tmp/o; echo said; {EVERYTHING[how]}; echo ready; {last}"
    artifacts = [artifact("o", "/tmp/o", archive=NONE)]
    step = Step(lab, script, artifacts=artifacts, archive_logs=True, grace=4)
    with step.runner(controller=is_stopped) as runner:
        running(runner)
        if is_stopped:
            runner.controller_stop()
        containers = ended(step, runner)
    assert containers["main"].exit_code == (137 if is_stopped else 7), containers["main"].log
    assert lab.get(step.key("o")) == b"v"
    assert label_of(step.history()[-1]) == "true"
    # The log's copy has gone with the rest, which is said; nothing else is lost.
    assert containers["wait"].exit_code == 0, containers["wait"].log
    assert "Left out the log of a container that has none" in containers["wait"].log


def test_a_wrapper_that_is_killed(lab: Lab) -> None:
    """As the kernel does it when memory runs out: no exit code, yet known at once."""
    step = Step(lab, "echo ready; sleep 100")
    with step.runner(controller=False) as runner:
        running(runner)
        started = time.time()
        runner.signal("main", 9)
        containers = ended(step, runner)
    assert containers["main"].exit_code == 137
    assert containers["wait"].exit_code == 0
    assert "out of memory?" in containers["wait"].log
    said = "main was killed and left no exit code: taken for 137, out of memory?"
    assert containers["wait"].message == said
    seconds = containers["wait"].finished - started
    print(f"wait ended {seconds * 1000:.0f} ms after the kill")
    assert seconds < 0.5


def test_a_wrapper_that_is_killed_with_its_outputs(lab: Lab) -> None:
    """The kill is what the missing output comes from: it is said first."""
    step = Step(lab, "echo ready; sleep 100", parameters=[parameter("p", "/tmp/none")])
    with step.runner(controller=False) as runner:
        running(runner)
        runner.signal("main", 9)
        containers = ended(step, runner)
    message = assert_failure(containers["wait"], 64, "; open ", "no such file or directory")
    assert message.startswith("main was killed and left no exit code: taken for 137")


def test_main_never_starts(lab: Lab) -> None:
    """Its program is not there; the controller's SIGTERM is what ends the wait."""
    step = Step(lab)
    step.container("main")["command"] = ["/not/there"]
    run = step.run()
    codes = {name: c.exit_code for name, c in run.result.containers.items()}
    assert codes == {"init": 0, "main": 128, "wait": 0}, describe(run)
    assert label_of(run.task_result) == "true"


def test_exit_codes_of_main_do_not_matter(lab: Lab) -> None:
    # A kubelet makes one dollar of two.
    run = Step(lab, "kill -9 $$$$", archive_logs=True).run()
    assert run.result.containers["main"].exit_code == 137
    assert run.result.containers["wait"].exit_code == 0
    assert label_of(run.task_result) == "true"


# --- SIGTERM --------------------------------------------------------------------------------------


def running(runner: PodRunner) -> None:
    runner.start()
    wait_until_seen(lambda: "ready" in runner.log("main"), "main")


def test_sigterm_waits_for_main(lab: Lab) -> None:
    script = "echo ready; sleep 1.5; printf late >/tmp/p"
    step = Step(lab, script, parameters=[parameter("p", "/tmp/p")], grace=10)
    with step.runner(controller=False) as runner:
        running(runner)
        for _ in range(3):
            runner.signal("wait", 15)
        containers = ended(step, runner)
    assert containers["wait"].exit_code == 0 and containers["main"].exit_code == 0
    assert step.outputs()["parameters"][0]["value"] == "late"


@pytest.mark.parametrize("grace", [2, 7])
def test_sigterm_is_bounded_by_the_grace_period(lab: Lab, grace: int) -> None:
    """Main ignores everything: it is killed in time, and all is reported before the pod's end."""
    script = "trap '' TERM; echo ready; printf v >/v/p; while :; do sleep 1; done"
    step = Step(
        lab, script, parameters=[parameter("p", "/v/p")], mounts=[mount("v", "/v")], grace=grace
    )
    with step.runner(controller=False) as runner:
        running(runner)
        started = time.time()
        runner.signal("wait", 15)
        assert runner.wait_state("wait", "terminated", 30)
        seconds = runner.containers["wait"].finished - started
        assert runner.wait_state("main", "terminated", 5)
        containers = ended(step, runner)
    print(f"grace {grace} s: wait ended after {seconds:.2f} s")
    kill_after = grace - min(max(5, grace / 5), grace / 2)  # docs/states.md
    assert kill_after <= seconds < grace
    assert containers["main"].exit_code == 137
    assert containers["wait"].exit_code == 0
    assert step.outputs()["parameters"][0]["value"] == "v"
    requests = [line for line in containers["wait"].log.splitlines() if "source=pod" in line]
    assert len(requests) == 1 and "signal=9" in requests[0], containers["wait"].log


def test_a_short_grace_period_is_no_kill(lab: Lab) -> None:
    """Half of it, at least, is main's: SIGTERM to both does not make `wait` kill at once."""
    script = "trap 'sleep 0.3; printf saved >/tmp/p; exit 0' TERM; echo ready; "
    script += "while :; do sleep 0.1; done"
    step = Step(lab, script, parameters=[parameter("p", "/tmp/p")], grace=2)
    with step.runner(controller=False) as runner:
        running(runner)
        runner.signal("wait", 15)
        runner.signal("main", 15)
        containers = ended(step, runner)
    assert containers["main"].exit_code == 0
    assert step.outputs()["parameters"][0]["value"] == "saved"


def test_a_storm_of_signals_during_an_upload(lab: Lab) -> None:
    script = "head -c 3000000 /dev/urandom >/v/f; echo ready"
    artifacts = [artifact("a", "/v/f", archive=NONE)]
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="PUT", action={"kind": "rate", "bytes_per_s": 3000000})
        step = Step(
            lab, script, artifacts=artifacts, mounts=[mount("v", "/v")], endpoint=proxy.endpoint
        )
        with step.runner(controller=False) as runner:
            runner.start()
            wait_until_seen(lambda: proxy.connections(), "the upload")
            for number in [15, 2, 15, 1, 3, 10, 15] * 20:
                if runner.containers["wait"].state == "running":
                    runner.signal("wait", number)
            containers = ended(step, runner)
    assert containers["wait"].exit_code == 0, containers["wait"].log
    assert containers["wait"].log.count("Asked to finish up") == 1
    assert lab.objects(step.prefix) == {step.key("f"): 3000000}
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["a"]


# --- the deadline ---------------------------------------------------------------------------------


def in_seconds(seconds: float) -> str:
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_a_deadline(lab: Lab, is_stubborn: bool) -> None:
    trap = "trap '' TERM" if is_stubborn else "trap 'printf saved >/tmp/p; exit 7' TERM"
    script = f"printf early >/tmp/p; {trap}; echo ready; while :; do sleep 0.1; done"
    step = Step(lab, script, parameters=[parameter("p", "/tmp/p")], grace=2)
    step.set_env("wait", "ARGO_DEADLINE", in_seconds(2))
    with step.runner(controller=False) as runner:
        started = time.time()
        runner.start()
        containers = ended(step, runner)
    assert containers["wait"].message == "Step exceeded its deadline"
    assert containers["wait"].exit_code == 0, containers["wait"].log
    assert containers["main"].exit_code == (137 if is_stubborn else 7)
    assert step.outputs()["parameters"][0]["value"] == ("early" if is_stubborn else "saved")
    assert containers["wait"].finished - started < (7 if is_stubborn else 4)


def test_a_deadline_that_has_passed(lab: Lab) -> None:
    step = Step(lab, "sleep 100", grace=2)
    step.set_env("wait", "ARGO_DEADLINE", in_seconds(-100))
    with step.runner(controller=False) as runner:
        runner.start()
        containers = ended(step, runner)
    assert containers["wait"].message == "Step exceeded its deadline"
    assert containers["main"].exit_code == 143


def test_killed_after_the_deadline(lab: Lab) -> None:
    """Both are said, in their order."""
    script = "trap '' TERM; echo ready; while :; do sleep 0.2; done"
    step = Step(lab, script, grace=20)
    step.set_env("wait", "ARGO_DEADLINE", in_seconds(3))
    with step.runner(controller=False) as runner:
        running(runner)
        wait_until_seen(lambda: "deadline has passed" in runner.log("wait"), "the deadline")
        runner.signal("main", 9)
        containers = ended(step, runner)
    message = "Step exceeded its deadline; main was killed and left no exit code: "
    assert containers["wait"].message == f"{message}taken for 137, out of memory?"


def test_the_deadline_is_overruled_by_an_error(lab: Lab) -> None:
    """The first error is the message at last."""
    step = Step(lab, "sleep 100", parameters=[parameter("p", "/tmp/none")], grace=2)
    step.set_env("wait", "ARGO_DEADLINE", in_seconds(1))
    with step.runner(controller=False) as runner:
        runner.start()
        containers = ended(step, runner)
    assert_failure(containers["wait"], 64, "no such file or directory")


def test_a_deadline_during_the_upload(lab: Lab) -> None:
    """Main has ended in time: saving what it has left is not late."""
    script = "head -c 3000000 /dev/urandom >/v/f"
    artifacts = [artifact("a", "/v/f", archive=NONE)]
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="PUT", action={"kind": "rate", "bytes_per_s": 1000000})
        step = Step(
            lab, script, artifacts=artifacts, mounts=[mount("v", "/v")], endpoint=proxy.endpoint
        )
        step.set_env("wait", "ARGO_DEADLINE", in_seconds(2.5))
        run = step.run()
    assert_ok(run)
    assert run.result.containers["wait"].message == ""
    assert "deadline" not in run.result.containers["wait"].log


def test_no_staging_is_left(lab: Lab, tmp_path: Path) -> None:
    script = "mkdir /tmp/d; printf 1 >/tmp/d/f"
    artifacts = [
        artifact("n", "/tmp/d", archive=NONE),
        artifact("z", "/tmp/d", archive={"zip": {}}),
    ]
    assert_ok(Step(lab, script, artifacts=artifacts).run(volumes_dir=str(tmp_path)))
    staged = [p for p in (tmp_path / "tmp-dir-argo").rglob("*") if p.is_file()]
    assert staged == []
