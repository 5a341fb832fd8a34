"""Moments of a pod's life, and what may happen in each: scenes for tests/integration/test_moments.py.

A scene is a pod that gets to its moment by itself and then stays there long enough; an event is what
somebody does to the pod then. What they leave behind is a table of docs/states.md.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.holding import Hold
from tests.lab import BUCKET, ROOT, Lab, PodRun, check_no_reports, node_of, recorded_pods
from tests.pod import PodRunner
from tests.scenario import (
    Step,
    artifact,
    label_of,
    location,
    mount,
    tgz,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

Json = dict[str, Any]

NONE = {"none": {}}
# Kill after 2 s, the last report after 2.7 s: see docs/states.md.
GRACE = 4
# What an evicted pod, or one of a node that goes down, may be left with.
SHORT_GRACE = 1.5
SHORTEST_GRACE = 0.25
# Where that would be too close to something else: packing, on a busy machine, or the last report.
LONG_GRACE = 12
DEADLINE = 5
# Where the moment has to be seen before it passes, and where main is killed ten seconds after it.
LATE_DEADLINE = 15
# Looking for leaks takes a process whole seconds on a busy machine, and other tests do it.
ENVIRONMENT = {"*": {"ASAN_OPTIONS": "detect_leaks=0"}}
# These come by themselves, but what is held up has to be there in time.
UNOBSERVED = {"deadline", "disk full"}
LATE = {"collecting"}
RESULTS = "/workflowtaskresults"


@dataclass
class Scene:
    """A pod and how to see that it is there."""

    pod: Json
    is_there: Callable[[PodRunner], bool]
    victim: str = "main"  # the container whose memory runs out
    short_grace: float = SHORT_GRACE
    let_go: Callable[[], None] = lambda: None  # ends what holds the pod there, if anything does


class Stage:
    """What scenes are made of: the servers, a directory, things that are closed afterwards."""

    def __init__(
        self, lab: Lab, directory: Path, stack: ExitStack, grace: int, moment: str, event: str
    ):
        self.lab = lab
        self.directory = directory
        self.stack = stack
        self.grace = grace
        # Somebody waits until the moment is there.
        self.is_observed = event not in UNOBSERVED or event == "deadline" and moment in LATE
        self.fills_disk = event == "disk full"

    def proxy(self, bytes_per_s: int, verb: str, path: str = "") -> FaultProxy:
        proxy = self.stack.enter_context(FaultProxy(self.lab.s3.address))
        action = {"kind": "rate", "bytes_per_s": bytes_per_s}
        proxy.faults.add(verb=verb, path=path, action=action)
        return proxy

    def small_disk(self, pod: Json, name: str, size: str) -> None:
        """Puts the pod's volume on a file system of that size."""
        path = self.directory / f"small-{name}"
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
        self.stack.callback(subprocess.run, ["umount", "-l", path], check=True)
        path.chmod(0o777)
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == name:
                del volume["emptyDir"]
                volume["hostPath"] = {"path": str(path)}

    def has(self, pattern: str) -> bool:
        return any(True for _ in self.directory.glob(pattern))


def says_ready(runner: PodRunner) -> bool:
    return "ready" in runner.log("main")


# --- moments --------------------------------------------------------------------------------------


def init_loading(stage: Stage) -> Scene:
    stage.lab.s3.client().put(BUCKET, "moments/large", bytes(3_000_000))
    proxy = stage.proxy(100_000, "GET")
    place = location(stage.lab, "moments/large", proxy.endpoint)
    step = Step(stage.lab, inputs=[artifact("i", "/in/i", place, archive=NONE)], grace=stage.grace)
    return Scene(step.pod, lambda _: stage.has("input-artifacts/*.tmp"), "init")


