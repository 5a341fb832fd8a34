"""versitygw, an S3 server written in Go, as a second judge beside Swift.

    if not (reason := versitygw.unavailable()):
        with VersityGw(Path("/dev/shm/gw")) as gw:
            gw.client().put("bucket", "key", b"data")

It is built from its Go module at the version below, into $XDG_CACHE_HOME/tiphys (~/.cache/tiphys),
once: about 150 s on two cores with nothing cached. Objects are files below DIRECTORY/data with
their metadata in extended attributes.
"""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.servers import cache, ports
from tests.servers.proc import Process
from tests.servers.server import S3Server

VERSION = "v1.8.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@{VERSION}"
GO_NEEDED = (1, 25)


def _cache() -> Path:
    return cache.directory(f"versitygw-{VERSION}")


def unavailable() -> str:
    """Why versitygw can neither run nor be built here; empty if it can."""
    if (_cache() / "versitygw").exists():
        return ""
    if not shutil.which("go"):
        return "Go is not installed"
    done = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    if not found or (int(found[1]), int(found[2])) < GO_NEEDED:
        return f"Go {'.'.join(map(str, GO_NEEDED))} or newer is needed, found {done.stdout.strip()}"
    return ""


def build() -> Path:
    """The path of the program, built if it is not yet there; RuntimeError if that fails."""
    place = _cache()
    program = place / "versitygw"
    if program.exists():
        return program
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            partial = place / "partial"
            env = {**os.environ, "GOBIN": str(partial), "CGO_ENABLED": "0"}
            argv = ["nice", "go", "install", "-p", "2", MODULE]
            done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(argv)}: {done.stderr[-2000:]}")
            (partial / "versitygw").rename(program)
    return program


class VersityGw(S3Server):
    """A gateway of its own below DIRECTORY, running from the constructor to stop()."""

    access_key = "gateway-admin"

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = "us-east-1",
        secret_key: str = "gateway-secret-key",
        storage_domain: str = "localhost",
    ):
        if reason := unavailable():
            raise RuntimeError(f"versitygw: {reason}")
        super().__init__()
        self.directory = directory.resolve()
        self.host = host
        self.port = port or ports.free_port(host)
        self.region = region
        self.secret_key = secret_key
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        env = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": secret_key}
        options = ["--port", self.endpoint, "--region", region, "--quiet", "--keep-alive"]
        options += ["--virtual-domain", storage_domain]
        argv = [build(), *options, "posix", data]
        process = Process(argv, self.directory / "versitygw.log", env=env)
        self._processes.append(process)
        try:
            process.wait_port(self.port, host)
        except BaseException:
            self.stop()
            raise
