"""Volumes of a Pod as folders on this machine, and the mounts of a container.

Modes, owners and layouts are those of kubelet 1.34: emptyDir 0777; a missing subPath becomes a
directory with the volume's mode; secret, configMap, projected and downwardAPI volumes consist of
links through `..data` and are always mounted read-only; fsGroup changes group and adds g+rw
and setgid.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from .images import Images
from .model import Sources, SpecError, field_value, parse_quantity, resource_value

_ALWAYS_READ_ONLY = ("secret", "configMap", "projected", "downwardAPI", "image")
_DATA = "..data"
_GENERATION = "..2006_01_02_15_04_05.1"
_ROOT_CA = "kube-root-ca.crt"
_HOST_FILES = {"File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"}


class VolumeError(SpecError):
    """A volume cannot be set up: a kubelet would leave the pod Pending and try again."""


@dataclass
class File:
    """One file of an atomically written volume."""

    data: bytes
    mode: int
    uid: int = 0


@dataclass
class Volume:
    """A prepared volume: where it is, of which kind."""

    name: str
    kind: str
    path: str
    memory: dict | None = None


@dataclass
class Places:
    """Where volumes live on this machine. `claims`: folders of persistent volume claims."""

    root: str
    images: Images
    claims: dict[str, str] = field(default_factory=dict)


def prepare(pod: dict, sources: Sources, places: Places) -> dict[str, Volume]:
    """Set up all volumes of the Pod. VolumeError where a kubelet could not."""
    result = {}
    for volume in pod["spec"].get("volumes", []):
        kind = next((key for key in volume if key != "name"), "emptyDir")
        make = _MAKERS.get(kind)
        if make is None:
            raise VolumeError(f"volume {volume['name']}: type {kind} is not supported")
        path = f"{places.root}/{volume['name']}"
        try:
            prepared = make(pod, volume, path, sources, places)
        except (OSError, SpecError) as error:
            raise VolumeError(
                f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
            ) from error
        result[volume["name"]] = prepared
    return result


def mounts(container: dict, volumes: dict[str, Volume]) -> list[dict]:
    """A container's volumeMounts, outer paths before inner ones as containerd sorts them."""
    result = []
    for entry in container.get("volumeMounts", []):
        volume = volumes.get(entry["name"])
        if volume is None:
            raise SpecError(f"volumeMounts name {entry['name']!r}: no such volume")
        if entry.get("subPathExpr"):
            raise SpecError(f"volumeMounts {entry['mountPath']}: subPathExpr is not supported")
        readonly = bool(entry.get("readOnly")) or volume.kind in _ALWAYS_READ_ONLY
        result.append(
            {
                "source": volume.path,
                "sub_path": entry.get("subPath", ""),
                "target": entry["mountPath"],
                "readonly": readonly,
            }
        )
    return sorted(result, key=lambda item: item["target"].rstrip("/").count("/"))


def _fs_group(pod: dict) -> int | None:
    return (pod["spec"].get("securityContext") or {}).get("fsGroup")


def _fs_user(pod: dict) -> int | None:
    """The one uid that all containers run as by the spec; None if they differ or it is open."""
    spec = pod["spec"]
    common = (spec.get("securityContext") or {}).get("runAsUser")
    users = {
        (container.get("securityContext") or {}).get("runAsUser", common)
        for container in spec.get("initContainers", []) + spec["containers"]
    }
    return users.pop() if len(users) == 1 else None


def own_by_group(path: str, group: int, readonly: bool) -> None:
    """Give a tree to fsGroup: files g+rw (g+r), directories also g+x and setgid."""
    base = 0o440 if readonly else 0o660
    entries = [path]
    for directory, names, files in os.walk(path):
        entries += [f"{directory}/{name}" for name in names + files]
    for entry in entries:
        info = os.lstat(entry)
        os.lchown(entry, -1, group)
        if stat.S_ISLNK(info.st_mode):
            continue
        extra = base | (stat.S_ISGID | 0o110 if stat.S_ISDIR(info.st_mode) else 0)
        os.chmod(entry, stat.S_IMODE(info.st_mode) | extra)


def _empty_dir(pod: dict, volume: dict, path: str, _sources: Sources, _places: Places) -> Volume:
    os.makedirs(path)
    os.chmod(path, 0o777)
    group = _fs_group(pod)
    if group is not None:
        own_by_group(path, group, readonly=False)
    options = volume.get("emptyDir") or {}
    memory = None
    if options.get("medium") == "Memory":
        info = os.stat(path)
        size = int(parse_quantity(options.get("sizeLimit") or 0))
        mode = stat.S_IMODE(info.st_mode)
        memory = {"path": path, "size": size, "mode": mode, "gid": info.st_gid}
    return Volume(volume["name"], "emptyDir", path, memory)