def init_unpacking(stage: Stage) -> Scene:
    noise = {f"d/{i}": os.urandom(3000) for i in range(1000)}
    stage.lab.s3.client().put(BUCKET, "moments/tree", tgz(noise))
    proxy = stage.proxy(400_000, "GET")
    place = location(stage.lab, "moments/tree", proxy.endpoint)
    step = Step(stage.lab, inputs=[artifact("i", "/in/i", place)], grace=stage.grace)
    return Scene(step.pod, lambda _: stage.has("input-artifacts/i.tmpdir/d/*"), "init")


def supervisor_loading(stage: Stage) -> Scene:
    """The wrapper of main waits for it."""
    (_gen, use) = recorded_pods("initless-artifact-passing")
    key = "artifact-passing-29fjd/artifact-passing-29fjd-gen-3682811304/hello-art.tgz"
    stage.lab.s3.client().put(BUCKET, key, bytes(3_000_000))
    proxy = stage.proxy(100_000, "GET")
    pod = fresh(stage.lab.adapt(use, proxy.endpoint))
    set_grace(pod, stage.grace)
    return Scene(
        pod,
        lambda runner: stage.has("input-artifacts/*message.tmp") and runner.containers["main"].state == "running",
        "supervisor",
    )


def image_missing(stage: Stage) -> Scene:
    step = with_outputs(stage, "true")
    step.container("main")["image"] = "registry.example/none:1"
    return Scene(
        step.pod,
        lambda runner: runner.containers["main"].reason == "ErrImagePull"
        and bool(stage.lab.history(step.node)),
        "wait",
    )


def cannot_start(stage: Stage) -> Scene:
    step = with_outputs(stage, "true")
    step.container("main")["command"] = ["/not/there"]
    return Scene(
        step.pod,
        lambda runner: runner.containers["main"].state == "terminated"
        and bool(stage.lab.history(step.node)),
        "wait",
    )


def member_waiting(stage: Stage) -> Scene:
    """main waits for a, which runs."""
    (pod,) = recorded_pods("container-set")
    pod = fresh(stage.lab.adapt(pod))
    set_grace(pod, stage.grace)
    script = "echo early >/workspace/out; echo ready; exec sleep 100"
    spec = pod["spec"]
    for container in spec["containers"]:
        if container["name"] == "a":
            container["args"] = [script]
    spec["containers"] = [c for c in spec["containers"] if c["name"] in ("wait", "a", "main")]
    template = template_of(pod)
    members = template["containerSet"]["containers"]
    template["containerSet"]["containers"] = [
        {**m, "dependencies": ["a"]} if m["name"] == "main" else m
        for m in members
        if m["name"] in ("a", "main")
    ]
    set_template(pod, template)
    return Scene(
        pod,
        lambda runner: "ready" in runner.log("a")
        and runner.containers["main"].state == "running"
        and stage.has("var-run-argo/ctr/main"),
        "a",
    )


def pause_before(stage: Stage) -> Scene:
    step = with_outputs(stage, "true")
    step.set_env("main", "ARGO_DEBUG_PAUSE_BEFORE", "true")
    return Scene(step.pod, lambda runner: "Waiting for a file" in runner.log("main"))


def command_running(stage: Stage) -> Scene:
    if stage.fills_disk:
        script = "echo ready; head -c 4000000 /dev/zero; echo over"
        return Scene(with_outputs(stage, script, archive_logs=True).pod, says_ready)
    step = with_outputs(stage, "echo ready; exec sleep 100")
    return Scene(step.pod, says_ready)


def command_ignoring(stage: Stage) -> Scene:
    step = with_outputs(stage, "trap '' TERM; echo ready; while :; do sleep 0.2; done")
    return Scene(step.pod, says_ready)


def pause_after(stage: Stage) -> Scene:
    step = with_outputs(stage, "echo ready")
    step.set_env("main", "ARGO_DEBUG_PAUSE_AFTER", "true")
    return Scene(step.pod, lambda runner: "Waiting for a file" in runner.log("main"))


