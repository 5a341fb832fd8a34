"""Outputs of main's own file system: handed over as descriptors, or packed by the wrapper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.lab import BUCKET, Lab, PodRun
from tests.scenario import (
    DROP,
    Step,
    artifact,
    assert_failure,
    assert_ok,
    location,
    mount,
    secure,
    untgz,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

NONE = {"none": {}}
TREE = "mkdir -p /tmp/d/e; printf deep >/tmp/d/e/f; printf top >/tmp/d/g; ln -s g /tmp/d/l"
MEMBERS = {"d": None, "d/e": None, "d/e/f": b"deep", "d/g": b"top", "d/l": "g"}
ARTIFACTS = [
    artifact("f", "/tmp/d/g", archive=NONE),
    artifact("d", "/tmp/d"),
    artifact("t", "/tmp/d/e", archive=NONE),
]
LEFT = "Left an output to its wrapper"


def packed(directory: Path) -> set[str]:
    """What wrappers have written for `wait`."""
    (top,) = directory.glob("*var-run-argo")
    top /= "outputs/artifacts"
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}


def play(lab: Lab, directory: Path, step: Step) -> tuple[PodRun, set[str]]:
    run = step.run(volumes_dir=str(directory))
    return run, packed(directory)


def assert_stored(lab: Lab, step: Step) -> None:
    assert untgz(lab.get(f"{step.prefix}/d.tgz")) == MEMBERS
    assert lab.get(f"{step.prefix}/g") == b"top"
    assert lab.get(f"{step.prefix}/e/f") == b"deep"


# main's and wait's user and capabilities, and what is in main's tree: is it packed by the wrapper?
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, bool]] = {
    "both root": ({}, {}, "", False),
    "both root without capabilities": ({"capabilities": DROP}, {"capabilities": DROP}, "", False),
    "main another": ({"runAsUser": 1000}, {}, "chmod 700 /tmp/d/e", False),
    "main another, wait without capabilities": (
        {"runAsUser": 1000},
        {"capabilities": DROP},
        "",
        False,
    ),
    "both 8737": ({"runAsUser": 8737}, {"runAsUser": 8737}, "chmod 700 /tmp/d/e", False),
    "wait 8737": ({}, {"runAsUser": 8737, "capabilities": DROP}, "", False),
    "wait 8737, main private": ({}, {"runAsUser": 8737}, "chmod 700 /tmp/d/e", False),
    "a part of another user": ({}, {}, "chown 7 /tmp/d/e/f; chmod 600 /tmp/d/e/f", False),
    "all is private": ({}, {"runAsUser": 8737}, "chmod -R go= /tmp/d; chmod 644 /tmp/d/g", False),
}


@pytest.mark.parametrize("name", CASES)
def test_users(lab: Lab, tmp_path: Path, name: str) -> None:
    main, wait, script, is_packed = CASES[name]
    step = Step(lab, f"{TREE}; {script}", artifacts=ARTIFACTS)
    secure(step, "main", **main)
    secure(step, "wait", **wait)
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    assert_stored(lab, step)
    assert bool(written) == is_packed, written
    assert (LEFT in run.result.containers["wait"].log) == is_packed
    # The file itself goes in any case.
    assert "tmp/d/g.tgz" not in written


def test_parts_that_main_opens(lab: Lab, tmp_path: Path) -> None:
    """Of all kinds, and many, in every form; nothing is written, and main is not held by the upload."""
    script = """
        mkdir -p /tmp/d/in/deep; cd /tmp/d; mkfifo in/pipe; ln -s deep/7 in/link; ln -s no in/dangling
        for i in $(seq 300); do echo $i >in/deep/$i; done; echo all >open; chmod -R go= in
    """
    forms = {"t": {}, "z": {"archive": {"zip": {}}}, "n": {"archive": NONE}, "u": {}}
    artifacts = [artifact(name, "/tmp/d", **form) for name, form in forms.items()]
    step = Step(lab, script, artifacts=artifacts)
    secure(step, "wait", runAsUser=8737, capabilities=DROP)
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    assert written == set()
    log = run.result.containers["wait"].log
    assert log.count("Parts of an output were opened by its wrapper") == 1
    for name in "tu":
        members = untgz(lab.get(step.key(f"{name}.tgz")))
        assert len(members) == 306
        assert members["d/in/link"] == "deep/7" and members["d/in/dangling"] == "no"
        assert members["d/in/deep/300"] == b"300\n" and members["d/open"] == b"all\n"
    files = {key for key in lab.objects(step.prefix) if key.startswith(step.key("d/"))}
    assert len(files) == 301
    assert lab.get(step.key("d/in/deep/7")) == b"7\n"


def test_what_not_even_main_may_open(lab: Lab, tmp_path: Path) -> None:
    """It goes the old way, and fails with the artifact's name; the others are stored."""
    script = f"{TREE}; mkdir /tmp/x; echo x >/tmp/x/x; chown 7 /tmp/x/x; chmod 600 /tmp/x/x"
    step = Step(lab, script, artifacts=[*ARTIFACTS, artifact("x", "/tmp/x")])
    secure(step, "main", capabilities={"drop": ["DAC_OVERRIDE", "DAC_READ_SEARCH"]})
    run, written = play(lab, tmp_path, step)
    assert run.result.phase == "Failed"
    assert_stored(lab, step)
    assert written == set()
    assert "output artifact x: " in run.result.containers["main"].message
    assert LEFT in run.result.containers["wait"].log


