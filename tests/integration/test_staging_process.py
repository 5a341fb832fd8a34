"""The process that loads and saves for its role: killed at some instants, and what comes of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import BUCKET, Lab
from tests.scenario import (
    Step,
    artifact,
    assert_failure,
    location,
    mount,
    stop_and_time,
    untgz,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20
NONE = {"none": {}}
PROCESS = "argoexec-stage"


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


def children(runner, container: str) -> list[tuple[int, str]]:
    """Pid and name of each child of the role of CONTAINER."""
    role = runner.pid(container)
    pids = Path(f"/proc/{role}/task/{role}/children").read_text().split()
    return [(int(pid), Path(f"/proc/{pid}/comm").read_text().strip()) for pid in pids]


def staging(runner, container: str) -> int:
    """The pid of the child that stages for CONTAINER, 0 if there is none."""
    try:
        return next((pid for pid, name in children(runner, container) if name == PROCESS), 0)
    except (OSError, KeyError):
        return 0


def kill_next(runner, container: str, before: int) -> int:
    """Kills the child that is not BEFORE; its pid."""
    wait_until_seen(lambda: staging(runner, container) not in (0, before), "a staging process")
    pid = staging(runner, container)
    if pid not in (0, before):
        os.kill(pid, signal.SIGKILL)
    return pid


LEAVE = f"echo small >/v/s; head -c {6 * MIB} /dev/urandom >/v/l"


def saving(lab: Lab, proxy: FaultProxy, script: str = LEAVE) -> tuple[Step, str]:
    key = f"staging/{os.urandom(8).hex()}"
    step = Step(
        lab,
        script,
        artifacts=[artifact("large", "/v/l", archive=NONE), artifact("small", "/v/s", archive=NONE)],
        mounts=[mount("v", "/v")],
        repository=location(lab, key, proxy.endpoint),
    )
    return step, key


def stored(lab: Lab, key: str) -> dict[str, int]:
    return {name.rsplit("/", 1)[-1]: size for name, size in lab.objects(key).items()}


@pytest.mark.parametrize("sent", [0, 100_000, 3 * MIB])
def test_killed_while_it_saves(lab: Lab, proxy: FaultProxy, sent: int) -> None:
    """One death is made good: everything is stored and reported, once."""
    rule = proxy.faults.add(
        verb="PUT", path="/l", count=1, action={"kind": "stall_request", "bytes": sent}
    )
    step, key = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        kill_next(runner, "wait", 0)
        result = runner.wait(60)
        log = runner.log("wait")
    assert result.containers["wait"].exit_code == 0, log
    assert "was killed by signal 9" in log
    assert stored(lab, key) == {"l": 6 * MIB, "s": 6}
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["large", "small"]


def unanswered(lab: Lab, proxy: FaultProxy, before_death) -> tuple[Step, str]:
    """`large` has arrived, its answer has not: BEFORE_DEATH(key), and the staging process dies."""
    rule = proxy.faults.add(verb="PUT", path="/l", count=1, action={"kind": "stall"})
    step, key = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1 and stored(lab, key).get("l") == 6 * MIB, "it")
        before_death(f"{key}/l")
        kill_next(runner, "wait", 0)
        result = runner.wait(60)
        content = Path(runner.volume_path("v"), "l").read_bytes()
    assert_ok_result(result)
    assert lab.get(f"{key}/l") == content
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["large", "small"]
    return step, key


def test_what_has_arrived_is_not_sent_again(lab: Lab, proxy: FaultProxy) -> None:
    unanswered(lab, proxy, lambda key: None)
    assert asked(proxy, "HEAD", "/l") == 1
    assert asked(proxy, "PUT", "/l") == 1


def test_what_is_there_instead_is_replaced(lab: Lab, proxy: FaultProxy) -> None:
    """As large, and as new: somebody else's."""
    another = os.urandom(6 * MIB)
    unanswered(lab, proxy, lambda key: lab.s3.client().put(BUCKET, key, another))
    assert asked(proxy, "PUT", "/l") == 2


