"""OpenStack Swift's S3 API from Debian's packages, as one process plus memcached.

    with SwiftServer(Path("/tmp/swift")) as swift:
        swift.client().put("bucket", "key", b"data")

Packages: swift-proxy swift-account swift-container swift-object memcached. Swift keeps metadata in
extended attributes: the directory has to be on a file system that has them.
"""

import os
import shutil
import time
from pathlib import Path
from string import Template

from tests.servers import ports, s3_client
from tests.servers.proc import Process
from tests.servers.server import S3Server

HERE = Path(__file__).resolve().parent
SYSTEM_PYTHON = "/usr/bin/python3"
STORAGE_SERVERS = ("account", "container", "object")


def unavailable() -> str:
    """Why Swift cannot run here; empty if it can."""
    if not shutil.which("memcached"):
        return "memcached is not installed"
    if not Path("/usr/lib/python3/dist-packages/swift/proxy").is_dir():
        return "package swift-proxy is not installed"
    return ""


class SwiftServer(S3Server):
    """A Swift of its own below DIRECTORY, running from the constructor to stop().

    STORAGE_DOMAIN is the domain below which BUCKET.STORAGE_DOMAIN is a virtual host.
    """

    access_key = "argo:admin"

    def __init__(
        self,
        directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = "us-east-1",
        secret_key: str = "swift-secret-key",
        storage_domain: str = "localhost",
    ):
        if reason := unavailable():
            raise RuntimeError(f"Swift: {reason}")
        super().__init__()
        self.directory = directory.resolve()
        self.host = host
        self.region = region
        self.secret_key = secret_key
        (self.directory / "data/d1").mkdir(parents=True, exist_ok=True)
        _require_xattrs(self.directory)
        *storage_ports, self.port, self._memcached_port = ports.free_ports(5)
        self.port = port or self.port
        self._addresses = [
            f"{n}=127.0.0.1:{p}" for n, p in zip(STORAGE_SERVERS, storage_ports, strict=True)
        ]
        self._addresses.append(f"proxy={host}:{self.port}")
        self._write_configuration(storage_domain)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _write_configuration(self, storage_domain: str) -> None:
        values = {
            "directory": self.directory,
            "data": self.directory / "data",
            "memcached_port": self._memcached_port,
            "region": self.region,
            "storage_domain": storage_domain,
            "user": self.access_key.replace(":", "_"),
            "secret_key": self.secret_key,
        }
        templates = {name: "storage.conf.in" for name in STORAGE_SERVERS}
        templates |= {"proxy": "proxy.conf.in", "swift": "swift.conf.in"}
        for name, template in templates.items():
            text = Template((HERE / template).read_text()).substitute(values, kind=name)
            (self.directory / f"{name}.conf").write_text(text)

    def _start(self) -> None:
        options = ["-l", "127.0.0.1", "-p", str(self._memcached_port), "-m", "16", "-u", "root"]
        memcached = Process(["memcached", *options], self.directory / "memcached.log")
        self._processes.append(memcached)
        argv = [SYSTEM_PYTHON, HERE / "all_in_one.py", self.directory, *self._addresses]
        swift = Process(argv, self.directory / "swift.log")
        self._processes.append(swift)
        memcached.wait_port(self._memcached_port)
        swift.wait_port(self.port, self.host)
        swift.wait_ready(self._answers)

    def _answers(self) -> bool:
        """True once a bucket can be listed; 503 SlowDown until every part is there."""
        try:
            self.client().list_buckets()
        except (s3_client.S3Error, OSError):
            time.sleep(0.02)
            return False
        return True


def _require_xattrs(directory: Path) -> None:
    try:
        os.setxattr(directory, "user.swift.tests", b"1")
    except OSError as error:
        text = f"{directory}: Swift needs a file system with user extended attributes: {error}"
        raise RuntimeError(text) from None
