"""What the servers of the tests have in common: they run from their constructor to stop()."""

from abc import ABC, abstractmethod
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