def collecting(stage: Stage) -> Scene:
    """main packs what is too deep for `wait` to take, and does not get beyond the first file."""
    script = (
        "mkdir /tmp/large; head -c 32000000 /dev/urandom >/tmp/large/private;"
        "p=/tmp/large; for i in $(seq 70); do p=$p/d; done; mkdir -p $p; echo ready"
    )
    if stage.is_observed:
        script += "; until [ -e /tmp/go ]; do sleep 0.02; done"
    step = with_outputs(stage, script, artifact("large", "/tmp/large"))
    holds: list[Hold] = []

    def is_there(runner: PodRunner) -> bool:
        if says_ready(runner) and not holds:
            private = Path(f"/proc/{runner.pid('main')}/root/tmp/large/private")
            holds.append(stage.stack.enter_context(Hold(private)))
            runner.exec("main", ["/bin/busybox", "touch", "/tmp/go"])
        return bool(holds) and holds[0].has_somebody()

    return Scene(step.pod, is_there, short_grace=SHORTEST_GRACE, let_go=lambda: holds[0].let_go())


def saving(stage: Stage) -> Scene:
    """`small` has been stored for a while, `large` takes 5 s more."""
    script = "head -c 2000000 /dev/urandom >/v/large; printf small >/v/small"
    proxy = stage.proxy(320_000, "PUT", "/large")
    step = Step(
        stage.lab,
        script,
        artifacts=[
            artifact("large", "/v/large", archive=NONE),
            artifact("small", "/v/small", archive=NONE),
        ],
        parameters=[{"name": "p", "valueFrom": {"path": "/v/small"}}],
        mounts=[mount("v", "/v")],
        endpoint=proxy.endpoint,
        grace=stage.grace,
    )
    since: list[float] = []

    def is_there(runner: PodRunner) -> bool:
        if "Saved artifact" in runner.log("wait") and not since:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() > since[0] + 1.2

    return Scene(step.pod, is_there, "wait")


def handed_over(stage: Stage) -> Scene:
    """main has ended; what it handed over is being read, and `large` takes 5 s more."""
    script = (
        "mkdir /tmp/large; head -c 1000000 /dev/urandom | tee /tmp/large/1 >/tmp/large/2;"
        "printf small >/tmp/small"
    )
    proxy = stage.proxy(320_000, "PUT", "/large")
    step = Step(
        stage.lab,
        script,
        artifacts=[
            artifact("large", "/tmp/large", archive={"tar": {"compressionLevel": 0}}),
            artifact("small", "/tmp/small", archive=NONE),
        ],
        endpoint=proxy.endpoint,
        grace=stage.grace,
    )
    since: list[float] = []

    def is_there(runner: PodRunner) -> bool:
        if "Saved artifact" in runner.log("wait") and not since:
            assert runner.containers["main"].state == "terminated"
            since.append(time.monotonic())
        return bool(since) and time.monotonic() > since[0] + 1.2

    return Scene(step.pod, is_there, "wait")


def reporting(stage: Stage) -> Scene:
    """The answer to the outputs takes two seconds."""
    step = with_outputs(stage, "true")
    stage.lab.api.faults.add(
        verb="PATCH", path=f"{RESULTS}/{step.node}", count=1, action={"kind": "delay", "seconds": 2}
    )
    return Scene(step.pod, lambda runner: "Saved artifact" in runner.log("wait"), "wait")


def sidecar_left(stage: Stage) -> Scene:
    """main and `wait` have ended, a sidecar that ignores SIGTERM has not."""
    (pod,) = recorded_pods("sidecar-stubborn")
    pod = fresh(stage.lab.adapt(pod))
    set_grace(pod, stage.grace)
    return Scene(pod, lambda runner: runner.containers["wait"].state == "terminated", "stubborn")


