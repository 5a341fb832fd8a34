#!/usr/bin/env python3
"""A name server that takes every question and never answers, over UDP and TCP.

For /etc/resolv.conf of a container ("nameserver 127.0.0.54"): inside a network namespace of the
test, or on a loopback address whose port 53 nobody uses.
Run it: python3 tests/servers/dns_blackhole.py [--address 127.0.0.54] [--port 53]
"""

import argparse
import select
import signal
import socket
import sys
import threading
from typing import Any


class DnsBlackhole:
    """Listens from the constructor to stop(); counts what it is asked."""

    def __init__(self, address: str = "127.0.0.54", port: int = 53):
        self.address = address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._tcp = socket.create_server((address, port), family=family)
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._udp.bind((address, self.port))
        self._wake_read, self._wake_write = socket.socketpair()
        self._held: list[socket.socket] = []
        self.questions = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "DnsBlackhole":
        return self

    def __exit__(self, *_exc: Any) -> None:
        self.stop()

    @property
    def resolv_conf(self) -> str:
        """For a resolver that may choose no other port than 53."""
        return f"nameserver {self.address}\noptions timeout:5 attempts:2\n"

    def stop(self) -> None:
        self._wake_write.send(b"x")
        self._thread.join()
        for sock in (self._tcp, self._udp, self._wake_read, self._wake_write, *self._held):
            sock.close()

    def _run(self) -> None:
        while True:
            ready = select.select([self._tcp, self._udp, self._wake_read], [], [])[0]
            if self._wake_read in ready:
                return
            self.questions += len(ready)
            if self._udp in ready:
                self._udp.recv(65535)
            if self._tcp in ready:
                self._held.append(self._tcp.accept()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description="A name server that never answers.")
    parser.add_argument("--address", default="127.0.0.54")
    parser.add_argument("--port", type=int, default=53)
    args = parser.parse_args()
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: done.set())
    with DnsBlackhole(args.address, args.port) as server:
        print(f"silent on {server.address}:{server.port}", flush=True)
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
