"""Carries out one schedule: one loop over descriptors and moments, no threads of its own."""

from __future__ import annotations

import heapq
import itertools
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from tests.schedules import deeds
from tests.schedules.act import read_attempts
from tests.schedules.cells import Cell, leftovers
from tests.schedules.plan import AUX, Container, Schedule
from tests.schedules.record import Deed, Life, Record
from tests.schedules.stage import Stage

MS = 1_000_000
# What containers may take longer than planned before they are taken to hang, and are killed.
PATIENCE_MS = 2500
API_PATIENCE_MS = 6000


class Player:
    """One schedule being carried out; `patience` stretches what is waited for on a slow machine."""

    def __init__(self, stage: Stage, plan: Schedule, patience: float):
        self.stage = stage
        self.plan = plan
        self.patience = patience
        self.place = stage.make_place(plan.seed)
        self.argo = self.place / "argo"
        self.argo.mkdir()
        self.argo.chmod(0o777)
        self.cells: dict[str, Cell] = {}
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.early: dict[str, list[Callable[[], None]]] = {}
        self.node = f"n-{plan.seed}"
        self.deadline = self._deadline()
        self.record = Record(time.monotonic_ns())
        self.last_news = self.record.began
        self.is_deleted = False

    # --- the loop ------------------------------------------------------------------------------

    def run(self) -> Record:
        try:
            self._prepare()
            while not self._is_over():
                self._turn()
            self._drain()
            self._collect()
        finally:
            for cell in self.cells.values():
                cell.close()
            self.poll.close()
            shutil.rmtree(self.place, ignore_errors=True)
        alive = leftovers(list(self.cells.values()))
        self.record.problems += [f"process {text} is left over" for text in alive]
        return self.record

    def say(self, text: str) -> None:
        self.record.timeline.append((time.monotonic_ns(), text))

    def after(self, ms: float, action: Callable[[], None]) -> None:
        moment = time.monotonic_ns() + int(ms * MS)
        heapq.heappush(self.agenda, (moment, next(self.order), action))

    def listen(self, fd: int, handler: Callable[[], None]) -> None:
        self.handlers[fd] = handler
        self.poll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        if self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def _turn(self) -> None:
        timeout = 0.5
        if self.agenda:
            timeout = min(timeout, max(0, self.agenda[0][0] - time.monotonic_ns()) / 1e9)
        for fd, _events in self.poll.poll(timeout):
            if fd in self.handlers:
                self.handlers[fd]()
        now = time.monotonic_ns()
        while self.agenda and self.agenda[0][0] <= now:
            moment, _number, action = heapq.heappop(self.agenda)
            self.record.lag = max(self.record.lag, time.monotonic_ns() - moment)
            action()

    def _is_over(self) -> bool:
        if self.busy_until > time.monotonic_ns():
            return False
        if any(cell.status is None for cell in self.cells.values()) or self.runs:
            self._clear_away()
            return False
        return all(name in self.cells for name in self.expected)

    def _drain(self) -> None:
        """Output that is still on its way; its writers are gone, so it ends."""
        end = time.monotonic_ns() + int(PATIENCE_MS * self.patience * MS)
        for cell in self.cells.values():
            self.forget(cell.output_fd)
            os.set_blocking(cell.output_fd, True)
            while time.monotonic_ns() < end:
                is_there, _, _ = select.select([cell.output_fd], [], [], 0.5)
                if is_there and not cell.read_output():
                    break
            else:
                self.record.problems.append(f"somebody still has the output of {cell.name}")

    def _clear_away(self) -> None:
        """Ends what has gone on for too long; the oracle says whether it was allowed to."""
        waiting = PATIENCE_MS + (API_PATIENCE_MS if self.plan.api_faults else 0)
        waiting = waiting * self.patience + self.plan.grace * 1000
        if self.record.was_cleared_away or self.last_news + waiting * MS > time.monotonic_ns():
            return
        self.record.was_cleared_away = time.monotonic_ns()
        self.say("it goes on for too long: everything is killed")
        for cell in self.cells.values():
            if cell.is_alive:
                self.kill(cell, signal.SIGKILL, "cleared away")

    # --- the pod -------------------------------------------------------------------------------

    def _prepare(self) -> None:
        plan = self.plan
        self.stage.api.clear()
        for rule in plan.api_faults:
            self.stage.api.faults.add(**rule)
        if not plan.is_supervised:
            (self.argo / "template").write_text(plan.template())
        self.runs: set[int] = set()
        self.expected = {c.name for c in plan.containers if c.start is not None}
        self.busy_until = self.record.began + plan.horizon() * MS
        for container in plan.containers:
            if container.start is not None:
                self.after(container.start, lambda c=container: self._start(c))
        for event in plan.events:
            self.after(event.at, lambda e=event: deeds.do(self, e))
        if plan.delete_at is not None:
            self.after(plan.delete_at, lambda: deeds.delete_pod(self))

    def _deadline(self) -> int | None:
        offset = self.plan.deadline
        return None if offset is None else int(time.time()) + offset

    def _environment(self, container: Container) -> dict[str, str]:
        plan = self.plan
        deadline = "0001-01-01T00:00:00Z"
        if self.deadline is not None:
            moment = datetime.fromtimestamp(self.deadline, timezone.utc)
            deadline = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        values = {
            "PATH": "/usr/bin:/bin",
            "ARGO_CONTAINER_NAME": container.name,
            "ARGO_TERMINATION_GRACE_PERIOD_SECONDS": str(plan.grace),
            "ARGO_INCLUDE_SCRIPT_OUTPUT": "true" if plan.is_captured else "false",
            "ARGO_DEADLINE": deadline,
            "ARGO_NODE_ID": self.node,
            "ARGO_WORKFLOW_NAME": "w",
            **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")},
        }
        # The leak check stops the process by ptrace: a SIGCONT at that moment can hold it for ever.
        if "ASAN_OPTIONS" in values:
            values["ASAN_OPTIONS"] += ":detect_leaks=0"
        if plan.is_supervised:
            name = "ARGO_INITLESS_POD" if container.role == "aux" else "ARGO_WAIT_FOR_READY"
            values[name] = "true"
        if container.role == "aux":
            values |= {"ARGO_POD_NAME": "p", "ARGO_POD_UID": "u", "ARGO_WORKFLOW_UID": "u"}
            values |= self.stage.api.env
            if plan.is_supervised:
                values["ARGO_TEMPLATE"] = plan.template()
                values["ARGO_CONTAINER_NAME"] = "supervisor"
            else:
                values["ARGO_CONTAINER_NAME"] = "wait"
        return values

    def start_no_more(self) -> None:
        """The pod is being deleted."""
        self.is_deleted = True
        self.expected &= set(self.cells)

    def _start(self, container: Container) -> None:
        if self.is_deleted:
            return
        words = ["/argoexec", "emissary", "--", "/actor", "/records", *container.part.words()]
        if container.role == "aux":
            words = ["/argoexec", "supervisor" if self.plan.is_supervised else "wait"]
        environment = self._environment(container)
        cell = Cell(
            self.stage, self.place, container.name, words, environment, container.has_terminal
        )
        self.cells[container.name] = cell
        self.say(f"{container.name} is started: {' '.join(words)}")
        self.listen(cell.status_socket.fileno(), lambda: self._hear(cell))
        self.after(container.stall, lambda: self.listen(cell.output_fd, lambda: self._read(cell)))

    def _read(self, cell: Cell) -> None:
        if not cell.read_output():
            self.forget(cell.output_fd)

    def _hear(self, cell: Cell) -> None:
        news = cell.hear()
        if not news:
            return
        self.say(f"{cell.name} {news}")
        self.last_news = time.monotonic_ns()
        for action in self.early.pop(cell.name, []):
            action()
        if cell.status is None:
            return
        self.forget(cell.status_socket.fileno())
        mains = [self.cells.get(c.name) for c in self.plan.mains]
        is_last = cell.name != AUX and all(main and main.status for main in mains)
        if is_last and self.plan.follow_up is not None:
            self.after(self.plan.follow_up, lambda: deeds.exec_kill(self, [AUX], 15, "follow-up"))

    # --- what deeds need -----------------------------------------------------------------------

    def note(self, deed: Deed) -> Deed:
        self.last_news = deed.began
        self.record.deeds.append(deed)
        return deed

    def kill(self, cell: Cell, signo: int, why: str) -> None:
        """To its first process, or as soon as there is one."""
        if cell.pid == 0 and cell.status is None:
            early = self.early.setdefault(cell.name, [])
            early.append(lambda: self.kill(cell, signo, why))
            return
        deed = self.note(Deed("signal", cell.name, time.monotonic_ns(), signo=signo, text=why))
        if cell.is_alive:
            deed.is_certain = signo in (9, 19) or cell.blocks(signo)
            os.kill(cell.pid, signo)
            deed.has_worked = True
        deed.ended = time.monotonic_ns()
        how = "" if deed.is_certain else " (may be lost)"
        self.say(f"{why}: signal {signo} to {cell.name}{how if deed.has_worked else ': gone'}")

    def run_exec(self, process: subprocess.Popen[bytes], done: Callable[[int], None]) -> None:
        """Calls done() with the exit code."""
        fd = os.pidfd_open(process.pid)
        self.runs.add(fd)

        def over() -> None:
            self.forget(fd)
            os.close(fd)
            self.runs.discard(fd)
            done(process.wait())

        self.listen(fd, over)

    def ask(self, request: bytes, done: Callable[[bytes], None]) -> None:
        """Speaks to the control socket; done() gets the whole answer."""
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        answer = b""

        def read() -> None:
            nonlocal answer
            try:
                data = sock.recv(65536)
            except OSError:
                data = b""
            answer += data
            if not data:
                self.forget(sock.fileno())
                sock.close()
                done(answer)

        try:
            sock.connect(str(self.argo / "control.sock"))
            sock.send(request)
        except OSError as error:
            sock.close()
            done(str(error).encode())
            return
        self.listen(sock.fileno(), read)

    # --- what is left --------------------------------------------------------------------------

    def _collect(self) -> None:
        record = self.record
        for name, cell in self.cells.items():
            life = Life(
                name,
                cell.started,
                cell.seen,
                cell.ended,
                cell.status,
                cell.output,
                cell.termination_log.read_text(errors="replace"),
                cell.log.read_text(errors="replace"),
                read_attempts(cell.records),
            )
            directory = self.argo / "ctr" / name
            life.exit_code = _text(directory / "exitcode")
            life.kept_stdout = _bytes(directory / "stdout")
            life.kept_combined = _bytes(directory / "combined")
            record.lives[name] = life
            record.lag = max(record.lag, cell.seen - cell.started)
            for number, attempt in enumerate(life.attempts):
                if attempt.started:
                    record.timeline.append((attempt.started, f"{name}: attempt {number} runs"))
                if attempt.ended:
                    text = f"ends with {attempt.code}, {attempt.lines} lines"
                    record.timeline.append((attempt.ended, f"{name}: attempt {number} {text}"))
        record.files = sorted(str(p.relative_to(self.argo)) for p in self.argo.rglob("*"))
        events = self.stage.api.store.history(self.node)
        record.history = [event["object"] for event in events]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _text(path: Path) -> str | None:
    data = _bytes(path)
    return None if data is None else data.decode(errors="replace")