MOMENTS: dict[str, Callable[[Stage], Scene]] = {
    "init loading": init_loading,
    "init unpacking": init_unpacking,
    "supervisor loading": supervisor_loading,
    "image missing": image_missing,
    "main cannot start": cannot_start,
    "member waiting": member_waiting,
    "pause before": pause_before,
    "command running": command_running,
    "command ignoring SIGTERM": command_ignoring,
    "pause after": pause_after,
    "collecting": collecting,
    "handed over": handed_over,
    "saving": saving,
    "reporting": reporting,
    "sidecar left": sidecar_left,
}


# --- events ---------------------------------------------------------------------------------------


def stop(runner: PodRunner, _scene: Scene) -> None:
    """The controller: a pod that is still pending is deleted, another one signalled by exec."""
    containers = [c for c in runner.containers.values() if not c.init]
    if any(c.state == "waiting" for c in containers):
        runner.stop()
    else:
        runner.controller_stop()


def kubelet(runner: PodRunner, _scene: Scene) -> None:
    runner.stop()


def shutdown(runner: PodRunner, scene: Scene) -> None:
    runner.stop(scene.short_grace)


def out_of_memory(runner: PodRunner, scene: Scene) -> None:
    """With memory.oom.group, and whenever the wrapper is hit: PID 1 takes everybody with it."""
    runner.signal(scene.victim, 9)


def command_out_of_memory(runner: PodRunner, scene: Scene) -> None:
    """Without memory.oom.group: the largest process, which is the command."""
    runner.exec(scene.victim, ["/bin/busybox", "killall", "-9", "sleep"])


def nothing(_runner: PodRunner, _scene: Scene) -> None:
    """It comes by itself."""


def deadline(runner: PodRunner, _scene: Scene) -> None:
    """It comes by itself. A pod whose main never came is deleted when `wait` has ended."""
    aux = "wait" if "wait" in runner.containers else "supervisor"

    def has_passed() -> bool:
        is_over = runner.containers[aux].state == "terminated"
        return is_over or "The deadline has passed" in runner.log(aux)

    wait_until_seen(has_passed, "the deadline", 2 * LATE_DEADLINE)
    if runner.containers["main"].state == "waiting":
        assert runner.wait_state(aux, "terminated", 2 * LATE_DEADLINE)
        runner.stop()


EVENTS: dict[str, Callable[[PodRunner, Scene], None]] = {
    "stop": stop,
    "deadline": deadline,
    "kubelet": kubelet,
    "shutdown": shutdown,
    "oom": out_of_memory,
    "oom of the command": command_out_of_memory,
    "disk full": nothing,
}


BINARY = Path(os.environ.get("ARGOEXEC", ROOT / "build/argoexec"))

# The volume that a moment writes into, and a size that is too small for what is still to come.
BINARY_KIB = BINARY.stat().st_size // 1024
SMALL_DISKS = {
    "init loading": ("input-artifacts", "64k"),
    "init unpacking": ("input-artifacts", "64k"),
    "supervisor loading": ("input-artifacts", "64k"),
    "command running": ("var-run-argo", f"{BINARY_KIB + 1000}k"),
    "collecting": ("var-run-argo", "28m"),
    "handed over": ("var-run-argo", f"{BINARY_KIB + 1000}k"),
    "saving": ("tmp-dir-argo", "4k"),
}
LONG = {
    "collecting": {"stop", "kubelet"},
    "handed over": {"shutdown", "oom", "disk full"},
    "saving": {"shutdown", "oom", "disk full"},
}


# --- pods -----------------------------------------------------------------------------------------


def with_outputs(stage: Stage, script: str, *artifacts: Json, archive_logs: bool = False) -> Step:
    """A step that writes the artifact `o` into its own file system, and then does SCRIPT."""
    step = Step(
        stage.lab,
        f"printf early >/tmp/o; {script}",
        artifacts=[artifact("o", "/tmp/o", archive=NONE), *artifacts],
        archive_logs=archive_logs,
        grace=stage.grace,
    )
    return step


