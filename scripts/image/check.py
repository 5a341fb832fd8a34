#!/usr/bin/env python3
"""Checks an unpacked executor image: configuration, content, size, and that it runs.

    check.py DIRECTORY      rootfs and config.json of an image; the folder's name says which

The last check runs a recorded pod, with test servers on loopback. Exit code 1 and one line for
each thing that is wrong.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.lab import Lab, recorded_outcome  # noqa: E402

BYTES_MAX = 9 << 20
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NONROOT = 8737
# Path -> mode; folders end in a slash.
CONTENT = {
    "bin/": 0o755,
    "bin/argoexec": 0o555,
    "etc/": 0o755,
    "etc/group": 0o644,
    "etc/nsswitch.conf": 0o644,
    "etc/passwd": 0o644,
    "etc/ssl/": 0o755,
    "etc/ssl/certs/": 0o755,
    "etc/ssl/certs/ca-certificates.crt": 0o644,
    "tmp/": 0o1777,
}
CASE = "hello-world"


def is_nonroot(directory: Path) -> bool:
    return directory.name.endswith("-nonroot")


def check_config(directory: Path) -> list[str]:
    """The image's configuration against what the controller and the runtime rely on."""
    config = json.loads((directory / "config.json").read_text())
    env = dict(entry.split("=", 1) for entry in config.get("Env", []))
    expected = {
        "PATH": (env.get("PATH"), PATH),
        "SSL_CERT_FILE": (env.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"),
        "Entrypoint": (config.get("Entrypoint"), ["argoexec"]),
        "Cmd": (config.get("Cmd") or None, None),
        "User": (config.get("User") or "", str(NONROOT) if is_nonroot(directory) else ""),
        "WorkingDir": (config.get("WorkingDir") or "/", "/"),
    }
    return [
        f"{name} is {found!r}, not {wanted!r}"
        for name, (found, wanted) in expected.items()
        if found != wanted
    ]


def content(root: Path) -> dict[str, os.stat_result]:
    """Everything below root; folders end in a slash."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder) / name
            info = path.lstat()
            suffix = "/" if stat.S_ISDIR(info.st_mode) else ""
            found[str(path.relative_to(root)) + suffix] = info
    return found


def check_content(directory: Path) -> list[str]:
    """Nothing missing, nothing more; modes, owners, size."""
    found = content(directory / "rootfs")
    wrong = [f"{path} is missing" for path in CONTENT if path not in found]
    wrong += [f"{path} should not be there" for path in found if path not in CONTENT]
    for path, mode in CONTENT.items():
        if path not in found:
            continue
        owner = NONROOT if is_nonroot(directory) and path == "bin/argoexec" else 0
        info = found[path]
        if stat.S_ISLNK(info.st_mode) or stat.S_IMODE(info.st_mode) != mode:
            wrong.append(f"{path} has mode {info.st_mode:o}, not {mode:o}")
        if info.st_uid != owner:
            wrong.append(f"{path} belongs to {info.st_uid}, not {owner}")
    total = sum(info.st_size for info in found.values() if stat.S_ISREG(info.st_mode))
    if total > BYTES_MAX:
        wrong.append(f"{total} bytes are more than {BYTES_MAX}")
    return wrong


def check_version(directory: Path) -> list[str]:
    """The binary runs where there is nothing but the image, as its user."""
    user = NONROOT if is_nonroot(directory) else 0
    root = str(directory / "rootfs")
    done = subprocess.run(
        ["chroot", f"--userspec={user}:0", root, "/bin/argoexec", "version"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not done.stdout.startswith("argoexec: v"):
        return [f"`version` ended {done.returncode}: {(done.stdout + done.stderr).strip()}"]
    return []


def check_pod(directory: Path) -> list[str]:
    """A recorded pod ends as it did with the reference."""
    with tempfile.TemporaryDirectory(prefix="image-", dir=directory.parent) as scratch:
        with Lab(Path(scratch), executor=str(directory)) as lab:
            runs = lab.run_case(CASE)
            recorded = recorded_outcome(CASE)
            return [
                f"pod {run.result.name} ended otherwise than recorded:\n{run.result.table()}"
                for run in runs
                if run.result.outcome() != recorded[run.result.name]
            ]


def main() -> int:
    """The command line."""
    directory = Path(sys.argv[1]).resolve()
    wrong = check_config(directory) + check_content(directory)
    if not wrong:
        wrong = check_version(directory) + check_pod(directory)
    for text in wrong:
        print(f"{directory.name}: {text}", file=sys.stderr)
    if not wrong:
        total = sum(
            info.st_size
            for info in content(directory / "rootfs").values()
            if stat.S_ISREG(info.st_mode)
        )
        print(
            f"image.sh: {directory.name}: {total / (1 << 20):.2f} MiB, config and content as "
            f"they should be, `version` and pod {CASE} run"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
