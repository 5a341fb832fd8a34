"""What the wrapper of main puts aside for `wait` when the command has ended."""

from __future__ import annotations

import os
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.pod.sandbox import linux
from tests.room import (
    SUBJECT,
    TERMINATION_LOG,
    VRA,
    exit_code,
    in_room,
    run,
    write_template,
)

OUTPUTS = VRA / "outputs"
WORK = Path("/tmp/work")


def parameter(path: str, name: str = "p") -> dict[str, Any]:
    return {"name": name, "valueFrom": {"path": path}}


def artifact(path: str, name: str = "a") -> dict[str, Any]:
    return {"name": name, "path": path}


def nobody_listens() -> None:
    """As a `wait` that has died leaves it: the wrapper does not wait for it, and packs."""
    path = VRA / "wait.sock"
    if not path.exists():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
            server.bind(str(path))


def declare(*outputs: dict[str, Any], **fields: Any) -> None:
    WORK.mkdir(exist_ok=True)
    nobody_listens()
    parameters = [output for output in outputs if "valueFrom" in output]
    artifacts = [output for output in outputs if "path" in output]
    write_template(outputs={"parameters": parameters, "artifacts": artifacts}, **fields)


def put(name: str, content: bytes = b"content") -> str:
    path = WORK / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def saved_parameter(path: str) -> bytes:
    return (OUTPUTS / "parameters" / path.lstrip("/")).read_bytes()


def archive_of(path: str) -> Path:
    return OUTPUTS / "artifacts" / (path.strip("/") + ".tgz")


def members(path: str) -> dict[str, tuple[str, Any]]:
    """Name -> (type, content or target or size) of the archive that was made of path."""
    found: dict[str, tuple[str, Any]] = {}
    with tarfile.open(archive_of(path), "r:gz") as tar:
        for entry in tar:
            if entry.isfile():
                found[entry.name] = ("file", tar.extractfile(entry).read())
            else:
                found[entry.name] = (entry.type.decode(), entry.linkname)
    return found


def left_over() -> set[str]:
    """Files below outputs, directories left out."""
    return {
        str((Path(top) / name).relative_to(OUTPUTS))
        for top, _directories, names in os.walk(OUTPUTS)
        for name in names
    }


@pytest.mark.parametrize("code", [0, 7, 143])
@in_room
def test_collected_whatever_the_exit_code(code: int) -> None:
    declare(parameter("/tmp/work/p"), artifact("/tmp/work/a"), artifact("/tmp/work/d/", "d"))
    script = "cd /tmp/work; printf 'v\\n\\0' >p; echo a >a; mkdir -p d/e; echo f >d/f; ln -s f d/l;"
    end = "kill -TERM $$" if code == 143 else f"exit {code}"
    result = run("bash", "-c", script + end)
    assert (result.returncode, exit_code()) == (code, str(code))
    assert saved_parameter("/tmp/work/p") == b"v\n\0"
    assert members("/tmp/work/a") == {"a": ("file", b"a\n")}
    assert members("/tmp/work/d") == {
        "d": ("5", ""),
        "d/e": ("5", ""),
        "d/f": ("file", b"f\n"),
        "d/l": ("2", "f"),
    }
    assert left_over() == {
        "parameters/tmp/work/p",
        "artifacts/tmp/work/a.tgz",
        "artifacts/tmp/work/d.tgz",
    }


@in_room
def test_modes_that_wait_can_read() -> None:
    declare(parameter(put("p")), artifact(put("a")))
    os.umask(0o77)
    run("true")
    for path in left_over():
        assert (OUTPUTS / path).stat().st_mode & 0o777 == 0o666, path
    for top, _directories, _names in os.walk(OUTPUTS):
        assert os.stat(top).st_mode & 0o777 == 0o755, top


@in_room
def test_only_main_saves() -> None:
    declare(parameter(put("p")), artifact(put("a")))
    assert run("true", name="other").returncode == 0
    assert not OUTPUTS.exists()


@in_room
def test_what_is_missing_is_a_warning() -> None:
    declare(parameter("/none"), artifact("/none/a"), artifact(put("there"), "b"))
    (WORK / "dangling").symlink_to("nowhere")
    result = run(SUBJECT, "exit", "0")
    assert (result.returncode, exit_code()) == (0, "0")
    assert result.stderr.count(b"level=WARN") == 2
    assert left_over() == {"artifacts/tmp/work/there.tgz"}
    assert TERMINATION_LOG.read_text() == ""


