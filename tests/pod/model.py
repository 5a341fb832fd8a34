"""What a kubelet makes of a container's part of a Pod: environment, command, user, limits.

Sources: the Kubernetes API reference (v1.Container, v1.SecurityContext, variable expansion of
command, args and env) and the observed behaviour of kubelet 1.34 with containerd and runc.
"""

from __future__ import annotations

import ctypes
import datetime
import functools
import json
import math
import os
import re
from dataclasses import dataclass, field

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# containerd's default set for an unprivileged container.
DEFAULT_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP "
    "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
).split()
ALL_CAPABILITIES = "ALL"

_SUFFIXES = {
    "": 1,
    "m": 1e-3,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}
# Fields that change the life of a container in ways that this runner does not play.
_UNSUPPORTED_CONTAINER = ("livenessProbe", "startupProbe", "lifecycle", "tty", "volumeDevices")


class SpecError(ValueError):
    """The Pod is wrong, or asks for something that the runner cannot do; names the field."""


@dataclass
class ApiInfo:
    """The API server a pod shall talk to, as its service account sees it."""

    host: str = "127.0.0.1"
    port: int = 6443
    ca: str = ""
    token: str = ""


@dataclass
class Sources:
    """What the references of a Pod resolve to. Values of secrets and config maps: str or bytes."""

    secrets: dict[str, dict] = field(default_factory=dict)
    configmaps: dict[str, dict] = field(default_factory=dict)
    api: ApiInfo | None = None
    node_name: str = ""
    node_ip: str = "127.0.0.1"
    pod_ip: str = "127.0.0.1"


def parse_quantity(text: str | int | float) -> float:
    """A Kubernetes quantity (`500m`, `64Mi`, `1e3`) as a number."""
    match = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)", str(text))
    if match is None or match[2] not in _SUFFIXES:
        raise SpecError(f"not a quantity: {text!r}")
    return float(match[1]) * _SUFFIXES[match[2]]


def expand(text: str, env: dict[str, str]) -> str:
    """`$(NAME)` by its value, `$$` by `$`; unknown names and other dollars stay as they are."""

    def replace(match: re.Match) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)


def check_supported(pod: dict) -> None:
    """Refuse what would be silently ignored otherwise."""
    spec = pod["spec"]
    for container in spec.get("initContainers", []) + spec["containers"]:
        for name in _UNSUPPORTED_CONTAINER:
            if container.get(name):
                raise SpecError(f"container {container['name']}: {name} is not supported")
        if container.get("restartPolicy"):
            raise SpecError(f"container {container['name']}: restartPolicy is not supported")
    if spec.get("ephemeralContainers"):
        raise SpecError("ephemeralContainers are not supported")


def field_value(pod: dict, path: str, sources: Sources) -> str:
    """A downward-API field."""
    meta, spec = pod.get("metadata", {}), pod["spec"]
    match = re.fullmatch(r"metadata\.(labels|annotations)(?:\['(.*)'\])?", path)
    if match:
        values = meta.get(match[1], {})
        if match[2] is not None:
            return values.get(match[2], "")
        return "\n".join(f"{key}={json.dumps(values[key])}" for key in sorted(values))
    simple = {
        "metadata.name": meta.get("name", ""),
        "metadata.namespace": meta.get("namespace", "default"),
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", sources.node_name),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": sources.node_ip,
        "status.hostIPs": sources.node_ip,
        "status.podIP": sources.pod_ip,
        "status.podIPs": sources.pod_ip,
    }
    if path not in simple:
        raise SpecError(f"fieldRef {path!r} is not known")
    return simple[path]


