"""Bars of whole pods: recorded shape, test servers on loopback, the pod runner."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.figures import MB, MIB, Bar, Figure
from bench.subject import IMAGE, Subject, user_image
from tests.lab import Lab, PodRun
from tests.layout import pod_for

PODS = 40
POD_SECONDS = 120
# Long enough for both processes to have come to rest.
SETTLE_SECONDS = 2.0
IDLE_SECONDS = 60.0


def _template(command: list[str]) -> dict[str, Any]:
    return {
        "name": "bench",
        "inputs": {},
        "outputs": {},
        "container": {"image": IMAGE, "command": command},
        "archiveLocation": {"archiveLogs": False},
    }


def _run(lab: Lab, number: int, images: dict[str, str]) -> PodRun:
    pod = pod_for(_template(["moment"]), "bench", f"bench-{number}")
    # Nobody signals `wait`: it shall end by itself.
    run = lab.run(pod, POD_SECONDS, images=images, controller=False)
    if run.result.phase != "Succeeded":
        raise RuntimeError(run.result.table())
    return run


def _moment(run: PodRun) -> float:
    """When user code ran, and then ended, as its log says."""
    for line in run.result.containers["main"].log.splitlines():
        first = line.split(" ", 1)[0]
        if first.replace(".", "", 1).isdigit():
            return float(first)
    raise RuntimeError(f"no moment in the log of {run.result.name}")


def life(subject: Subject, directory: Path) -> list[Figure]:
    """init with nothing to load; the user's exit to the end of wait."""
    images = user_image(directory)
    with Lab(directory / f"life-{subject.label}", executor=str(subject.binary)) as lab:
        _run(lab, 0, images)  # images and caches are warm from here on
        lab.api.clear()
        runs, labels = [], []
        for number in range(1, PODS + 1):
            runs.append(_run(lab, number, images))
            # The last request of a pod is the one that completes its report.
            labels.append(lab.api.requests()[-1]["time"] - _moment(runs[-1]))
        calls = len(lab.api.requests()) / PODS
    inits = [run.result.containers["init"] for run in runs]
    ends = [run.result.containers["wait"].finished - _moment(run) for run in runs]
    written = [float(init.io["wchar"]) for init in inits]
    most = subject.binary.stat().st_size + 0.3 * MIB
    return [
        Figure(
            "init",
            f"init, nothing to load ({PODS} pods)",
            "ms",
            [init.seconds or 0.0 for init in inits],
            [Bar(0.015)],
        ),
        Figure("init", "  written", "MB", written, [Bar(most, "max")]),
        Figure(
            "done",
            f"user's exit -> wait done, no outputs ({PODS} pods)",
            "ms",
            ends,
            [Bar(0.030)],
        ),
        Figure("done", "  until the label that completes the report is sent", "ms", labels, [Bar(0.030)]),
        Figure("done", "  API calls of a pod", "", [calls], [Bar(3)]),
    ]


def _switches(pid: int) -> int:
    """How often the threads of a process have come to run and stopped again."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if "_ctxt_switches:" in line)
    return total


def idle(subject: Subject, directory: Path) -> list[Figure]:
    """Memory and wake-ups of wrapper and wait while the user's process runs."""
    images = user_image(directory)
    pod = pod_for(_template(["sleep", "600"]), "bench", "bench-idle")
    figures = []
    with Lab(directory / f"idle-{subject.label}", executor=str(subject.binary)) as lab:
        with lab.runner(pod, images=images) as runner:
            runner.start()
            if not runner.wait_state("main", "running", POD_SECONDS):
                raise RuntimeError("main never ran")
            time.sleep(SETTLE_SECONDS)
            bars = {"main": ("wrapper", 1 * MB, 8 * MB), "wait": ("wait", 4 * MB, 12 * MB)}
            before = {container: _switches(runner.pid(container)) for container in bars}
            time.sleep(IDLE_SECONDS)
            woken = {name: _switches(runner.pid(name)) - count for name, count in before.items()}
            for container, (role, anonymous, resident) in bars.items():
                processes = runner.memory(container)
                found = next(p for p in processes if p["command"] == "argoexec")
                figures += [
                    Figure(
                        "idle",
                        f"idle {role}: anonymous",
                        "MB",
                        [float(found["anonymous"])],
                        [Bar(anonymous)],
                    ),
                    Figure(
                        "idle",
                        f"idle {role}: resident",
                        "MB",
                        [float(found["rss"])],
                        [Bar(resident)],
                    ),
                    Figure(
                        "idle",
                        f"idle {role}: wake-ups in {IDLE_SECONDS:.0f} s",
                        "",
                        [float(woken[container])],
                        [Bar(0)],
                    ),
                ]
            runner.stop(0)
            runner.wait(POD_SECONDS)
    return figures
