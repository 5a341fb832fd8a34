"""PID 1 of a pod's sandbox: starts processes on request and reports what becomes of them."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import selectors
import signal
import socket
import struct
import time
from dataclasses import dataclass, field

import linux
import measure
import process
from cgroups import Cgroups, Group

_PACKET_MAX = 1 << 16
_PUMP_BYTES = 1 << 20
_STATUS_MAX = 1 << 14
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@dataclass
class Child:
    """A process started on request: a container's first one, an exec, or the pause process."""

    kind: str
    key: str
    pid: int
    pidfd: int
    status_fd: int
    output_fd: int
    log_fd: int
    group: Group
    plan: dict
    mount_namespace: str = ""
    status: bytes = b""
    facts: dict = field(default_factory=dict)
    failure: str = ""
    announced: bool = False
    peaks: dict = field(default_factory=dict)


class Supervisor:
    """One event loop; owner of every child, descriptor and mount of the pod."""

    def __init__(self, control: int, config: dict, groups: Cgroups):
        self.config = config
        self.groups = groups
        self.socket = socket.socket(fileno=control)
        self.selector = selectors.EpollSelector()
        self.children: dict[str, Child] = {}
        self.running = True
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def run(self) -> None:
        """Serve until told to quit or until the other end of the socket is gone."""
        os.umask(0)
        self._prepare()
        self.own_pid_ns = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.pid_ns_for_pod = -1
        gc.freeze()
        if self.config["share_process_namespace"]:
            self._start_pause()
        self.selector.register(self.socket, selectors.EVENT_READ, self._on_request)
        self._send({"event": "ready", "cgroups": self.groups.mode, "time": time.time()})
        interval = self.config["sample_seconds"]
        next_sample = time.monotonic() + interval if interval else None
        while self.running:
            timeout = None if next_sample is None else max(0.0, next_sample - time.monotonic())
            for key, _ in self.selector.select(timeout):
                # A handler may have unregistered a later descriptor of the same batch.
                if self.selector.get_map().get(key.fd) is key:
                    key.data()
            if next_sample is not None and time.monotonic() >= next_sample:
                self._sample()
                next_sample = time.monotonic() + interval

    # Namespaces and mounts of the pod

    def _prepare(self) -> None:
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        socket.sethostname(self.config["hostname"])
        network = self.config["network"]
        if network == "pod":
            linux.unshare(linux.CLONE_NEWNET)
            _loopback_up()
        elif network != "host":
            fd = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
            linux.setns(fd, linux.CLONE_NEWNET)
            os.close(fd)
        linux.mount("shm", self.config["shm"], "tmpfs", 0, "mode=1777,size=65536k")
        for volume in self.config["memory_volumes"]:
            size = f",size={volume['size']}" if volume["size"] else ""
            linux.mount("tmpfs", volume["path"], "tmpfs", 0, f"mode={volume['mode']:o}{size}")
            os.chown(volume["path"], -1, volume["gid"])
        # An overlay cannot be the upper layer of another one.
        if linux.filesystem_type(self.config["scratch"]) == linux.OVERLAYFS_MAGIC:
            linux.mount("tmpfs", self.config["scratch"], "tmpfs", 0, "mode=755")

    def _start_pause(self) -> None:
        group = Group(0, {})
        child = self._fork("pause", "", {"name": ""}, group, os.devnull, [])
        self.pid_ns_for_pod = os.open(f"/proc/{child.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    # Starting processes

    def _fork(
        self, kind: str, key: str, plan: dict, group: Group, log: str, argv: list[str]
    ) -> Child:
        target = self.children.get(plan["name"]) if kind == "exec" else None
        status_r, status_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        output_r, output_w = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output_r, False)
        namespaces: list[int] = []
        try:
            namespaces = self._enter_pid_namespace(kind, target)
            pid = os.fork()
            if pid == 0:
                stdio = (self.null, output_w)
                if kind == "container":
                    process.run_container(plan, group, stdio, status_w)
                if kind == "exec":
                    process.run_inside(plan, argv, group, namespaces, stdio, status_w)
                process.run_pause(status_w)
        except OSError:
            os.close(status_r)
            os.close(output_r)
            raise
        finally:
            for fd in (status_w, output_w, *namespaces):
                os.close(fd)
            # Children of the supervisor itself are made in its own namespace again.
            linux.setns(self.own_pid_ns, linux.CLONE_NEWPID)
        log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        pidfd = os.pidfd_open(pid)
        child = Child(kind, key, pid, pidfd, status_r, output_r, log_fd, group, plan)
        self.children[key] = child
        self.selector.register(pidfd, selectors.EVENT_READ, lambda: self._on_exit(child))
        self.selector.register(status_r, selectors.EVENT_READ, lambda: self._on_status(child))
        self.selector.register(output_r, selectors.EVENT_READ, lambda: self._pump(child))
        return child

    def _enter_pid_namespace(self, kind: str, target: Child | None) -> list[int]:
        """Choose the PID namespace of the next fork; returns namespaces its child must join."""
        if target is None:
            if kind == "container" and self.pid_ns_for_pod >= 0:
                linux.setns(self.pid_ns_for_pod, linux.CLONE_NEWPID)
            else:
                linux.unshare(linux.CLONE_NEWPID)
            return []
        names = ["pid", "mnt"] + (["cgroup"] if target.group.version == 2 else [])
        fds = [os.open(f"/proc/{target.pid}/ns/{n}", os.O_RDONLY | os.O_CLOEXEC) for n in names]
        pid_ns = fds.pop(0)
        linux.setns(pid_ns, linux.CLONE_NEWPID)
        os.close(pid_ns)
        return fds

    def _start_container(self, request: dict) -> None:
        with open(request["plan"], encoding="utf-8") as file:
            plan = json.load(file)
        scratch = f"{self.config['scratch']}/{plan['name']}"
        for part in ("upper", "work", "merged"):
            plan[part] = f"{scratch}/{part}"
            os.makedirs(plan[part], 0o755)
        os.chmod(plan["upper"], 0o755)
        plan["shm"] = self.config["shm"]
        group = self.groups.create(plan["name"])
        group.limit(plan["memory_limit"], plan["cpu_millis"])
        self._fork("container", plan["name"], plan, group, plan["log"], [])

    def _start_exec(self, request: dict) -> None:
        key, target = request["key"], self.children.get(request["container"])
        if target is None or not target.announced:
            self._send({"event": "exec_failed", "key": key, "error": "container not running"})
            return
        try:
            plan = dict(target.plan)
            self._fork("exec", key, plan, target.group, request["log"], request["argv"])
        except OSError as error:
            # The container's PID 1 ended meanwhile: its namespaces are gone.
            self._send({"event": "exec_failed", "key": key, "error": str(error)})

    # What children tell

    def _on_status(self, child: Child) -> None:
        try:
            data = os.read(child.status_fd, _STATUS_MAX)
        except BlockingIOError:
            return
        child.status += data
        if not data:
            self._close_status(child)

    def _close_status(self, child: Child) -> None:
        """The status pipe is at its end: the program runs, or has said why it cannot."""
        self._forget(child.status_fd)
        child.status_fd = -1
        for line in child.status.decode(errors="replace").splitlines():
            if line.startswith("T"):
                child.facts = json.loads(line[1:])
            else:
                child.failure = line[1:]
        if child.failure or not child.facts:
            return
        child.announced = True
        if child.kind == "container":
            child.mount_namespace = child.facts["mount_namespace"]
            message = {"event": "started", "container": child.key, "time": child.facts["time"]}
            self._send(message, [child.pidfd])

    def _pump(self, child: Child) -> bool:
        """Move what lies in the output pipe to the log; False when there is nothing (more)."""
        try:
            moved = os.splice(child.output_fd, child.log_fd, _PUMP_BYTES)
        except BlockingIOError:
            return False
        if moved == 0:
            self._forget(child.output_fd)
            child.output_fd = -1
        return moved > 0

    def _on_exit(self, child: Child) -> None:
        now = time.time()
        io = measure.io_of(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        if child.status_fd >= 0:
            self._on_status(child)
            if child.status_fd >= 0:
                self._close_status(child)
        if child.kind == "container" and self.pid_ns_for_pod >= 0:
            self._kill_rest(child)
        while child.output_fd >= 0 and self._pump(child):
            continue
        for fd in (child.output_fd, child.pidfd):
            self._forget(fd)
        os.close(child.log_fd)
        del self.children[child.key]
        if child.kind != "pause":
            self._report_exit(child, now, status, io, usage.ru_maxrss * 1024)

    def _kill_rest(self, child: Child) -> None:
        """In a shared PID namespace nothing but the runtime ends what a container left behind,
        exec'd processes included: by its control group there, by its mount namespace here."""
        killed: set[int] = set()
        while found := set(measure.processes_of(child.mount_namespace)) - killed:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= found

    def _report_exit(self, child: Child, now: float, status: int, io: dict, max_rss: int) -> None:
        is_exec = child.kind == "exec"
        message: dict = {"key" if is_exec else "container": child.key, "time": now}
        if not child.announced:
            message["event"] = "exec_failed" if is_exec else "start_failed"
            message["error"] = child.failure or "ended before it ran its program"
        else:
            message["event"] = "exec_done" if is_exec else "exited"
            message["status"] = os.waitstatus_to_exitcode(status)
        if not is_exec:
            message.update(child.group.usage() if child.group.directories else {})
            # Without what it took to build the root before the program ran.
            before = child.facts.get("io", {})
            io = {key: max(0, value - before.get(key, 0)) for key, value in io.items()}
            message.update(max_rss=max_rss, io=io, peaks=child.peaks)
        self._send(message)

    def _forget(self, fd: int) -> None:
        if fd >= 0:
            self.selector.unregister(fd)
            os.close(fd)

    # Requests

    def _on_request(self) -> None:
        try:
            data = self.socket.recv(_PACKET_MAX)
        except ConnectionResetError:
            data = b""
        request = json.loads(data) if data else {"op": "quit"}
        operation = request["op"]
        if operation == "start":
            self._start_container(request)
        elif operation == "exec":
            self._start_exec(request)
        elif operation == "signal":
            child = self.children.get(request["container"])
            if child is not None:
                os.kill(child.pid, request["signal"])
        elif operation == "memory":
            child = self.children.get(request["container"])
            self._send({"event": "memory", "key": request["key"], "processes": self._memory(child)})
        elif operation == "sizes":
            sizes = {path: measure.folder_size(path) for path in request["paths"]}
            self._send({"event": "sizes", "key": request["key"], "sizes": sizes})
        elif operation == "quit":
            self.running = False

    def _memory(self, child: Child | None) -> list[dict]:
        if child is None or not child.mount_namespace:
            return []
        # Between fork and exec of an exec'd command the process is still this Python.
        ours = os.stat("/proc/self/exe")
        pids = measure.processes_of(child.mount_namespace)
        found = (measure.memory_of(pid) for pid in pids if not _runs(pid, ours))
        return [entry for entry in found if entry is not None]

    def _sample(self) -> None:
        for child in self.children.values():
            processes = self._memory(child)
            if not processes:
                continue
            anonymous = sum(entry["anonymous"] for entry in processes)
            peak_rss = sum(entry["peak_rss"] for entry in processes)
            child.peaks["anonymous"] = max(anonymous, child.peaks.get("anonymous", 0))
            child.peaks["rss"] = max(peak_rss, child.peaks.get("rss", 0))

    def _send(self, message: dict, fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self.socket, [json.dumps(message).encode()], fds or [])
        except (BrokenPipeError, ConnectionResetError):
            self.running = False


def _runs(pid: int, program: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/exe"), program)
    except OSError:
        return False


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))
