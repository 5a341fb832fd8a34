"""A server that says what it is told, right or wrong: no real server lies about its lengths, sends
pages that lead in circles, or falls silent at a chosen byte.

    with Scripted([answer(b"half", length=8), answer(b"whole")]) as server:
        server.url, server.requests         # heads of the requests so far, as lists of lines

Each connection gets the next answer and is closed behind it; the last answer is for all that follow.
An answer is bytes, or a function that is given the request's lines and the socket, and may return the
bytes to send.
"""

import socket
import threading
import time
from collections.abc import Callable, Sequence

from tests.servers.server import SocketServer

Answer = bytes | Callable[[list[str], socket.socket], bytes | None]


def answer(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """An answer whose length may be a lie; `content_type` becomes Content-Type."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def trickle(body: bytes, step_s: float, **headers: str) -> Answer:
    """Byte by byte."""

    def send(_lines: list[str], peer: socket.socket) -> None:
        head = answer(b"", length=len(body), **headers)
        peer.sendall(head)
        for i in range(len(body)):
            peer.sendall(body[i : i + 1])
            time.sleep(step_s)

    return send


class Scripted(SocketServer):
    """Listens from the constructor to stop()."""

    def __init__(self, answers: Sequence[Answer]):
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.requests: list[list[str]] = []
        super().__init__()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            try:
                lines = self._read(peer)
                if lines:
                    self._reply(lines, peer)
                # Not before the client has closed, or what it sends meanwhile resets the answer.
                peer.shutdown(socket.SHUT_WR)
                peer.settimeout(5)
                while peer.recv(1 << 16):
                    pass
            except OSError:
                pass  # it has gone, which it may

    def _reply(self, lines: list[str], peer: socket.socket) -> None:
        with self._lock:
            now = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
            self.requests.append(lines)
        data = now if isinstance(now, bytes) else now(lines, peer)
        if data:
            peer.sendall(data)

    @staticmethod
    def _read(peer: socket.socket) -> list[str]:
        """Start line and headers; the body is read and dropped."""
        with peer.makefile("rb") as stream:
            lines = []
            while (line := stream.readline()) not in (b"\r\n", b""):
                lines.append(line.decode(errors="replace").rstrip("\r\n"))
            length = [l.partition(":")[2] for l in lines if l.lower().startswith("content-length:")]
            stream.read(int(length[0]) if length else 0)
        return lines
