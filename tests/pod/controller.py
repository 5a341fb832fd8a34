"""The part of a workflow controller that a pod feels: signals by exec, in its order.

When a main container has failed, or all of them have ended, the controller ends whatever still
runs: signal 15 to one container after the other, signal 9 after the pod's grace period. The
command that sends the signal is chosen as by controller 4.1.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from .client import SandboxError

if TYPE_CHECKING:
    from .runner import PodRunner

_AUXILIARY = ("wait", "supervisor")
_PLUGIN_PREFIX = "artifact-plugin-"
_KILL_ANNOTATION = "workflows.argoproj.io/kill-cmd-"
_EXEC_SECONDS = 120


def template_of(pod: dict, configmaps: dict) -> dict:
    """The template that the Pod was made from; {} if it carries none."""
    spec = pod["spec"]
    for container in spec.get("initContainers", []) + spec["containers"]:
        for entry in container.get("env", []):
            if entry["name"] == "ARGO_TEMPLATE" and entry.get("value"):
                text = entry["value"]
                if text == "offloaded":
                    text = configmaps.get(pod["metadata"]["name"], {}).get("ARGO_TEMPLATE", "{}")
                return json.loads(text)
    return {}


def main_containers(pod: dict, configmaps: dict) -> list[str]:
    """Neither executor, nor plugin, nor sidecar of the template."""
    sidecars = {s["name"] for s in template_of(pod, configmaps).get("sidecars") or []}
    return [
        container["name"]
        for container in pod["spec"]["containers"]
        if container["name"] not in _AUXILIARY
        and container["name"] not in sidecars
        and not container["name"].startswith(_PLUGIN_PREFIX)
    ]


def kill_command(pod: dict, container: dict, number: int) -> list[str]:
    """What the controller executes in a container to signal its first process."""
    name = container["name"]
    custom = pod["metadata"].get("annotations", {}).get(_KILL_ANNOTATION + name)
    if custom:
        return [part.replace("%d", str(number)) for part in json.loads(custom)]
    mounted = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
    if name in _AUXILIARY:
        return ["argoexec", "kill", str(number), "1"]
    if "/argo-bin" in mounted:
        return ["/argo-bin/bin/argoexec", "kill", str(number), "1"]
    if "/var/run/argo" in mounted:
        return ["/var/run/argo/argoexec", "kill", str(number), "1"]
    return ["/bin/sh", "-c", f"kill -{number} 1"]


class Controller:
    """Watches one running pod."""

    def __init__(self, runner: PodRunner, delay: float):
        self._runner = runner
        self._delay = delay
        self._main = main_containers(runner.pod, runner.sources.configmaps)
        self._stopping = threading.Lock()

    def run(self) -> None:
        """Wait for the main containers, then end the rest. Returns with the pod's end."""
        runner = self._runner
        if runner.wait_for(self._main_over) and not runner.ended:
            runner.wait_for(lambda: False, self._delay)
            self.stop_all()

    def stop_all(self) -> None:
        """15 to all that run, after the grace period 9; coalesces with one under way."""
        runner = self._runner
        if not self._stopping.acquire(blocking=False):
            return
        try:
            self._signal_all(15)
            if not runner.wait_for(lambda: not self._running(), runner.grace):
                self._signal_all(9)
        finally:
            self._stopping.release()

    def _main_over(self) -> bool:
        states = [self._runner.containers[name] for name in self._main]
        over = [state for state in states if state.state == "terminated"]
        if not states:
            return False
        return len(over) == len(states) or any(state.exit_code for state in over)

    def _running(self) -> list[str]:
        """Container names, in the order of a pod's status (alphabetical)."""
        statuses = self._runner.containers.values()
        return sorted(s.name for s in statuses if s.state == "running" and not s.init)

    def _signal_all(self, number: int) -> None:
        specs = {c["name"]: c for c in self._runner.pod["spec"]["containers"]}
        for name in self._running():
            try:
                command = kill_command(self._runner.pod, specs[name], number)
                self._runner.exec(name, command, _EXEC_SECONDS)
            except (SandboxError, TimeoutError) as error:
                # As the controller does: noted, not acted upon.
                self._runner.record("exec_failed", name, str(error))
