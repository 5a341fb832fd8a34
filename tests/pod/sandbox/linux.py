"""The Linux system calls that a container needs and Python 3.11 does not offer.

Everything raises OSError with the errno of the kernel and the path or operation in question.
Constants come from the kernel's UAPI headers (mount.h, sched.h, prctl.h, capability.h).
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

OVERLAYFS_MAGIC = 0x794C7630

_CAPABILITY_VERSION_3 = 0x20080522
_CLOSE_RANGE_CLOEXEC = 4
_SYS_CLOSE_RANGE = 436
_SYS_CAPGET = {"x86_64": 125, "aarch64": 90}
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP "
    "LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
    "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
    "CHECKPOINT_RESTORE"
).split()


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        _text(source), _text(target), _text(fstype), ctypes.c_ulong(flags), _text(data)
    )
    _check(result, f"mount {source} on {target}")


def bind(source: str, target: str, readonly: bool = False, recursive: bool = True) -> None:
    """Bind-mount. The kernel ignores MS_RDONLY in the first call, hence the second."""
    rec = MS_REC if recursive else 0
    mount(source, target, None, MS_BIND | rec)
    if readonly:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _check(_libc.umount2(_text(target), flags), f"umount {target}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, nstype: int) -> None:
    """setns(2)."""
    _check(_libc.setns(fd, nstype), f"setns {nstype:#x}")


def prctl(option: int, value: int = 0, more: int = 0) -> int:
    """prctl(2) with one argument, or two."""
    zero = ctypes.c_ulong(0)
    arguments = (ctypes.c_ulong(value), ctypes.c_ulong(more), zero, zero)
    return _check(_libc.prctl(option, *arguments), f"prctl {option} {value}")


def pivot_root(new_root: str) -> None:
    """Make new_root (a mount point) the root; the old one is detached, nothing of it stays."""
    os.chdir(new_root)
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root {new_root}")
    umount(".", MNT_DETACH)
    os.chdir("/")


def cloexec_from(first: int) -> None:
    """Mark every descriptor from first on close-on-exec, also those Python does not know of."""
    result = _libc.syscall(
        ctypes.c_long(_SYS_CLOSE_RANGE),
        ctypes.c_uint(first),
        ctypes.c_uint(0xFFFFFFFF),
        ctypes.c_uint(_CLOSE_RANGE_CLOEXEC),
    )
    _check(result, "close_range")


def filesystem_type(path: str) -> int:
    """f_type of statfs(2)."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statfs(_text(path), buffer), f"statfs {path}")
    return struct.unpack_from("@l", buffer)[0] & 0xFFFFFFFF


def limit_bounding_set(keep: set[str]) -> None:
    """Drop every capability that is not in keep from the bounding set."""
    for number, name in enumerate(CAPABILITIES):
        if name not in keep and prctl(PR_CAPBSET_READ, number):
            prctl(PR_CAPBSET_DROP, number)


def set_capabilities(keep: set[str]) -> None:
    """Permitted and effective := keep, as far as this process has them; inheritable := none."""
    mask = 0
    for number, name in enumerate(CAPABILITIES):
        if name in keep:
            mask |= 1 << number
    mask &= _permitted()
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    number = _SYS_CAPSET[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), header, data), "capset")


def _permitted() -> int:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    number = _SYS_CAPGET[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), header, data), "capget")
    words = struct.unpack("=6I", data.raw)
    return words[1] | words[4] << 32
