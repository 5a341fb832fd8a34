"""MinIO, an S3 server written in Go that has what others lack: STS, object locking, encryption with keys
of one's own, notes on objects.

    if not (reason := minio.unavailable()):
        with MinIO(Path("/dev/shm/minio")) as server:
            server.client().put("bucket", "key", b"data")

Its Go module takes minutes to build, so nobody does it on the way: `python3 -m tests.servers.minio` puts it
into $XDG_CACHE_HOME/tiphys (~/.cache/tiphys), once.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers import cache, certs, ports
from tests.servers.proc import Process
from tests.servers.server import S3Server

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
MODULE = f"github.com/minio/minio@{VERSION}"


def _program() -> Path:
    return cache.directory(f"minio-{VERSION.split('-')[1]}") / "minio"


def unavailable() -> str:
    """Why MinIO cannot run here; empty if it can."""
    return "" if _program().exists() else "MinIO is not built (python3 -m tests.servers.minio)"


def build() -> Path:
    """The path of the program, built if it is not yet there; RuntimeError if that fails."""
    program = _program()
    if program.exists():
        return program
    if not shutil.which("go"):
        raise RuntimeError("Go is not installed")
    program.parent.mkdir(parents=True, exist_ok=True)
    with open(program.parent / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            partial = program.parent / "partial"
            env = {**os.environ, "GOBIN": str(partial), "CGO_ENABLED": "0"}
            done = subprocess.run(["nice", "go", "install", "-p", "2", MODULE], env=env, check=False)
            if done.returncode:
                raise RuntimeError(f"go install {MODULE}: exit {done.returncode}")
            (partial / "minio").rename(program)
    return program


class MinIO(S3Server):
    """A server of its own below DIRECTORY, running from the constructor to stop(); with TLS if HTTPS."""

    access_key = "minio-admin"
    secret_key = "minio-secret-key"

    def __init__(self, directory: Path, region: str = "us-east-1", https: bool = False):
        if reason := unavailable():
            raise RuntimeError(reason)
        super().__init__()
        self.host, self.region = "127.0.0.1", region
        self.port = ports.free_port(self.host)
        directory.mkdir(parents=True, exist_ok=True)
        data, keys = directory / "data", directory / "certs"
        data.mkdir(exist_ok=True)
        keys.mkdir(exist_ok=True)
        if https:
            self.scheme = "https"
            self.cert = certs.make(directory / "tls", certs.LOOPBACK_NAMES)
            shutil.copy(self.cert.cert, keys / "public.crt")
            shutil.copy(self.cert.key, keys / "private.key")
        env = {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_REGION": region,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            # A static key makes SSE-S3 and SSE-KMS possible without a key server.
            "MINIO_KMS_SECRET_KEY": "test-key:" + "A" * 43 + "=",
            "HOME": str(directory),
        }
        options = ["--quiet", "--address", self.endpoint, "--certs-dir", keys]
        process = Process([_program(), "server", *options, data], directory / "minio.log", env=env)
        self._processes.append(process)
        try:
            process.wait_ready(self._is_ready, timeout=60)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        try:
            self.client().list_buckets()
        except (OSError, ValueError, RuntimeError):
            return False
        except Exception as error:  # an answer of a server that is not there yet
            return "503" not in str(error)
        return True

    def client(self):
        client = super().client()
        if self.scheme == "https":
            client._tls = self.cert.client_context()
        return client


if __name__ == "__main__":
    print(build())
    sys.exit(0)
