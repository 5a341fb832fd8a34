"""The runner's side of a pod's sandbox process: requests, answers, notifications."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from typing import Callable

from .sandbox.cgroups import sweep

_SANDBOX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox")
_PACKET_MAX = 1 << 18
_ANSWER_SECONDS = 60.0
_QUIT_SECONDS = 30.0


class SandboxError(Exception):
    """The sandbox process failed; the text ends with what it wrote to stderr."""


class Sandbox:
    """Starts the sandbox and reads its messages in a thread of its own.

    notify(message, fds) is called in that thread for container events, with descriptors that
    the callee owns; on_lost() once when the sandbox has ended.
    """

    def __init__(
        self,
        config: dict,
        work: str,
        notify: Callable[[dict, list[int]], None],
        on_lost: Callable[[], None],
    ):
        self._name = config["name"]
        self._notify = notify
        self._on_lost = on_lost
        self._keys = itertools.count(1)
        self._answers: dict[str, dict] = {}
        self._changed = threading.Condition()
        self.lost = False
        self._errors = os.path.join(work, "sandbox.log")
        config_path = os.path.join(work, "sandbox.json")
        with open(config_path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-S", _SANDBOX, str(other.fileno()), config_path]
        with other, open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(  # pylint: disable=consider-using-with
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[other.fileno()],
                # Ctrl-C is for us: we stop the pod in order.
                start_new_session=True,
            )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, _PACKET_MAX, 4)
            except OSError:
                data, fds = b"", []
            if not data:
                break
            message = json.loads(data)
            if "key" in message or message["event"] == "ready":
                with self._changed:
                    self._answers[message.get("key", "ready")] = message
                    self._changed.notify_all()
            else:
                self._notify(message, list(fds))
        with self._changed:
            self.lost = True
            self._changed.notify_all()
        self._on_lost()

    def send(self, request: dict) -> None:
        """Send a request that has no answer of its own."""
        try:
            self._socket.send(json.dumps(request).encode())
        except OSError as error:
            raise SandboxError(f"sandbox is gone: {error}{self.errors()}") from error

    def ask(self, request: dict, timeout: float | None = _ANSWER_SECONDS) -> dict:
        """Send a request and wait for its answer. TimeoutError, SandboxError."""
        # Not a possible container name: the sandbox keeps both in one table.
        key = f"#{next(self._keys)}"
        self.send({**request, "key": key})
        return self.answer(key, timeout)

    def answer(self, key: str, timeout: float | None = _ANSWER_SECONDS) -> dict:
        """Wait for the answer with this key."""
        with self._changed:
            done = self._changed.wait_for(lambda: key in self._answers or self.lost, timeout)
            if key in self._answers:
                return self._answers.pop(key)
        if done:
            raise SandboxError(f"sandbox ended unexpectedly{self.errors()}")
        raise TimeoutError(f"no answer within {timeout} s")

    def errors(self) -> str:
        """What the sandbox wrote to stderr, for messages."""
        try:
            with open(self._errors, encoding="utf-8", errors="replace") as file:
                text = file.read().strip()
        except OSError:
            text = ""
        return f":\n{text}" if text else ""

    def quit(self) -> None:
        """End the sandbox with everything in it; returns when nothing is left. Repeatable."""
        try:
            self.send({"op": "quit"})
        except SandboxError:
            self.lost = True
        try:
            self._process.wait(_QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Normally done already; not if somebody killed the sandbox.
        sweep(self._name)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._socket.close()
