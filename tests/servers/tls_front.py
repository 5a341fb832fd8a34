#!/usr/bin/env python3
"""Ends TLS in front of a plain TCP server, so that any test server is also reachable by https.

    with TlsFront(swift.address, Path("/tmp/tls")) as front:
        front.endpoint, front.cert.ca

TlsBack is the way back: plain TCP in front of a server that speaks nothing but TLS, for whatever has
to see or change what is said in between.

Bytes pass unchanged: an S3 signature covers the Host header of the client, which stays what it was.
Run it: python3 tests/servers/tls_front.py --dir DIR [--listen PORT] HOST:PORT
"""

import argparse
import select
import signal
import socket
import ssl
import sys
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers import certs
from tests.servers.server import SocketServer

BUFFER_BYTES = 1 << 18
Ends = tuple[ssl.SSLSocket, socket.socket]
NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class _Tls(SocketServer):
    """Listens from the constructor to stop(); also a context manager."""

    def __init__(self, upstream: tuple[str, int], host: str, port: int):
        self._upstream = upstream
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.refused = 0  # handshakes that one of the two sides broke off
        super().__init__(host, port)

    def stop(self) -> None:
        super().stop()
        with self._lock:
            for sock in self._open:
                sock.shutdown(socket.SHUT_RDWR)

    def _serve(self, client: socket.socket) -> None:
        try:
            with self._ends(client) as (tls, plain), self._registered(plain):
                for sock in (tls, plain):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setblocking(False)
                _pump(tls, plain)
        except ssl.SSLError:
            with self._lock:
                self.refused += 1
        except OSError:
            pass  # a peer that went away, or stop()

    @abstractmethod
    def _ends(self, client: socket.socket) -> AbstractContextManager[Ends]:
        """The side that speaks TLS, and the plain one."""

    @contextmanager
    def _registered(self, sock: socket.socket) -> Iterator[None]:
        """stop() ends a connection by shutting down its plain side."""
        with self._lock:
            self._open.add(sock)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(sock)


class TlsFront(_Tls):
    """TLS in front of a plain server."""

    scheme = "https"

    def __init__(
        self,
        upstream: tuple[str, int],
        directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        names: tuple[str, ...] = certs.LOOPBACK_NAMES,
    ):
        self.cert = certs.make(directory, names)
        self._context = self.cert.server_context()
        super().__init__(upstream, host, port)

    @contextmanager
    def _ends(self, client: socket.socket) -> Iterator[Ends]:
        with (
            self._context.wrap_socket(client, server_side=True) as tls,
            socket.create_connection(self._upstream, timeout=10) as plain,
        ):
            yield tls, plain


class TlsBack(_Tls):
    """Plain TCP in front of a server that speaks TLS; CONTEXT says whom to trust."""

    def __init__(
        self, upstream: tuple[str, int], context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0
    ):
        self._context = context
        super().__init__(upstream, host, port)

    @contextmanager
    def _ends(self, client: socket.socket) -> Iterator[Ends]:
        with (
            client,
            socket.create_connection(self._upstream, timeout=10) as sock,
            self._context.wrap_socket(sock, server_hostname=self._upstream[0]) as tls,
        ):
            yield tls, client


class _Flow:
    """One direction: what was read from SOURCE and is not yet written to SINK."""

    def __init__(self, source: socket.socket, sink: socket.socket):
        self.source = source
        self.sink = sink
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self.pending = self._buffer[:0]

    def read(self) -> bool:
        """Fill the buffer; False at the end of SOURCE's stream."""
        size = 0
        try:
            while size < BUFFER_BYTES:
                count = self.source.recv_into(self._buffer[size:])
                if not count:
                    break
                size += count
        except NOT_NOW:
            self.pending = self._buffer[:size]
            return True
        self.pending = self._buffer[:size]
        return size > 0

    def write(self) -> None:
        try:
            while self.pending:
                self.pending = self.pending[self.sink.send(self.pending) :]
        except NOT_NOW:
            pass


def _pump(tls: ssl.SSLSocket, plain: socket.socket) -> None:
    """Move bytes both ways until one side ends; TLS has no half-closed state."""
    flows = (_Flow(tls, plain), _Flow(plain, tls))
    while True:
        # OpenSSL may hold decrypted bytes that select() knows nothing of.
        if not (tls.pending() and not flows[0].pending):
            sources = [flow.source for flow in flows if not flow.pending]
            select.select(sources, [flow.sink for flow in flows if flow.pending], [])
        for flow in flows:
            if not flow.pending and not flow.read():
                return
            flow.write()


def main() -> int:
    parser = argparse.ArgumentParser(description="TLS in front of a plain TCP server.")
    parser.add_argument("--dir", type=Path, required=True, help="for ca.crt and the other files")
    parser.add_argument("--listen", type=int, default=0, help="port; default: any free one")
    parser.add_argument("upstream", help="HOST:PORT")
    args = parser.parse_args()
    host, _, port = args.upstream.rpartition(":")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: done.set())
    with TlsFront((host.strip("[]"), int(port)), args.dir, port=args.listen) as front:
        print(f"listening on {front.endpoint}, trust {front.cert.ca}", flush=True)
        done.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