def test_who_may_not_look_sends_again(lab: Lab, proxy: FaultProxy) -> None:
    """Credentials that only write."""
    proxy.faults.add(verb="HEAD", action={"kind": "status", "status": 403})
    unanswered(lab, proxy, lambda key: None)
    assert asked(proxy, "HEAD", "/l") == 1
    assert asked(proxy, "PUT", "/l") == 2


def test_none_before_there_is_work(lab: Lab, proxy: FaultProxy) -> None:
    script = "touch /v/ready; while [ ! -e /v/go ]; do sleep 0.05; done; echo x >/v/l; echo s >/v/s"
    step, key = saving(lab, proxy, script)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: "v" in runner.volumes, "a volume")
        volume = Path(runner.volume_path("v"))
        wait_until_seen(lambda: (volume / "ready").exists(), "main")
        assert children(runner, "wait") == []
        (volume / "go").touch()
        assert runner.wait(60).containers["wait"].exit_code == 0, runner.log("wait")
    assert stored(lab, key) == {"l": 2, "s": 2}


def test_killed_again_and_again(lab: Lab, proxy: FaultProxy) -> None:
    """The artifact that was under way each time fails, and says why; the other one is there."""
    proxy.faults.add(verb="PUT", path="/l", action={"kind": "stall_request", "bytes": 1000})
    step, key = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: "s" in stored(lab, key), "the small one")
        pid = 0
        for stalls in range(1, 5):
            wait_until_seen(
                lambda: sum(r["path"].endswith("/l") for r in proxy.requests()) >= stalls,
                "an upload",
            )
            pid = kill_next(runner, "wait", pid)
        result = runner.wait(60)
    message = assert_failure(result.containers["wait"], 64, "artifact large failed to save")
    assert "the staging process was killed by signal 9" in message
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["small"]


def two_inputs(lab: Lab, proxy: FaultProxy, times: int | None = 1) -> tuple[Step, str]:
    """A small input, and one whose first download (None: each of them) stalls in the middle."""
    prefix = f"staging/{os.urandom(8).hex()}"
    sizes = {"small": 1000, "large": 2 * MIB}
    for name, size in sizes.items():
        lab.s3.client().put(BUCKET, f"{prefix}/{name}", os.urandom(size))
    stall = {"kind": "stall", "bytes": MIB}
    proxy.faults.add(verb="GET", path=f"{prefix}/large", count=times, action=stall)
    inputs = [
        artifact(name, f"/in/{name}", location(lab, f"{prefix}/{name}", proxy.endpoint), archive=NONE)
        for name in sizes
    ]
    check = " && ".join(f"[ $(wc -c </in/{name}) = {size} ]" for name, size in sizes.items())
    return Step(lab, check, inputs=inputs), prefix


def asked(proxy: FaultProxy, verb: str, path: str) -> int:
    """Requests for a path that ends so."""
    return sum(r["verb"] == verb and r["path"].endswith(path) for r in proxy.requests())


def test_killed_while_it_loads(lab: Lab, proxy: FaultProxy) -> None:
    """What is in its place is not loaded again."""
    step, prefix = two_inputs(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: asked(proxy, "GET", f"{prefix}/large") == 1, "a download")
        wait_until_seen(lambda: "Loaded artifact" in runner.log("init"), "the small one")
        kill_next(runner, "init", 0)
        result = runner.wait(60)
    assert_ok_result(result)
    assert asked(proxy, "GET", f"{prefix}/small") == 1
    assert asked(proxy, "GET", f"{prefix}/large") == 2


def test_killed_again_and_again_while_it_loads(lab: Lab, proxy: FaultProxy) -> None:
    step, prefix = two_inputs(lab, proxy, times=None)
    with step.runner() as runner:
        runner.start()
        pid = 0
        for stalls in range(1, 5):
            wait_until_seen(
                lambda: asked(proxy, "GET", f"{prefix}/large") >= stalls, "a download"
            )
            pid = kill_next(runner, "init", pid)
        result = runner.wait(60)
    message = assert_failure(result.containers["init"], 64, "artifact large failed to load")
    assert "the staging process was killed by signal 9 (out of memory?), 4 times" in message