def _host_path(pod: dict, volume: dict, path: str, _sources: Sources, _places: Places) -> Volume:
    source = volume["hostPath"]["path"]
    kind = volume["hostPath"].get("type") or ""
    if kind in ("", "DirectoryOrCreate") and not os.path.lexists(source):
        os.makedirs(source, 0o755)
    if kind == "FileOrCreate" and not os.path.lexists(source):
        os.close(os.open(source, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    if not os.path.exists(source):
        raise VolumeError(f"hostPath type check failed: {source} does not exist")
    if kind and os.path.isdir(source) == (kind in _HOST_FILES):
        raise VolumeError(f"hostPath type check failed: {source} is not a {kind}")
    return Volume(volume["name"], "hostPath", source)


def _claim(pod: dict, volume: dict, path: str, _sources: Sources, places: Places) -> Volume:
    name = volume["persistentVolumeClaim"]["claimName"]
    if name not in places.claims:
        raise VolumeError(f'persistentvolumeclaim "{name}" not found')
    group = _fs_group(pod)
    if group is not None:
        own_by_group(places.claims[name], group, readonly=False)
    return Volume(volume["name"], "persistentVolumeClaim", places.claims[name])


def _image(pod: dict, volume: dict, path: str, _sources: Sources, places: Places) -> Volume:
    image = places.images.find(volume["image"]["reference"], is_root=False)
    if len(image.layers) != 1:
        raise VolumeError(f"image {image.name} has more than one layer")
    return Volume(volume["name"], "image", image.layers[0])


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _items(kind: str, source: dict, objects: dict, default_mode: int) -> dict[str, File]:
    """Keys of a Secret or ConfigMap as files: all of them, or those of `items`."""
    name = source.get("secretName") or source.get("name", "")
    if name not in objects:
        if source.get("optional"):
            return {}
        raise VolumeError(f'{kind} "{name}" not found')
    data = objects[name]
    if not source.get("items"):
        return {key: File(_bytes(value), default_mode) for key, value in data.items()}
    result = {}
    for item in source["items"]:
        if item["key"] in data:
            mode = item.get("mode", default_mode)
            result[item["path"]] = File(_bytes(data[item["key"]]), mode)
        elif not source.get("optional"):
            raise VolumeError(f"references non-existent {kind} key: {item['key']}")
    return result


def _downward(pod: dict, source: dict, sources: Sources, default_mode: int) -> dict[str, File]:
    result = {}
    for item in source.get("items", []):
        if "fieldRef" in item:
            text = field_value(pod, item["fieldRef"]["fieldPath"], sources)
        else:
            text = resource_value(pod, item["resourceFieldRef"])
        result[item["path"]] = File(text.encode(), item.get("mode", default_mode))
    return result


def _projected(pod: dict, volume: dict, path: str, sources: Sources, _places: Places) -> Volume:
    config = volume["projected"]
    mode = config.get("defaultMode", 0o644)
    api_ca = sources.api.ca if sources.api else ""
    configmaps = {_ROOT_CA: {"ca.crt": api_ca}, **sources.configmaps}
    files: dict[str, File] = {}
    for source in config.get("sources", []):
        if "serviceAccountToken" in source:
            user = _fs_user(pod)
            token_mode = mode if user is None and _fs_group(pod) is None else 0o600
            token = sources.api.token if sources.api else ""
            file = File(token.encode(), token_mode, user or 0)
            files[source["serviceAccountToken"]["path"]] = file
        elif "configMap" in source:
            files |= _items("configmap", source["configMap"], configmaps, mode)
        elif "secret" in source:
            files |= _items("secret", source["secret"], sources.secrets, mode)
        elif "downwardAPI" in source:
            files |= _downward(pod, source["downwardAPI"], sources, mode)
        else:
            raise VolumeError(f"projected source {sorted(source)} is not supported")
    return _write_atomic(pod, volume["name"], "projected", path, files)


def _secret(pod: dict, volume: dict, path: str, sources: Sources, _places: Places) -> Volume:
    source = volume["secret"]
    files = _items("secret", source, sources.secrets, source.get("defaultMode", 0o644))
    return _write_atomic(pod, volume["name"], "secret", path, files)


def _configmap(pod: dict, volume: dict, path: str, sources: Sources, _places: Places) -> Volume:
    source = volume["configMap"]
    configmaps = sources.configmaps
    files = _items("configmap", source, configmaps, source.get("defaultMode", 0o644))
    return _write_atomic(pod, volume["name"], "configMap", path, files)


def _downward_api(pod: dict, volume: dict, path: str, sources: Sources, _places: Places) -> Volume:
    source = volume["downwardAPI"]
    files = _downward(pod, source, sources, source.get("defaultMode", 0o644))
    return _write_atomic(pod, volume["name"], "downwardAPI", path, files)


def _write_atomic(pod: dict, name: str, kind: str, path: str, files: dict[str, File]) -> Volume:
    """The layout of a kubelet: NAME -> ..data/NAME, ..data -> ..<generation>."""
    os.makedirs(path)
    os.chmod(path, 0o1777)
    for relative, file in files.items():
        target = f"{path}/{_GENERATION}/{relative}"
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        with open(target, "wb") as handle:
            handle.write(file.data)
            os.fchmod(handle.fileno(), file.mode)
            os.fchown(handle.fileno(), file.uid, -1)
    os.makedirs(f"{path}/{_GENERATION}", 0o755, exist_ok=True)
    os.symlink(_GENERATION, f"{path}/{_DATA}")
    for top in {relative.split("/")[0] for relative in files}:
        os.symlink(f"{_DATA}/{top}", f"{path}/{top}")
    group = _fs_group(pod)
    if group is not None:
        own_by_group(path, group, readonly=True)
    return Volume(name, kind, path)


_MAKERS = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "persistentVolumeClaim": _claim,
    "image": _image,
    "secret": _secret,
    "configMap": _configmap,
    "projected": _projected,
    "downwardAPI": _downward_api,
}
