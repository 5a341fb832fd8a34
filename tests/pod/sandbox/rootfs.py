"""The file system of one container, built by the container's own first process.

Runs in a fresh mount namespace (private copy of the sandbox's). The image directories are the
lower layers of an overlay, so they stay pristine. Layout of /dev, /proc and /sys, the masked
paths and the order of mounts follow the defaults of the OCI runtime specification and runc.
"""

from __future__ import annotations

import os
import stat

import linux
from paths import sub_path, within

_DEVICES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))
_DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SAFE = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC


def build(plan: dict, cgroup_directories: dict[str, str], version: int) -> None:
    """Mount everything of the plan and make it the root of the calling process."""
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    root = plan["merged"]
    layers = ":".join(plan["layers"])
    # The mount goes away with the container's last process. Without `volatile` that would write
    # back the whole file system below first, and the process would seem to end late.
    data = f"lowerdir={layers},upperdir={plan['upper']},workdir={plan['work']},volatile"
    linux.mount("overlay", root, "overlay", 0, data)
    privileged = plan["privileged"]
    _mount_at(root, "/proc", "proc", "proc", _SAFE, "")
    _devices(root, plan["shm"])
    sys_flags = _SAFE | (0 if privileged else linux.MS_RDONLY)
    _mount_at(root, "/sys", "sysfs", "sysfs", sys_flags, "")
    _cgroup_view(root, cgroup_directories, version)
    for entry in plan["mounts"]:
        _bind_entry(root, entry)
    if not privileged:
        _mask(root)
    if plan["readonly_root"]:
        linux.mount(None, root, None, linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)
    linux.pivot_root(root)


def _mount_at(root: str, where: str, kind: str, source: str, flags: int, data: str) -> str:
    target = within(root, where)
    os.makedirs(target, 0o755, exist_ok=True)
    linux.mount(source, target, kind, flags, data)
    return target


def _devices(root: str, shm: str) -> None:
    dev = _mount_at(root, "/dev", "tmpfs", "tmpfs", linux.MS_NOSUID, "mode=755,size=65536k")
    for name, minor in _DEVICES:
        _node(f"{dev}/{name}", os.makedev(1, minor))
    _node(f"{dev}/tty", os.makedev(5, 0))
    for name, target in _DEVICE_LINKS:
        os.symlink(target, f"{dev}/{name}")
    options = "newinstance,ptmxmode=0666,mode=0620"
    no_suid_exec = linux.MS_NOSUID | linux.MS_NOEXEC
    _mount_at(root, "/dev/pts", "devpts", "devpts", no_suid_exec, options)
    _mount_at(root, "/dev/mqueue", "mqueue", "mqueue", _SAFE, "")
    os.mkdir(f"{dev}/shm")
    linux.bind(shm, f"{dev}/shm")


def _node(path: str, device: int) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, device)
    os.chmod(path, 0o666)


def _cgroup_view(root: str, directories: dict[str, str], version: int) -> None:
    """/sys/fs/cgroup as programs expect it: the container's own groups, read-only."""
    target = f"{root}/sys/fs/cgroup"
    if version == 2 and os.path.isdir(target):
        linux.mount("cgroup", target, "cgroup2", _SAFE | linux.MS_RDONLY)
        return
    if version != 1 or not os.path.isdir(target):
        return
    linux.mount("tmpfs", target, "tmpfs", _SAFE, "mode=755,size=64k")
    for controller, directory in directories.items():
        os.mkdir(f"{target}/{controller}")
        linux.bind(directory, f"{target}/{controller}", readonly=True)
    linux.mount(None, target, None, linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY)


def _bind_entry(root: str, entry: dict) -> None:
    """A volume or a file of the kubelet's; the mount point is made where it is missing."""
    source = entry["source"]
    if entry["sub_path"]:
        source = sub_path(source, entry["sub_path"])
    target = within(root, entry["target"])
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o755))
    linux.bind(source, target, entry["readonly"])


def _mask(root: str) -> None:
    for path in _READ_ONLY:
        target = root + path
        if os.path.exists(target):
            linux.bind(target, target, readonly=True)
    for path in _MASKED:
        target = root + path
        if os.path.isdir(target):
            linux.mount("tmpfs", target, "tmpfs", linux.MS_RDONLY, "size=0k")
        elif os.path.exists(target):
            linux.bind(f"{root}/dev/null", target)
