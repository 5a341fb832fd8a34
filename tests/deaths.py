"""Processes killed at random instants while twenty outputs go up, and what must come of it.

    with Lab(directory) as lab:
        outcomes = play(lab, "stage", range(10))    # AssertionError when something does not hold

The victim is the staging process (`stage`), or `wait` itself, after which a second one is started as
a kubelet would: in the same volumes. Fifteen outputs lie in a volume, five in main's own file system:
a wrapper hands them over. A seed decides the contents and when the victim dies: how much the store has
been sent by then, and so many milliseconds later.

    python3 -m tests.deaths wait 17             that seed again; -n N repeats it
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.layout import TOKEN_PATH
from tests.pod.sandbox import linux
from tests.room import (
    ARGOEXEC,
    ROOT,
    TERMINATION_LOG,
    VRA,
    environment,
    in_room,
    start,
    until,
    write_template,
)
from tests.scenario import LABEL, artifact, location
from tests.servers.fault_proxy import FaultProxy
from tests.servers.kube_api import KubeApi

VICTIMS = ("stage", "wait")
VOLUME, OWN = Path("/mainctrfs/v"), Path("/own")
VOLUMES, OWNS = 15, 5
SIZE = 256 << 10
# Of each request: what is sent counts, not how long the store thinks about it.
BYTES_PER_S = 4 << 20
STEP = 16 << 10
# After that many bytes: at most so much later.
LATER_S = 0.02
AT_ONCE = 4  # outputs on their way
PROCESS = "argoexec-stage"
LOST = "reader lost"
LOG = Path("/wait.log")


@dataclass
class Outcome:
    """What a seed has come to, in bytes; has_died: the victim was still there."""

    seed: int
    wanted: int
    again: int  # of artifacts that were sent twice: what the store had got of them before
    has_died: bool
    lost: int  # artifacts whose reader was


class Table:
    """Servers and directories of a room, for one seed after the other."""

    def __init__(self, lab: Lab):
        self.lab = lab
        Path("/api").mkdir()
        self.api = KubeApi(Path("/api"))
        # Hides these tests if they lie below it: nothing is read from there any more.
        linux.mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777")
        Path(TOKEN_PATH).mkdir(parents=True)
        for name in ("ca.crt", "token", "namespace"):
            shutil.copy(Path("/api") / name, Path(TOKEN_PATH) / name)
        secret = Path("/argo/secret") / SECRET
        secret.mkdir(parents=True)
        (secret / "accesskey").write_text(lab.s3.access_key)
        (secret / "secretkey").write_text(lab.s3.secret_key)

    def clear(self) -> None:
        self.api.clear()
        for directory in (VRA, VOLUME, OWN, Path("/tmp")):
            directory.mkdir(parents=True, exist_ok=True)
            for path in directory.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        LOG.write_text("")
        TERMINATION_LOG.write_text("")


class Pod:
    """`wait` and the wrapper of main, whose outputs go through PROXY."""

    def __init__(
        self, table: Table, name: str, proxy: FaultProxy, artifacts: list[Any], place: Any = None
    ):
        self.table = table
        self.name = name
        self.prefix = f"deaths/{name}-{os.urandom(4).hex()}"
        container = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        place = place or location(table.lab, self.prefix, proxy.endpoint)
        write_template(
            container=container, outputs={"artifacts": artifacts}, archiveLocation=place
        )

        self.env = environment(
            "wait",
            ARGO_POD_NAME=name,
            ARGO_POD_UID="u",
            ARGO_NODE_ID=name,
            ARGO_WORKFLOW_NAME="w",
            ARGO_WORKFLOW_UID="u",
            EXECUTOR_RETRY_BACKOFF_DURATION="20ms",
            **table.api.env,
        )

    def start_wait(self) -> subprocess.Popen[bytes]:
        with LOG.open("ab") as log:
            return subprocess.Popen([ARGOEXEC, "wait"], env=self.env, stdout=log, stderr=log)

    def history(self, node: str = "") -> list[Any]:
        return [event["object"] for event in self.table.api.history(node or self.name)]

    def objects(self) -> dict[str, str]:
        """Name and ETag."""
        listed = self.table.lab.s3.client().list_objects(BUCKET, f"{self.prefix}/")
        return {item.key.rpartition("/")[2]: item.etag for item in listed}


def staging(pid: int) -> int:
    """The child of a role that stages for it, 0 if there is none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return next(
            (int(c) for c in children if Path(f"/proc/{c}/comm").read_text().strip() == PROCESS), 0
        )
    except OSError:
        return 0


def kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_staging(wait: subprocess.Popen[bytes]) -> bool:
    child = staging(wait.pid)
    return child != 0 and kill(child)


def kill_wait(wait: subprocess.Popen[bytes]) -> bool:
    """With all that is in its container, as its end has it."""
    if wait.poll() is not None:
        return False
    child = staging(wait.pid)
    kill(wait.pid)
    wait.wait()
    # Its child is ours now, as we are the room's first process, and dies of itself.
    if child:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
    return wait.returncode == -signal.SIGKILL


class Run:
    """One seed."""

    def __init__(self, table: Table, victim: str, seed: int):
        table.clear()
        rng = random.Random(f"{victim} {seed}")
        self.table, self.victim, self.seed = table, victim, seed
        self.contents = {f"v{i}": rng.randbytes(SIZE) for i in range(VOLUMES)}
        self.contents |= {f"o{i}": rng.randbytes(SIZE) for i in range(OWNS)}
        self.total = SIZE * len(self.contents)
        self.moment = rng.uniform(0, self.total)
        self.later = rng.uniform(0, LATER_S)
        self.artifacts = []
        for name, content in self.contents.items():
            is_own = name.startswith("o")
            (OWN if is_own else VOLUME).joinpath(name).write_bytes(content)
            path = f"/own/{name}" if is_own else f"/v/{name}"
            # What is lost must not be taken for what is absent.
            self.artifacts.append(artifact(name, path, optional=is_own, archive={"none": {}}))

    def play(self) -> Outcome:
        with FaultProxy(self.table.lab.s3.address) as proxy:
            rate = {"kind": "rate", "bytes_per_s": BYTES_PER_S, "step": STEP}
            proxy.faults.add(verb="PUT", action=rate)
            pod = Pod(self.table, f"d-{self.victim}-{self.seed}", proxy, self.artifacts)
            wait = pod.start_wait()
            try:
                until((VRA / "wait.sock").exists)
                with start("/bin/true") as main:
                    until(lambda: proxy.uploaded() >= self.moment or wait.poll() is not None)
                    time.sleep(self.later)
                    has_died = self._strike(wait)
                    if self.victim == "wait" and has_died:
                        wait = pod.start_wait()
                    code = wait.wait(30)
                    assert main.wait(30) == 0
            finally:
                wait.kill()
                wait.wait()
            lost = self._check(pod, code, proxy)
            return Outcome(self.seed, self.total, self._sent_again(proxy), has_died, lost)

    def _strike(self, wait: subprocess.Popen[bytes]) -> bool:
        return kill_wait(wait) if self.victim == "wait" else kill_staging(wait)

    def _check(self, pod: Pod, code: int, proxy: FaultProxy) -> int:
        history = pod.history()
        reported = [
            {item["name"]: item["s3"]["key"] for item in version.get("outputs", {}).get("artifacts", [])}
            for version in history
        ]
        assert history[-1]["metadata"]["labels"][LABEL] == "true"
        lost = set(self.contents) - set(reported[-1])
        said = TERMINATION_LOG.read_text()
        # Only what the first `wait` alone could read, with the reason; nothing of it is anywhere.
        assert all(name.startswith("o") for name in lost), lost
        assert self.victim == "wait" or not lost, lost
        assert code == (64 if lost else 0), (code, lost)
        assert said.count(LOST) == len(lost), said
        assert all(f"artifact {name} failed to save: {LOST}" in said for name in lost), said
        # What was reported once is reported at last, and is there.
        assert set().union(*reported) == set(reported[-1])
        objects = pod.objects()
        for name, key in reported[-1].items():
            assert key == f"{pod.prefix}/{name}"
            assert objects[name] == hashlib.md5(self.contents[name]).hexdigest(), name
        self._check_requests(proxy)
        return len(lost)

    def _sent_again(self, proxy: FaultProxy) -> int:
        sent: dict[str, list[int]] = {}
        for request in proxy.requests():
            if request["verb"] == "PUT":
                sent.setdefault(request["path"], []).append(request["request_bytes"])
        return sum(sum(sizes[:-1]) for sizes in sent.values())

    def _check_requests(self, proxy: FaultProxy) -> None:
        """No more than what was on its way is sent again, and once."""
        puts: dict[str, list[Any]] = {}
        for request in proxy.requests():
            # A connection that the store had closed is no upload.
            if request["verb"] == "PUT" and request["request_bytes"] > 0:
                answer = (request["status"], request["request_bytes"], request["time"])
                puts.setdefault(request["path"], []).append(answer)
        again = {path: answers for path, answers in puts.items() if len(answers) > 1}
        assert len(again) <= AT_ONCE, again
        assert all(len(answers) == 2 for answers in again.values()), again


