"""What a pod run leaves: the status of containers, figures, events; as objects, JSON or a table."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

MESSAGE_MAX = 4096
_MESSAGES_OF_POD_MAX = 12288
_FALLBACK_BYTES = 2048
_FALLBACK_LINES = 80


@dataclass
class Event:
    """Something that happened. `time`: seconds since the epoch."""

    time: float
    kind: str
    container: str = ""
    detail: str = ""


@dataclass
class ContainerResult:
    """One container. Times are seconds since the epoch, sizes bytes; None = not known.

    exit_code is what Kubernetes shows (128 + n after signal n), signal the number or 0.
    peak_memory: most that the memory cgroup was charged, page cache included.
    max_rss: peak resident size by wait4, never below that of the launching Python (about 10 MB).
    peak_rss, peak_anonymous: sampled, only with sample_seconds: sums over the processes that were
    there at the time, the first of what each of them took at most so far.
    io: /proc/PID/io over the container's whole life (wchar = bytes written by write calls,
    write_bytes = bytes dirtied on a block device).
    """

    name: str
    init: bool
    image: str
    state: str = "waiting"
    reason: str = "PodInitializing"
    message: str = ""
    exit_code: int | None = None
    signal: int = 0
    started: float | None = None
    finished: float | None = None
    log: str = ""
    log_path: str = ""
    oom_kills: int | None = None
    peak_memory: int | None = None
    max_rss: int | None = None
    peak_rss: int | None = None
    peak_anonymous: int | None = None
    cpu_us: int | None = None
    io: dict[str, int] = field(default_factory=dict)
    block_written: int | None = None
    layer_bytes: int | None = None

    @property
    def seconds(self) -> float | None:
        """How long it ran."""
        if self.started is None or self.finished is None:
            return None
        return self.finished - self.started


@dataclass
class VolumeUsage:
    """A volume at the pod's end; bytes of regular files, each link counted once."""

    kind: str
    path: str
    apparent: int
    allocated: int
    files: int


@dataclass
class ExecResult:
    """A command run inside a container."""

    code: int
    output: str
    seconds: float


@dataclass
class PodResult:
    """A pod that has ended (or never could start: phase Pending)."""

    name: str
    phase: str
    reason: str
    message: str
    started: float
    finished: float
    containers: dict[str, ContainerResult]
    volumes: dict[str, VolumeUsage]
    events: list[Event]
    cgroups: str

    def outcome(self) -> dict:
        """The part that can be compared with a recorded outcome, in the same shape."""
        containers: dict[str, dict] = {}
        for container in self.containers.values():
            entry: dict = {"init": container.init}
            if container.state == "terminated":
                entry.update(exitCode=container.exit_code, reason=container.reason)
                if container.message:
                    entry["message"] = container.message
            else:
                entry["never"] = True
            containers[container.name] = entry
        return {"phase": self.phase, "message": self.message or None, "containers": containers}

    def to_json(self) -> str:
        """Everything, logs included."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def table(self) -> str:
        """A readable timeline."""
        rows: list[tuple[str, ...]] = [_HEADER]
        for container in self.containers.values():
            rows.append(_row(container, self.started))
        widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows
        ]
        reason = f" ({self.reason}: {self.message})" if self.message else ""
        head = f"{self.name}: {self.phase}{reason} after {self.finished - self.started:.3f} s"
        volumes = [
            f"  {name} ({usage.kind}): {size(usage.apparent)} in {usage.files} files"
            for name, usage in self.volumes.items()
        ]
        return "\n".join([head, *lines, f"cgroups: {self.cgroups}", "volumes:", *volumes])


_HEADER = ("CONTAINER", "START", "END", "SECONDS", "EXIT", "REASON", "MEMORY", "WRITTEN", "MESSAGE")


def _row(container: ContainerResult, origin: float) -> tuple[str, ...]:
    def at(moment: float | None) -> str:
        return "-" if moment is None else f"+{moment - origin:.3f}"

    code = "-" if container.exit_code is None else str(container.exit_code)
    if container.signal:
        code += f" (signal {container.signal})"
    memory = container.peak_memory or container.max_rss
    seconds = container.seconds
    return (
        container.name,
        at(container.started),
        at(container.finished),
        "-" if seconds is None else f"{seconds:.3f}",
        code,
        container.reason,
        "-" if memory is None else size(memory),
        size(container.io["wchar"]) if "wchar" in container.io else "-",
        container.message.replace("\n", " ")[:100],
    )


def size(value: int) -> str:
    """Bytes for people."""
    number = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return str(value)


def termination_message(path: str, log: bytes, failed: bool, policy: str, containers: int) -> str:
    """The message of a terminated container: the end of its file, cut to a kubelet's limits."""
    try:
        with open(path, "rb") as file:
            data = file.read()[-MESSAGE_MAX:]
    except OSError:
        data = b""
    if not data and failed and policy == "FallbackToLogsOnError":
        lines = log[-_FALLBACK_BYTES:].splitlines(keepends=True)[-_FALLBACK_LINES:]
        data = b"".join(lines)
    limit = min(MESSAGE_MAX, _MESSAGES_OF_POD_MAX // containers)
    return data[:limit].decode(errors="replace")
