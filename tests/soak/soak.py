"""One random pod with random faults, and what must hold whatever happens to it.

    with Lab(directory) as lab:
        report = run_seed(lab, 17)      # AssertionError when something does not hold

All that is chosen follows from the seed: the pod, the faults of the store and of the API server,
which container is signalled, when, and with what. When a signal falls in relation to the pod's own
steps depends on the machine, so a seed that has failed may need several runs to fail again.
"""

from __future__ import annotations

import io
import random
import signal
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab import BUCKET, Lab
from tests.pod import PodResult, PodRunner
from tests.pod.client import SandboxError
from tests.scenario import (
    Step,
    artifact,
    label_of,
    leftovers,
    location,
    mount,
    parameter,
    raw,
    tgz,
)
from tests.servers.fault_proxy import FaultProxy

# Much longer than any of these pods takes, and shorter than a stalled network is waited for.
HANG_SECONDS = 60
GRACE_SECONDS = 4
RESULTS = "/workflowtaskresults"

STORE_FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503, "headers": {"Retry-After": "0"}},
    {"kind": "status", "status": 503, "body": "<Error><Code>SlowDown</Code></Error>"},
    {"kind": "reset"},
    {"kind": "close"},
    {"kind": "lost"},
    {"kind": "cut_response", "bytes": 1000},
    {"kind": "cut_request", "bytes": 1000},
    {"kind": "delay", "seconds": 0.1},
]
API_FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 503, "headers": {"Retry-After": "0"}},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
    {"kind": "status", "status": 500, "message": "etcdserver: leader changed"},
    {"kind": "reset"},
    {"kind": "lost"},
    {"kind": "truncate"},
    {"kind": "delay", "seconds": 0.1},
    {"kind": "concurrent_write", "patch": {"metadata": {"annotations": {"by": "another"}}}},
]


@dataclass
class Blow:
    """A signal from outside the pod, so many seconds after its start."""

    container: str
    number: int
    after: float


@dataclass
class Plan:
    """Everything that a seed decides."""

    seed: int
    exit_code: int
    pause: float
    inputs: list[str]
    outputs: list[tuple[str, str, bool, int]]  # where, form, is it a directory, bytes
    has_result: bool
    archive_logs: bool
    blows: list[Blow] = field(default_factory=list)
    store_faults: list[dict[str, Any]] = field(default_factory=list)
    api_faults: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int) -> "Plan":
        rng = random.Random(seed)
        outputs = [
            (
                rng.choice(["v", "base"]),
                rng.choice(["tar", "none", "zip"]),
                rng.random() < 0.4,
                rng.choice([0, 1, 1000, 100000, 2000000]),
            )
            for _ in range(rng.randrange(4))
        ]
        plan = cls(
            seed=seed,
            exit_code=rng.choice([0, 0, 0, 1, 3, 64, 255]),
            pause=rng.choice([0, 0, 0.1, 0.3]),
            inputs=[
                rng.choice(["raw", "object", "archive", "prefix", "absent", "volume"])
                for _ in range(rng.randrange(4))
            ],
            outputs=outputs,
            has_result=rng.random() < 0.5,
            archive_logs=rng.random() < 0.5,
        )
        if rng.random() < 0.5:
            plan.blows = [
                Blow(
                    rng.choice(["init", "main", "main", "wait", "wait"]),
                    rng.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGKILL]),
                    rng.uniform(0, 0.8),
                )
                for _ in range(rng.randrange(1, 4))
            ]
        if rng.random() < 0.7:
            plan.store_faults = _rules(rng, STORE_FAULTS, "", 3)
        if rng.random() < 0.7:
            plan.api_faults = _rules(rng, API_FAULTS, RESULTS, 2)
        return plan

    def is_hit(self, container: str, number: int = 0) -> bool:
        return any(
            blow.container == container and number in (0, blow.number) for blow in self.blows
        )


def _rules(
    rng: random.Random, actions: list[dict[str, Any]], path: str, most: int
) -> list[dict[str, Any]]:
    """At most MOST rules that hit MOST times: pauses after failures double each time."""
    return [
        {
            "path": path,
            "action": rng.choice(actions),
            "probability": rng.choice([0.2, 0.5, 1.0]),
            "count": rng.randrange(1, most + 1),
            "seed": rng.randrange(1 << 30),
        }
        for _ in range(rng.randrange(1, most + 1))
    ]


