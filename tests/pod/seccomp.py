"""What a runtime's seccomp profile refuses, as a container's plan has it.

`seccompProfile` of a securityContext: RuntimeDefault, which refuses what containerd's does and knows
of the calls whose names follow; Localhost, with one of PROFILES.
"""

from __future__ import annotations

import errno
import functools
import re
import subprocess

# linux/sched.h: all that make a namespace; linux/prctl.h; bits/socket.h
NEW_NAMESPACES = 0x7E020000
PR_SET_SECCOMP = 22
AF_VSOCK = 40
# What is refused, and what the call fails with.
RUNTIME_DEFAULT = {
    errno.EPERM: (
        "acct add_key bpf clock_adjtime clock_settime delete_module fanotify_init finit_module "
        "fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup "
        "ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mount mount_setattr "
        "move_mount move_pages open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root "
        "process_madvise quotactl reboot request_key setdomainname sethostname setns settimeofday "
        "swapoff swapon syslog umount2 unshare userfaultfd vhangup"
    ),
    errno.ENOSYS: "clone3",
}
PROFILES = {
    "no-landlock": {errno.ENOSYS: "landlock_create_ruleset landlock_add_rule landlock_restrict_self"},
    "no-seccomp": {errno.ENOSYS: "seccomp"},
    "no-openat2": {errno.EPERM: "openat2"},
}
# Number of an argument, "any" of these bits or "equal", what it is compared with.
ARGUMENTS = {
    "RuntimeDefault": [("clone", 0, "any", NEW_NAMESPACES), ("socket", 0, "equal", AF_VSOCK)],
    "no-seccomp": [("prctl", 0, "equal", PR_SET_SECCOMP)],
}


@functools.cache
def numbers() -> dict[str, int]:
    """This machine's system calls, from the C compiler's headers."""
    command = ["gcc", "-E", "-dM", "-x", "c", "-"]
    text = subprocess.run(
        command, input="#include <asm/unistd.h>\n", capture_output=True, text=True, check=True
    ).stdout
    return {name: int(n) for name, n in re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)}


def rules(profile: dict | None) -> list[list]:
    """[number, errno], or with an argument [number, errno, argument, comparison, value]."""
    if not profile or profile["type"] == "Unconfined":
        return []
    name = profile.get("localhostProfile", "RuntimeDefault")
    known = numbers()
    refused = RUNTIME_DEFAULT if name == "RuntimeDefault" else PROFILES[name]
    found: list[list] = [
        [known[call], code]
        for code, calls in refused.items()
        for call in calls.split()
        if call in known
    ]
    for call, *condition in ARGUMENTS.get(name, []):
        found.append([known[call], errno.EPERM, *condition])
    return found