def test_what_a_dead_one_has_begun_is_aborted(lab: Lab, proxy: FaultProxy) -> None:
    """An upload in parts that nobody would complete."""
    rule = proxy.faults.add(
        verb="PUT", path="partNumber=2", count=1, action={"kind": "stall_request", "bytes": 1000}
    )
    step, key = saving(lab, proxy, f"head -c {20 * MIB} /dev/urandom >/v/l; echo x >/v/s")
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        kill_next(runner, "wait", 0)
        result = runner.wait(60)
    assert_ok_result(result)
    assert stored(lab, key) == {"l": 20 * MIB, "s": 2}
    begun, completed, aborted = uploads(proxy)
    assert len(begun) == 2 and len(completed) == 1 and completed | aborted == begun


@pytest.mark.parametrize("large", ["file", "directory"])
def test_what_the_last_one_has_begun_is_aborted(lab: Lab, proxy: FaultProxy, large: str) -> None:
    """The artifact fails for good, in the middle of an upload in parts; no such upload stays."""
    rule = proxy.faults.add(
        verb="PUT", path="partNumber=2", action={"kind": "stall_request", "bytes": 1000}
    )
    file = "/v/l" if large == "file" else "/v/l/f"
    script = f"mkdir -p $(dirname {file}); head -c {20 * MIB} /dev/urandom >{file}; echo x >/v/s"
    step, key = saving(lab, proxy, script)
    with step.runner() as runner:
        runner.start()
        pid = 0
        for stalls in range(1, 5):
            wait_until_seen(lambda: rule.fired >= stalls, "an upload")
            pid = kill_next(runner, "wait", pid)
        result = runner.wait(60)
    assert_failure(result.containers["wait"], 64, "artifact large failed to save: the staging")
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["small"]
    begun, completed, aborted = uploads(proxy)
    assert len(begun) == 4 and completed == set() and aborted == begun
    assert not [k for k in lab.s3.client().list_uploads(BUCKET).values() if k.startswith(key)]


def uploads(proxy: FaultProxy) -> tuple[set[str], set[str], set[str]]:
    """The ids of uploads that parts were sent to, that were completed, and that were aborted."""
    requests = [(r["verb"], r["path"]) for r in proxy.requests() if "uploadId=" in r["path"]]
    ids: dict[str, set[str]] = {"PUT": set(), "POST": set(), "DELETE": set()}
    for verb, path in requests:
        ids[verb].add(path.split("uploadId=")[1].split("&")[0])
    return ids["PUT"], ids["POST"], ids["DELETE"]


def test_killed_while_it_sends_what_was_handed_over(lab: Lab, proxy: FaultProxy) -> None:
    """The role keeps the descriptor: main has ended, and yet another process reads all of it."""
    rule = proxy.faults.add(
        verb="PUT", path="/d.tgz", count=1, action={"kind": "stall_request", "bytes": 100_000}
    )
    key = f"staging/{os.urandom(8).hex()}"
    script = "mkdir -p /tmp/d/e; head -c 1000000 /dev/urandom >/tmp/d/e/f; echo top >/tmp/d/g"
    place = location(lab, key, proxy.endpoint)
    step = Step(lab, script, artifacts=[artifact("d", "/tmp/d")], repository=place)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        kill_next(runner, "wait", 0)
        result = runner.wait(60)
    assert_ok_result(result)
    members = untgz(lab.get(f"{key}/d.tgz"))
    assert sorted(members) == ["d", "d/e", "d/e/f", "d/g"]
    content = members["d/e/f"]
    assert isinstance(content, bytes) and len(content) == 1_000_000


def assert_ok_result(result) -> None:
    codes = {name: container.exit_code for name, container in result.containers.items()}
    assert set(codes.values()) == {0}, codes


def test_a_role_takes_it_along(lab: Lab, proxy: FaultProxy) -> None:
    """Init is stopped: within 0.1 s (on a machine of its own) it ends, and its child before it."""
    key = f"staging/{os.urandom(8).hex()}"
    lab.s3.client().put(BUCKET, key, os.urandom(2 * MIB))
    rule = proxy.faults.add(verb="GET", path=key, action={"kind": "stall", "bytes": MIB})
    place = location(lab, key, proxy.endpoint)
    with Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init().runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "a download")
        child = staging(runner, "init")
        assert child
        assert stop_and_time(runner, "init") < 2
        assert not Path(f"/proc/{child}").exists()
        assert runner.wait(30).containers["init"].exit_code == 143


