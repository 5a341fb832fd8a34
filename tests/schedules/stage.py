"""What the schedules of one worker process share: a root for its containers, an API server."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests.pod.sandbox import linux
from tests.room import ROOT, binary
from tests.servers.kube_api import KubeApi

CELL = str(ROOT / "build/probes/cell")
ACTOR = str(ROOT / "build/probes/actor")
TOKEN_PATH = "var/run/secrets/kubernetes.io/serviceaccount"
_DEVICES = ("null", "zero", "urandom", "tty")


class Stage:
    """Lives until close(). Puts its process into a mount namespace of its own."""

    def __init__(self) -> None:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        # Short, because sockets live below it and their paths end at 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="sch-"))
        linux.mount("tmpfs", str(self.directory), "tmpfs", 0, "mode=755")
        self.root = self.directory / "root"
        (self.directory / "api").mkdir()
        self.api = KubeApi(self.directory / "api")
        self._furnish()

    def _furnish(self) -> None:
        root = self.root
        for name in ("usr", "proc", "dev", "tmp", "etc", "records", "var/run/argo", TOKEN_PATH):
            (root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        linux.bind("/usr", f"{root}/usr", readonly=True)
        for source, name in ((binary(), "argoexec"), (ACTOR, "actor")):
            (root / name).touch()
            linux.bind(source, f"{root}/{name}")
        for name in _DEVICES:
            (root / "dev" / name).touch()
            linux.bind(f"/dev/{name}", f"{root}/dev/{name}")
        (root / "dev/pts").mkdir()
        linux.mount("devpts", f"{root}/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=0620")
        (root / "dev/ptmx").symlink_to("pts/ptmx")
        (root / "dev/termination-log").touch()
        for name in ("ca.crt", "token", "namespace"):
            shutil.copy(self.directory / "api" / name, root / TOKEN_PATH / name)

    def make_place(self, seed: int) -> Path:
        """An empty directory for one schedule."""
        place = self.directory / f"s{seed}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def close(self) -> None:
        self.api.stop()
        linux.umount(str(self.directory))
        os.rmdir(self.directory)
