"""What `wait` keeps of its outputs in a file, and what another `wait` in the same container makes of it:
whole, damaged, somebody else's, or not to be written at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deaths import LOG, LOST, OWN, VOLUME, Pod, Table, kill_wait
from tests.lab import BUCKET, SECRET, Lab
from tests.pod.sandbox import linux
from tests.room import TERMINATION_LOG, VRA, in_room, start, until
from tests.scenario import LABEL, artifact
from tests.servers.fault_proxy import FaultProxy
from tests.servers.oss import OssServer

MIB = 1 << 20
NONE = {"none": {}}
JOURNAL = Path("/tmp/argoexec-journal")
MEMORY = "in memory only"
GOING_ON = "Going on from the journal"
NO_COUNT = "does not count"
HEADER = 8
SMALL, LARGE = b"small", bytes(100_000)


class Scene:
    """A pod whose main has left `small`, MORE like it, and `large` in a volume and, if asked, `own` in its own
    file system."""

    def __init__(
        self,
        lab: Lab,
        proxy: FaultProxy,
        has_own: bool = False,
        large: bytes = LARGE,
        place: Any = None,
        more: int = 0,
    ):
        self.proxy = proxy
        self.table = Table(lab)
        self.table.clear()
        self.names = ["small", *(f"more-{i}" for i in range(more)), "large"]
        artifacts = [artifact(name, f"/v/{name}", archive=NONE) for name in self.names]
        for name in self.names:
            (VOLUME / name).write_bytes(large if name == "large" else SMALL)
        if has_own:
            artifacts.append(artifact("own", "/own/own", archive=NONE, optional=True))
            (OWN / "own").write_bytes(LARGE)
        self.pod = Pod(self.table, "node-1", proxy, artifacts, place)

    def first(self, *held: str, said: str = "") -> None:
        """A `wait` that is killed when `small` is stored, HELD are on their way to the store, and it has SAID so."""
        rules = [
            self.proxy.faults.add(verb="PUT", path=path, count=1, action={"kind": "stall_request", "bytes": 1000})
            for path in held
        ]
        wait = self.pod.start_wait()
        until((VRA / "wait.sock").exists)
        with start("/bin/true") as main:
            assert main.wait(30) == 0
        # The staging process says so before its role knows.
        until(lambda: all(rule.fired for rule in rules) and b'"stored"' in JOURNAL.read_bytes())
        until(lambda: said in LOG.read_text())
        assert kill_wait(wait)
        LOG.write_text("")

    def second(self) -> tuple[int, str]:
        """Exit code and log of one that runs to its end."""
        wait = self.pod.start_wait()
        try:
            if not (VRA / "ctr/main/exitcode").exists():
                until((VRA / "wait.sock").exists)
                with start("/bin/true") as main:
                    assert main.wait(30) == 0
            return wait.wait(30), LOG.read_text()
        finally:
            wait.kill()
            wait.wait()

    def count(self, path: str) -> int:
        """Uploads of that object of which something came: connections may be closed before that."""
        return sum(
            r["verb"] == "PUT" and r["path"].endswith(path) and r["request_bytes"] > 0
            for r in self.proxy.requests()
        )

    def reported(self) -> list[str]:
        last = self.pod.history()[-1]
        assert last["metadata"]["labels"][LABEL] == "true"
        names = [item["name"] for item in last["outputs"]["artifacts"]]
        assert set(names) <= set(self.pod.objects())
        return names

    def assert_complete(self, code: int, log: str) -> None:
        assert code == 0, log
        assert self.reported() == self.names


@contextmanager
def scene(lab: Lab, **options: Any) -> Iterator[Scene]:
    with FaultProxy(lab.s3.address) as proxy:
        yield Scene(lab, proxy, **options)


@in_room
def test_another_one_goes_on(lab: Lab) -> None:
    with scene(lab) as it:
        it.first("/large")
        assert (JOURNAL.stat().st_mode & 0o7777, JOURNAL.stat().st_uid) == (0o600, 0)
        code, log = it.second()
        it.assert_complete(code, log)
        assert GOING_ON in log and MEMORY not in log
        assert (it.count("/small"), it.count("/large")) == (1, 2)


@in_room
def test_a_third_sends_nothing(lab: Lab) -> None:
    """The second has failed, for what is lost, and left the journal; what is stored is reported as it was."""

    def sent() -> int:
        return sum(request["verb"] in ("PUT", "POST") for request in it.proxy.requests())

    with scene(lab, has_own=True) as it:
        it.first("/own")
        assert it.second()[0] == 64 and JOURNAL.exists()
        before = it.reported(), sent()
        assert it.second()[0] == 64
        assert before == (it.reported(), sent())


@in_room
def test_nothing_is_left_of_it(lab: Lab) -> None:
    """Nobody starts a container again that has ended well."""
    with scene(lab) as it:
        code, log = it.second()
        it.assert_complete(code, log)
        assert not JOURNAL.exists()


@in_room
def test_what_it_began_is_aborted(lab: Lab) -> None:
    """An upload in parts, that nobody would complete."""
    with scene(lab, large=os.urandom(20 * MIB)) as it:
        it.first("partNumber=2")
        code, log = it.second()
        it.assert_complete(code, log)
        assert any(r["verb"] == "DELETE" and "uploadId=" in r["path"] for r in it.proxy.requests())
        uploads = lab.s3.client().list_uploads(BUCKET)
        assert not [key for key in uploads.values() if key.startswith(it.pod.prefix)]


@in_room
def test_what_it_began_in_oss_is_aborted(lab: Lab) -> None:
    large = os.urandom(20 * MIB)
    with OssServer() as oss, FaultProxy(oss.address) as proxy:
        oss.create_bucket("my-bucket")
        keys = {"accessKeySecret": "oss-access", "secretKeySecret": "oss-secret"}
        names = {name: {"name": SECRET, "key": key} for name, key in keys.items()}
        place = {"oss": {"endpoint": proxy.endpoint, "bucket": "my-bucket", "key": "wf", **names}}
        it = Scene(lab, proxy, large=large, place=place)
        for name, value in (("oss-access", oss.access_key), ("oss-secret", oss.secret_key)):
            (Path("/argo/secret") / SECRET / name).write_text(value)
        it.first("partNumber=2")
        assert [upload.key for upload in oss.store.buckets["my-bucket"].uploads.values()] == ["wf/large"]
        code, log = it.second()
        assert code == 0, log
        assert not oss.store.buckets["my-bucket"].uploads
        stored = {key: item.data for key, item in oss.objects("my-bucket").items()}
        assert stored == {"wf/small": SMALL, "wf/large": large}
        assert it.count("/small") == 1


@in_room
def test_a_reader_that_is_lost(lab: Lab) -> None:
    """It was there, and was handed over: it is not absent, though the template would allow that."""
    with scene(lab, has_own=True) as it:
        it.first("/own")
        code, log = it.second()
        assert code == 64, log
        assert it.reported() == ["small", "large"]
        message = TERMINATION_LOG.read_text()
        assert f"artifact own failed to save: {LOST}" in message
        assert it.count("/own") == 1


def records(data: bytes) -> list[tuple[int, int]]:
    """Start and end of each."""
    found, start_at = [], 0
    while start_at < len(data):
        end = start_at + HEADER + int.from_bytes(data[start_at : start_at + 4], "little")
        found.append((start_at, end))
        start_at = end
    return found


def find(data: bytes, text: bytes) -> tuple[int, int]:
    return next((start, end) for start, end in records(data) if text in data[start:end])


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


# What is done to the journal; may `small` be sent again, unless it is seen in the store; is it said that something is missing?
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], bool, bool]] = {
    "empty": (lambda data: b"", True, False),
    "nonsense": (lambda data: os.urandom(len(data)), True, True),
    "another name in it": (lambda data: data.replace(b"node-1", b"node-2"), True, True),
    "the first record flipped": (lambda data: flip(data, HEADER + 3), True, True),
    "stored flipped": (lambda data: flip(data, find(data, b'"stored"')[0] + HEADER + 3), True, True),
    "stored cut": (lambda data: data[: find(data, b'"stored"')[1] - 3], True, True),
    "stored torn": (
        lambda data: data[: find(data, b'"stored"')[0]] + bytes(HEADER) + b"{", True, True
    ),
    "behind stored": (lambda data: data[: find(data, b'"stored"')[1]] + b"x", False, True),
    "very long": (lambda data: data + bytes(70 * MIB), False, True),
}


@pytest.mark.parametrize("name", DAMAGES)
@in_room
def test_a_damaged_one(lab: Lab, name: str) -> None:
    """Nothing is believed but what is whole; nothing is missing."""
    damage, is_sent_again, is_told = DAMAGES[name]
    with scene(lab) as it:
        it.first("/large")
        JOURNAL.write_bytes(damage(JOURNAL.read_bytes()))
        code, log = it.second()
        it.assert_complete(code, log)
        assert it.count("/small") <= (2 if is_sent_again else 1), log
        assert (NO_COUNT in log) == is_told, log


@in_room
def test_a_reader_that_damage_hides(lab: Lab) -> None:
    """Who cannot know whether it was handed over does not say that it never was."""
    with scene(lab, has_own=True) as it:
        it.first("/own")
        data = JOURNAL.read_bytes()
        JOURNAL.write_bytes(flip(data, find(data, b'"handed"')[0] + HEADER + 3))
        code, log = it.second()
        assert code == 64 and LOST in TERMINATION_LOG.read_text(), log
        assert it.reported() == ["small", "large"]


@pytest.mark.parametrize("variable", ["ARGO_NODE_ID", "ARGO_POD_NAME", "ARGO_POD_UID"])
@in_room
def test_another_pod_or_node(lab: Lab, variable: str) -> None:
    """Nothing is inherited: its own report has what it has stored itself."""
    with scene(lab) as it:
        it.first("/large")
        it.pod.env[variable] = "another"
        code, log = it.second()
        assert code == 0 and NO_COUNT in log and GOING_ON not in log, log
        assert (it.count("/small"), it.count("/large")) == (2, 2)
        versions = it.pod.history("another" if variable == "ARGO_NODE_ID" else "node-1")
        names = [item["name"] for item in versions[-1]["outputs"]["artifacts"]]
        assert names == ["small", "large"]


# --- places that are none -------------------------------------------------------------------------


def make_link() -> None:
    Path("/elsewhere").write_text("mine")
    JOURNAL.symlink_to("/elsewhere")


def make_second_name() -> None:
    Path("/tmp/mine").write_text("mine")
    Path("/tmp/mine").chmod(0o600)
    JOURNAL.hardlink_to("/tmp/mine")


def make_open_to_all() -> None:
    JOURNAL.write_text("")
    JOURNAL.chmod(0o666)


def make_anothers() -> None:
    JOURNAL.write_text("")
    JOURNAL.chmod(0o600)
    os.chown(JOURNAL, 1, 1)


def make_fifo() -> None:
    os.mkfifo(JOURNAL, 0o600)


def make_directory() -> None:
    JOURNAL.mkdir()


def make_read_only() -> None:
    linux.mount(None, "/tmp", None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)


def make_no_inodes() -> None:
    linux.umount("/tmp")
    linux.mount("tmpfs", "/tmp", "tmpfs", 0, "nr_inodes=1")


def make_full() -> None:
    """The file can be made, and holds nothing."""
    linux.umount("/tmp")
    linux.mount("tmpfs", "/tmp", "tmpfs", 0, "size=4096")
    Path("/tmp/all").write_bytes(bytes(4096))


def make_locked() -> None:
    """Until this room ends."""
    fd = os.open(JOURNAL, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)


PLACES = [
    make_link,
    make_second_name,
    make_open_to_all,
    make_anothers,
    make_fifo,
    make_directory,
    make_read_only,
    make_no_inodes,
    make_full,
    make_locked,
]


def contents() -> dict[str, bytes]:
    paths = [*Path("/tmp").iterdir(), Path("/elsewhere")]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.parametrize("spoil", PLACES, ids=lambda spoil: spoil.__name__)
@in_room
def test_no_place(lab: Lab, spoil: Callable[[], None]) -> None:
    """The report goes out all the same, what lies there is left alone, and it is said what is at risk."""
    with scene(lab) as it:
        spoil()
        before = contents()
        code, log = it.second()
        it.assert_complete(code, log)
        assert log.count(MEMORY) == 1 and "outputs are sent again" in log
        after = contents()
        assert all(after[path] == content for path, content in before.items())


@in_room
def test_a_disk_that_fills_up(lab: Lab) -> None:
    """Half of what is to be kept has a place. What was kept counts, the rest goes on from memory."""
    with scene(lab, more=40) as it:
        linux.umount("/tmp")
        linux.mount("tmpfs", "/tmp", "tmpfs", 0, "size=8192")
        it.first("/large", said=MEMORY)
        data = JOURNAL.read_bytes()
        stored = data.count(b'"stored"')
        assert 0 < stored < len(it.names) - 1
        assert records(data)[-1][1] == len(data) <= 8192
        code, log = it.second()
        it.assert_complete(code, log)
        assert GOING_ON in log and NO_COUNT not in log
        assert log.count(MEMORY) == 1 and "outputs are sent again" in log
        sent = [it.count(f"/{name}") for name in it.names]
        assert set(sent) <= {1, 2} and sent.count(1) >= stored


def share_with_main() -> None:
    linux.umount("/tmp")
    linux.bind(str(VOLUME), "/tmp")


def share_a_part() -> None:
    linux.umount("/tmp")
    (VOLUME / "d").mkdir()
    linux.bind(str(VOLUME / "d"), "/tmp")


def share_nothing() -> None:
    linux.umount("/tmp")


@pytest.mark.parametrize("share", [share_with_main, share_a_part, share_nothing])
@in_room
def test_a_place_that_is_not_private(lab: Lab, share: Callable[[], None]) -> None:
    """Neither where main writes, nor in the container's own file system, which goes with it."""
    with scene(lab) as it:
        linux.mount("tmpfs", str(VOLUME), "tmpfs", 0)
        (VOLUME / "small").write_bytes(SMALL)
        (VOLUME / "large").write_bytes(LARGE)
        share()
        code, log = it.second()
        it.assert_complete(code, log)
        assert not any(list(top.rglob(JOURNAL.name)) for top in (Path("/tmp"), VOLUME, VRA))
