"""The run that names the system calls which a table lacks (tests/recording.py)."""

from __future__ import annotations

import os

import pytest

from tests.pod.seccomp import numbers
from tests.recording import KernelLog

AUDIT = (
    'audit: type=1326 audit(1.2:3): auid=4 uid=0 gid=0 ses=4 pid=9 comm="argoexec" exe="/bin/argoexec" '
    "sig=%d arch=c000003e syscall=%d compat=0 ip=0x7f code=0x%x"
)
LOGGED, KILLED = 0x7FFC0000, 0x80000000


@pytest.fixture
def log() -> KernelLog:
    return KernelLog(os.devnull)


def test_calls_are_counted(log: KernelLog) -> None:
    for sig, number, code in [(0, 73, LOGGED), (0, 73, LOGGED), (0, 9, LOGGED), (31, 8, KILLED)]:
        log.take(AUDIT % (sig, number, code))
    log.take("6,1,2,-;something else")
    assert log.calls == {("argoexec", 73): 2, ("argoexec", 9): 1}
    assert not log.has_lost


def test_lost_lines(log: KernelLog) -> None:
    log.take("4,5,6,-;audit: audit_lost=3 audit_rate_limit=0 audit_backlog_limit=64")
    assert log.has_lost


def test_names() -> None:
    assert {"read", "execve", "openat"} <= numbers().keys()