# --- the pod --------------------------------------------------------------------------------------


class Run:
    """A plan being carried out."""

    def __init__(self, lab: Lab, plan: Plan, proxy: FaultProxy, volumes: Path):
        self.lab = lab
        self.plan = plan
        self.volumes = volumes
        self.step = self._step(proxy)

    def _step(self, proxy: FaultProxy) -> Step:
        plan, rng = self.plan, random.Random(self.plan.seed + 1)
        base = f"soak/{plan.seed}-{rng.randrange(1 << 30)}"
        inputs = [
            self._input(f"in{i}", kind, base, proxy) for i, kind in enumerate(plan.inputs)
        ]
        artifacts = []
        lines = ["mkdir -p /base", "echo to-stdout; echo to-stderr >&2", "printf value >/tmp/p"]
        for i, (where, form, is_directory, size) in enumerate(plan.outputs):
            path = f"/{where}/out{i}"
            file = f"{path}/sub/f" if is_directory else path
            lines.append(f"mkdir -p $(dirname {file}); head -c {size} /dev/urandom >{file}")
            artifacts.append(artifact(f"out{i}", path, archive={form: {}}))
        lines += [f"sleep {plan.pause}", f"exit {plan.exit_code}"]
        step = Step(
            self.lab,
            "\n".join(lines),
            inputs=inputs,
            artifacts=artifacts,
            parameters=[parameter("p", "/tmp/p", default="none")],
            mounts=[mount("v", "/v")],
            endpoint=proxy.endpoint,
            archive_logs=plan.archive_logs,
            has_result=plan.has_result,
            grace=GRACE_SECONDS,
        )
        for name in ("init", "wait"):
            step.set_env(name, "EXECUTOR_RETRY_BACKOFF_DURATION", "20ms")
        return step

    def _input(self, name: str, kind: str, base: str, proxy: FaultProxy) -> dict[str, Any]:
        client, key = self.lab.s3.client(), f"{base}/{name}"
        path = f"/v/{name}" if kind == "volume" else f"/in/{name}"
        if kind == "raw":
            return artifact(name, path, raw("content"))
        if kind == "archive":
            client.put(BUCKET, key, tgz({"d": None, "d/f": b"content", "d/g": bytes(100000)}))
        elif kind == "prefix":
            for part in ("f", "sub/g"):
                client.put(BUCKET, f"{key}/{part}", b"content")
        elif kind in ("object", "volume"):
            client.put(BUCKET, key, b"content" * 30000)
        place = location(self.lab, key, proxy.endpoint)
        return artifact(name, path, place, optional=kind == "absent")

    def carry_out(self) -> PodResult:
        with self.step.runner(volumes_dir=str(self.volumes)) as runner:
            runner.start()
            for blow in sorted(self.plan.blows, key=lambda item: item.after):
                self._strike(runner, blow)
            return runner.wait(HANG_SECONDS)

    def _strike(self, runner: PodRunner, blow: Blow) -> None:
        """`after` counts from the container's own start: the interesting time is short."""
        runner.wait_for(lambda: runner.containers[blow.container].state != "waiting", 20)
        runner.wait_for(lambda: False, blow.after / 4)
        if not runner.ended and runner.containers[blow.container].state == "running":
            try:
                runner.signal(blow.container, blow.number)
            except SandboxError:
                pass  # the pod has ended in this moment

    # --- what must hold -------------------------------------------------------------------------

    def check(self, result: PodResult) -> None:
        codes = {name: c.exit_code for name, c in result.containers.items()}
        self._check_codes(codes)
        if codes["init"] == 0:
            self._check_wait(result, codes)
        if not self.plan.is_hit("init", signal.SIGKILL):
            for volume in ("input-artifacts", "v"):
                if (self.volumes / volume).exists():
                    assert leftovers(self.volumes / volume) == []

    def _check_codes(self, codes: dict[str, int | None]) -> None:
        plan = self.plan
        allowed = {
            "init": {0},
            "main": {plan.exit_code},
            "wait": {0} if codes["main"] == plan.exit_code else {0, 64},
        }
        for name, codes_of in allowed.items():
            for number in (signal.SIGTERM, signal.SIGKILL):
                if plan.is_hit(name, number) and not (name == "wait" and number == signal.SIGTERM):
                    codes_of.add(128 + number)
        if plan.is_hit("wait"):
            # SIGTERM bounds main's life by the grace period; a dead wait ends the pod's service.
            allowed["main"] |= {137, 143}
        if codes["init"] != 0:
            allowed["main"], allowed["wait"] = {None}, {None}
        if codes["main"] != plan.exit_code or plan.is_hit("main") or plan.is_hit("wait"):
            allowed["wait"].add(64)
        for name, codes_of in allowed.items():
            assert codes[name] in codes_of, f"{name}: {codes[name]} is not one of {codes_of}"

    def _check_wait(self, result: PodResult, codes: dict[str, int | None]) -> None:
        history = self.step.history()
        wait = result.containers["wait"]
        if codes["wait"] in (0, 64):
            assert history and label_of(history[-1]) == "true"
        if codes["wait"] == 64:
            assert wait.message
        outputs = history[-1].get("outputs", {}) if history else {}
        reported = {item["name"]: item for item in outputs.get("artifacts", [])}
        for name, item in reported.items():
            self._check_object(name, item["s3"]["key"])
        if codes["wait"] == 0 and codes["main"] == self.plan.exit_code and not self.plan.blows:
            self._check_complete(outputs, reported)

    def _check_complete(self, outputs: dict[str, Any], reported: dict[str, Any]) -> None:
        expected = {f"out{i}" for i in range(len(self.plan.outputs))}
        if self.plan.archive_logs:
            expected.add("main-logs")
        assert expected <= set(reported), f"{expected - set(reported)} is not reported"
        assert outputs["parameters"][0]["value"] == "value"
        if self.plan.has_result:
            assert outputs["result"] == "to-stdout"

    def _check_object(self, name: str, key: str) -> None:
        """What is reported is there, whole, and readable."""
        if name == "main-logs":
            lines = self.lab.get(key).splitlines()
            assert set(lines) <= {b"to-stdout", b"to-stderr"}, lines
            return
        _where, form, is_directory, size = self.plan.outputs[int(name.removeprefix("out"))]
        member = f"{name}/sub/f" if is_directory else name
        if form == "none":
            wanted = f"{key}/sub/f" if is_directory else key
            sizes = {n for found, n in self.lab.objects(key).items() if found == wanted}
        elif form == "tar":
            with tarfile.open(fileobj=io.BytesIO(self.lab.get(key)), mode="r:gz") as tar:
                sizes = {entry.size for entry in tar if entry.isfile()}
        else:
            with zipfile.ZipFile(io.BytesIO(self.lab.get(key))) as archive:
                assert archive.testzip() is None
                sizes = {i.file_size for i in archive.infolist() if i.filename == member}
        # A step that was ended early may have written less than it wanted to, also no file yet.
        is_less = max(sizes, default=0) <= size and bool(sizes or is_directory)
        assert sizes == {size} or self.plan.blows and is_less, (name, sizes, size)