@in_room
def test_a_dangling_link_is_missing() -> None:
    declare(parameter("/tmp/work/link"), artifact("/tmp/work/link"))
    (WORK / "link").symlink_to("nowhere")
    assert run("true").returncode == 0
    assert left_over() == set()


VOLUME = {"volumeMounts": [{"name": "v", "mountPath": "/tmp/work/vol/"}]}


@pytest.mark.parametrize("kind", ["container", "script", "containerSet"])
@in_room
def test_volumes_are_left_to_wait(kind: str) -> None:
    inside = [put("vol/p"), put("vol/a"), put("vol/deep/a")]
    beside = put("volume")
    holder = {**VOLUME, "containers": [{"name": "main"}]} if kind == "containerSet" else VOLUME
    declare(
        parameter(inside[0]),
        artifact(inside[1]),
        artifact("/tmp/work//vol/./deep/a", "b"),
        artifact("/tmp/work/vol", "whole"),
        artifact(beside, "beside"),
        **{"container": None, kind: holder},
    )
    assert run("true").returncode == 0
    assert left_over() == {"artifacts/tmp/work/volume.tgz"}


# --- what cannot be saved -----------------------------------------------------------------


def assert_failed(code: int, *texts: str) -> None:
    """`exitcode` keeps the command's own end, and the status, too, unless it was 0; the message says
    both, that first."""
    TERMINATION_LOG.write_text("")
    result = run(SUBJECT, "exit", str(code))
    assert (result.returncode, exit_code()) == (code or 64, str(code))
    message = TERMINATION_LOG.read_text()
    assert message.startswith(f"exit status {code}; " if code else "output "), message
    assert message in result.stderr.decode()
    for text in texts:
        assert text in message, message


@in_room
def test_kinds_that_are_no_parameter() -> None:
    os.mkfifo(put("x") + ".fifo")
    socket.socket(socket.AF_UNIX).bind("/tmp/work/socket")
    for path in ("/tmp/work", "/tmp/work/x.fifo", "/tmp/work/socket", "/tmp/work/x/below"):
        declare(parameter(path, "bad"), parameter(put("good"), "good"))
        if path.endswith("below"):
            result = run("true")
            # Not a directory: there is nothing at that path, or it is an error; never a hang.
            assert result.returncode in (0, 64)
        else:
            assert_failed(3, "output parameter bad", path)
        assert saved_parameter("/tmp/work/good") == b"content"


@in_room
def test_kinds_that_are_no_artifact() -> None:
    WORK.mkdir()
    os.mkfifo("/tmp/work/fifo")
    socket.socket(socket.AF_UNIX).bind("/tmp/work/socket")
    for path in ("/tmp/work/fifo", "/tmp/work/socket", "/dev/null"):
        declare(artifact(path, "bad"), artifact(put("good"), "good"))
        assert_failed(0, "output artifact bad", path)
        assert left_over() == {"artifacts/tmp/work/good.tgz"}


@in_room
def test_what_the_command_has_said_comes_first() -> None:
    WORK.mkdir()
    declare(parameter("/tmp/work", "bad"))
    for code in (0, 3):
        script = f"echo the reason >{TERMINATION_LOG}; exit {code}"
        result = run("sh", "-c", script)
        assert (result.returncode, exit_code()) == (code or 64, str(code))
        status = f"exit status {code}; " if code else ""
        assert TERMINATION_LOG.read_text().startswith(f"the reason; {status}output parameter bad: ")


@in_room
def test_what_main_may_not_read() -> None:
    WORK.mkdir()
    os.chmod(VRA, 0o777)
    secret = put("secret")
    os.chmod(secret, 0)
    declare(parameter(secret), artifact(secret), artifact(put("good"), "good"))
    os.chmod(SUBJECT, 0o755)
    result = run(SUBJECT, "exit", "5", user=8737, group=8737, extra_groups=[])
    assert (result.returncode, exit_code()) == (5, "5")
    assert result.stderr.count(b"level=ERROR") == 2
    assert TERMINATION_LOG.read_text().startswith("exit status 5; output parameter p: ")
    assert left_over() == {"artifacts/tmp/work/good.tgz"}


@in_room
def test_a_parameter_that_is_too_large() -> None:
    declare(parameter(put("fits", b"x" * (1 << 20)), "fits"))
    assert run("true").returncode == 0
    assert len(saved_parameter("/tmp/work/fits")) == 1 << 20
    declare(parameter(put("p", b"x" * ((1 << 20) + 1)), "large"))
    assert_failed(0, "output parameter large", "/tmp/work/p", "limit of 1048576 bytes")
    assert left_over() == {"parameters/tmp/work/fits"}


