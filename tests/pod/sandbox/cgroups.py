"""Control groups of a pod's containers: a limit, an OOM count, peak memory, CPU time, block I/O.

Works on the version 1 hierarchy (one tree per controller) and on version 2 (one tree). Groups are
made right below the mounts' roots, which is what this machine lets us see; where memory cannot
be had there (no permission, or a version 2 root that has processes and cannot delegate), the pod
runs without, and `Cgroups.mode` says so.

Kernel interface: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import time

_V1_WANTED = ("memory", "cpuacct", "cpu", "blkio")
_REMOVE_TRIES = 100
_REMOVE_PAUSE_S = 0.01


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _keyed(path: str, key: str) -> int | None:
    """The value of `key` in a flat-keyed file."""
    for line in _read(path).splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0] == key:
            return int(fields[1])
    return None


def _mounts() -> tuple[dict[str, str], str | None]:
    """Mount points of the version 1 controllers, and of the version 2 tree."""
    v1: dict[str, str] = {}
    v2 = None
    for line in _read("/proc/self/mounts").splitlines():
        _, point, fstype, options = line.split()[:4]
        if fstype == "cgroup2":
            v2 = v2 or point
        elif fstype == "cgroup":
            for name in set(options.split(",")) & set(_V1_WANTED):
                v1.setdefault(name, point)
    return v1, v2


class Group:
    """The groups of one container: one directory (v2) or one per controller (v1)."""

    def __init__(self, version: int, directories: dict[str, str]):
        self.version = version
        self.directories = directories

    def path(self, controller: str) -> str | None:
        return self.directories.get("unified" if self.version == 2 else controller)

    def limit(self, memory_bytes: int | None, cpu_millis: int | None) -> None:
        """Set the limits; None leaves one off."""
        memory, cpu = self.path("memory"), self.path("cpu")
        v2 = self.version == 2
        if memory_bytes and memory:
            _write(f"{memory}/{'memory.max' if v2 else 'memory.limit_in_bytes'}", str(memory_bytes))
        if memory and v2:
            # As a kubelet does since 1.28: an OOM kill takes the whole container.
            _write(f"{memory}/memory.oom.group", "1")
        if cpu_millis and cpu:
            quota = max(1000, cpu_millis * 100)
            if v2:
                _write(f"{cpu}/cpu.max", f"{quota} 100000")
            else:
                _write(f"{cpu}/cpu.cfs_period_us", "100000")
                _write(f"{cpu}/cpu.cfs_quota_us", str(quota))

    def doors(self) -> list[int]:
        """Descriptors through which a process can join later, when the paths are out of sight."""
        paths = {f"{directory}/cgroup.procs" for directory in self.directories.values()}
        return [os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in paths]

    @staticmethod
    def enter(doors: list[int]) -> None:
        """Move the calling process ("0") into the groups."""
        for fd in doors:
            os.write(fd, b"0")
            os.close(fd)

    def processes(self) -> list[int]:
        """Members, as process numbers of the caller's PID namespace (0 = not visible there)."""
        directory = self.path("memory") or next(iter(self.directories.values()), None)
        if directory is None:
            return []
        return [int(line) for line in _read(f"{directory}/cgroup.procs").split()]

    def usage(self) -> dict[str, int | None]:
        """What the container took so far; None where the kernel or the machine does not tell."""
        memory, cpu, block = self.path("memory"), self.path("cpuacct"), self.path("blkio")
        if self.version == 2:
            micros = _keyed(f"{cpu}/cpu.stat", "usage_usec")
            return {
                "peak_memory": _number(f"{memory}/memory.peak"),
                "oom_kills": _keyed(f"{memory}/memory.events", "oom_kill"),
                "cpu_us": micros,
                "block_written": self._block_v2(f"{block}/io.stat"),
            }
        nanos = _number(f"{cpu}/cpuacct.usage")
        return {
            "peak_memory": _number(f"{memory}/memory.max_usage_in_bytes"),
            "oom_kills": _keyed(f"{memory}/memory.oom_control", "oom_kill"),
            "cpu_us": None if nanos is None else nanos // 1000,
            "block_written": self._block_v1(f"{block}/blkio.throttle.io_service_bytes"),
        }

    def anonymous(self) -> int | None:
        """Anonymous memory charged now, in bytes."""
        key = "anon" if self.version == 2 else "total_rss"
        return _keyed(f"{self.path('memory')}/memory.stat", key)

    @staticmethod
    def _block_v1(path: str) -> int | None:
        lines = [line.split() for line in _read(path).splitlines()]
        if not lines:
            return None
        return sum(int(f[2]) for f in lines if len(f) == 3 and f[1] == "Write")

    @staticmethod
    def _block_v2(path: str) -> int | None:
        if not os.path.exists(path):
            return None
        fields = [field for line in _read(path).splitlines() for field in line.split()[1:]]
        return sum(int(f.split("=")[1]) for f in fields if f.startswith("wbytes="))


class Cgroups:
    """The groups of one pod: `<mount root>/<name>/<container>`."""

    def __init__(self, name: str):
        self.name = name
        self.parents: dict[str, str] = {}
        self.version = 0
        v1, v2 = _mounts()
        try:
            if "memory" in v1:
                self._open_v1(v1)
            elif v2:
                self._open_v2(v2)
            else:
                self.mode = "none: no memory controller is mounted"
        except OSError as error:
            self.remove()
            self.version = 0
            self.mode = f"none: {error.strerror} at {error.filename}"

    def _open_v1(self, mounts: dict[str, str]) -> None:
        self.version = 1
        self.mode = "v1"
        for controller, point in mounts.items():
            directory = f"{point}/{self.name}"
            os.makedirs(directory, exist_ok=True)
            self.parents[controller] = directory

    def _open_v2(self, point: str) -> None:
        self.version = 2
        self.mode = "v2"
        available = _read(f"{point}/cgroup.controllers").split()
        if "memory" not in available:
            raise OSError(errno.ENOENT, "no memory controller", point)
        wanted = " ".join(f"+{name}" for name in ("memory", "cpu", "io") if name in available)
        _write(f"{point}/cgroup.subtree_control", wanted)
        os.makedirs(f"{point}/{self.name}", exist_ok=True)
        self.parents["unified"] = f"{point}/{self.name}"
        _write(f"{point}/{self.name}/cgroup.subtree_control", wanted)

    def create(self, container: str) -> Group:
        """An empty group (of no directories when the pod runs without cgroups)."""
        directories = {}
        for controller, parent in self.parents.items():
            directories[controller] = f"{parent}/{container}"
            os.makedirs(directories[controller], exist_ok=True)
        return Group(self.version, directories)

    def remove(self) -> None:
        """Remove every group of the pod; members must be dead. Safe to repeat."""
        _remove_pods(set(self.parents.values()))


def sweep(name: str) -> None:
    """Remove the groups of the pod with this name from every tree; members must be dying."""
    v1, v2 = _mounts()
    _remove_pods({f"{point}/{name}" for point in (*v1.values(), v2) if point})


def _remove_pods(parents: set[str]) -> None:
    for parent in parents:
        if os.path.isdir(parent):
            for entry in list(os.scandir(parent)):
                if entry.is_dir():
                    _remove(entry.path)
            _remove(parent)


def _remove(directory: str) -> None:
    """rmdir; the kernel may answer EBUSY for a moment after the last member was reaped."""
    for _ in range(_REMOVE_TRIES):
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(_REMOVE_PAUSE_S)
    raise OSError(errno.EBUSY, "control group stays busy", directory)