def test_a_mount_in_the_tree(lab: Lab, tmp_path: Path) -> None:
    """It is gone when main is: the wrapper packs what lies there."""
    script = f"mkdir /tmp/d/v; {TREE}; printf mounted >/tmp/d/v/x"
    step = Step(lab, script, artifacts=[artifact("d", "/tmp/d")], mounts=[mount("v", "/tmp/d/v")])
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    assert untgz(lab.get(f"{step.prefix}/d.tgz"))["d/v/x"] == b"mounted"
    assert written == {"tmp/d.tgz"}
    assert "a mount lies in it" in run.result.containers["wait"].log


def test_one_path_for_several(lab: Lab, tmp_path: Path) -> None:
    artifacts = [artifact(name, "/tmp/d") for name in "abc"]
    step = Step(lab, TREE, artifacts=artifacts)
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    assert written == set()
    for name in "abc":
        assert untgz(lab.get(f"{step.prefix}/{name}.tgz")) == MEMBERS


def test_one_private_path_for_several(lab: Lab, tmp_path: Path) -> None:
    """What the wrapper opens is shared, with its position in a directory that is read in pieces."""
    name, count = "n" * 200, 300
    script = f"mkdir /tmp/d; cd /tmp/d; for i in $(seq {count}); do echo $i >{name}$i; done; chmod 700 ."
    keys = [f"private/{os.getpid()}/{name}" for name in "ab"]
    with FaultProxy(lab.s3.address) as proxy:
        places = [location(lab, key, proxy.endpoint) for key in keys]
        plain = [artifact(k[-1], "/tmp/d", p, archive=NONE) for k, p in zip(keys, places)]
        step = Step(lab, script, artifacts=[*plain, artifact("t", "/tmp/d")])
        secure(step, "wait", runAsUser=8737, capabilities=DROP)
        run, written = play(lab, tmp_path, step)
        puts = [r["path"] for r in proxy.requests() if r["verb"] == "PUT"]
    assert_ok(run)
    assert written == set()
    expected = {f"{name}{i}": len(f"{i}\n") for i in range(1, count + 1)}
    for key in keys:
        stored = lab.objects(f"{key}/")
        assert {name.removeprefix(f"{key}/"): size for name, size in stored.items()} == expected
    assert len(puts) == len(set(puts)) == 2 * count
    assert len(untgz(lab.get(step.key("t.tgz")))) == count + 1


def test_links_at_the_top_and_inside(lab: Lab, tmp_path: Path) -> None:
    """The one that the template names is followed; the others stay links, or are left out."""
    script = f"{TREE}; ln -s /tmp/d /tmp/to; ln -s /etc/passwd /tmp/d/out; ln -s / /tmp/d/root"
    artifacts = [artifact("d", "/tmp/to"), artifact("n", "/tmp/to", archive=NONE)]
    step = Step(lab, script, artifacts=artifacts)
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    assert written == set()
    members = untgz(lab.get(f"{step.prefix}/d.tgz"))
    assert members["to/out"] == "/etc/passwd" and members["to/root"] == "/"
    assert set(lab.objects(step.prefix)) == {
        f"{step.prefix}/d.tgz",
        f"{step.prefix}/to/e/f",
        f"{step.prefix}/to/g",
    }


