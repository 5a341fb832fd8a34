"""What the servers of the tests have in common: they run from their constructor to stop()."""

import socket
import threading
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.servers import s3_client
from tests.servers.proc import Process


class Server(ABC):
    """Listens at host:port; also a context manager."""

    scheme = "http"
    host: str
    port: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def endpoint(self) -> str:
        """host:port, as an artifact's s3.endpoint."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.endpoint}"

    @abstractmethod
    def stop(self) -> None: ...


class HttpServer(Server):
    """Requests are a handler's, each connection in a thread."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1", port: int = 0):
        self._http = ThreadingHTTPServer((host, port), handler)
        self._http.daemon_threads = True
        self.host, self.port = self._http.server_address[:2]
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class SocketServer(Server):
    """Connections are _serve()'s, each in a thread."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self.host, self.port = host, self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @abstractmethod
    def _serve(self, peer: socket.socket) -> None: ...

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()


class S3Server(Server):
    """An S3 server that runs as processes."""

    access_key: str
    secret_key: str
    region: str

    def __init__(self) -> None:
        self._processes: list[Process] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def client(self) -> s3_client.S3Client:
        return s3_client.S3Client(self.url, self.access_key, self.secret_key, self.region)

    def create_bucket(self, bucket: str) -> None:
        self.client().create_bucket(bucket)

    def stop(self) -> None:
        while self._processes:
            self._processes.pop().stop()