def resource_value(pod: dict, reference: dict, own: dict | None = None) -> str:
    """A resourceFieldRef; without a limit the node's capacity, as in a kubelet."""
    container = own
    for candidate in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
        if candidate["name"] == reference.get("containerName"):
            container = candidate
    if container is None:
        raise SpecError(f"resourceFieldRef names no container: {reference}")
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources", {})
    value = resources.get(kind, {}).get(name)
    if value is None and kind == "limits":
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        value = {"cpu": os.cpu_count() or 1, "memory": pages}.get(name, 0)
    divisor = parse_quantity(reference.get("divisor") or 1) or 1
    return str(math.ceil(parse_quantity(value or 0) / divisor))


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def _lookup(kind: str, objects: dict, reference: dict) -> str | None:
    data = objects.get(reference["name"], {})
    if reference["key"] in data:
        return _text(data[reference["key"]])
    if reference.get("optional"):
        return None
    raise SpecError(f'couldn\'t find key {reference["key"]} in {kind} {reference["name"]}')


def _env_from(container: dict, sources: Sources) -> dict[str, str]:
    result: dict[str, str] = {}
    for entry in container.get("envFrom", []):
        for kind, objects in (
            ("configMapRef", sources.configmaps),
            ("secretRef", sources.secrets),
        ):
            reference = entry.get(kind)
            if reference is None:
                continue
            if reference["name"] not in objects and not reference.get("optional"):
                raise SpecError(f'{kind} "{reference["name"]}" not found')
            for key, value in objects.get(reference["name"], {}).items():
                result[entry.get("prefix", "") + key] = _text(value)
    return result


def service_environment(sources: Sources) -> dict[str, str]:
    """The variables of the `kubernetes` service, which a kubelet gives every container."""
    if sources.api is None:
        return {}
    host, port = sources.api.host, str(sources.api.port)
    prefix = f"KUBERNETES_PORT_{port}_TCP"
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        "KUBERNETES_PORT": f"tcp://{host}:{port}",
        prefix: f"tcp://{host}:{port}",
        f"{prefix}_PROTO": "tcp",
        f"{prefix}_PORT": port,
        f"{prefix}_ADDR": host,
    }


def environment(pod: dict, container: dict, sources: Sources) -> dict[str, str]:
    """The container's own variables and those of services; the image's are not in it."""
    service = service_environment(sources)
    result = _env_from(container, sources)
    for entry in container.get("env", []):
        origin = entry.get("valueFrom")
        value: str | None
        if origin is None:
            value = expand(entry.get("value", ""), {**service, **result})
        elif "fieldRef" in origin:
            value = field_value(pod, origin["fieldRef"]["fieldPath"], sources)
        elif "resourceFieldRef" in origin:
            value = resource_value(pod, origin["resourceFieldRef"], container)
        elif "secretKeyRef" in origin:
            value = _lookup("Secret", sources.secrets, origin["secretKeyRef"])
        elif "configMapKeyRef" in origin:
            value = _lookup("ConfigMap", sources.configmaps, origin["configMapKeyRef"])
        else:
            raise SpecError(f"env {entry['name']}: unknown source {sorted(origin)}")
        if value is not None:
            result[entry["name"]] = value
    own = confinement() if is_executors(container) else {}
    return {**own, **service, **result}


def confinement() -> dict[str, str]:
    """Of all containers that are the executor's: a layer that is refused fails the test, unless a whole
    run of the tests is to have another mode, or the kernel has no Landlock for anybody."""
    mode = "required" if has_landlock() else "auto"
    return {"ARGOEXEC_CONFINEMENT": os.environ.get("ARGOEXEC_CONFINEMENT", mode)}


@functools.cache
def has_landlock() -> bool:
    """landlock_create_ruleset(2), 444 everywhere, asked for its ABI; what is needed is the second."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 2


def is_executors(container: dict) -> bool:
    return container["name"].rstrip("0123456789") in ("init", "wait", "supervisor")


def command_line(container: dict, image_config: dict, env: dict[str, str]) -> list[str]:
    """command/args against ENTRYPOINT/CMD: a command without args also hides the image's CMD."""
    command = [expand(item, env) for item in container.get("command") or []]
    args = [expand(item, env) for item in container.get("args") or []]
    if not command:
        command = list(image_config.get("Entrypoint") or [])
        if not args:
            args = list(image_config.get("Cmd") or [])
    if not command + args:
        raise SpecError("no command specified")
    return command + args


