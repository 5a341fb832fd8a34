"""The system calls that a table lacks: runs tests with ARGOEXEC_CONFINEMENT=record, in which they are
allowed and told to the kernel's log, and names them.

    python3 -m tests.recording [ARGUMENT OF PYTEST...]      all of tests/integration by default

Root. Exit code 1: a test failed, or a call is lacking; 2: the kernel's log has lost lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from tests.lab import ROOT
from tests.pod.seccomp import numbers

# What it does there in earnest is what the tables are against.
NOT_RECORDED = "tests/integration/test_planted.py"
LOG = "/dev/kmsg"
# Lines of the log in five seconds; each call is a line.
LIMIT = Path("/proc/sys/kernel/printk_ratelimit")
# SECCOMP_RET_LOG, linux/seccomp.h
LINE = re.compile(r'type=1326 .*comm="([^"]*)".* syscall=(\d+) .*code=0x7ffc0000')
LOST = re.compile(r"audit_lost=|printk limit exceeded|callbacks suppressed")


class KernelLog(threading.Thread):
    """What the kernel says from now on until `end`: who made which call how often, and what is lost."""

    def __init__(self, path: str = LOG) -> None:
        super().__init__(daemon=True)
        self.calls: Counter[tuple[str, int]] = Counter()
        self.has_lost = False
        self.is_over = threading.Event()
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)

    def take(self, line: str) -> None:
        if match := LINE.search(line):
            self.calls[match[1], int(match[2])] += 1
        self.has_lost = self.has_lost or LOST.search(line) is not None

    def take_all(self) -> None:
        while True:
            try:
                self.take(os.read(self.fd, 8192).decode(errors="replace"))
            except BlockingIOError:
                return
            except BrokenPipeError:
                self.has_lost = True

    def run(self) -> None:
        while not self.is_over.wait(0.5):
            self.take_all()

    def end(self) -> None:
        self.is_over.set()
        self.join()
        self.take_all()
        os.close(self.fd)


def pytest(arguments: list[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--ignore={NOT_RECORDED}", *(arguments or ["tests/integration"])]
    environment = {**os.environ, "ARGOEXEC_CONFINEMENT": "record"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def main(arguments: list[str]) -> int:
    known = {number: name for name, number in numbers().items()}
    before = LIMIT.read_text()
    LIMIT.write_text("0")
    log = KernelLog()
    log.start()
    try:
        code = pytest(arguments)
    finally:
        log.end()
        LIMIT.write_text(before)
    for (command, number), count in sorted(log.calls.items()):
        print(f"{command}: {known.get(number, number)} is in no table, {count} times")
    if log.has_lost:
        print("the kernel's log has lost lines")
        return 2
    print("lacking calls:", len(log.calls))
    return 1 if code or log.calls else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
