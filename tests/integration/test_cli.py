"""The command line: its grammar, its flags, its ways to say no, and what it needs to run at all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.pod.sandbox import linux
from tests.room import (
    ARGOEXEC,
    SUBJECT,
    TERMINATION_LOG,
    VRA,
    environment,
    exit_code,
    in_room,
    run,
    write_template,
)

COMMANDS = (
    "artifact-plugin-init",
    "artifact-plugin-sidecar",
    "emissary",
    "init",
    "kill",
    "supervisor",
    "version",
    "wait",
)


def call(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    options = {"env": environment(), "timeout": 20, **options}
    return subprocess.run([ARGOEXEC, *words], capture_output=True, **options)


# --- grammar ------------------------------------------------------------------------------

CONTROLLER_FLAGS = ["--loglevel", "info", "--log-format", "text", "--gloglevel", "0"]

VERSION_CALLS = [
    ["version", "--short"],
    ["--short", "version"],
    ["--loglevel", "debug", "version", "--short"],
    ["version", "--loglevel=debug", "--short", "--log-format=json"],
    ["version", "--short=true", "--gloglevel=4"],
    ["version", "--short=false", "--short"],
    ["-n", "argo", "version", "--short"],
    ["-n=argo", "version", "--short"],
    ["-nargo", "version", "--short"],
    ["version", "--short", *CONTROLLER_FLAGS, "--kubeconfig=/kube/config"],
    ["version", *CONTROLLER_FLAGS, *CONTROLLER_FLAGS, "--short"],
    ["--", "version"],
    ["version", "--short", "--"],
]


@in_room
def test_flags_may_stand_anywhere() -> None:
    first = call("version").stdout.splitlines()[0]
    assert first.startswith(b"argoexec: v")
    for words in VERSION_CALLS:
        result = call(*words)
        assert (result.returncode, result.stderr) == (0, b""), words
        assert result.stdout.splitlines()[0] == first, words
        is_short = any(word in ("--short", "--short=true") for word in words)
        assert is_short == (len(result.stdout.splitlines()) == 1), words


@in_room
def test_behind_two_dashes_nothing_is_ours() -> None:
    write_template()
    words = ["--loglevel", "info", "--help", "--", "-x", "--", "--short=maybe"]
    command = ["emissary", "--", SUBJECT, "show"]
    for place in (command, ["--gloglevel=1", *command]):
        assert json.loads(call(*place, *words).stdout)["argv"] == [SUBJECT, "show", *words]


TEXT_FLAGS = (
    "as as-uid certificate-authority client-certificate client-key cluster context kubeconfig "
    "namespace password proxy-url request-timeout server tls-server-name token user username"
).split()


@in_room
def test_every_flag_of_kubectl_parses() -> None:
    words = [word for name in TEXT_FLAGS for word in (f"--{name}", "value")]
    words += [f"--{name}=other" for name in TEXT_FLAGS]
    words += ["--as-group", "a", "--as-group=b", "--insecure-skip-tls-verify"]
    words += ["--disable-compression", "--disable-compression=false"]
    assert call("version", "--short", *words).returncode == 0
    assert call(*words, "version", "--short").returncode == 0
    help_text = call("--help").stdout.decode()
    for name in TEXT_FLAGS:
        assert f"--{name} " in help_text


# --- logging ------------------------------------------------------------------------------

LEVELS = "trace debug info print warn error fatal panic warning INFO Warning".split()


@in_room
def test_the_words_of_both_generations_for_levels() -> None:
    for level in LEVELS:
        result = run("true", flags=("--loglevel", level))
        assert result.returncode == 0, level
        is_talkative = level.lower() in ("trace", "debug", "info", "print")
        assert (b"sub-process exited" in result.stderr) == is_talkative, level
    for name in ("text", "json", "TEXT", "Json"):
        assert call("version", "--log-format", name).returncode == 0


@in_room
def test_wrong_levels_and_formats() -> None:
    write_template()
    for flag in ("--loglevel=loud", "--loglevel=", "--log-format=xml", "--log-format="):
        for command in (["version"], ["emissary", "--", "echo", "ran"], ["kill", "0", "1"]):
            result = call(flag, *command)
            assert (result.returncode, result.stdout) == (1, b""), flag
            assert result.stderr.startswith(b"Error: --log"), flag


@in_room
def test_json_lines() -> None:
    """Whatever is logged, with whatever is hard to quote in it, is one object in one line."""
    path = '/no/such/p "\\\n\t\u00e9\x01\x7ffile'
    write_template(outputs={"parameters": [{"name": "p", "valueFrom": {"path": path}}]})
    flags = ("--loglevel", "debug", "--log-format", "json")
    lines = run("true", flags=flags).stderr.splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["path"] for r in records if "parameter" in r["msg"]] == [path]
    for record in records:
        assert record["argo"] is True
        assert record["level"] in ("DEBUG", "INFO", "WARN", "ERROR")
        assert record["time"].endswith("Z")


@in_room
def test_text_lines() -> None:
    write_template(outputs={"parameters": [{"name": "p", "valueFrom": {"path": "/no ne"}}]})
    line = run("true").stderr.decode().splitlines()[-1]
    assert line.startswith("time=") and " level=WARN msg=" in line
    assert ' name=p path="/no ne"' in line and line.endswith(" argo=true")


# --- help and mistakes --------------------------------------------------------------------


@in_room
def test_help() -> None:
    for words in ([], ["--help"], ["-h"], ["help"], CONTROLLER_FLAGS):
        result = call(*words)
        assert (result.returncode, result.stderr) == (0, b""), words
        assert b"Usage:" in result.stdout and b"Flags:" in result.stdout
        for name in COMMANDS:
            assert f"  {name}".encode() in result.stdout
    for name in COMMANDS:
        for words in ([name, "--help"], ["-h", name], ["help", name]):
            result = call(*words)
            assert (result.returncode, result.stderr) == (0, b""), words
            assert f"argoexec {name} ".encode() in result.stdout


MISTAKES = {
    "unknown command": ["no-such-command"],
    "unknown flag: --nope": ["version", "--nope"],
    "unknown flag: --loglevels": ["version", "--loglevels=info"],
    "unknown shorthand flag: 'x'": ["version", "-x"],
    "flag needs an argument: --loglevel": ["version", "--loglevel"],
    'invalid argument "x" for flag --gloglevel': ["version", "--gloglevel", "x"],
    'invalid argument "maybe" for flag --short': ["version", "--short=maybe"],
    "kill: 0 arguments given": ["kill"],
    "kill: 1 argument given": ["kill", "15"],
    "kill: 3 arguments given": ["kill", "15", "1", "2"],
    "version: 1 argument given": ["version", "now"],
    "wait: 1 argument given": ["wait", "x"],
    "init: 1 argument given": ["init", "x"],
    "artifact-plugin-sidecar: 0 arguments given": ["artifact-plugin-sidecar", "--"],
    "artifact-plugin-init: 0 arguments given": ["artifact-plugin-init", "--plugin-name", "p", "--"],
}


@in_room
def test_mistakes() -> None:
    for text, words in MISTAKES.items():
        TERMINATION_LOG.write_text("")
        result = call(*words)
        assert (result.returncode, result.stdout) == (64, b""), words
        lines = result.stderr.decode().splitlines()
        assert lines[0].startswith(f"Error: {text}"), words
        assert "Usage:" in lines, words
        assert TERMINATION_LOG.read_text() == lines[0].removeprefix("Error: "), words


@in_room
def test_the_name_of_a_plugin() -> None:
    for flags, text in (
        ([], "artifact-plugin-init: --plugin-name is missing"),
        (["--plugin-name="], '--plugin-name "" is not the name of a plugin'),
        (["--plugin-name", "../p"], '--plugin-name "../p" is not the name of a plugin'),
    ):
        result = call("artifact-plugin-init", *flags, "--", "echo", "ran")
        assert (result.returncode, result.stdout) == (64, b"")
        assert result.stderr.decode().splitlines()[0] == f"Error: {text}"


@in_room
def test_a_long_message_is_cut_at_a_character() -> None:
    """The kubelet takes 4,096 bytes; half a character would make them unreadable."""
    for prefix in range(4):
        name = "/" + "x" * prefix + "\U0001f600" * 2000
        assert run(name).returncode == 64
        message = TERMINATION_LOG.read_bytes()
        assert len(message) <= 4096
        assert message.decode()


@in_room
def test_a_message_replaces_an_older_one_and_needs_no_file() -> None:
    TERMINATION_LOG.write_text("x" * 5000)
    assert call("kill", "0", "1").returncode == 64
    assert b"x" * 10 not in TERMINATION_LOG.read_bytes()
    TERMINATION_LOG.unlink()
    assert call("kill", "0", "1").returncode == 64


@in_room
def test_version() -> None:
    lines = call("version").stdout.decode().splitlines()
    short = call("version", "--short").stdout.decode().splitlines()
    assert short == lines[:1] and short[0].startswith("argoexec: v")
    names = [line.split(":")[0] for line in lines[1:]]
    for name in ("BuildDate", "GitCommit", "GitTreeState", "Compiler", "Platform"):
        assert f"  {name}" in names
    assert any(line.startswith("  Platform: linux/") for line in lines)


# --- what it needs ------------------------------------------------------------------------


def furnish_bare_root(path: str, readonly: bool) -> None:
    """A root with two programs and /var/run/argo in it: no /proc, /tmp, /etc, /dev."""
    os.mkdir(path)
    linux.mount("tmpfs", path, "tmpfs", 0, "mode=755")
    for name in (ARGOEXEC, SUBJECT):
        Path(path + name).touch()
        linux.bind(name, path + name)
    os.makedirs(f"{path}/var/run/argo")
    linux.mount("tmpfs", f"{path}/var/run/argo", "tmpfs", 0, "mode=777")
    Path(f"{path}/var/run/argo/template").write_text('{"name": "t", "container": {}}')
    if readonly:
        linux.mount(None, path, None, linux.MS_REMOUNT | linux.MS_RDONLY, "mode=755")


@pytest.mark.bar
@pytest.mark.parametrize("user", [0, 8737])
@pytest.mark.parametrize("readonly", [False, True])
@in_room
def test_it_needs_nothing(user: int, readonly: bool) -> None:
    furnish_bare_root("/bare", readonly)

    def enter() -> None:
        os.chroot("/bare")
        os.chdir("/")
        if user:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)

    options = {"preexec_fn": enter, "stdin": None}
    assert call("version", **options).stdout.startswith(b"argoexec: v")
    result = call("kill", "28", "1", **options)
    # Somebody else's process: not ours to signal, and that is what is said.
    assert result.stdout == b"killing 1 with signal 28\n"
    assert result.returncode == (64 if user else 0)
    wrapped = call("emissary", "--", SUBJECT, "show", **options)
    assert wrapped.returncode == 0
    assert json.loads(wrapped.stdout)["uid"] == user
    for code in (0, 3, 255):
        env = environment(ARGO_INCLUDE_SCRIPT_OUTPUT="true")
        result = call("emissary", "--", SUBJECT, "exit", str(code), **{**options, "env": env})
        assert result.returncode == code
        assert Path("/bare/var/run/argo/ctr/main/exitcode").read_text() == str(code)
    plugin = {**options, "env": environment("artifact-plugin-p")}
    assert call("artifact-plugin-sidecar", "--", SUBJECT, "exit", "3", **plugin).returncode == 0
    assert Path("/bare/var/run/argo/ctr/artifact-plugin-p/exitcode").read_text() == "3"
    failed = call("emissary", "--", "/nowhere", **options)
    assert failed.returncode == 64 and b"no such file" in failed.stderr


@in_room
def test_no_place_for_our_files() -> None:
    """/var/run/argo missing or not writable: said so, and the command does not run."""
    write_template()
    linux.mount("tmpfs", str(VRA), "tmpfs", linux.MS_RDONLY, "")
    result = call("emissary", "--", "echo", "ran")
    assert (result.returncode, result.stdout) == (64, b"")
    assert b"/var/run/argo" in result.stderr and b"read-only file system" in result.stderr
    assert exit_code() is None
