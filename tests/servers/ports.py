"""Free ports on a loopback address, and waiting until somebody listens there.

A port number found here can be taken by another program before the server binds it; servers that
live in this process bind port 0 instead and report what they got.
"""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """COUNT different TCP ports that were free a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for sock in sockets:
            sock.bind((host, 0))
        return [sock.getsockname()[1] for sock in sockets]


def free_port(host: str = "127.0.0.1") -> int:
    """One TCP port that was free a moment ago."""
    return free_ports(1, host)[0]


def connects(host: str, port: int) -> bool:
    """True if a TCP connection to HOST:PORT is accepted within a second."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(check: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Return as soon as CHECK() is true; TimeoutError naming WHAT after TIMEOUT seconds."""
    deadline = time.monotonic() + timeout
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not ready after {timeout:g} s")
        time.sleep(0.02)