def test_absent_and_unreadable(lab: Lab, tmp_path: Path) -> None:
    artifacts = [
        artifact("optional", "/tmp/none", optional=True),
        artifact("absent", "/tmp/none2"),
        artifact("pipe", "/tmp/pipe"),
        artifact("there", "/tmp/d/g", archive=NONE),
    ]
    step = Step(lab, f"{TREE}; mkfifo /tmp/pipe", artifacts=artifacts)
    run, written = play(lab, tmp_path, step)
    message = assert_failure(run.result.containers["wait"], 64)
    assert message == (
        "artifact absent failed to save: /tmp/none2 no such file or directory; "
        "artifact pipe failed to save: /tmp/pipe is not a regular file or directory "
        f"(s3 object {BUCKET}/{step.prefix}/pipe.tgz, permanent); "
    )
    assert run.result.containers["main"].exit_code == 64
    assert written == set()
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["there"]


def test_what_still_runs_is_ended_first(lab: Lab, tmp_path: Path) -> None:
    """As PID 1: nobody writes into what has been handed over."""
    script = (
        "mkdir /tmp/d; (trap '' TERM HUP; while :; do echo x >>/tmp/d/log; done) >/dev/null 2>&1 &"
        "while [ ! -s /tmp/d/log ]; do :; done"
    )
    step = Step(lab, script, artifacts=[artifact("d", "/tmp/d")])
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    assert written == set()
    assert "while it was read" not in run.result.containers["wait"].log


def test_main_is_not_held(lab: Lab, tmp_path: Path) -> None:
    """Neither by the size of its outputs, nor by what becomes of them; and writes nothing."""
    size = 64 << 20
    script = f"truncate -s {size} /tmp/large; mkdir /tmp/d; mv /tmp/large /tmp/d"
    step = Step(lab, script, artifacts=[artifact("d", "/tmp/d")])
    run, written = play(lab, tmp_path, step)
    assert_ok(run)
    main, wait = (run.result.containers[name] for name in ("main", "wait"))
    assert main.finished < wait.finished
    assert written == set()
    assert int(main.io["wchar"]) < 1 << 20
    archive = untgz(lab.get(f"{step.prefix}/d.tgz"))
    assert len(archive["d/large"]) == size


def test_nobody_to_hand_to(lab: Lab, tmp_path: Path) -> None:
    """`wait` has died: the wrapper packs, and does not wait for another one."""
    script = f"{TREE}; echo ready; while [ ! -e /v/go ]; do sleep 0.05; done"
    step = Step(lab, script, artifacts=[artifact("d", "/tmp/d")], mounts=[mount("v", "/v")])
    with step.runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main")
        runner.signal("wait", 9)
        assert runner.wait_state("wait", "terminated", 20)
        (Path(runner.volume_path("v")) / "go").touch()
        result = runner.wait(60)
    assert result.containers["main"].exit_code == 0
    assert packed(tmp_path) == {"tmp/d.tgz"}


def handed_directory(pid: int, name: str) -> Path | None:
    """A directory that a process, or a child of it, holds open: where its files can be reached."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in [str(pid), *children]:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                if os.readlink(link).endswith(name) and (link / "00").exists():
                    return link
            except OSError:
                continue
    return None


def test_a_container_that_is_removed_meanwhile(lab: Lab, tmp_path: Path) -> None:
    """Its files go from under `wait`, which says so and stores nothing that is not whole."""
    files = [f"{number:02}" for number in range(30)]
    script = "mkdir /tmp/d; cd /tmp/d; for i in $FILES; do head -c 2000000 /dev/urandom >$i; done"
    with FaultProxy(lab.s3.address) as proxy:
        proxy.faults.add(verb="PUT", path="d.tgz", action={"kind": "rate", "bytes_per_s": 12_000_000})
        step = Step(
            lab,
            script.replace("$FILES", " ".join(files)),
            artifacts=[artifact("d", "/tmp/d")],
            endpoint=proxy.endpoint,
        )
        with step.runner(volumes_dir=str(tmp_path)) as runner:
            runner.start()
            wait_until_seen(lambda: any("d.tgz" in r["path"] for r in proxy.requests()), "upload")
            assert runner.containers["main"].state == "terminated"
            directory = handed_directory(runner.pid("wait"), "/d")
            assert directory
            for name in files:
                (directory / name).unlink()
            result = runner.wait(60)
    message = assert_failure(result.containers["wait"], 64)
    assert "of 31 entries that were handed over" in message
    assert "was the container removed?" in message
    assert lab.objects(step.prefix) == {}
    assert "artifacts" not in step.outputs()
