"""The sandbox of one pod: `python3 -I -S sandbox FD CONFIG.json`.

Two processes. The outer one makes the control groups, waits for the inner one to end, whatever
ends it, and removes the groups. The inner one is PID 1 of a PID namespace and owns a private
mount namespace: when it dies the kernel kills every process of the pod and drops every mount.
It is single-threaded, so that forking Python code is safe.

FD is a SOCK_SEQPACKET socket. Requests and events are JSON objects, one a packet; big plans go
through files. End of file on it means that whoever ran the pod is gone: the sandbox ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

import linux
from cgroups import Cgroups
from supervisor import Supervisor


def main() -> int:
    control, config_path = int(sys.argv[1]), sys.argv[2]
    with open(config_path, encoding="utf-8") as file:
        config = json.load(file)
    groups = Cgroups(config["name"])
    linux.unshare(linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            Supervisor(control, config, groups).run()
            code = 0
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(control)
    _, status = os.waitpid(pid, 0)
    groups.remove()
    return os.waitstatus_to_exitcode(status)


sys.exit(main())
