"""`artifact delete` in Swift, which deletes many at once, and in OSS, which is asked for each; and a store
that is gone for good."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gc import GcLab
from tests.lab import BUCKET, SECRET
from tests.scenario import wait_until_seen
from tests.servers import swift as swift_server
from tests.servers.oss import OssServer

NAME = "oss-test-1.aliyuncs.com"
MANY = [f"wf/many/{number}" for number in range(40)]
KEPT = ["wf/ab", "wf/d-not", "wf/manyx", "wf/other/a"]
OBJECTS = ["wf/a", "wf/d/1", "wf/d/sub/2", "wf/s/1", *MANY, *KEPT]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcLab]:
    if reason := swift_server.unavailable():
        pytest.skip(reason)
    with GcLab(tmp_path_factory.mktemp("gc")) as lab:
        yield lab


@pytest.fixture
def gc(lab: GcLab) -> Iterator[GcLab]:
    yield lab
    lab.api.clear()


def artifacts(kind: str) -> Json:
    keys = {"a": "wf/a", "d": "wf/d", "s": "wf/s/", "gone": "wf/gone"}
    keys |= {key.replace("/", "-"): key for key in MANY}
    return {name: {kind: {"key": key}} for name, key in keys.items()}


def assert_all(gc: GcLab, nodes: Json) -> None:
    assert gc.outcome() == {name: True for node in nodes.values() for name in node}


def test_swift(gc: GcLab) -> None:
    gc.put(*OBJECTS)
    nodes = {"n": artifacts("s3")}
    gc.add_task(nodes)
    assert gc.run_gc().containers["main"].exit_code == 0
    assert_all(gc, nodes)
    assert sorted(gc.objects()) == KEPT


def test_oss(gc: GcLab) -> None:
    with OssServer((NAME,)) as server:
        server.create_bucket(BUCKET)
        for key in [*OBJECTS, "wf/d/"]:
            server.put(BUCKET, key, b"x")
        place = gc.location(f"{NAME}:{server.port}")["s3"]
        del place["insecure"]
        nodes = {"n": artifacts("oss")}
        gc.add_task(nodes, n={"oss": place})
        keys = {"accesskey": server.access_key, "secretkey": server.secret_key}
        hosts = {NAME: server.host, f"{BUCKET}.{NAME}": server.host}
        result = gc.run_gc(secrets={SECRET: keys}, hosts=hosts)
        assert result.containers["main"].exit_code == 0
        assert_all(gc, nodes)
        assert sorted(server.objects(BUCKET)) == KEPT


def test_two_stores(gc: GcLab) -> None:
    """One of them has been gone for good: the other's artifacts are deleted meanwhile, and their results
    are there before anybody gives up. Who is stopped then has not failed."""
    gc.put("wf/a")
    gone = gc.location("127.0.0.1:9", region="us-east-1")
    nodes = {"n": {"a": {"s3": {"key": "wf/a"}}}, "m": {"b": {"s3": {"key": "wf/b"}}}}
    gc.add_task(nodes, m=gone)
    with gc.gc_runner() as runner:
        runner.start()
        wait_until_seen(lambda: gc.outcome() == {"a": True}, "the other store's result")
        runner.signal("main", 15)
        assert runner.wait(30).containers["main"].exit_code == 143
    assert gc.outcome() == {"a": True}
