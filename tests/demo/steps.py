"""The workflow of the demo: one step makes artifacts, the next one uses them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.lab import BUCKET, SECRET
from tests.layout import pod_for
from tests.pod.images import BUILD, Images

WORKFLOW = "demo-7xk2p"
IMAGE = "demo:1"
MOMENT = Path(BUILD) / "probes/moment"
# What the last line of the second step says if everything arrived.
PROOF = "lines 2000, words 4000, as the first step said"

_TEXT = "".join(f"line {number}\n" for number in range(2000))
_COUNT = """\
set -e
moment 'user code runs' >&2
sort -r /data/text.txt > /work/sorted.txt
mkdir /tmp/parts
head -n 1000 /work/sorted.txt > /tmp/parts/first
tail -n 1000 /work/sorted.txt > /tmp/parts/second
wc -w < /data/text.txt > /tmp/words
sleep 0.3
echo "lines $(wc -l < /data/text.txt)"
moment 'user code ends' >&2
"""
_CHECK = """\
set -e
moment 'user code runs'
sleep 0.3
test "$(head -n 1 /tmp/sorted)" = 'line 999'
echo "lines $(wc -l < /tmp/sorted), words $(wc -w < /tmp/sorted), as the first step said"
moment 'user code ends'
"""


def build_image(directory: Path) -> str:
    """busybox, and `moment` for time stamps finer than its `date` has; the image's directory."""
    busybox = Images().find("busybox:1").layers[0]
    shutil.copytree(busybox, directory / "rootfs", symlinks=True)
    shutil.copy(MOMENT, directory / "rootfs/bin/moment")
    return str(directory)


def _archive(node: str) -> dict[str, Any]:
    def secret(key: str) -> dict[str, str]:
        return {"name": SECRET, "key": key}

    s3 = {
        "endpoint": "minio:9000",
        "bucket": BUCKET,
        "insecure": True,
        "accessKeySecret": secret("accesskey"),
        "secretKeySecret": secret("secretkey"),
        "key": f"{WORKFLOW}/{node}",
    }
    return {"archiveLogs": True, "s3": s3}


def pods() -> list[tuple[str, dict[str, Any]]]:
    """What each step is about, and its pod."""
    first, second = f"{WORKFLOW}-count-1417022814", f"{WORKFLOW}-check-2268453051"
    text = {"name": "text", "path": "/data/text.txt", "raw": {"data": _TEXT}}
    count = {
        "name": "count",
        "inputs": {"artifacts": [text]},
        "outputs": {
            "parameters": [{"name": "words", "valueFrom": {"path": "/tmp/words"}}],
            "artifacts": [
                {"name": "sorted", "path": "/work/sorted.txt", "archive": {"none": {}}},
                {"name": "parts", "path": "/tmp/parts"},
            ],
        },
        "script": {
            "image": IMAGE,
            "command": ["sh"],
            "source": _COUNT,
            "volumeMounts": [{"name": "work", "mountPath": "/work"}],
        },
        "archiveLocation": _archive(first),
    }
    key = f"{WORKFLOW}/{first}/sorted.txt"
    check = {
        "name": "check",
        "inputs": {"artifacts": [{"name": "sorted", "path": "/tmp/sorted", "s3": {"key": key}}]},
        "outputs": {},
        "container": {"image": IMAGE, "command": ["sh", "-c"], "args": [_CHECK]},
        "archiveLocation": _archive(second),
    }
    return [
        (
            "a script: one input artifact, two output artifacts, a parameter, a result",
            pod_for(count, WORKFLOW, first, has_result=True),
        ),
        ("a container: the artifact that the first step stored", pod_for(check, WORKFLOW, second)),
    ]
