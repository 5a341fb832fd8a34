"""A server on a unix socket that says HTTP/2 frames as a test wants them said, right or wrong.

    python3 raw_plugin.py ANSWER SOCKET

ANSWER is a JSON array: [status, headers, data, trailers, flags], see answer(). It is the answer to
the first request of every connection. Of an array of these each request gets one, all further ones
the last.
"""

from __future__ import annotations

import json
import socket
import sys
import threading

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
PREFACE_BYTES = 24
FRAME_MAX = 16384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def hpack(fields: list[list[str]]) -> bytes:
    """Every field as a literal that is never indexed (RFC 7541, 6.2.3)."""
    out = b""
    for name, value in fields:
        out += b"\x10"
        for text in (name.encode(), value.encode()):
            size = len(text)
            out += bytes([size]) if size < 127 else b"\x7f" + _integer(size - 127)
            out += text
    return out


def _integer(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def answer(status: int, headers: list, data: str, trailers: list | None, end: str) -> bytes:
    """DATA is hexadecimal, or "xN" for N bytes of zeros. END: "", "reset", "goaway", "close"."""
    body = bytes(int(data[1:])) if data.startswith("x") else bytes.fromhex(data)
    fields = [[":status", str(status)], *headers]
    last = END_STREAM if trailers is None and not body and not end else 0
    out = frame(HEADERS, END_HEADERS | last, 1, hpack(fields))
    for start in range(0, len(body), FRAME_MAX):
        out += frame(DATA, 0, 1, body[start : start + FRAME_MAX])
    if end == "reset":
        return out + frame(RST_STREAM, 0, 1, (2).to_bytes(4, "big"))
    if end == "goaway":
        return out + frame(GOAWAY, 0, 0, bytes(4) + (11).to_bytes(4, "big"))
    if trailers is not None:
        out += frame(HEADERS, END_HEADERS | END_STREAM, 1, hpack(trailers))
    return out


def read_request(connection: socket.socket) -> bool:
    """Up to the end of stream 1; False if the client closes before."""
    received = b""
    position = PREFACE_BYTES
    while True:
        while len(received) >= position + 9:
            size = int.from_bytes(received[position : position + 3], "big")
            kind, flags = received[position + 3], received[position + 4]
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return True
            position += 9 + size
        data = connection.recv(65536)
        if not data:
            return False
        received += data


def serve(connection: socket.socket, answers: list) -> None:
    with connection:
        connection.sendall(frame(SETTINGS, 0, 0))
        if not read_request(connection):
            return
        wanted = answers.pop(0) if len(answers) > 1 else answers[0]
        if wanted[4] == "close":
            connection.settimeout(0.2)
        try:
            connection.sendall(answer(*wanted))
            while connection.recv(65536):
                pass
        except OSError:
            pass


def main(answers: list, path: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, answers), daemon=True).start()


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    main(wanted if isinstance(wanted[0], list) else [wanted], sys.argv[2])
