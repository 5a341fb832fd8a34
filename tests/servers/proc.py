"""Child processes of the tests: they die with their parent, log to a file, and are ended by pid.

`setpriv --pdeathsig` sets the parent-death signal, so that no Python code runs between fork and
exec. The kernel ties that signal to the thread that forked: start servers from a thread that lives
as long as they shall. A parent that is killed before setpriv has run, within the first
milliseconds, leaves its child behind.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.servers import ports


class ServerDied(RuntimeError):
    """A server ended before it was ready; the message ends with the tail of its log."""


class Process:
    """One server process with its log file."""

    def __init__(
        self,
        argv: Sequence[str | os.PathLike],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ):
        self.log = log
        self.name = os.path.basename(argv[0])
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else {**os.environ, **env},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log_tail(self, size: int = 2000) -> str:
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def wait_ready(self, check: Callable[[], bool], timeout: float = 20.0) -> None:
        """Wait until CHECK() is true; ServerDied if the process ends before that."""

        def checked() -> bool:
            if self.popen.poll() is not None:
                raise ServerDied(f"{self.name}: exit {self.popen.returncode}: {self.log_tail()}")
            return check()

        ports.wait_until(checked, f"{self.name} (log: {self.log})", timeout)

    def wait_port(self, port: int, host: str = "127.0.0.1", timeout: float = 20.0) -> None:
        self.wait_ready(lambda: ports.connects(host, port), timeout)

    def stop(self, grace: float = 3.0) -> int:
        """SIGTERM, then SIGKILL after GRACE seconds; the exit status as subprocess reports it."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                return self.popen.wait(grace)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()