def fresh(pod: Json) -> Json:
    """A node of its own: several cells use the same recorded pod at a time."""
    old = node_of(pod)
    fresh.count += 1  # type: ignore[attr-defined]
    new = f"{old}-{fresh.count}"  # type: ignore[attr-defined]
    pod["metadata"]["annotations"]["workflows.argoproj.io/node-id"] = new
    for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
        for entry in container["env"]:
            if entry["name"] == "ARGO_NODE_ID":
                entry["value"] = new
    return pod


fresh.count = 0  # type: ignore[attr-defined]


def containers_of(pod: Json) -> list[Json]:
    return pod["spec"].get("initContainers", []) + pod["spec"]["containers"]


def set_variable(pod: Json, name: str, value: str) -> None:
    for container in containers_of(pod):
        for entry in container["env"]:
            if entry["name"] == name:
                entry["value"] = value


def set_grace(pod: Json, grace: int) -> None:
    pod["spec"]["terminationGracePeriodSeconds"] = grace
    set_variable(pod, "ARGO_TERMINATION_GRACE_PERIOD_SECONDS", str(grace))


def template_of(pod: Json) -> Json:
    for container in containers_of(pod):
        for entry in container["env"]:
            if entry["name"] == "ARGO_TEMPLATE":
                return json.loads(entry["value"])
    raise KeyError("ARGO_TEMPLATE")


def set_template(pod: Json, template: Json) -> None:
    set_variable(pod, "ARGO_TEMPLATE", json.dumps(template))


def at(seconds: float) -> str:
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- a cell of the table --------------------------------------------------------------------------


@dataclass
class Left:
    """What a pod has left behind."""

    run: PodRun
    exit_codes: dict[str, str]  # files
    seconds: float  # from the event to the end

    def code(self, *names: str) -> str:
        for name in names:
            if name in self.run.result.containers:
                code = self.run.result.containers[name].exit_code
                return "–" if code is None else str(code)
        return "–"

    def label(self) -> str:
        return label_of(self.run.task_result) if self.run.task_result else "–"

    def reported(self) -> list[str]:
        outputs = self.run.task_result.get("outputs", {})
        return [a["name"] for a in outputs.get("artifacts", [])]

    def keys(self) -> list[str]:
        outputs = self.run.task_result.get("outputs", {})
        return [a["s3"]["key"] for a in outputs.get("artifacts", [])]

    def message(self) -> str:
        containers = self.run.result.containers.values()
        ended = [c for c in containers if c.state == "terminated" and c.message]
        return "; ".join(f"{c.name}: {c.message}" for c in ended)


def play(lab: Lab, moment: str, event: str, directory: Path) -> Left:
    """Runs one cell."""
    with ExitStack() as stack:
        grace = LONG_GRACE if event in LONG.get(moment, set()) else GRACE
        stage = Stage(lab, directory, stack, grace, moment, event)
        scene = MOMENTS[moment](stage)
        if event == "disk full":
            stage.small_disk(scene.pod, *SMALL_DISKS[moment])
        passes = 0.0
        if event == "deadline":
            passes = time.time() + (LATE_DEADLINE if moment in LATE else DEADLINE)
            set_variable(scene.pod, "ARGO_DEADLINE", at(passes))
        runner = stack.enter_context(
            lab.runner(scene.pod, volumes_dir=str(directory), env_overrides=ENVIRONMENT)
        )
        runner.start()
        if stage.is_observed:
            wait_until_seen(lambda: scene.is_there(runner), f"{moment}: {runner.log('main')}")
        started = max(time.time(), passes)
        EVENTS[event](runner, scene)
        if stage.is_observed and event != "shutdown":
            scene.let_go()
        result = runner.wait(60)
        run = PodRun(scene.pod, result, lab.history(node_of(scene.pod)))
        codes = {
            path.parent.name: path.read_text()
            for path in directory.glob("*var-run-argo/ctr/*/exitcode")
        }
    check_no_reports(result)
    return Left(run, codes, result.finished - started)
