"""Where the artifact rows run: memory for everything, an S3 server, a relay, pods, and curl."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import data
from bench.figures import GIB, KIB
from bench.subject import IMAGE, Subject, user_image
from tests.gc import GcLab
from tests.lab import BUCKET, SECRET
from tests.layout import pod_for
from tests.pod import PodRunner
from tests.pod.sandbox import linux
from tests.servers import versitygw
from tests.servers.relay import Relay
from tests.servers.s3_client import UNSIGNED

# Two copies of the largest file, the server's parts and object, what a pod unpacks; the reference
# keeps as much again beside its buffers.
NEEDED = (9 * GIB // data.SCALE) + GIB
NEEDED_BY_REFERENCE = 6 * GIB // data.SCALE
POD_SECONDS = 1800
SAMPLE_SECONDS = 0.02
DISK_SAMPLE_SECONDS = 0.01
Json = dict[str, Any]


@dataclass
class Outcome:
    """One pod: what its init (IN) or its wait (OUT) took; bytes and seconds."""

    seconds: float
    held: float  # main, after its user's exit
    cpu: float
    resident: float
    anonymous: float  # 0: too short for a sample
    written: float
    arrived: int  # in the volume of the inputs
    extra: float  # of the pods' file system, above what is there in the end (IN) or before (OUT)
    charged: int | None  # most that the control group was charged; None: there is none
    is_ok: bool
    message: str
    counts: dict[str, int] = field(default_factory=dict)


def memory_available() -> int:
    """Bytes that can be had without swapping."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * KIB for line in file if "MemAvailable" in line)


def memory_directory(directory: Path, size: int) -> bool:
    """Mounts a tmpfs that takes extended attributes, for this process and its children only."""
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("tmpfs", str(directory), "tmpfs", 0, f"size={size},mode=755")
    try:
        os.setxattr(directory, "user.bench", b"1")
        return True
    except OSError:
        linux.umount(str(directory), linux.MNT_DETACH)
        return False