@dataclass
class Identity:
    """User, groups and capabilities of a container's processes."""

    uid: int
    gid: int
    groups: list[int]
    home: str
    capabilities: list[str]
    no_new_privs: bool
    privileged: bool


def _rows(layers: list[str], name: str) -> list[list[str]]:
    """Rows of /etc/passwd or /etc/group of an image; the first layer that has the file wins."""
    for layer in layers:
        path = f"{layer}/etc/{name}"
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return [line.rstrip("\n").split(":") for line in file if ":" in line]
    return []


def setting(pod: dict, container: dict, name: str):
    """A field of the container's securityContext, else of the pod's."""
    own = container.get("securityContext") or {}
    return own.get(name, (pod["spec"].get("securityContext") or {}).get(name))


def identity(pod: dict, container: dict, image_config: dict, layers: list[str]) -> Identity:
    """Who the container runs as. SpecError where a kubelet would refuse to create it."""
    passwd, group = _rows(layers, "passwd"), _rows(layers, "group")
    user, _, group_name = str(image_config.get("User") or "").partition(":")
    run_as_user = setting(pod, container, "runAsUser")
    if run_as_user is not None:
        user, group_name = str(run_as_user), ""
    row = next((r for r in passwd if user in (r[0], r[2])), None) if user else None
    if user and not user.isdigit() and row is None:
        raise SpecError(f"unable to find user {user}: no matching entries in passwd file")
    uid = int(user) if user.isdigit() else int(row[2]) if row else 0
    row = row or next((r for r in passwd if r[2] == str(uid)), None)
    gid = int(row[3]) if row else 0
    if group_name:
        by_name = {r[0]: int(r[2]) for r in group}
        gid = int(group_name) if group_name.isdigit() else by_name[group_name]
    if setting(pod, container, "runAsGroup") is not None:
        gid = int(setting(pod, container, "runAsGroup"))
    if setting(pod, container, "runAsNonRoot") and uid == 0:
        raise SpecError("container has runAsNonRoot and image will run as root")
    security = pod["spec"].get("securityContext") or {}
    groups = {gid, *map(int, security.get("supplementalGroups") or [])}
    if security.get("fsGroup") is not None:
        groups.add(int(security["fsGroup"]))
    if row:
        groups |= {int(r[2]) for r in group if row[0] in r[3].split(",")}
    own = container.get("securityContext") or {}
    return Identity(
        uid=uid,
        gid=gid,
        groups=sorted(groups),
        home=row[5] if row else "/",
        capabilities=capabilities(own),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        privileged=bool(own.get("privileged")),
    )


def capabilities(security: dict) -> list[str]:
    """The default set after `drop` and `add`; `ALL` alone stands for every capability."""
    if security.get("privileged"):
        return [ALL_CAPABILITIES]
    change = security.get("capabilities") or {}
    drop = {name.upper().removeprefix("CAP_") for name in change.get("drop") or []}
    add = [name.upper().removeprefix("CAP_") for name in change.get("add") or []]
    if ALL_CAPABILITIES in add:
        return [ALL_CAPABILITIES]
    kept = [] if ALL_CAPABILITIES in drop else [c for c in DEFAULT_CAPABILITIES if c not in drop]
    return kept + [name for name in add if name not in kept]


def parse_time(text: str) -> datetime.datetime:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes it."""
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=datetime.timezone.utc
    )


def shift_deadlines(pod: dict, now: datetime.datetime | None = None) -> dict:
    """Shift ARGO_DEADLINE of every container by (now - creationTimestamp), in place.

    For Pods recorded on another day. The zero time (no deadline) stays.
    """
    now = now or datetime.datetime.now(datetime.timezone.utc)
    shift = now - parse_time(pod["metadata"]["creationTimestamp"])
    spec = pod["spec"]
    for container in spec.get("initContainers", []) + spec["containers"]:
        for entry in container.get("env", []):
            value = entry.get("value", "")
            if entry["name"] == "ARGO_DEADLINE" and value and not value.startswith("0001-"):
                moved = parse_time(value) + shift
                entry["value"] = moved.strftime("%Y-%m-%dT%H:%M:%SZ")
    return pod
