"""Runs seeds: one in this process, or many in several."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.pod.sandbox import linux
from tests.room import ROOT, binary
from tests.schedules.facts import Facts
from tests.schedules.oracle import judge
from tests.schedules.plan import schedule_of
from tests.schedules.play import Player
from tests.schedules.record import Life, Record
from tests.schedules.stage import Stage

# They mostly wait.
WORKERS_PER_CPU = 4
# What 20 starts of the binary take on a machine that has nothing else to do.
USUAL_SECONDS = 0.15


def measure_patience() -> float:
    """How much slower than usual this machine, now, with this binary is; at least 1."""
    began = time.monotonic()
    for _ in range(20):
        subprocess.run([binary(), "version", "--short"], capture_output=True, check=True)
    return min(20.0, max(1.0, (time.monotonic() - began) / USUAL_SECONDS))


def play_seed(stage: Stage, seed: int, patience: float) -> tuple[list[str], Record]:
    """The problems, and what happened."""
    plan = schedule_of(seed)
    record = Player(stage, plan, patience).run()
    return judge(Facts(plan, record, patience)), record


def command(seed: int) -> str:
    """What plays that seed again."""
    chosen = os.environ.get("ARGOEXEC")
    prefix = f"ARGOEXEC={chosen} " if chosen else ""
    return f"{prefix}/usr/bin/python3 -m tests.schedules {seed} -v"


def describe(seed: int, problems: list[str], record: Record) -> str:
    plan = schedule_of(seed)
    head = [f"seed {seed}: {text}" for text in problems or ["ok"]]
    head.append(f"again: {command(seed)}")
    facts: dict[str, Any] = {
        name: value
        for name, value in vars(plan).items()
        if name not in ("containers", "events", "seed") and value not in (None, [], False)
    }
    lines = [f"plan: {json.dumps(facts)}", f"template: {plan.template()}"]
    lines += [f"  container {container}" for container in plan.containers]
    lines += [f"  at {event.at} ms: {event}" for event in plan.events]
    lines += ["", record.show(), ""]
    for life in record.lives.values():
        lines += _show_life(life)
    lines.append(f"/var/run/argo: {' '.join(record.files)}")
    lines += [f"task result: {json.dumps(version)[:2000]}" for version in record.history]
    return "\n".join(head + lines)


def _show_life(life: Life) -> list[str]:
    facts = f"code {life.code}, exitcode {life.exit_code}, message {life.message!r}"
    lines = [f"{life.name}: {facts}, {len(life.output)} bytes of output"]
    lines += [f"  {attempt}" for attempt in life.attempts]
    return lines + [f"  | {line}" for line in life.log.splitlines()[-40:]]


# --- many -------------------------------------------------------------------------------------


def _work(pipe: Connection, patience: float) -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    stage = Stage()
    try:
        while (seed := pipe.recv()) is not None:
            try:
                problems, record = play_seed(stage, seed, patience)
                text = describe(seed, problems, record) if problems else ""
            except Exception:
                text = f"seed {seed}: the tests failed\n{traceback.format_exc()}"
            pipe.send((seed, text))
    except EOFError:
        pass
    finally:
        stage.close()


def run_seeds(seeds: Iterable[int], workers: int = 0) -> Iterator[tuple[int, str]]:
    """Each seed and what is wrong with it, "" if nothing; in the order in which they end."""
    for path in (binary(), str(ROOT / "build/probes/cell"), str(ROOT / "build/probes/actor")):
        if not os.access(path, os.X_OK):
            sys.exit(f"{path} does not exist: run make all probes")
    patience = measure_patience()
    context = multiprocessing.get_context("fork")
    pipes: dict[Connection, Any] = {}
    left = iter(seeds)
    try:
        for _ in range(workers or WORKERS_PER_CPU * (os.cpu_count() or 1)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, patience), daemon=True)
            process.start()
            theirs.close()
            pipes[ours] = process
            ours.send(next(left, None))
        while pipes:
            for pipe in wait(list(pipes)):
                assert isinstance(pipe, Connection)
                try:
                    result = pipe.recv()
                except EOFError:
                    pipes.pop(pipe).join()
                    continue
                yield result
                pipe.send(next(left, None))
    finally:
        for process in pipes.values():
            process.terminate()
