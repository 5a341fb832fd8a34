"""The ways in which a wrapper stands between the command and the world.

    with in_mode("captured", SUBJECT, "record", "15") as (process, output):
        assert output.readline() == b"ready\n"
"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import tty
from collections.abc import Iterator
from typing import IO

from tests.room import (
    Wrapper,
    container_file,
    exit_code,
    first_child,
    start,
    write_template,
)

# "member": of a containerSet, after a dependency, with a retry strategy that allows one attempt.
MODES = ("inherited", "captured", "terminal", "member")


def prepare(mode: str) -> None:
    """What the pod looks like."""
    if mode == "captured":
        write_template(archiveLocation={"archiveLogs": True})
    elif mode == "member":
        containers = [{"name": "first"}, {"name": "main", "dependencies": ["first"]}]
        strategy = {"retries": 1}
        write_template(
            container=None, containerSet={"containers": containers, "retryStrategy": strategy}
        )
        container_file("", "first").mkdir(parents=True, exist_ok=True)
        container_file("exitcode", "first").write_text("0")
    else:
        write_template()


@contextlib.contextmanager
def in_mode(
    mode: str, *command: str, is_init: bool = False, **options: object
) -> Iterator[tuple[Wrapper, IO[bytes]]]:
    """A wrapper (or, if is_init, the parent of its namespace), and what its command prints."""
    prepare(mode)
    if mode == "captured":
        options = {"env": {"ARGO_INCLUDE_SCRIPT_OUTPUT": "true"}, **options}
    options = {"is_init": is_init, "flags": ("--loglevel", "error"), **options}
    if mode != "terminal":
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, **options}
        with start(*command, **options) as process:
            yield process, process.stdout
        return
    master, slave = pty.openpty()
    tty.setraw(slave)
    with start(*command, stdin=slave, stdout=slave, stderr=slave, **options) as process:
        os.close(slave)
        with os.fdopen(master, "rb", buffering=0) as output:
            yield process, output


def wrapper_of(process: Wrapper, is_init: bool) -> int:
    return first_child(process.pid) if is_init else process.pid


def status(mode: str, *command: str, is_init: bool = False) -> tuple[int, str | None]:
    """Exit status and `exitcode` of a wrapper whose command ends by itself."""
    container_file("exitcode").unlink(missing_ok=True)
    with in_mode(mode, *command, is_init=is_init) as (process, _output):
        process.wait(30)
    return process.returncode, exit_code()
