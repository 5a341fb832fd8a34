"""Bars of single processes: run as PID 1 of a PID namespace each, in a mount namespace of ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from bench.figures import KIB, MB, MIB, Bar, Figure
from bench.subject import PROBES, Subject

ROUNDS = 10
VERSION_RUNS = 200
WRAPPER_RUNS = 1000
KILL_RUNS = 500
ZOMBIES = 1000
# The wrapper copies the output of its child, as it does wherever logs are archived.
TEMPLATE = {
    "name": "bench",
    "container": {"image": "bench:1", "command": ["moment"]},
    "archiveLocation": {"archiveLogs": True},
}
# What `unshare` runs: an empty /run, which /var/run is a link to, then the probe.
SCRIPT = (
    "mount -t proc proc /proc && mount -t tmpfs tmpfs /run && "
    'cp -a "$1"/. /run/ && shift && exec "$@"'
)


@dataclass
class Run:
    """Of one process, in seconds and bytes."""

    to_first_moment: float
    from_last_moment: float
    total: float
    max_rss: float


@dataclass(frozen=True)
class Task:
    """A command, and what each run of it has to do ("-": nothing).

    is_beside: it is not PID 1 of a PID namespace of its own; PID 1 of its namespace is `spawn`,
    which the kernel protects from the signals of those in there.
    """

    command: list[str]
    times: str = "-"
    expected: str = "-"
    socket: str = "-"
    is_beside: bool = False


def inside(content: Path, command: list[str]) -> list[str]:
    """A command that runs as PID 1 of namespaces where `content` is in /run."""
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return [*own, "sh", "-ec", SCRIPT, "sh", str(content), *command]


def environment() -> dict[str, str]:
    """What a wrapper of a container template is given."""
    return {
        "PATH": os.environ["PATH"],
        "ARGO_CONTAINER_NAME": "main",
        "ARGO_NODE_ID": "bench",
        "ARGO_INCLUDE_SCRIPT_OUTPUT": "false",
        "ARGO_TEMPLATE": json.dumps(TEMPLATE),
    }


def _output(content: Path, command: list[str]) -> str:
    argv = inside(content, command)
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _spawn(count: int, content: Path, task: Task) -> list[Run]:
    """`count` runs of a task that finds `content` in /run."""
    where = ["--beside"] if task.is_beside else []
    counts = [str(count), task.times, task.expected, task.socket]
    text = _output(content, ["/run/spawn", *where, *counts, *task.command])
    runs = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and all(field.lstrip("-").isdigit() for field in fields):
            first, last, total, rss = map(int, fields)
            runs.append(Run(first / 1e9, last / 1e9, total / 1e9, rss * 1024))
    if len(runs) != count:
        raise RuntimeError(f"{' '.join(task.command)}: {len(runs)} of {count} runs reported")
    return runs


def fill(directory: Path, subject: Subject) -> None:
    """The later /run: probes, and /run/argo as an init container leaves it."""
    for name in ("anonymous", "flood", "moment", "spawn", "true"):
        shutil.copy(PROBES / name, directory / name)
    argo = directory / "argo"
    argo.mkdir(mode=0o777)
    shutil.copy(subject.binary, argo / "argoexec")
    (argo / "template").write_text(json.dumps(TEMPLATE))


def _interleaved(count: int, subject: Subject, tasks: list[Task]) -> list[list[Run]]:
    """As many runs of each task, in turns: what else the machine does hits all alike."""
    runs: list[list[Run]] = [[] for _ in tasks]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        fill(Path(directory), subject)
        for _ in range(ROUNDS):
            for found, task in zip(runs, tasks):
                found += _spawn(count // ROUNDS, Path(directory), task)
    return runs


TRUE = Task(["/run/true"])


def version(subject: Subject) -> list[Figure]:
    """`argoexec version` beside a static `true`."""
    task = Task(["/run/argo/argoexec", "version"])
    runs, beside = _interleaved(VERSION_RUNS, subject, [task, TRUE])
    wall = Figure("version", "`argoexec version`: wall time", "ms", [run.total for run in runs])
    least = Figure("version", "  static `true` beside it", "ms", [run.total for run in beside])
    ratio = wall.statistic("median") / least.statistic("median")
    rss = [run.max_rss for run in runs]
    return [
        wall,
        least,
        Figure("version", "  ratio of the medians", "x", [ratio], [Bar(3)]),
        Figure("version", "  resident", "MB", rss, [Bar(8 * MB, "max")]),
    ]


def kill(subject: Subject) -> list[Figure]:
    """The controller's exec in a container whose first process goes on."""
    command = ["/run/argo/argoexec", "kill", "15", "1"]
    tasks = [Task(command, is_beside=True), Task(["/run/true"], is_beside=True)]
    runs, beside = _interleaved(KILL_RUNS, subject, tasks)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        fill(Path(directory), subject)
        # A shell is PID 1 there; the probe's line is the one that is a number.
        shell = "trap : TERM; /run/anonymous " + " ".join(command) + "; exit $?"
        lines = _output(Path(directory), ["sh", "-c", shell]).splitlines()
    anonymous = [float(line) * KIB for line in lines if line.isdigit()]
    wall = Figure("kill", "`argoexec kill 15 1`: wall time", "ms", [run.total for run in runs])
    least = Figure("kill", "  static `true` beside it", "ms", [run.total for run in beside])
    ratio = wall.statistic("median") / least.statistic("median")
    return [
        wall,
        least,
        Figure("kill", "  ratio of the medians", "x", [ratio], [Bar(3)]),
        Figure("kill", "  anonymous memory", "KiB", anonymous, [Bar(1 * MIB)]),
    ]


