"""Bars of what user code prints: without the wrapper, through it, and kept by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import GIB, MB, MIB, Bar, Figure
from bench.spawned import environment, fill, inside
from bench.subject import IMAGE, Subject, reference, user_image
from tests.lab import Lab
from tests.layout import pod_for

SIZE = 4 * GIB
ROUNDS = 3
# What Argo's executor 4.1.2 passes on and keeps on a tmpfs, bytes a second, on a machine of 2 CPUs.
RECORDED = 219 * MB
POD_SIZE = 1 * GIB
POD_SECONDS = 600
SAMPLE_EVERY = 256 * MIB
READ_BYTES = 1 * MIB


@dataclass
class Flow:
    """One flood of SIZE bytes to a reader that drops them."""

    rate: float
    anonymous: int  # of the first process, at most


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(x.split()[1]) << 10 for x in status.splitlines() if "RssAnon:" in x), 0)


def _first_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0]) if children else 0


def _flow(directory: Path, subject: Subject, command: list[str], **env: str) -> Flow:
    with tempfile.TemporaryDirectory(prefix="flow-", dir=directory) as content:
        fill(Path(content), subject)
        (Path(content) / "argo/template").write_text('{"name":"bench","container":{}}')
        argv = inside(Path(content), command)
        buffer = bytearray(READ_BYTES)
        with subprocess.Popen(
            argv, env=environment() | env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            fd = process.stdout.fileno()
            total = os.readv(fd, [buffer])
            began = time.monotonic()
            sampled, anonymous = 0, 0
            while size := os.readv(fd, [buffer]):
                total += size
                if total - sampled >= SAMPLE_EVERY:
                    sampled = total
                    anonymous = max(anonymous, _anonymous(_first_child(process.pid)))
            seconds = time.monotonic() - began
        if process.returncode or total != SIZE:
            raise RuntimeError(f"{command}: {total} of {SIZE} bytes, code {process.returncode}")
    return Flow(SIZE / seconds, anonymous)


def _through(directory: Path, subject: Subject, is_kept: bool) -> Flow:
    user = ["/run/flood", str(SIZE)]
    command = ["/run/argo/argoexec", "emissary", "--loglevel", "info", "--", *user]
    kept = "true" if is_kept else "false"
    return _flow(directory, subject, command, ARGO_INCLUDE_SCRIPT_OUTPUT=kept)


def _ratios(flows: list[Flow], beside: list[Flow]) -> list[float]:
    return [flow.rate / other.rate for flow, other in zip(flows, beside)]


def _speeds(subject: Subject, directory: Path) -> list[Figure]:
    """Rounds of each way, in turns."""
    user = f"/run/flood {SIZE}"
    other = reference()
    bare, passed, kept, teed, others = [], [], [], [], []
    for _ in range(ROUNDS):
        bare.append(_flow(directory, subject, user.split()))
        passed.append(_through(directory, subject, False))
        kept.append(_through(directory, subject, True))
        teed.append(_flow(directory, subject, ["sh", "-c", f"{user} | tee /run/copy"]))
        if other:
            others.append(_through(directory, other, True))

    def rate(what: str, flows: list[Flow], *bars: Bar) -> Figure:
        return Figure("stdout", what, "MB/s", [flow.rate for flow in flows], list(bars))

    def ratio(what: str, flows: list[Flow], beside: list[Flow], *bars: Bar) -> Figure:
        return Figure("stdout", what, "x", _ratios(flows, beside), list(bars))

    figures = [
        rate(f"{SIZE // GIB} GiB of lines \"y\" to a pipe, no wrapper", bare),
        ratio("  through the wrapper, beside that", passed, bare, Bar(0.95, is_least=True)),
        rate(
            "  and kept on a tmpfs", kept, *([] if other else [Bar(3 * RECORDED, is_least=True)])
        ),
        ratio("    beside `tee FILE`", kept, teed),
        Figure(
            "stdout",
            "    anonymous memory of the wrapper",
            "MB",
            [float(flow.anonymous) for flow in kept],
            [Bar(4 * MB, "max")],
        ),
    ]
    if other:
        beside = ratio("    beside the reference", kept, others, Bar(3, is_least=True))
        figures += [beside, rate("    the reference's", others)]
    return figures


def _template() -> dict[str, Any]:
    return {
        "name": "bench",
        "inputs": {},
        "outputs": {},
        "container": {"image": IMAGE, "command": ["flood", str(POD_SIZE)]},
        "archiveLocation": {"archiveLogs": False},
    }


def _result_of_much(subject: Subject, directory: Path) -> list[Figure]:
    """The result is the end of the output: nobody has to read all of it."""
    place = directory / "result"
    place.mkdir()
    pod = pod_for(_template(), "bench", "bench-result", has_result=True)
    with Lab(directory / f"stdout-{subject.label}", executor=str(subject.binary)) as lab:
        run = lab.run(
            pod,
            POD_SECONDS,
            images=user_image(directory),
            memory_limits=False,
            controller=False,
            work_dir=str(place),
        )
    shutil.rmtree(place)
    if run.result.phase != "Succeeded":
        raise RuntimeError(run.result.table())
    if len(run.task_result["outputs"]["result"]) != 256 << 10:
        raise RuntimeError("the result is not the last 256 KiB of the output")
    read = float(run.result.containers["wait"].io["rchar"])
    what = f"wait reads of {POD_SIZE // GIB} GiB of output that is the result"
    return [Figure("stdout", what, "KiB", [read], [Bar(1 * MIB)])]


def stdout(subject: Subject, directory: Path) -> list[Figure]:
    """Speeds in the same run; what wait reads of it."""
    speeds = _speeds(subject, directory) if subject.is_ours else []
    return speeds + _result_of_much(subject, directory)
