"""One container of a schedule: its namespaces, its streams, its end (tests/probes/cell.c)."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from tests.schedules.stage import CELL, Stage


class Cell:
    """Started by the constructor; the process it was given is PID 1 of its PID namespace."""

    def __init__(
        self,
        stage: Stage,
        place: Path,
        name: str,
        command: list[str],
        environment: dict[str, str],
        has_terminal: bool,
    ):
        self.name = name
        self.place = place
        self.has_terminal = has_terminal
        self.environment = environment
        self.output = b""
        self.pid = 0
        self.seen = 0  # ns
        self.namespace_fd = -1
        self.status: tuple[str, int] | None = None  # ("exit" or "signal", number)
        self.ended = 0  # ns
        self.started = time.monotonic_ns()
        self.records = place / "records" / name
        self.records.mkdir(parents=True)
        self.termination_log = place / f"{name}.message"
        self.termination_log.touch()
        self.termination_log.chmod(0o666)
        self.log = place / f"{name}.log"
        self.output_fd, theirs = os.openpty() if has_terminal else os.pipe()
        os.set_blocking(self.output_fd, False)
        self.status_socket, their_end = socket.socketpair()
        mounts = [
            f"{place}/argo:var/run/argo",
            f"{self.records}:records",
            f"{self.termination_log}:dev/termination-log",
        ]
        words = [CELL, "run", str(their_end.fileno()), str(stage.root), *mounts, "--", *command]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                words,
                env=environment,
                stdin=theirs if has_terminal else subprocess.DEVNULL,
                stdout=theirs,
                stderr=log,
                pass_fds=[their_end.fileno()],
            )
        os.close(theirs)
        their_end.close()
        self.status_socket.setblocking(False)

    def hear(self) -> str:
        """Reads from its socket; what is new, "" if there is nothing."""
        try:
            data = self.status_socket.recv(4096).decode()
        except BlockingIOError:
            return ""
        if not data:
            self.status = self.status or ("lost", 0)
            return "is lost"
        for line in data.splitlines():
            word, number, *moment = line.split()
            if word == "pid":
                self.pid = int(number)
                self.seen = time.monotonic_ns()
                self.namespace_fd = self._open_namespace()
            else:
                self.status = (word, int(number))
                self.ended = int(moment[0])
        return data.replace("\n", " ")

    def _open_namespace(self) -> int:
        """Kept open, so that its number is not given to another one."""
        try:
            return os.open(f"/proc/{self.pid}/ns/pid", os.O_RDONLY)
        except OSError:
            return -1

    def read_output(self) -> bool:
        """False when it has ended."""
        try:
            data = os.read(self.output_fd, 1 << 20)
        except BlockingIOError:
            return True
        except OSError:  # a terminal that nobody has open any more
            return False
        self.output += data
        return bool(data)

    @property
    def is_alive(self) -> bool:
        return self.pid > 0 and self.status is None

    def blocks(self, signo: int) -> bool:
        """Its first process will certainly get this signal: PID 1 loses what it does not block."""
        try:
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("SigBlk:"):
                    return bool(int(line.split()[1], 16) >> (signo - 1) & 1)
        except OSError:
            pass
        return False

    def zombies(self) -> set[tuple[str, str]]:
        """Pid and start time of the dead children that its first process has not waited for."""
        found = set()
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            for pid in children:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z":
                    found.add((pid, fields[19]))
        except OSError:
            pass
        return found

    def enter(self, *command: str) -> subprocess.Popen[bytes]:
        """An exec in it, as the controller does it."""
        return subprocess.Popen(
            [CELL, "enter", str(self.pid), "--", *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """Ends what is left of it."""
        self.status_socket.close()
        os.close(self.output_fd)
        self.process.wait()


def leftovers(cells: list[Cell]) -> list[str]:
    """Processes that live in the PID namespaces of these, which are closed."""
    found = []
    fds = [cell.namespace_fd for cell in cells if cell.namespace_fd >= 0]
    namespaces = {os.fstat(fd).st_ino for fd in fds}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.stat(f"/proc/{name}/ns/pid").st_ino in namespaces:
                found.append(f"{name} {Path(f'/proc/{name}/comm').read_text().strip()}")
        except OSError:
            pass  # it has just ended
    for fd in fds:
        os.close(fd)
    return found