@in_room
def _play(lab: Lab, victim: str, seeds: list[int], out: int) -> None:
    table = Table(lab)
    for seed in seeds:
        run = Run(table, victim, seed)
        try:
            outcome = run.play()
        except BaseException as error:
            again = f"ARGOEXEC=… /usr/bin/python3 -m tests.deaths {victim} {seed}"
            text = f"{victim} {seed}: {error}\nagain: {again}\n{LOG.read_text()[-8000:]}"
            raise AssertionError(text) from error
        os.write(out, json.dumps(asdict(outcome)).encode() + b"\n")


# A room has a limit of its own; rooms mostly wait.
SEEDS_PER_ROOM = 4
ROOMS_PER_CPU = 2


def _play_lane(lab: Lab, victim: str, seeds: list[int], out: Connection) -> None:
    """One room after the other; sends what they have come to, and what does not hold."""
    failure = ""
    with tempfile.TemporaryFile() as file:
        for first in range(0, len(seeds), SEEDS_PER_ROOM):
            try:
                _play(lab, victim, seeds[first : first + SEEDS_PER_ROOM], file.fileno())
            except pytest.fail.Exception as error:
                failure += f"{error}\n\n"
        file.seek(0)
        out.send(([Outcome(**json.loads(line)) for line in file.read().splitlines()], failure))


def play(lab: Lab, victim: str, seeds: Iterable[int]) -> list[Outcome]:
    """Carries them out; what each has come to, in their order."""
    left = list(seeds)
    lanes = ROOMS_PER_CPU * (os.cpu_count() or 1)
    context = multiprocessing.get_context("fork")
    pipes = []
    for lane in range(min(lanes, len(left))):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_play_lane, args=(lab, victim, left[lane::lanes], theirs), daemon=True
        )
        process.start()
        theirs.close()
        pipes.append((process, ours))
    outcomes, failures = [], ""
    for process, pipe in pipes:
        some, failure = pipe.recv()
        process.join()
        outcomes += some
        failures += failure
    assert not failures, failures
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def sent_again(outcomes: list[Outcome]) -> float:
    """Of what was to be sent, that much was sent once more."""
    met = [outcome for outcome in outcomes if outcome.has_died]
    return sum(o.again for o in met) / sum(o.wanted for o in met) if met else 0.0


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("victim", choices=VICTIMS)
    parser.add_argument("seed", type=int)
    parser.add_argument("-n", "--number", type=int, default=1)
    args = parser.parse_args()
    executor = os.environ.get("ARGOEXEC", str(ROOT / "build/argoexec"))
    with tempfile.TemporaryDirectory() as directory, Lab(Path(directory), executor) as lab:
        for outcome in play(lab, args.victim, [args.seed] * args.number):
            print(outcome, f"{sent_again([outcome]):.1%} sent again", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
