"""Bars of a large object: down by init, up by wait as it is and as tar.gz."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figures import GIB, MB, MIB, Bar, Figure
from bench.subject import IMAGE, Subject, user_image
from tests.lab import BUCKET, SECRET, Lab
from tests.layout import pod_for
from tests.servers import versitygw

SIZE = GIB
PART = 64 * MIB
POD_SECONDS = 1800
SAMPLE_SECONDS = 0.05
# What wait writes beside objects: log lines and the termination message.
SMALL = 1 * MIB
# Memory alone holds the servers' data, so that no disk is measured.
MEMORY = Path("/dev/shm")


def _parts() -> Iterator[bytes]:
    """Not compressible: gzip has the most to do and the most to send."""
    for _ in range(SIZE // PART):
        yield os.urandom(PART)


def _template(endpoint: str) -> dict[str, Any]:
    secrets = {
        "accessKeySecret": {"name": SECRET, "key": "accesskey"},
        "secretKeySecret": {"name": SECRET, "key": "secretkey"},
    }
    store = {"endpoint": endpoint, "bucket": BUCKET, "insecure": True, **secrets}
    return {
        "name": "bench",
        "inputs": {"artifacts": [{"name": "in", "path": "/work/in", "s3": {"key": "large"}}]},
        "outputs": {
            "artifacts": [
                {"name": "plain", "path": "/work/in", "archive": {"none": {}}},
                {"name": "packed", "path": "/work/in"},
            ]
        },
        "container": {
            "image": IMAGE,
            "command": ["moment"],
            "volumeMounts": [{"name": "work", "mountPath": "/work"}],
        },
        "archiveLocation": {"archiveLogs": False, "s3": {**store, "key": "bench/large"}},
    }


def _through(subject: Subject, directory: Path, lab: Lab, server: Any, name: str) -> list[Figure]:
    server.create_bucket(BUCKET)
    server.client().put_multipart(BUCKET, "large", _parts())
    pod = pod_for(_template(server.endpoint), "bench", f"bench-{name.lower()}")
    keys = {"accesskey": server.access_key, "secretkey": server.secret_key}
    run = lab.run(
        pod,
        POD_SECONDS,
        secrets={SECRET: keys},
        images=user_image(directory),
        memory_limits=False,
        # An exec'd `kill` would be sampled as part of wait.
        controller=False,
        sample_seconds=SAMPLE_SECONDS,
    )
    if run.result.phase != "Succeeded":
        raise RuntimeError(f"{run.result.table()}\n{run.result.containers['wait'].log}")
    sizes = server.client().sizes(BUCKET, "bench/")
    if sizes.get("bench/large/in") != SIZE or sizes.get("bench/large/packed.tgz", 0) < SIZE:
        raise RuntimeError(f"stored: {sizes}")
    init, wait = (run.result.containers[name] for name in ("init", "wait"))
    # What init wrote is the binary, the object, and nothing else worth the name.
    temporary = max(0, init.io["wchar"] - subject.binary.stat().st_size - SIZE)
    seconds = [init.seconds or 0.0, wait.seconds or 0.0]
    label = f"1 GiB, {name}"
    peak = Bar(48 * MB)
    return [
        Figure("transfer", f"{label}, down: peak resident of init", "MB", [init.peak_rss], [peak]),
        Figure("transfer", "  temporary bytes written", "KiB", [temporary], [Bar(SMALL)]),
        Figure("transfer", "  time of init", "s", [seconds[0]]),
        Figure(
            "transfer",
            f"{label}, up plain and tar.gz: peak resident of wait",
            "MB",
            [wait.peak_rss],
            [peak],
        ),
        Figure("transfer", "  bytes written", "KiB", [wait.io["wchar"]], [Bar(SMALL)]),
        Figure("transfer", "  time of wait", "s", [seconds[1]]),
    ]


def transfer(subject: Subject, directory: Path) -> list[Figure]:
    """Through Swift, and through versitygw where it can be had."""
    with Lab(directory / f"transfer-{subject.label}", executor=str(subject.binary)) as lab:
        figures = _through(subject, directory, lab, lab.s3, "Swift")
        lab.s3.stop()
        reason = versitygw.unavailable()
        if reason:
            print(f"bench: versitygw is left out: {reason}")
            return figures
        with versitygw.VersityGw(directory / f"gateway-{subject.label}") as gateway:
            return figures + _through(subject, directory, lab, gateway, "versitygw")