def run_seed(lab: Lab, seed: int) -> str:
    """Carries out one seed; AssertionError, with the pod's logs, when something does not hold.
    Returns a line for the record."""
    plan = Plan.of(seed)
    lab.api.clear()
    with FaultProxy(lab.s3.address) as proxy, tempfile.TemporaryDirectory() as volumes:
        run = Run(lab, plan, proxy, Path(volumes))
        for rule in plan.store_faults:
            proxy.faults.add(**rule)
        for rule in plan.api_faults:
            lab.api.faults.add(**rule)
        try:
            result = run.carry_out()
            try:
                lab.api.faults.clear()
                run.check(result)
            except AssertionError as error:
                logs = [f"--- {c.name}\n{c.log[-4000:]}" for c in result.containers.values()]
                text = f"seed {seed}: {error}\n{plan}\n{result.table()}\n" + "\n".join(logs)
                raise AssertionError(text) from error
        except TimeoutError as error:
            raise AssertionError(f"seed {seed} hangs: {error}\n{plan}") from error
        finally:
            lab.api.faults.clear()
    codes = " ".join(f"{name}={c.exit_code}" for name, c in result.containers.items())
    faults = len(plan.store_faults) + len(plan.api_faults)
    seconds = result.finished - result.started
    return f"seed {seed}: {codes}, {faults} faults, {len(plan.blows)} signals, {seconds:.1f} s"
