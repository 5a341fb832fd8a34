"""The plan of one container: everything the sandbox needs to start it, as plain JSON data."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from . import model, seccomp, volumes
from .images import Image

_TERMINATION_PATH = "/dev/termination-log"
_HOSTS = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


@dataclass
class Settings:
    """The runner's options that shape containers."""

    hosts: dict[str, str] = field(default_factory=dict)
    resolv_conf: str = ""
    env_overrides: dict[str, dict[str, str]] = field(default_factory=dict)
    memory_limits: bool = True
    cpu_limits: bool = False


def hostname(pod: dict) -> str:
    """At most 63 characters, not ending in a dash or dot."""
    name = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return name[:63].rstrip("-.")


def write_pod_files(pod: dict, directory: str, settings: Settings, pod_ip: str) -> None:
    """hosts, hostname and resolv.conf, which every container of the pod mounts."""
    lines = [_HOSTS, f"{pod_ip}\t{hostname(pod)}\n"]
    for alias in pod["spec"].get("hostAliases", []):
        lines.append("\t".join([alias["ip"], *alias["hostnames"]]) + "\n")
    lines += [f"{address}\t{name}\n" for name, address in settings.hosts.items()]
    for name, text in (
        ("hosts", "".join(lines)),
        ("hostname", hostname(pod) + "\n"),
        ("resolv.conf", settings.resolv_conf),
    ):
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)


class Planner:
    """Makes plans. `directory` holds one folder per container and the pod's own files."""

    def __init__(self, pod: dict, directory: str, sources: model.Sources, settings: Settings):
        self.pod = pod
        self.directory = directory
        self.sources = sources
        self.settings = settings

    def folder(self, name: str) -> str:
        """Where a container's log, termination message and plan lie."""
        return os.path.join(self.directory, "containers", name)

    def write(self, container: dict, image: Image, prepared: dict[str, volumes.Volume]) -> str:
        """Write the plan of a container; returns its path. SpecError when there can be none."""
        name = container["name"]
        folder = self.folder(name)
        os.makedirs(folder)
        env = model.environment(self.pod, container, self.sources)
        who = model.identity(self.pod, container, image.config, image.layers)
        security = container.get("securityContext") or {}
        limits = (container.get("resources") or {}).get("limits") or {}
        plan = {
            "name": name,
            "argv": model.command_line(container, image.config, env),
            "env": list(self._process_env(container, image, env, who.home).items()),
            "cwd": container.get("workingDir") or image.config.get("WorkingDir") or "/",
            "uid": who.uid,
            "gid": who.gid,
            "groups": who.groups,
            "capabilities": who.capabilities,
            "no_new_privs": who.no_new_privs,
            "privileged": who.privileged,
            "seccomp": seccomp.rules(model.setting(self.pod, container, "seccompProfile")),
            "readonly_root": bool(security.get("readOnlyRootFilesystem")),
            "layers": image.layers,
            "mounts": self._mounts(container, prepared),
            "log": self.log_path(name),
            "memory_limit": self._memory_limit(limits),
            "cpu_millis": self._cpu_millis(limits),
        }
        path = os.path.join(folder, "plan.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(plan, file)
        return path

    def log_path(self, name: str) -> str:
        """The container's log: stdout and stderr in the order of writing."""
        return os.path.join(self.folder(name), "log")

    def message_path(self, name: str) -> str:
        """The file behind the container's terminationMessagePath."""
        return os.path.join(self.folder(name), "termination-log")

    def _process_env(
        self, container: dict, image: Image, env: dict[str, str], home: str
    ) -> dict[str, str]:
        result = {"PATH": model.DEFAULT_PATH, "HOSTNAME": hostname(self.pod)}
        for entry in image.config.get("Env") or []:
            key, _, value = entry.partition("=")
            result[key] = value
        result.update(env)
        for key in ("*", container["name"]):
            result.update(self.settings.env_overrides.get(key, {}))
        result.setdefault("HOME", home)
        return result

    def _mounts(self, container: dict, prepared: dict[str, volumes.Volume]) -> list[dict]:
        result = volumes.mounts(container, prepared)
        taken = {entry["target"] for entry in result}
        message = self.message_path(container["name"])
        with open(message, "wb"):
            os.chmod(message, 0o666)
        own = [
            (message, container.get("terminationMessagePath") or _TERMINATION_PATH),
            (os.path.join(self.directory, "hosts"), "/etc/hosts"),
            (os.path.join(self.directory, "hostname"), "/etc/hostname"),
            (os.path.join(self.directory, "resolv.conf"), "/etc/resolv.conf"),
        ]
        for source, target in own:
            if target not in taken:
                entry = {"source": source, "sub_path": "", "target": target, "readonly": False}
                result.append(entry)
        return sorted(result, key=lambda item: item["target"].rstrip("/").count("/"))

    def _memory_limit(self, limits: dict) -> int | None:
        if not self.settings.memory_limits or "memory" not in limits:
            return None
        return int(model.parse_quantity(limits["memory"]))

    def _cpu_millis(self, limits: dict) -> int | None:
        if not self.settings.cpu_limits or "cpu" not in limits:
            return None
        return max(1, round(model.parse_quantity(limits["cpu"]) * 1000))
