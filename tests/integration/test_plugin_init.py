"""`artifact-plugin-init`: a plugin of real gRPC, and all that it may do instead of its work."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.plugins import at
from tests.room import (
    ARGOEXEC,
    ROOT,
    TERMINATION_LOG,
    Wrapper,
    environment,
    in_room,
    until,
)
from tests.scenario import artifact, tgz

SERVER = ["/usr/bin/python3", str(ROOT / "tests/servers/artifact_plugin.py")]
SOCKET = "/tmp/artifact-plugins/p/socket"
INPUTS = Path("/argo/inputs/artifacts")
STORE = Path("/store")

# The aim is 0.1 s; the rest is for other programs on this machine.
LIMIT_SECONDS = 0.3


def furnish() -> None:
    INPUTS.mkdir(parents=True)
    STORE.mkdir()
    (STORE / "k").write_text("hello\n")


def start(
    artifacts: list[dict[str, Any]],
    command: list[str] | None = None,
    behaviour: str = "",
    is_init: bool = False,
    **fields: Any,
) -> Wrapper:
    if not STORE.exists():
        furnish()
    template = {"name": "t", "container": {}, "inputs": {"artifacts": artifacts}, **fields}
    env = environment(
        "init-artifact-p",
        ARGO_POD_NAME="pod",
        ARGO_TEMPLATE=json.dumps(template),
        PLUGIN_START=behaviour,
    )
    words = [ARGOEXEC, "artifact-plugin-init", "--plugin-name", "p", "--"]
    words += command or [*SERVER, SOCKET]
    if is_init:
        words = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child", *words]
    return Wrapper(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def load(artifacts: list[dict[str, Any]], **options: Any) -> subprocess.CompletedProcess[bytes]:
    with start(artifacts, **options) as process:
        out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def one(**configuration: Any) -> list[dict[str, Any]]:
    return [artifact("a", "/in/a", at("p", "k", **configuration))]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def commands() -> list[bytes]:
    """Command lines of all processes here but the first."""
    pids = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
    texts = []
    for pid in pids:
        with contextlib.suppress(OSError):
            texts.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return texts


def assert_alone() -> None:
    """The plugin has ended, and so has everything that it started."""
    assert not os.path.exists(SOCKET)
    until(lambda: not [text for text in commands() if b"_plugin.py" in text], 2)


def assert_failed(result: subprocess.CompletedProcess[bytes], text: str, code: int = 64) -> None:
    assert result.returncode == code, result.stderr.decode()
    assert text in TERMINATION_LOG.read_text()
    assert f"Error: {TERMINATION_LOG.read_text()}" in result.stderr.decode().splitlines()
    assert os.listdir(INPUTS) == []
    assert_alone()


@pytest.mark.parametrize("is_init", [False, True])
@in_room
def test_loading(is_init: bool) -> None:
    Path("/tmp/artifact-plugins/p").mkdir(parents=True)
    # A container that is started anew finds what the first one has left.
    Path(SOCKET).write_text("stale")
    other = artifact("b", "/in/b", at("other", "k"))
    literal = {"name": "c", "path": "/in/c", "raw": {"data": "raw"}}
    result = load([*one(), other, literal], is_init=is_init)
    assert result.returncode == 0, result.stderr.decode()
    assert b"serving, umask 22" in result.stdout
    assert os.listdir(INPUTS) == ["a"]
    assert (INPUTS / "a").read_text() == "hello\n"
    assert mode(INPUTS / "a") == 0o666
    (call,) = map(json.loads, (STORE / "calls").read_text().splitlines())
    assert call["method"] == "Load"
    assert call["artifact"]["plugin"] == {"name": "p", "configuration": "{}", "key": "k"}
    assert Path(call["path"]).parent == INPUTS
    assert_alone()


@in_room
def test_the_directory_of_the_socket_is_made() -> None:
    assert load(one(), behaviour="late").returncode == 0
    assert mode(Path(SOCKET).parent) == 0o755


@in_room
def test_nothing_to_load() -> None:
    assert load([]).returncode == 0
    assert load([artifact("o", "/o", optional=True)]).returncode == 0
    assert_alone()


@in_room
def test_forms() -> None:
    furnish()
    (STORE / "tgz").write_bytes(tgz({"d/f": b"inside"}))
    (STORE / "dir/sub").mkdir(parents=True)
    (STORE / "dir/sub/f").write_text("deep")
    (STORE / "dir").chmod(0o700)
    subprocess.run(["zip", "-q", "/store/x.zip", "k"], cwd="/store", check=True)
    result = load(
        [
            artifact("tgz", "/in/tgz", at("p", "tgz")),
            artifact("kept", "/in/kept", at("p", "tgz"), archive={"none": {}}),
            artifact("zip", "/in/zip", at("p", "x.zip"), archive={"zip": {}}),
            artifact("dir", "/in/dir", at("p", "dir")),
            artifact("mode", "/in/mode", at("p", "k"), mode=0o600),
            artifact("tree", "/in/tree", at("p", "dir"), recurseMode=True),
            artifact("vol", "/work/vol", at("p", "k")),
        ],
        container={"volumeMounts": [{"name": "w", "mountPath": "/work"}]},
    )
    assert result.returncode == 0, result.stderr.decode()
    assert (INPUTS / "tgz/f").read_text() == "inside"
    assert (INPUTS / "kept").read_bytes() == (STORE / "tgz").read_bytes()
    assert (INPUTS / "zip").read_text() == "hello\n"
    assert (INPUTS / "dir/sub/f").read_text() == "deep"
    assert (mode(INPUTS / "dir"), mode(INPUTS / "dir/sub")) == (0o777, 0o755)
    assert mode(INPUTS / "mode") == 0o600
    assert (mode(INPUTS / "tree/sub"), mode(INPUTS / "tree/sub/f")) == (0o777, 0o666)
    assert Path("/mainctrfs/work/vol").read_text() == "hello\n"
    assert sorted(os.listdir(INPUTS)) == ["dir", "kept", "mode", "tgz", "tree", "zip"]


@in_room
def test_key_only_artifacts_are_those_of_the_repository() -> None:
    place = at("p", "")
    result = load([artifact("a", "/in/a", {"s3": {"key": "k"}})], archiveLocation=place)
    assert result.returncode == 0, result.stderr.decode()
    assert (INPUTS / "a").read_text() == "hello\n"


REFUSALS = {
    "say no": "plugin p load failed: the answer is no",
    "PERMISSION_DENIED": "plugin p load failed: rpc error: code = PermissionDenied desc = no such thing",
    "NOT_FOUND": "plugin p load failed: rpc error: code = NotFound desc = no such thing",
    "nothing": "nothing was loaded to /argo/inputs/artifacts/",
    "malformed": "plugin p load failed: the answer is malformed",
    "length": "plugin p load failed: the answer is malformed",
}


@pytest.mark.parametrize("fault", REFUSALS)
@in_room
def test_refusals(fault: str) -> None:
    result = load(one(Load=fault))
    assert_failed(result, f"artifact a failed to load: {REFUSALS[fault]}")
    assert len((STORE / "calls").read_text().splitlines()) == 1


@in_room
def test_a_message_with_everything_in_it() -> None:
    text = "100 %41 \u00e4\n\x01 " + "long " * 2000
    result = load(one(Load="say no", text=text))
    assert_failed(result, "plugin p load failed: 100 %41 \u00e4")
    result = load(one(Load="INTERNAL", text=text[:500]))
    assert_failed(result, "rpc error: code = Internal desc = 100 %41 \u00e4")


@in_room
def test_what_is_not_there() -> None:
    result = load([artifact("a", "/in/a", at("p", "gone"))])
    assert_failed(result, "rpc error: code = NotFound desc = no object gone")
    result = load([artifact("o", "/in/o", at("p", "gone"), optional=True), *one()])
    assert result.returncode == 0, result.stderr.decode()
    assert os.listdir(INPUTS) == ["a"]


@in_room
def test_only_not_found_excuses_an_optional_artifact() -> None:
    for fault in ("say no", "INTERNAL", "nothing"):
        place = at("p", "k", Load=fault)
        result = load([artifact("a", "/in/a", place, optional=True)])
        assert_failed(result, "artifact a failed to load: ")


@in_room
def test_unavailable_is_tried_again() -> None:
    result = load(one(Load="unavailable once"))
    assert result.returncode == 0, result.stderr.decode()
    told = [line for line in result.stderr.decode().splitlines() if "Attempt failed" in line]
    assert len(told) == 1 and "operation=load" in told[0]
    assert "class=transient" in told[0] and "code=Unavailable" in told[0]
    assert len((STORE / "calls").read_text().splitlines()) == 2
    assert (INPUTS / "a").read_text() == "hello\n"


# --- plugins that are none ------------------------------------------------------------------


def timed(artifacts: list[dict[str, Any]], **options: Any) -> Any:
    begun = time.monotonic()
    return load(artifacts, **options), time.monotonic() - begun


@pytest.mark.parametrize(
    ("script", "end"),
    [("exit 3", "exit status 3"), ("exit 0", "exit status 0"), ("kill -9 $$", "signal 9")],
)
@in_room
def test_it_ends_before_its_socket_exists(script: str, end: str) -> None:
    result, seconds = timed(one(), command=["sh", "-c", script])
    assert_failed(result, f"plugin p ended ({end}) before its inputs were loaded")
    assert seconds < 5


@in_room
def test_it_ends_while_it_loads() -> None:
    result = load(one(Load="die"))
    assert_failed(result, "plugin p ended (exit status 5) before its inputs were loaded")


@in_room
def test_it_cannot_be_started() -> None:
    result = load(one(), command=["no-such-plugin"])
    assert_failed(result, "failed to start plugin p: exec: \"no-such-plugin\"")
    result = load(one(), command=["/proc/version"])
    assert_failed(result, "failed to start plugin p: ")


NEVER_READY = {
    "mute": "plugin p connection to become ready, last state: CONNECTING",
    "stale": "plugin p connection to become ready, last state: TRANSIENT_FAILURE",
    "garbage": "plugin p does not speak HTTP/2",
}


@pytest.mark.parametrize("behaviour", NEVER_READY)
@in_room
def test_it_does_not_get_ready(behaviour: str) -> None:
    result = load([artifact("a", "/in/a", at("p", "k", seconds=1))], behaviour=behaviour)
    assert_failed(result, "artifact a failed to load: failed to create plugin driver for p: ")
    assert NEVER_READY[behaviour] in TERMINATION_LOG.read_text()


# --- signals --------------------------------------------------------------------------------


def stop(process: Wrapper, number: int) -> None:
    begun = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    seconds = time.monotonic() - begun
    print(f"stopped after {seconds * 1000:.0f} ms")
    assert seconds < LIMIT_SECONDS
    assert "before the inputs were loaded" in TERMINATION_LOG.read_text()
    assert os.listdir(INPUTS) == []
    assert_alone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@in_room
def test_stopped_while_there_is_no_socket(number: int) -> None:
    with start(one(), command=["sleep", "1000"]) as process:
        until(lambda: b"Waiting for the plugin" in process.stderr.readline())
        stop(process, number)


@in_room
def test_stopped_while_it_loads() -> None:
    with start(one(Load="hang")) as process:
        until((STORE / "calls").exists)
        stop(process, signal.SIGTERM)


@in_room
def test_other_signals_are_passed_on() -> None:
    """The plugin waits for SIGUSR1 before it serves, and SIGTERM would be the end of both."""
    with start(one(), behaviour="never") as process:
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(30) == 0
    assert (INPUTS / "a").read_text() == "hello\n"