@in_room
def test_paths_that_cannot_be() -> None:
    for path in ("relative/path", "../escape", ""):
        declare(artifact(path, "odd"))
        result = run(SUBJECT, "exit", "2")
        assert result.returncode in (2, 64), path
        assert not Path("/var/run/argo/escape.tgz").exists()
    declare(artifact("/tmp/" + "x" * 5000, "long"))
    assert run(SUBJECT, "exit", "2").returncode in (2, 64)
    assert exit_code() == "2"


@in_room
def test_a_full_disk() -> None:
    """No archive that looks whole, the error is told, and `exitcode` is right."""
    WORK.mkdir()
    data = put("data", os.urandom(2 << 20))
    small = put("small")
    linux.mount("tmpfs", str(VRA), "tmpfs", 0, "size=1m,mode=777")
    declare(artifact(data), artifact(small, "small"), parameter(small))
    assert_failed(6, "output artifact a", "no space left on device")
    assert left_over() == {"artifacts/tmp/work/small.tgz", "parameters/tmp/work/small"}
    assert members(small) == {"small": ("file", b"content")}


@in_room
def test_a_disk_without_room_for_a_single_byte() -> None:
    """Then nobody can be told in a file; the status is what is left."""
    linux.mount("tmpfs", str(VRA), "tmpfs", 0, "size=256k,mode=777")
    declare(artifact(put("small"), "small"))
    script = "dd if=/dev/zero of=/var/run/argo/fill bs=4k 2>/dev/null; exit 6"
    result = run("sh", "-c", script)
    assert result.returncode == 6
    assert b"no space left on device" in result.stderr
    assert left_over() == set()


# --- odd trees ------------------------------------------------------------------------------


@in_room
def test_a_tree_of_everything() -> None:
    tree = WORK / "tree"
    put("tree/file")
    put("outside", b"secret")
    put("tree/\udcff\n name")
    (tree / "empty").mkdir()
    (tree / "absolute").symlink_to("/etc")
    (tree / "up").symlink_to("../outside")
    (tree / "broken").symlink_to("nowhere")
    (tree / "self").symlink_to(".")
    os.link(tree / "file", tree / "hard")
    os.mkfifo(tree / "fifo")
    socket.socket(socket.AF_UNIX).bind(str(tree / "socket"))
    with open(tree / "sparse", "wb") as file:
        file.truncate(50 << 20)
    declare(artifact("/tmp/work/tree"))
    result = run("true", seconds=30)
    assert result.returncode == 0, result.stderr
    found = members("/tmp/work/tree")
    assert found.pop("tree/sparse") == ("file", bytes(50 << 20))
    assert found == {
        "tree": ("5", ""),
        "tree/absolute": ("2", "/etc"),
        "tree/broken": ("2", "nowhere"),
        "tree/empty": ("5", ""),
        "tree/fifo": ("6", ""),
        "tree/file": ("file", b"content"),
        "tree/hard": ("file", b"content"),
        "tree/self": ("2", "."),
        "tree/up": ("2", "../outside"),
        "tree/\udcff\n name": ("file", b"content"),
    }
    assert archive_of("/tmp/work/tree").stat().st_size < 1 << 20


@in_room
def test_a_link_at_the_top_is_followed() -> None:
    put("tree/file")
    (WORK / "link").symlink_to("tree")
    (WORK / "flink").symlink_to("tree/file")
    declare(
        artifact("/tmp/work/link"), artifact("/tmp/work/flink", "b"), parameter("/tmp/work/flink")
    )
    assert run("true").returncode == 0
    assert members("/tmp/work/link")["link/file"] == ("file", b"content")
    assert members("/tmp/work/flink") == {"flink": ("file", b"content")}
    assert saved_parameter("/tmp/work/flink") == b"content"


@in_room
def test_a_link_in_the_place_of_an_output() -> None:
    """User code may prepare the place where its outputs go: nothing is written through it."""
    Path("/tmp/victim").write_text("mine")
    declare(artifact(put("a")), parameter(put("p")))
    archive = "artifacts/tmp/work/a.tgz"
    for path in (archive, archive + ".tmp", "parameters/tmp/work/p"):
        (OUTPUTS / path).parent.mkdir(parents=True, exist_ok=True)
        (OUTPUTS / path).symlink_to("/tmp/victim")
    run("true")
    assert Path("/tmp/victim").read_text() == "mine"
