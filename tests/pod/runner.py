"""Runs one Pod as a kubelet would: volumes, init containers in order, then all containers.

    with PodRunner(pod, api=ApiInfo(...), hosts={"minio": "127.0.0.1"}) as runner:
        runner.start()
        result = runner.wait(60)

Threads: one reads the sandbox's messages (it only records), one walks through the pod's life,
one delivers events if anybody listens, one plays the controller if asked to. All state of
containers is guarded by one condition, which is notified on every change.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
import queue
import shutil
import signal as signals
import tempfile
import threading
import time
import uuid
from typing import Callable

from . import model, plan, volumes
from .client import Sandbox, SandboxError
from .controller import Controller
from .images import BUILD, ImageError, Images
from .result import ContainerResult, Event, ExecResult, PodResult, VolumeUsage, termination_message

DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"
_DEFAULT_GRACE_SECONDS = 30
# What containerd reports for a container whose program could not be started.
_START_ERROR = 128
_SWEPT_KINDS = ("emptyDir", "persistentVolumeClaim")


class PodRunner:
    """One run of one Pod. See __init__ for the options; close() (or `with`) removes its files."""

    def __init__(
        self,
        pod: dict,
        *,
        images: dict[str, str] | None = None,
        executor: str | None = None,
        volumes_dir: str | None = None,
        claims: dict[str, str] | None = None,
        secrets: dict[str, dict] | None = None,
        configmaps: dict[str, dict] | None = None,
        api: model.ApiInfo | None = None,
        hosts: dict[str, str] | None = None,
        resolv_conf: str = "",
        env_overrides: dict[str, dict[str, str]] | None = None,
        network: str = "host",
        controller: bool = False,
        controller_delay: float = 0.0,
        memory_limits: bool = True,
        cpu_limits: bool = False,
        sample_seconds: float | None = None,
        restart_policy: str | None = None,
        before_start: Callable[[str], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        work_dir: str | None = None,
    ):
        """
        images: {shell pattern of image references: directory}, see images.py; executor: image
        directory or binary. volumes_dir: where emptyDir and the like are made (kept afterwards);
        claims: {persistent volume claim: directory}. secrets, configmaps: {name: {key: value}}.
        hosts: {name: address} for /etc/hosts; resolv_conf: that file's text.
        env_overrides: {container or "*": {name: value}}. network: "host", "pod" (loopback only)
        or the path of a network namespace. controller: play the workflow controller, which ends
        what still runs, controller_delay seconds after the main containers ended.
        memory_limits, cpu_limits: apply resources.limits. sample_seconds: sample memory.
        restart_policy: run as if the Pod said so; only Never can be run.
        before_start(container) is called synchronously before each start, on_event(event) from
        a thread of its own; both may use the runner. work_dir: kept afterwards if given.
        """
        model.check_supported(pod)
        policy = restart_policy or pod["spec"].get("restartPolicy", "Always")
        if policy != "Never":
            raise model.SpecError(f"restartPolicy {policy}: only Never is supported")
        self.pod = pod
        self.name = pod["metadata"]["name"]
        self.grace = pod["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
        self.images = Images(images, executor)
        self.sources = model.Sources(secrets or {}, configmaps or {}, api)
        self.settings = plan.Settings(
            hosts or {}, resolv_conf, env_overrides or {}, memory_limits, cpu_limits
        )
        self.network = network
        self.sample_seconds = sample_seconds
        self._before_start = before_start
        self._on_event = on_event
        self._own_work = work_dir is None
        if work_dir is None:
            base = os.path.join(BUILD, "pods")
            os.makedirs(base, exist_ok=True)
            work_dir = tempfile.mkdtemp(prefix=f"{self.name[:60]}-", dir=base)
        self.work_dir = os.path.abspath(work_dir)
        os.makedirs(self.work_dir, exist_ok=True)
        os.chmod(self.work_dir, 0o755)
        self.volumes_dir = os.path.abspath(volumes_dir or os.path.join(self.work_dir, "volumes"))
        for path in (self.volumes_dir, f"{self.work_dir}/scratch", f"{self.work_dir}/shm"):
            os.makedirs(path, exist_ok=True)
        places = volumes.Places(self.volumes_dir, self.images, claims or {})
        self._places = places
        self._planner = plan.Planner(pod, self.work_dir, self.sources, self.settings)

        self.changed = threading.Condition()
        self.containers: dict[str, ContainerResult] = {}
        self._specs: dict[str, dict] = {}
        for init, key in ((True, "initContainers"), (False, "containers")):
            for container in pod["spec"].get(key, []):
                name = container["name"]
                self._specs[name] = container
                self.containers[name] = ContainerResult(name, init, container["image"])
        self.volumes: dict[str, volumes.Volume] = {}
        self.ended = False
        self.events: list[Event] = []
        self._pidfds: dict[str, int] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self._exec_ids = itertools.count()
        self._ending = ""
        self._reason = ""
        self._message = ""
        self._cgroups = ""
        self._started = self._finished = 0.0
        self._failure: BaseException | None = None
        self._result: PodResult | None = None
        self._sandbox: Sandbox | None = None
        self._threads: list[threading.Thread] = []
        self._event_queue: queue.SimpleQueue = queue.SimpleQueue()
        self._controller = Controller(self, controller_delay) if controller else None

    # Life

    def __enter__(self) -> PodRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> PodRunner:
        """Set the pod up and return while it runs."""
        self._started = time.time()
        deadline = self.pod["spec"].get("activeDeadlineSeconds")
        if deadline is not None:
            self._at(deadline, self._deadline)
        if self._on_event:
            self._thread(self._deliver_events)
        self._thread(self._live)
        if self._controller:
            self._thread(self._controller.run)
        return self

    def wait(self, timeout: float | None = None) -> PodResult:
        """Wait for the pod's end. TimeoutError; SandboxError when the runner itself failed."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.ended, timeout):
                raise TimeoutError(f"pod {self.name} still runs after {timeout} s")
        if self._failure is not None:
            raise self._failure
        assert self._result is not None
        return self._result

    def run(self, timeout: float | None = None) -> PodResult:
        """start() and wait()."""
        return self.start().wait(timeout)

    def stop(self, grace: float | None = None) -> None:
        """Delete the pod: SIGTERM to every container, SIGKILL after the grace period."""
        self._at(0, lambda: self._end("deleted", self.grace if grace is None else grace))

    def close(self) -> None:
        """Kill what runs and remove the run's files (not a work_dir that the caller gave)."""
        if self._sandbox is not None:
            self._sandbox.quit()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        for fd in self._pidfds.values():
            os.close(fd)
        self._pidfds.clear()
        if self._own_work:
            shutil.rmtree(self.work_dir, ignore_errors=True)

    # While it runs

    def exec(self, container: str, argv: list[str], timeout: float | None = 120) -> ExecResult:
        """Run a command inside a running container, as its user, in its root and limits.

        Code 126 and the runtime's message as output when the command cannot be started.
        """
        log = os.path.join(self.work_dir, f"exec-{next(self._exec_ids)}.log")
        started = time.time()
        sandbox = self._running_sandbox()
        self.record("exec", container, " ".join(argv))
        request = {"op": "exec", "container": container, "argv": argv, "log": log}
        answer = sandbox.ask(request, timeout)
        if answer["event"] == "exec_failed":
            self.record("exec_failed", container, answer["error"])
            return ExecResult(126, answer["error"], time.time() - started)
        with open(log, encoding="utf-8", errors="replace") as file:
            output = file.read()
        code = _exit_code(answer["status"])
        self.record("exec_done", container, f"code {code} {output.strip()}")
        return ExecResult(code, output, answer["time"] - started)

    def signal(self, container: str, number: int) -> None:
        """Send a signal to the container's first process, from outside its PID namespace."""
        request = {"op": "signal", "container": container, "signal": int(number)}
        self._running_sandbox().send(request)

    def memory(self, container: str) -> list[dict]:
        """rss, pss, anonymous, peak_rss (bytes), pid, command of each process, right now."""
        request = {"op": "memory", "container": container}
        return self._running_sandbox().ask(request)["processes"]

    def pid(self, container: str) -> int:
        """The first process of a running container, as a process number of this machine."""
        with open(f"/proc/self/fdinfo/{self._pidfds[container]}", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until predicate() over `containers` is true or the pod has ended."""
        with self.changed:
            self.changed.wait_for(lambda: predicate() or self.ended, timeout)
            return predicate()

    def wait_state(self, container: str, state: str, timeout: float | None = None) -> bool:
        """Wait for a container to be `running` or `terminated`."""
        return self.wait_for(lambda: self.containers[container].state == state, timeout)

    def log(self, container: str) -> str:
        """What the container has written so far."""
        try:
            with open(self._planner.log_path(container), "rb") as file:
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def volume_path(self, name: str) -> str:
        """The folder of a volume (one of medium Memory is seen through the sandbox only)."""
        return self.volumes[name].path

    def controller_stop(self) -> None:
        """What `stop` or `terminate` of a workflow does: signal 15, after the grace 9."""
        self._thread((self._controller or Controller(self, 0.0)).stop_all)

    def record(self, kind: str, container: str = "", detail: str = "", when: float = 0) -> None:
        """Note an event and hand it to the listener."""
        event = Event(when or time.time(), kind, container, detail)
        self.events.append(event)
        if self._on_event:
            self._event_queue.put(event)

    # The pod's life, in its own thread

    def _thread(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _live(self) -> None:
        try:
            self._set_up()
            self._run_containers()
        except volumes.VolumeError as error:
            self._reason, self._message = "FailedMount", str(error)
        except BaseException as error:  # pylint: disable=broad-except
            self._failure = error
        finally:
            try:
                self._finish()
            except BaseException as error:  # pylint: disable=broad-except
                self._failure = self._failure or error
            with self.changed:
                self.ended = True
                self.changed.notify_all()
            self._event_queue.put(None)

    def _set_up(self) -> None:
        self.record("pod_started")
        self.volumes = volumes.prepare(self.pod, self.sources, self._places)
        plan.write_pod_files(self.pod, self.work_dir, self.settings, self.sources.pod_ip)
        spec = self.pod["spec"]
        config = {
            "name": f"pod-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            "hostname": plan.hostname(self.pod),
            "network": self.network,
            "shm": f"{self.work_dir}/shm",
            "scratch": f"{self.work_dir}/scratch",
            "memory_volumes": [v.memory for v in self.volumes.values() if v.memory],
            "share_process_namespace": bool(spec.get("shareProcessNamespace")),
            "sample_seconds": self.sample_seconds,
        }
        self._sandbox = Sandbox(config, self.work_dir, self._on_message, self._on_lost)
        self._cgroups = self._sandbox.answer("ready")["cgroups"]

    def _run_containers(self) -> None:
        for name, status in self.containers.items():
            if not status.init or self._ending:
                continue
            self._launch(name)
            self._turn_until(functools.partial(_is_settled, status))
            if status.exit_code != 0:
                return
        for name, status in self.containers.items():
            if not status.init and not self._ending:
                self._launch(name)
        self._turn_until(lambda: all(_is_settled(status) for status in self.containers.values()))

    def _launch(self, name: str) -> None:
        """Start a container and wait until its program runs or has failed to start."""
        status = self.containers[name]
        if self._before_start:
            self._before_start(name)
        try:
            image = self.images.find(status.image)
            path = self._planner.write(self._specs[name], image, self.volumes)
        except ImageError as error:
            status.reason, status.message = "ErrImagePull", str(error)
        except model.SpecError as error:
            status.reason, status.message = "CreateContainerConfigError", str(error)
        else:
            status.reason = "ContainerCreating"
            assert self._sandbox is not None
            self._sandbox.send({"op": "start", "plan": path})
            self._turn_until(lambda: status.state != "waiting")
            if self._ending and status.state == "running":
                # Termination began while it was being created: it has missed its SIGTERM.
                self.signal(name, signals.SIGTERM)
            return
        self.record("container_waiting", name, f"{status.reason}: {status.message}")

    def _turn_until(self, predicate: Callable[[], bool]) -> None:
        """Wait for a change of containers, running timers as they fall due."""
        while True:
            with self.changed:
                due = self._timers[0][0] if self._timers else None
                now = time.monotonic()
                if self._sandbox is not None and self._sandbox.lost:
                    raise SandboxError(f"sandbox ended unexpectedly{self._sandbox.errors()}")
                if due is None or due > now:
                    if predicate():
                        return
                    self.changed.wait(None if due is None else due - now)
                    continue
                _, _, action = heapq.heappop(self._timers)
            action()

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        with self.changed:
            entry = (time.monotonic() + delay, next(self._timer_ids), action)
            heapq.heappush(self._timers, entry)
            self.changed.notify_all()

    def _deadline(self) -> None:
        if not self._ending:
            self._reason, self._message = "DeadlineExceeded", DEADLINE_MESSAGE
            self.record("deadline_exceeded")
            self._end("deadline", self.grace)

    def _end(self, why: str, grace: float) -> None:
        """SIGTERM to every running container at once, SIGKILL after the grace period."""
        self._ending = self._ending or why
        self.record("killing", "", f"{why}, grace {grace:g} s")
        self._signal_running(signals.SIGTERM)
        self._at(grace, lambda: self._signal_running(signals.SIGKILL))

    def _signal_running(self, number: int) -> None:
        for name, status in self.containers.items():
            if status.state == "running":
                self.signal(name, number)

    def _finish(self) -> None:
        usage: dict[str, VolumeUsage] = {}
        if self._sandbox is not None:
            usage = self._measure()
            self._sandbox.quit()
        self._finished = time.time()
        self.record("pod_ended")
        self._result = PodResult(
            self.name,
            self._phase(),
            self._reason,
            self._message,
            self._started,
            self._finished,
            self.containers,
            usage,
            self.events,
            self._cgroups,
        )

    def _measure(self) -> dict[str, VolumeUsage]:
        """Sizes of volumes and of what containers wrote beside them, while memory ones exist."""
        assert self._sandbox is not None
        if self._sandbox.lost:
            return {}
        swept = [v for v in self.volumes.values() if v.kind in _SWEPT_KINDS]
        layers = {name: f"{self.work_dir}/scratch/{name}/upper" for name in self.containers}
        paths = [volume.path for volume in swept] + list(layers.values())
        sizes = self._sandbox.ask({"op": "sizes", "paths": paths})["sizes"]
        for name, path in layers.items():
            self.containers[name].layer_bytes = sizes[path]["apparent"]
        return {v.name: VolumeUsage(v.kind, v.path, **sizes[v.path]) for v in swept}

    def _phase(self) -> str:
        statuses = self.containers.values()
        if self._reason == "DeadlineExceeded":
            return "Failed"
        if any(s.exit_code not in (0, None) for s in statuses):
            return "Failed"
        if any(s.state != "terminated" for s in statuses):
            return "Failed" if self._ending else "Pending"
        return "Succeeded"

    # Messages of the sandbox, in the client's thread

    def _running_sandbox(self) -> Sandbox:
        if self._sandbox is None:
            raise SandboxError("the pod has not been started yet")
        return self._sandbox

    def _on_lost(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _on_message(self, message: dict, fds: list[int]) -> None:
        name = message["container"]
        status = self.containers[name]
        with self.changed:
            if message["event"] == "started":
                self._pidfds[name] = fds[0]
                status.state, status.reason = "running", ""
                status.started = message["time"]
            else:
                self._terminated(status, message)
            self.changed.notify_all()
        self.record(f"container_{message['event']}", name, _detail(status), message["time"])

    def _terminated(self, status: ContainerResult, message: dict) -> None:
        status.finished = message["time"]
        status.log_path = self._planner.log_path(status.name)
        status.log = self.log(status.name)
        for key in ("oom_kills", "peak_memory", "max_rss", "cpu_us", "io", "block_written"):
            setattr(status, key, message.get(key))
        peaks = message.get("peaks", {})
        status.peak_rss, status.peak_anonymous = peaks.get("rss"), peaks.get("anonymous")
        if message["event"] == "start_failed":
            status.reason, status.exit_code = "StartError", _START_ERROR
            status.message = f"failed to start container: {message['error']}"
            status.started = status.finished
        else:
            status.exit_code = _exit_code(message["status"])
            status.signal = max(0, -message["status"])
            status.reason = "Error" if status.exit_code else "Completed"
            if status.oom_kills:
                status.reason = "OOMKilled"
            spec = self._specs[status.name]
            status.message = termination_message(
                self._planner.message_path(status.name),
                status.log.encode(),
                bool(status.exit_code),
                spec.get("terminationMessagePolicy", "File"),
                len(self.containers),
            )
        status.state = "terminated"

    def _deliver_events(self) -> None:
        assert self._on_event is not None
        while (event := self._event_queue.get()) is not None:
            self._on_event(event)


def _is_settled(status: ContainerResult) -> bool:
    """Neither running nor being created."""
    return status.state != "running" and status.reason != "ContainerCreating"


def _exit_code(status: int) -> int:
    return status if status >= 0 else 128 - status


def _detail(status: ContainerResult) -> str:
    if status.state == "running":
        return ""
    return f"{status.reason} (exit code {status.exit_code}) {status.message}".strip()