class Watch(threading.Thread):
    """Samples how full a file system is; as a context, and `most` is known after it."""

    def __init__(self, path: Path):
        super().__init__(daemon=True)
        self._path = path
        self._done = threading.Event()
        self.before = self.most = self.after = self._used()

    def _used(self) -> int:
        found = os.statvfs(self._path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def run(self) -> None:
        while not self._done.wait(DISK_SAMPLE_SECONDS):
            self.most = max(self.most, self._used())

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._done.set()
        self.join()
        self.after = self._used()


class Yard:
    """One for a whole run of rows, in a directory in memory."""

    def __init__(self, directory: Path):
        if reason := versitygw.unavailable():
            raise RuntimeError(f"versitygw: {reason}")
        self.directory = directory
        self.gateway = versitygw.VersityGw(directory / "gateway")
        self.lab = GcLab(directory / "lab", self.gateway)
        self.relay = Relay(self.gateway.port, directory / "relay")
        self.stored = self.gateway.directory / "data" / BUCKET
        self.images = user_image(directory)
        self.own = directory / "image/rootfs/data"
        self.pods = directory / "pods"
        self.pods.mkdir()
        # Its own file system, so that what is used there is what the pod has written.
        linux.mount("tmpfs", str(self.pods), "tmpfs", 0, f"size={NEEDED},mode=755")
        self.number = 0

    def __enter__(self) -> Yard:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.relay.stop()
        self.lab.close()
        linux.umount(str(self.pods), linux.MNT_DETACH)

    # --- what there is to move ------------------------------------------------------------

    def have(self, source: Path) -> Path:
        """Copies into the image of the pods, below /data; a volume of them too."""
        return data.place(source, self.own / source.name)

    def have_object(self, key: str, source: Path) -> None:
        """An object without asking the server; the file is linked, not copied."""
        path = self.stored / key
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.have(source), path)
            tag = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
            os.setxattr(path, "user.etag", f'"{tag}-1"'.encode())

    def have_objects(self, prefix: str, count: int, size: int) -> None:
        """COUNT objects of SIZE bytes, a thousand in each directory."""
        for number in range(count):
            path = self.stored / prefix / f"{number // 1000:03d}" / f"{number:06d}"
            if number % 1000 == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((b"%06d\n" % number * (size // 7 + 1))[:size])
            tag = hashlib.md5(b"%06d" % number, usedforsecurity=False).hexdigest()
            os.setxattr(path, "user.etag", f'"{tag}"'.encode())

    def forget(self, prefix: str) -> None:
        """Removes objects."""
        shutil.rmtree(self.stored / prefix, ignore_errors=True)

    # --- pods -----------------------------------------------------------------------------

    def template(self, endpoint: str, inputs: list[Json], outputs: list[Json], volume: str) -> Json:
        """A user who does nothing; VOLUME is mounted at /data or /work, "" for none."""
        keys = (("accessKeySecret", "accesskey"), ("secretKeySecret", "secretkey"))
        secrets = {name: {"name": SECRET, "key": key} for name, key in keys}
        store = {"endpoint": endpoint, "bucket": BUCKET, "insecure": True, **secrets}
        mounts = [{"name": volume, "mountPath": f"/{volume}"}] if volume else []
        return {
            "name": "bench",
            "inputs": {"artifacts": inputs},
            "outputs": {"artifacts": outputs},
            "container": {"image": IMAGE, "command": ["moment"], "volumeMounts": mounts},
            "archiveLocation": {"archiveLogs": False, "s3": {**store, "key": "out/key"}},
        }

    def pod(self, template: Json, memory_limit: str = "") -> Json:
        """The Pod of a template, with the volume "data" being what all pods have below /data."""
        self.number += 1
        pod = pod_for(template, "bench", f"bench-{self.number}")
        for volume in pod["spec"]["volumes"]:
            if volume["name"] == "data":
                del volume["emptyDir"]
                volume["persistentVolumeClaim"] = {"claimName": "data"}
        for container in pod["spec"]["initContainers"] + pod["spec"]["containers"]:
            if memory_limit and "limits" in container.get("resources", {}):
                container["resources"] = {"limits": {"memory": memory_limit}}
        return pod

    def run(
        self,
        subject: Subject,
        template: Json,
        is_input: bool,
        memory_limit: str = "",
        during: Callable[[PodRunner], None] = lambda runner: None,
        **options: Any,
    ) -> Outcome:
        """Runs a pod of a template; with a limit of memory on disk, as memory would count there.

        DURING is called when the pod has been started. OPTIONS: those of PodRunner.
        """
        pod = self.pod(template, memory_limit)
        if not memory_limit:
            options["work_dir"] = str(self.pods / str(self.number))
        with Watch(self.pods) as watch:
            with self.lab.runner(
                pod,
                images=self.images,
                executor=str(subject.binary),
                claims={"data": str(self.own)},
                memory_limits=bool(memory_limit),
                # An exec'd `kill` would be sampled as part of wait.
                controller=False,
                sample_seconds=SAMPLE_SECONDS,
                **options,
            ) as runner:
                runner.start()
                during(runner)
                result = runner.wait(POD_SECONDS)
        shutil.rmtree(options.get("work_dir", ""), ignore_errors=True)
        return _outcome(result, subject, is_input, watch)

    # --- the other yardstick --------------------------------------------------------------

    def curl(self, key: str, source: Path | None = None) -> float:
        """Seconds that one curl takes to send a file, or to fetch an object to /dev/null."""
        verb = "PUT" if source else "GET"
        payload = {"payload_hash": UNSIGNED}
        target, headers, _ = self.gateway.client().sign(verb, f"/{BUCKET}/{key}", **payload)
        argv = ["curl", "-sSf", "-o", "/dev/null", f"{self.gateway.url}{target}"]
        for name, value in headers.items():
            argv += ["-H", f"{name}: {value}"]
        began = time.monotonic()
        subprocess.run([*argv, *(["-T", source] if source else [])], check=True)
        return time.monotonic() - began

    def is_same(self, key: str, source: Path) -> bool:
        """Whether an object is what the file is."""
        path = self.stored / key
        return path.is_file() and filecmp.cmp(path, source, shallow=False)

    @contextmanager
    def distance(self, **settings: int) -> Iterator[Relay]:
        """The relay with these settings, for as long as the context lasts."""
        self.relay.clear()
        self.relay.set(**settings)
        try:
            yield self.relay
        finally:
            self.relay.clear()


def _moment(result: Any) -> float:
    """When user code ran, and then ended, as its log says; when main ended if it never did."""
    main = result.containers["main"]
    for line in main.log.splitlines():
        first = line.split(" ", 1)[0]
        if first.replace(".", "", 1).isdigit():
            return float(first)
    return main.finished or 0.0


def _outcome(result: Any, subject: Subject, is_input: bool, watch: Watch) -> Outcome:
    init, main, wait = (result.containers[name] for name in ("init", "main", "wait"))
    moment = _moment(result)
    of = [init] if is_input else [wait, main]
    # What init writes beside inputs is the binary.
    written = sum(container.io.get("wchar", 0) for container in of)
    binary = subject.binary.stat().st_size
    written -= binary if is_input else 0
    seconds = (init.seconds or 0.0) if is_input else (wait.finished or moment) - moment
    said = " ".join(c.message or c.log[-2000:] for c in of if c.exit_code)
    return Outcome(
        seconds=seconds,
        held=(main.finished or moment) - moment,
        cpu=sum((container.cpu_us or 0) / 1e6 for container in of),
        # Of what was too short for a sample, the kernel still knows that it was not more.
        resident=of[0].peak_rss or of[0].max_rss or 0,
        anonymous=of[0].peak_anonymous or 0,
        written=written,
        arrived=result.volumes["work"].apparent if is_input else 0,
        extra=watch.most - (watch.after if is_input else watch.before + binary),
        charged=of[0].peak_memory,
        is_ok=result.phase == "Succeeded",
        message=said,
    )