def wrapper(subject: Subject) -> list[Figure]:
    """From the wrapper's start to user code, and from the user's end to the wrapper's.

    Once with the channel to `wait`, as it is in pods of container and script templates; once
    without, as in those of resource and data templates.
    """
    user = ["/run/moment", "--file", "/run/times"]
    command = ["/run/argo/argoexec", "emissary", "--loglevel", "info", "--", *user]
    traces = ("/run/times", "/run/argo/ctr/main/exitcode")
    alone = Task(command, *traces)
    # Only ours knows the channel.
    usual = Task(command, *traces, "/run/argo/wait.sock") if subject.is_ours else alone
    burdened = replace(usual, command=[*command, str(ZOMBIES)])
    # What the kernel itself needs to end that many: whoever is PID 1, it reaps what is left.
    bare = Task([*user, str(ZOMBIES)], "/run/times")
    tasks = [usual, alone, burdened, bare, TRUE]
    runs, without, zombies, bared, beside = _interleaved(WRAPPER_RUNS, subject, tasks)

    def figure(what: str, samples: list[float], *bars: Bar) -> Figure:
        return Figure("wrapper", what, "ms", samples, list(bars))

    return [
        figure(
            "wrapper is spawned -> user code runs",
            [run.to_first_moment for run in runs],
            Bar(0.004),
        ),
        figure(
            f"user process dies -> exitcode written, wrapper gone ({WRAPPER_RUNS} runs)",
            [run.from_last_moment for run in runs],
            Bar(0.005),
            Bar(0.020, "p99"),
        ),
        figure(
            f"  the same, {ZOMBIES} ended children to reap",
            [run.from_last_moment for run in zombies],
            Bar(0.005),
            Bar(0.020, "p99"),
        ),
        figure(
            f"  the user process as PID 1, {ZOMBIES} ended children, no wrapper",
            [run.from_last_moment for run in bared],
        ),
        figure("  the same without a wait", [run.from_last_moment for run in without]),
        figure(
            "  static `true` spawned the same way: whole life", [run.total for run in beside]
        ),
    ]
