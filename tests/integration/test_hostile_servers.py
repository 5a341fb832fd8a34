"""Servers that lie, break off, lead in circles, and disks that are full: each time one error that names
artifact, key and class, the other artifacts go on, and nothing half-written stays.

Real servers do none of this on request, so the liars are scripts (tests/servers/scripted.py): what counts
is what we do with the bytes, whoever sends them."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.lab import SECRET, Lab
from tests.scenario import (
    Json,
    Step,
    artifact,
    assert_failure,
    assert_ok,
    in_memory,
    label_of,
    location,
    mount,
    raw,
)
from tests.servers.scripted import Answer, Scripted, answer, trickle
from tests.store_driver import Store

MIB = 1 << 20
ETAG = '"0123456789abcdef0123456789abcdef"'
DATA = bytes(range(256)) * 4096
HTML = b"<!DOCTYPE html><html><body><h1>Welcome to the portal</h1></body></html>"
# Two rounds of an operation, with short pauses; an outage is looked at for a minute all the same.
HASTE = {"EXECUTOR_RETRY_BACKOFF_STEPS": "2", "EXECUTOR_RETRY_BACKOFF_DURATION": "10ms"}


def s3(lab: Lab, server: Scripted, key: str = "some/key") -> Json:
    """A location there. The region is known: nobody asks for it."""
    return location(lab, key, server.endpoint, region="us-east-1")


def web(server: Scripted) -> Json:
    return {"http": {"url": f"{server.url}/some/key"}}


def oss(server: Scripted, key: str = "some/key") -> Json:
    secrets = {f"{name}KeySecret": {"name": SECRET, "key": f"{name}key"} for name in ("access", "secret")}
    return {"oss": {"endpoint": server.url, "bucket": "bucket", "key": key, **secrets}}


KINDS = ["s3", "oss", "http"]


def place_of(kind: str, lab: Lab, server: Scripted) -> Json:
    return {"s3": lambda: s3(lab, server), "oss": lambda: oss(server), "http": lambda: web(server)}[kind]()


def hurry(step: Step, container: str) -> Step:
    for name, value in HASTE.items():
        step.set_env(container, name, value)
    return step


def load_fails(lab: Lab, directory: Path, place: Json, *texts: str) -> None:
    """init ends with one error that names the artifact; nothing of it is left."""
    step = hurry(Step(lab, inputs=[artifact("bad", "/in/bad", place)]).only_init(), "init")
    run = step.run(volumes_dir=str(directory), controller=False)
    assert_failure(run.result.containers["init"], 64, "artifact bad failed to load", "permanent", *texts)
    assert os.listdir(directory / "input-artifacts") == []


def save_fails(lab: Lab, place: Json, *texts: str, script: str = "echo 1 >/tmp/f") -> None:
    """wait ends with one error that names the artifact, and the artifact beside it is stored."""
    artifacts = [
        artifact("bad", "/tmp/f", place, archive={"none": {}}),
        artifact("good", "/tmp/f", archive={"none": {}}),
    ]
    step = hurry(Step(lab, script, artifacts=artifacts), "wait")
    run = step.run()
    message = assert_failure(
        run.result.containers["wait"], 64, "artifact bad failed to save", "permanent", *texts
    )
    assert "artifact good" not in message
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["good"]
    assert step.key("f") in lab.objects(step.prefix)
    assert label_of(run.task_result) == "true"


# --- answers to a read ----------------------------------------------------------------------------


def shifted(_lines: list[str], peer: socket.socket) -> bytes:
    """Whatever range is asked for, another one comes."""
    head = {"etag": ETAG, "content_range": f"bytes 7-{len(DATA) - 1}/{len(DATA)}"}
    return answer(DATA[7:], "206 Partial Content", **head)


LIES: dict[str, tuple[list[Answer], tuple[str, ...]]] = {
    # Cut in the middle, and then another range than was asked for.
    "range": ([answer(DATA[:MIB // 2], length=len(DATA), etag=ETAG), shifted], ("some/key",)),
    # The version changes between the two halves.
    "etag": (
        [
            answer(DATA[: MIB // 2], length=len(DATA), etag=ETAG),
            answer(status="412 Precondition Failed"),
        ],
        ("some/key", "replaced"),
    ),
    "etag-ignored": (
        [
            answer(DATA[: MIB // 2], length=len(DATA), etag=ETAG),
            answer(DATA[1:] + b"x", etag='"another"'),
        ],
        ("some/key",),
    ),
    # A page of a captive portal, instead of an error document.
    "html-403": ([answer(HTML, "403 Forbidden")], ("some/key", "403")),
    "html-400": ([answer(HTML, "400 Bad Request")], ("some/key", "400")),
    "negative": (
        [b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc"],
        ("some/key",),
    ),
    "no-http": ([b"220 mail.example ESMTP\r\n"], ("some/key",)),
    "many-headers": (
        [b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 200000 + b"\r\n\r\n"],
        ("some/key", "headers"),
    ),
}


def driver(directory: Path, place: Json) -> Store:
    """One operation of a store by itself: much faster than a pod."""
    ((kind, fields),) = place.items()
    folder = directory / "secrets" / SECRET
    folder.mkdir(parents=True)
    for name in ("accesskey", "secretkey"):
        (folder / name).write_text("key")
    (directory / "secrets/cred").mkdir()
    (directory / "secrets/cred/sk").write_text("a secret")
    return Store(kind, directory / "secrets", dict(fields), dict(HASTE))


def refused(directory: Path, place: Json, texts: Sequence[str], *operation: object) -> str:
    store = driver(directory, place)
    error = store.bad(store.location.get("key", ""), *operation).error
    assert error.startswith("permanent: ")
    for text in texts:
        assert text in error
    assert "Welcome" not in error and len(error) < 1000
    assert "permanent" in error.removeprefix("permanent: ")
    return error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lie", LIES)
def test_lies_to_a_reader(lab: Lab, tmp_path: Path, kind: str, lie: str) -> None:
    answers, texts = LIES[lie]
    with Scripted(answers) as server:
        refused(tmp_path, place_of(kind, lab, server), texts, "get", tmp_path / "out")
        assert len(server.requests) < 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_liar_in_a_pod(lab: Lab, tmp_path: Path, kind: str) -> None:
    with Scripted(LIES["etag"][0]) as server:
        load_fails(lab, tmp_path, place_of(kind, lab, server), "some/key", "was replaced while it was read")


def early(data: bytes, cut: int) -> Answer:
    return answer(data[:cut], length=len(data), etag=ETAG)


@pytest.mark.parametrize("store", KINDS)
def test_closes_early_and_then_not(lab: Lab, tmp_path: Path, store: str) -> None:
    """Length and ETag let it go on where it was: the file is whole."""
    rest = {"etag": ETAG, "content_range": f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"}
    script = [early(DATA, 1000), answer(DATA[1000:], "206 Partial Content", **rest)]
    with Scripted(script) as server:
        place = place_of(store, lab, server)
        step = hurry(Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init(), "init")
        assert_ok(step.run(volumes_dir=str(tmp_path), controller=False))
    assert (tmp_path / "input-artifacts/a").read_bytes() == DATA


def test_trickles(lab: Lab, tmp_path: Path) -> None:
    """Slow is not broken, and holds up nobody else."""
    with Scripted([trickle(b"0123456789", 0.05, etag=ETAG)]) as server:
        inputs = [
            artifact("slow", "/in/slow", s3(lab, server)),
            artifact("web", "/in/web", web(server)),
            artifact("oss", "/in/oss", oss(server)),
            artifact("a", "/in/a", raw("x")),
        ]
        step = hurry(Step(lab, inputs=inputs).only_init(), "init")
        assert_ok(step.run(volumes_dir=str(tmp_path), controller=False))
    for name in ("slow", "web", "oss"):
        assert (tmp_path / "input-artifacts" / name).read_bytes() == b"0123456789"
    assert (tmp_path / "input-artifacts/a").read_bytes() == b"x"


def test_redirects_for_ever(lab: Lab, tmp_path: Path) -> None:
    def again(lines: list[str], _peer: socket.socket) -> bytes:
        return answer(status="302 Found", location=lines[0].split()[1] + "x")

    with Scripted([again]) as server:
        refused(tmp_path / "1", web(server), ["too many redirects"], "get", tmp_path / "out")
        assert len(server.requests) == 11
    elsewhere = answer(status="307 Temporary Redirect", location="http://127.0.0.1:1/")
    for kind in ("s3", "oss"):
        with Scripted([elsewhere]) as server:
            place = place_of(kind, lab, server)
            refused(tmp_path / kind, place, ["some/key", "307"], "get", tmp_path / "out")


def test_regions_in_a_circle(lab: Lab, tmp_path: Path) -> None:
    """Each region names the other one."""
    regions = itertools.cycle(["us-east-1", "eu-west-1"])

    def elsewhere(_lines: list[str], _peer: socket.socket) -> bytes:
        region = next(regions)
        document = f"<Error><Code>PermanentRedirect</Code><Region>{region}</Region></Error>".encode()
        return answer(document, "301 Moved Permanently", content_type="application/xml")

    with Scripted([elsewhere]) as server:
        store = driver(tmp_path, s3(lab, server))
        error = store.bad("some/key", "get", tmp_path / "out").error
        assert "some/key" in error and "PermanentRedirect" in error
        assert len(server.requests) < 20


# --- pages of a list ------------------------------------------------------------------------------


def page(keys: list[str], token: str | None) -> bytes:
    contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    truncated = "true" if token is not None else "false"
    body = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{contents}{more}"
    return answer(f"{body}</ListBucketResult>".encode(), content_type="application/xml")


def lister(pages: Callable[[list[str]], bytes]) -> Answer:
    """No object of that name; lists are as told; every object below is one byte."""

    def reply(lines: list[str], _peer: socket.socket) -> bytes:
        target = lines[0].split()[1]
        if "list-type=2" in target:
            return pages(lines)
        if "/some/key/" in target:
            return answer(b"x", etag=ETAG)
        document = b"<Error><Code>NoSuchKey</Code></Error>"
        return answer(document, "404 Not Found", content_type="application/xml")

    return reply


PAGES: dict[str, Callable[[list[str]], bytes]] = {
    "loop": lambda _lines: page(["some/key/a"], "again"),
    "no-token": lambda _lines: page(["some/key/a"], ""),
    "empty-for-ever": lambda _lines: page([], "again"),
    "html": lambda _lines: answer(HTML, content_type="text/html"),
    "cut": lambda _lines: answer(b"<ListBucketResult><Contents><Key>some/key/a</Key>"),
    "upwards": lambda _lines: page(["some/key/../../../../etc/x"], None),
}


@pytest.mark.parametrize("store", ["s3", "oss"])
@pytest.mark.parametrize("kind", PAGES)
def test_lists(lab: Lab, tmp_path: Path, kind: str, store: str) -> None:
    with Scripted([lister(PAGES[kind])]) as server:
        refused(tmp_path, place_of(store, lab, server), ["some/key/"], "list")
        assert len(server.requests) < 50


def test_a_list_that_leads_outside(lab: Lab, tmp_path: Path) -> None:
    with Scripted([lister(PAGES["upwards"])]) as server:
        load_fails(lab, tmp_path / "v", s3(lab, server), "illegal object key 'some/key/../")
    assert not (tmp_path / "etc").exists()


# --- answers to a write ---------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Answer, tuple[str, ...]]] = {
    "html": (answer(HTML, "403 Forbidden"), ("some/key", "403")),
    "redirect": (
        answer(status="302 Found", location="/elsewhere"),
        ("some/key", "302"),
    ),
    "no-http": (b"\x15\x03\x01\x00\x02\x02\x46", ("some/key",)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", REFUSALS)
def test_refusals_of_a_writer(lab: Lab, tmp_path: Path, kind: str, way: str) -> None:
    reply, texts = REFUSALS[way]
    (tmp_path / "in").write_bytes(b"1")
    with Scripted([reply]) as server:
        refused(tmp_path, place_of(kind, lab, server), texts, "put-file", tmp_path / "in", "f", "")
        assert len(server.requests) < 20


def test_a_refusal_in_a_pod(lab: Lab) -> None:
    reply, texts = REFUSALS["html"]
    with Scripted([reply]) as server:
        save_fails(lab, s3(lab, server), *texts)


def test_success_that_is_none(lab: Lab) -> None:
    """A 200 without ETag to a part is not taken for one; nor an Error document under a 200."""
    begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"

    def reply(lines: list[str], _peer: socket.socket) -> bytes:
        verb, target = lines[0].split()[:2]
        if verb == "POST" and "uploads" in target:
            return answer(begun.encode(), content_type="application/xml")
        if verb == "DELETE":
            aborted.append(target)
            return answer(status="204 No Content")
        return answer()

    aborted: list[str] = []
    with Scripted([reply]) as server:
        save_fails(
            lab,
            s3(lab, server),
            "some/key",
            script="head -c 20000000 /dev/zero >/tmp/f",
        )
    assert aborted and all("uploadId=u" in target for target in aborted)


# --- secrets --------------------------------------------------------------------------------------


def test_secrets_with_line_ends(lab: Lab) -> None:
    """What editors leave behind a value is not part of it: S3 signs, and the object is there."""
    step = Step(
        lab, "echo 1 >/tmp/f", artifacts=[artifact("f", "/tmp/f", archive={"none": {}})]
    )
    values = {"accesskey": lab.s3.access_key + "\r\n", "secretkey": lab.s3.secret_key + " \n\n"}
    assert_ok(step.run(secrets={SECRET: values}))
    assert lab.get(step.key("f")) == b"1\n"


# --- disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["4Ki", "64Ki", "256Ki", "1Mi", "1900Ki"])
def test_no_room_to_pack_a_small_output(lab: Lab, size: str) -> None:
    """Wherever the disk is full: either all of it is stored, or it is said that nothing is; an empty or
    cut archive is never reported. Over HTTP it takes room, since the length goes first."""
    with Scripted([answer(status="201 Created")]) as server:
        artifacts = [
            artifact("own", "/tmp/d"),
            artifact("own-zip", "/tmp/d", archive={"zip": {}}),
            artifact("own-plain", "/tmp/d/f", archive={"none": {}}),
            artifact("volume", "/v/f"),
            artifact("spooled", "/v/f", web(server)),
        ]
        step = Step(
            lab,
            "mkdir /tmp/d; head -c 2000000 /dev/urandom >/tmp/d/f; cp /tmp/d/f /v/f",
            artifacts=artifacts,
            mounts=[mount("v", "/v")],
        )
        in_memory(step, "tmp-dir-argo", size)
        run = step.run()
        assert server.requests == []
    stored = {a["name"]: a["s3"]["key"] for a in step.outputs()["artifacts"]}
    objects = lab.objects(step.prefix)
    failed = {a["name"] for a in artifacts} - set(stored)
    assert "volume" in stored and "spooled" in failed
    message = assert_failure(run.result.containers["wait"], 64, "no space left on device")
    for name, key in stored.items():
        assert objects[key] >= 2000000, name
    for name in failed:
        assert f"artifact {name} failed to save" in message
    assert message.count(", permanent)") == len(failed), message
    for name in failed:
        assert not [key for key in objects if key.startswith(step.key(f"{name}."))]
    assert label_of(run.task_result) == "true"
