"""The files that lint looks at: tracked or new, never ignored, never deleted."""

import subprocess
from pathlib import Path


def project_files(*suffixes: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = {name for name in listed.split("\0") if name.endswith(suffixes)}
    return sorted(name for name in names if Path(name).is_file())


def finish(step: str, failures: list[str], summary: str) -> int:
    for failure in failures:
        print(failure)
    print(f"lint: {step}: {f'{len(failures)} failures' if failures else 'ok'} ({summary})")
    return 1 if failures else 0