def test_a_role_ends_one_that_hangs(lab: Lab, proxy: FaultProxy) -> None:
    """It does not hear that it is to end: its role (on a machine of its own, after 0.06 s) goes on."""
    step, prefix = two_inputs(lab, proxy)
    with step.only_init().runner() as runner:
        runner.start()
        wait_until_seen(lambda: asked(proxy, "GET", f"{prefix}/large") == 1, "a download")
        child = staging(runner, "init")
        os.kill(child, signal.SIGSTOP)
        seconds = stop_and_time(runner, "init")
        print(f"{seconds:.3f} s")
        assert seconds < 2
        assert not Path(f"/proc/{child}").exists()
        assert runner.wait(30).containers["init"].exit_code == 143


def test_a_killed_role_takes_it_along(lab: Lab, proxy: FaultProxy) -> None:
    step, prefix = two_inputs(lab, proxy)
    with step.only_init().runner() as runner:
        runner.start()
        wait_until_seen(lambda: asked(proxy, "GET", f"{prefix}/large") == 1, "a download")
        child = Path(f"/proc/{staging(runner, 'init')}")
        assert child.exists()
        os.kill(runner.pid("init"), signal.SIGKILL)
        wait_until_seen(lambda: not child.exists(), "its end")
        assert runner.wait(30).containers["init"].exit_code == 137


def test_signals_are_the_roles(lab: Lab, proxy: FaultProxy) -> None:
    """The child has a group of its own and blocks what can be blocked, but for the one signal that
    tells it of a forbidden system call, and which does nothing when somebody else sends it."""
    step, prefix = two_inputs(lab, proxy)
    with step.only_init().runner() as runner:
        runner.start()
        wait_until_seen(lambda: asked(proxy, "GET", f"{prefix}/large") == 1, "a download")
        child = staging(runner, "init")
        assert os.getpgid(child) == child != os.getpgid(runner.pid("init"))
        lines = Path(f"/proc/{child}/status").read_text().splitlines()
        blocked = next(int(l.split()[1], 16) for l in lines if l.startswith("SigBlk:"))
        never = 1 << (signal.SIGKILL - 1) | 1 << (signal.SIGSTOP - 1)
        caught = next(int(l.split()[1], 16) for l in lines if l.startswith("SigCgt:"))
        assert caught & ~blocked == 1 << (signal.SIGSYS - 1)
        assert blocked | caught | never == (1 << 64) - 1
        os.kill(child, signal.SIGSYS)
        wait_until_seen(lambda: is_handled(child), "SIGSYS")
        assert staging(runner, "init") == child
        runner.stop(0)


def is_handled(pid: int) -> bool:
    """No signal of PID is pending that it does not block."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = dict(l.split() for l in lines if l.startswith(("Sig", "Shd")) and "/" not in l)
    pending = int(masks["SigPnd:"], 16) | int(masks["ShdPnd:"], 16)
    return pending & ~int(masks["SigBlk:"], 16) == 0


def test_it_holds_nothing_of_its_role(lab: Lab, proxy: FaultProxy) -> None:
    """No descriptor of the role, which listens for wrappers and talks to the API server."""
    rule = proxy.faults.add(verb="PUT", path="/l", action={"kind": "stall_request", "bytes": 1000})
    step, _ = saving(lab, proxy)
    with step.runner() as runner:
        runner.start()
        wait_until_seen(lambda: rule.fired == 1, "an upload")
        child, role = staging(runner, "wait"), runner.pid("wait")
        common = sockets(child) & sockets(role)
        assert common == set()
        runner.stop(0)


def sockets(pid: int) -> set[str]:
    """What identifies each socket of a process, but for the standard streams."""
    links = (os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir() if int(f.name) > 2)
    return {link for link in links if link.startswith("socket:")}
