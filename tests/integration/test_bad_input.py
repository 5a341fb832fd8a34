"""Templates, settings, secrets, disks and archives that no controller or user should produce, and
some do: one line that says what is wrong, the exit status of the contract, nothing half-done."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.pod import PodRunner
from tests.scenario import (
    Step,
    artifact,
    assert_failure,
    assert_ok,
    describe,
    in_memory,
    label_of,
    leftovers,
    location,
    mount,
    raw,
    tgz,
)
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20
EXECUTORS = ["init", "wait"]


# --- templates ------------------------------------------------------------------------------------


def with_artifact(**fields: object) -> str:
    entry = {"name": "a", "path": "/a", "raw": {"data": "x"}, **fields}
    return json.dumps({"inputs": {"artifacts": [entry]}, "container": {"image": "i"}})


TEMPLATES = {
    "empty": ("", ""),
    "no-json": ("hello", ""),
    "truncated": ('{"name": "a", "container": {"image": "i"', ""),
    "trailing": ('{"name": "a"} x', ""),
    "deep-arrays": ('{"a":' + "[" * 60000 + "]" * 60000 + "}", ""),
    "deep-objects": ('{"a":' * 20000 + "1" + "}" * 20000, ""),
    "array": ("[]", "object"),
    "null": ("null", "object"),
    "inputs-number": ('{"inputs": 5, "container": {}}', "inputs"),
    "artifacts-object": ('{"inputs": {"artifacts": {}}, "container": {}}', "inputs.artifacts"),
    "artifact-text": ('{"inputs": {"artifacts": ["a"]}, "container": {}}', "artifacts[0]"),
    "name-missing": ('{"inputs": {"artifacts": [{"path": "/a"}]}, "container": {}}', "name"),
    "name-number": (with_artifact(name=5), "name"),
    "name-slash": (with_artifact(name="../x"), "../x"),
    "name-long": (with_artifact(name="a" + "é" * 300), "name"),
    "path-list": (with_artifact(path=["/a"]), "path"),
    "mode-text": (with_artifact(mode="420"), "mode"),
    "mode-fraction": (with_artifact(mode=420.5), "mode"),
    "mode-large": (with_artifact(mode=99999), "mode"),
    "optional-text": (with_artifact(optional="yes"), "optional"),
    "archive-text": (with_artifact(archive="tar"), "archive"),
    "level-text": (with_artifact(archive={"tar": {"compressionLevel": "9"}}), "compressionLevel"),
    "s3-text": (with_artifact(s3="bucket"), "s3"),
    "s3-endpoint": (with_artifact(s3={"endpoint": 9000, "key": "k"}), "s3.endpoint"),
    "raw-number": (with_artifact(raw={"data": 5}), "data"),
    "outputs-list": ('{"outputs": [], "container": {}}', "outputs"),
    "parameter-path": (
        '{"outputs": {"parameters": [{"name": "p", "valueFrom": {"path": 1}}]}, "container": {}}',
        "path",
    ),
    "source-number": ('{"script": {"source": 1}}', "source"),
    "two-locations": (
        with_artifact(s3={"key": "k"}),
        "artifact a: field inputs.artifacts[0]: two locations, s3 and raw",
    ),
    "two-locations-of-an-output": (
        '{"outputs": {"artifacts": [{"name": "o", "path": "/o", "oss": {"key": "k"},'
        ' "gcs": {"key": "k"}}]}, "container": {}}',
        "artifact o: field outputs.artifacts[0]: two locations, oss and gcs",
    ),
    "two-archive-locations": (
        '{"archiveLocation": {"s3": {"bucket": "b"}, "gcs": {"bucket": "b"}}, "container": {}}',
        "archiveLocation: two locations, s3 and gcs",
    ),
    "name-twice": (
        '{"inputs": {"artifacts": [{"name": "a", "path": "/a", "raw": {"data": "x"}},'
        ' {"name": "a", "path": "/b", "raw": {"data": "y"}}]}, "container": {}}',
        'inputs.artifacts: the name "a" is not unique',
    ),
    "output-name-twice": (
        '{"outputs": {"artifacts": [{"name": "o", "path": "/a"}, {"name": "o", "path": "/b"}]},'
        ' "container": {}}',
        'outputs.artifacts: the name "o" is not unique',
    ),
    "parameter-name-twice": (
        '{"outputs": {"parameters": [{"name": "p"}, {"name": "p"}]}, "container": {}}',
        'outputs.parameters: the name "p" is not unique',
    ),
    "name-empty": (with_artifact(name=""), 'name: "" is not a usable name'),
    "name-dot": (with_artifact(name="."), 'name: "." is not a usable name'),
    "name-of-two-dots": (with_artifact(name=".."), 'name: ".." is not a usable name'),
    "output-name-slash": (
        '{"outputs": {"artifacts": [{"name": "x/y", "path": "/a"}]}, "container": {}}',
        'name: "x/y" is not a usable name',
    ),
    "output-name-space": (
        '{"outputs": {"artifacts": [{"name": "x y", "path": "/a"}]}, "container": {}}',
        'outputs.artifacts[0].name: "x y" cannot be reported',
    ),
    "parameter-name-dot": (
        '{"outputs": {"parameters": [{"name": "p.q", "valueFrom": {"path": "/a"}}]},'
        ' "container": {}}',
        'outputs.parameters[0].name: "p.q" cannot be reported',
    ),
    "member-name": (
        '{"containerSet": {"containers": [{"name": "../x"}]}}',
        'containerSet.containers[0].name: "../x" is no DNS label',
    ),
    "location-list": ('{"archiveLocation": [], "container": {}}', "archiveLocation"),
}
# What is only looked at when it is needed is an error of that artifact.
LATE = {"raw-number": 64}


@pytest.mark.parametrize("name", TEMPLATES)
def test_init_refuses_a_template(lab: Lab, tmp_path: Path, name: str) -> None:
    text, field = TEMPLATES[name]
    step = Step(lab, inputs=[artifact("a", "/a", raw("x"))]).only_init()
    step.set_template(text)
    run = step.run(volumes_dir=str(tmp_path), controller=False)
    message = assert_failure(run.result.containers["init"], LATE.get(name, 2), field)
    assert len(message) < 1000
    if name not in LATE:
        assert os.listdir(tmp_path / "var-run-argo") == []
    assert os.listdir(tmp_path / "input-artifacts") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b'{"name": "a\0b"}',
        b'{"name": ' + b"[" * 100000,
        b"x" * 9 * MIB,
        b"\xff\xfe{}",
        TEMPLATES["two-locations-of-an-output"][0].encode(),
        TEMPLATES["output-name-twice"][0].encode(),
    ],
    ids=["empty", "nul", "nul-inside", "deep", "9-mib", "utf-16", "two-locations", "name-twice"],
)
def test_wait_refuses_a_template(lab: Lab, tmp_path: Path, content: bytes) -> None:
    """User code may write into the shared directory before `wait` has read it."""
    (tmp_path / "template").write_bytes(content)
    step = Step(lab).plain_main("sleep 0.1")
    step.pod["spec"]["initContainers"] = [
        {
            "name": "writer",
            "image": "busybox",
            "command": ["cp", "/in/template", "/var/run/argo/template"],
            "volumeMounts": [mount("var-run-argo", "/var/run/argo"), mount("in", "/in")],
        }
    ]
    step.pod["spec"]["volumes"].append({"name": "in", "hostPath": {"path": str(tmp_path)}})
    container = step.run().result.containers["wait"]
    assert_failure(container, 2, "/var/run/argo/template")
    assert step.history() == []


@pytest.mark.parametrize("size", [9 * MIB, 100 * MIB])
def test_an_offloaded_template_that_is_too_large(lab: Lab, tmp_path: Path, size: int) -> None:
    text = json.dumps({"name": "a" * size, "container": {}})
    step = Step(lab).only_init()
    step.set_template("offloaded")
    step.container("init")["volumeMounts"].append(mount("config", "/argo/config"))
    step.pod["spec"]["volumes"].append({"name": "config", "configMap": {"name": "m"}})
    run = step.run(volumes_dir=str(tmp_path), configmaps={"m": {"ARGO_TEMPLATE": text}})
    container = run.result.containers["init"]
    assert_failure(container, 2, "/argo/config/ARGO_TEMPLATE", "limit")
    assert (container.max_rss or 0) < 64 * MIB
    assert container.seconds is not None and container.seconds < 5


def test_an_offloaded_template_that_is_missing(lab: Lab) -> None:
    step = Step(lab).only_init()
    step.set_template("offloaded")
    container = step.run().result.containers["init"]
    assert_failure(container, 2, "/argo/config/ARGO_TEMPLATE", "no such file or directory")


# --- environment ----------------------------------------------------------------------------------

BAD_SETTINGS = [
    ("ARGO_POD_NAME", None, 1),
    ("ARGO_DEADLINE", "tomorrow", 2),
    ("ARGO_DEADLINE", "2026-13-01T00:00:00Z", 2),
    ("EXECUTOR_RETRY_BACKOFF_STEPS", "many", 2),
    ("EXECUTOR_RETRY_BACKOFF_STEPS", "0", 2),
    ("EXECUTOR_RETRY_BACKOFF_DURATION", "1", 2),
    ("EXECUTOR_RETRY_BACKOFF_FACTOR", "1,5", 2),
    ("EXECUTOR_RETRY_BACKOFF_JITTER", "nan", 2),
    ("TRANSIENT_ERROR_PATTERN", "(", 2),
]


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("variable,value,code", BAD_SETTINGS)
def test_a_bad_setting(
    lab: Lab, name: str, variable: str, value: str | None, code: int
) -> None:
    step = Step(lab)
    if name == "init":
        step.only_init()
    else:
        step.plain_main("sleep 0.1")
    step.set_env(name, variable, value)
    container = step.run().result.containers[name]
    assert_failure(container, code, variable)
    assert step.history() == []


def test_settings_that_are_only_odd(lab: Lab) -> None:
    """Not worth a failed step: the default is taken."""
    step = Step(lab)
    for variable, value in {
        "ARGO_PROGRESS_PATCH_TICK_DURATION": "often",
        "ARGO_PROGRESS_FILE_TICK_DURATION": "",
        "ARTIFACT_S3_UPLOAD_THREADS": "none",
        "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB": "-1",
        "EXECUTOR_RETRY_BACKOFF_STEPS": "",
    }.items():
        step.set_env("wait", variable, value)
        step.set_env("init", variable, value)
    run = step.run()
    assert run.result.phase == "Succeeded", describe(run)


# --- secrets and locations ------------------------------------------------------------------------


def test_a_missing_secret(lab: Lab, tmp_path: Path) -> None:
    """Not mounted, or without the key: the secret and the key are named."""
    step = Step(lab, inputs=[artifact("a", "/in/a", "some/key")]).only_init()
    container = step.container("init")
    container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != SECRET]
    run = step.run(volumes_dir=str(tmp_path))
    texts = ["artifact a failed to load", SECRET, "accesskey"]
    assert_failure(run.result.containers["init"], 64, *texts)

    artifacts = [artifact("a", "/tmp/a")]
    step = Step(lab, "printf 1 >/tmp/a", artifacts=artifacts, archive_logs=True)
    container = step.container("wait")
    container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != SECRET]
    run = step.run()
    texts[0] = "artifact a failed to save"
    assert_failure(run.result.containers["wait"], 64, *texts)
    assert label_of(run.task_result) == "true"


TWO_KEYS = {
    "enableEncryption": True,
    "kmsKeyId": "k",
    "serverSideCustomerKeySecret": {"name": "my-minio-cred", "key": "accesskey"},
}
LOCATIONS = {
    "endpoint-path": ({"endpoint": "minio:9000/path"}, "endpoint"),
    "bucket-short": ({"bucket": "b"}, "bucket"),
    "bucket-slash": ({"bucket": "my/bucket"}, "bucket"),
    "one-secret": ({"secretKeySecret": None}, "secretKeySecret"),
    "no-secrets": ({"accessKeySecret": None, "secretKeySecret": None}, "credentials"),
    "secret-path": ({"accessKeySecret": {"name": "..", "key": "passwd"}}, "accessKeySecret"),
    "encryption": ({"encryptionOptions": TWO_KEYS}, "cannot be set together"),
    "insecure-text": ({"insecure": "yes"}, "insecure"),
}


@pytest.mark.parametrize("name", LOCATIONS)
def test_a_location_that_cannot_be(lab: Lab, tmp_path: Path, name: str) -> None:
    fields, text = LOCATIONS[name]
    place = location(lab, "some/key", **fields)
    step = Step(lab, inputs=[artifact("a", "/in/a", place)])
    step.pod["spec"]["volumes"] = [
        v for v in step.pod["spec"]["volumes"] if v.get("secret", {}).get("secretName") != ".."
    ]
    for container in step.pod["spec"]["initContainers"] + step.pod["spec"]["containers"]:
        container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != ".."]
    step.set_env("init", "AWS_EC2_METADATA_DISABLED", "true")  # nobody is asked for keys
    container = step.only_init().run(volumes_dir=str(tmp_path)).result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", text)
    assert os.listdir(tmp_path / "input-artifacts") == []


@pytest.mark.parametrize("kind", ["gcs", "git", "hdfs"])
def test_a_store_that_is_not_there(lab: Lab, kind: str) -> None:
    place = {
        "gcs": {"gcs": {"bucket": "b", "key": "k"}},
        "git": {"git": {"repo": "https://example/x"}},
        "hdfs": {"hdfs": {"addresses": ["h:1"], "path": "/x"}},
    }[kind]
    step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
    container = step.run().result.containers["init"]
    assert_failure(container, 64, "Unsupported artifact driver for a", kind)


# --- disks ----------------------------------------------------------------------------------------


def look(step: Step, volume: str) -> None:
    """One more container, which stays and sees the volume."""
    step.pod["spec"]["containers"].append(
        {
            "name": "look",
            "image": "busybox",
            "command": ["sleep", "1000"],
            "volumeMounts": [mount(volume, "/look")],
        }
    )


def seen(runner: PodRunner) -> list[str]:
    assert runner.wait_state("look", "running", 10)
    return sorted(runner.exec("look", ["find", "/look", "-mindepth", "1"]).output.split())


@pytest.mark.parametrize("form", ["raw", "object", "archive", "zip", "prefix"])
def test_no_room_for_an_input(lab: Lab, form: str) -> None:
    key = f"{Step(lab).prefix}/o"
    data = os.urandom(3 * MIB)
    fields: dict = {}
    if form == "archive":
        data = tgz({"d": None, "d/f": b"1", "d/g": data})
    elif form == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("d/f", b"1")
            archive.writestr("d/g", bytes(3 * MIB))
        data, fields = out.getvalue(), {"archive": {"zip": {}}}
    lab.s3.client().put(BUCKET, f"{key}/x" if form == "prefix" else key, data)
    place = raw("a" * 100000) if form == "raw" else location(lab, key)
    step = Step(lab, inputs=[artifact("a", "/in/a", place, **fields)]).only_init()
    in_memory(step, "input-artifacts", "64Ki" if form == "raw" else "1Mi")
    look(step, "input-artifacts")
    with step.runner(controller=False) as runner:
        runner.start()
        assert runner.wait_state("init", "terminated", 20)
        texts = ["artifact a failed to load", "/argo/inputs/artifacts/"]
        if form in ("archive", "zip"):
            texts = texts[:1]  # the member is named
        message = assert_failure(runner.containers["init"], 64, *texts)
        assert "no space left on device" in message or "free" in message, message
        told = "(raw, permanent)" if form == "raw" else f"(s3 object {BUCKET}/{key}, permanent)"
        assert message.endswith(told), message
        assert seen(runner) == []


def test_no_room_for_the_binary(lab: Lab) -> None:
    step = Step(lab).only_init()
    in_memory(step, "var-run-argo", "1Mi")
    look(step, "var-run-argo")
    with step.runner(controller=False) as runner:
        runner.start()
        assert runner.wait_state("init", "terminated", 20)
        texts = ["/var/run/argo/argoexec", "no space left on device"]
        assert_failure(runner.containers["init"], 64, *texts)
        assert seen(runner) == []


@pytest.mark.parametrize("size", ["4Ki", "1Mi", "2900Ki"])
def test_no_room_to_stage_an_output(lab: Lab, size: str) -> None:
    """Only a wrapper's tar.gz needs room, and only in another form than it has."""
    artifacts = [
        artifact("none", "/tmp/f", archive={"none": {}}),
        artifact("tar", "/tmp/f"),
    ]
    packed = "/var/run/argo/outputs/artifacts/tmp"
    step = Step(lab, artifacts=artifacts).plain_main(
        f"head -c 3000000 /dev/zero >/tmp/f && mkdir -p {packed} /var/run/argo/ctr/main &&"
        f" tar czf {packed}/f.tgz -C /tmp f && echo 0 >/var/run/argo/ctr/main/exitcode"
    )
    in_memory(step, "tmp-dir-argo", size)
    run = step.run()
    message = assert_failure(run.result.containers["wait"], 64, "artifact none failed to save")
    assert "no space left on device" in message or "free" in message, message
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["tar"]
    assert label_of(run.task_result) == "true"


def test_no_room_is_needed_for_what_is_handed_over(lab: Lab) -> None:
    artifacts = [
        artifact("none", "/tmp/f", archive={"none": {}}),
        artifact("zip", "/tmp/f", archive={"zip": {}}),
    ]
    step = Step(lab, "head -c 3000000 /dev/zero >/tmp/f", artifacts=artifacts)
    in_memory(step, "tmp-dir-argo", "64Ki")
    assert_ok(step.run())
    assert len(step.outputs()["artifacts"]) == 2


def test_a_target_that_is_read_only(lab: Lab) -> None:
    inputs = [artifact("a", "/v/a", raw("x"))]
    step = Step(lab, inputs=inputs, mounts=[mount("v", "/v")]).only_init()
    for entry in step.container("init")["volumeMounts"]:
        if entry["name"] == "v":
            entry["readOnly"] = True
    container = step.run().result.containers["init"]
    texts = ["artifact a failed to load", "/mainctrfs/v/", "read-only file system (raw, permanent)"]
    assert_failure(container, 64, *texts)


def test_a_target_that_others_own(lab: Lab, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    claim.mkdir(mode=0o755)
    inputs = [artifact("a", "/v/a", raw("x"))]
    step = Step(lab, inputs=inputs, mounts=[mount("v", "/v")]).only_init()
    step.volume("v").pop("emptyDir")
    step.volume("v")["persistentVolumeClaim"] = {"claimName": "c"}
    step.pod["spec"]["securityContext"] = {"runAsUser": 8737}
    container = step.run(claims={"c": str(claim)}).result.containers["init"]
    texts = ["artifact a failed to load", "/mainctrfs/v/", "permission denied (raw, permanent)"]
    assert_failure(container, 64, *texts)


# --- archives -------------------------------------------------------------------------------------


def special(kind: bytes, name: str, link: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        first = tarfile.TarInfo("first")
        tar.addfile(first)
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        tar.addfile(entry)
    return out.getvalue()


ARCHIVES = {
    "dots": (tgz({"a": b"1", "../evil": b"x"}), "illegal file path: ../evil"),
    "dots-inside": (tgz({"a": b"1", "d/../../evil": b"x"}), "illegal file path"),
    "absolute-link": (
        tgz({"a": b"1", "l": "/etc/passwd"}),
        "illegal symlink target: l -> /etc/passwd",
    ),
    "link-out": (tgz({"a": b"1", "l": "../../x"}), "illegal symlink target: l -> ../../x"),
    "link-then-file": (tgz({"d": "../..", "d/evil": b"x"}), "illegal symlink target"),
    "hard-link-out": (special(tarfile.LNKTYPE, "h", "../../../etc/passwd"), "../../../etc/passwd"),
    "truncated": (tgz({"a": os.urandom(100000)})[:-5000], "gzip"),
    "no-gzip": (b"plain text, no archive", "gzip"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_leads_outside(lab: Lab, tmp_path: Path, name: str) -> None:
    data, text = ARCHIVES[name]
    key = f"{Step(lab).prefix}/archive"
    lab.s3.client().put(BUCKET, key, data)
    inputs = [artifact("in", "/in/in", key, archive={"tar": {}})]
    step = Step(lab, inputs=inputs).only_init()
    container = step.run(volumes_dir=str(tmp_path)).result.containers["init"]
    message = assert_failure(container, 64, "artifact in failed to load", text)
    assert message.endswith(f"(s3 object {BUCKET}/{key}, permanent)")
    assert os.listdir(tmp_path / "input-artifacts") == []
    assert not list(tmp_path.rglob("evil"))
    assert container.layer_bytes is not None


def test_a_bomb(lab: Lab) -> None:
    """64 MiB of zeros in 64 KiB, for a volume of 4 MiB: refused by size or by the disk, quickly."""
    key = f"{Step(lab).prefix}/bomb"
    lab.s3.client().put(BUCKET, key, tgz({"d": None, "d/a": b"1", "d/zeros": bytes(64 * MIB)}))
    step = Step(lab, inputs=[artifact("a", "/in/a", key)]).only_init()
    in_memory(step, "input-artifacts", "4Mi")
    look(step, "input-artifacts")
    with step.runner(controller=False) as runner:
        runner.start()
        assert runner.wait_state("init", "terminated", 20)
        message = assert_failure(runner.containers["init"], 64, "artifact a failed to load")
        assert "space" in message or "free" in message, message
        assert (runner.containers["init"].max_rss or 0) < 64 * MIB
        assert seen(runner) == []


def header_of(kind: bytes, size: int) -> bytes:
    """Of a tar entry that says something of the next one: GNU's long names, or pax."""
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.GNU_FORMAT)


def bomb(head: bytes, mebibytes: int) -> bytes:
    """A gzip stream of HEAD and so many MiB of one letter, small because it is the same block each time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"n" * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * mebibytes


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"], ids=["name", "link", "pax", "pax-global"])
def test_a_name_of_two_gibibytes(lab: Lab, tmp_path: Path, kind: bytes) -> None:
    """Said in 2 MiB: refused before it is read, or it would be in memory."""
    key = f"{Step(lab).prefix}/names"
    lab.s3.client().put(BUCKET, key, bomb(header_of(kind, 2047 * MIB), 2047))
    inputs = [artifact("a", "/in/a", key, archive={"tar": {}})]
    run = Step(lab, inputs=inputs).only_init().run(volumes_dir=str(tmp_path), controller=False)
    container = run.result.containers["init"]
    assert_failure(container, 64, "artifact a failed to load", "Special header too large")
    assert (container.max_rss or 0) < 64 * MIB
    assert container.seconds is not None and container.seconds < 10
    assert os.listdir(tmp_path / "input-artifacts") == []


@pytest.mark.parametrize("depth,limit", [(1000, "512 directories"), (10000, "4095 bytes")])
def test_a_deep_path(lab: Lab, tmp_path: Path, depth: int, limit: str) -> None:
    """What no path can name is no place for a file."""
    key = f"{Step(lab).prefix}/deep"
    lab.s3.client().put(BUCKET, key, tgz({"t/" + "d/" * depth + "f": b"x"}))
    step = Step(lab, inputs=[artifact("a", "/in/a", key)]).only_init()
    run = step.run(volumes_dir=str(tmp_path), controller=False)
    message = assert_failure(run.result.containers["init"], 64, "artifact a failed to load", limit)
    assert len(message) < 1000
    assert os.listdir(tmp_path / "input-artifacts") == []


def test_a_key_of_a_listing_that_leads_outside(lab: Lab, tmp_path: Path) -> None:
    """A server that lists `p/../../evil` is not believed."""
    listing = (
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
        "<Key>p/../../evil</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    missing = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>"
    with FaultProxy(lab.s3.address) as proxy:
        answers = [("list-type", 200, listing), ("location", 404, missing), ("/p", 404, missing)]
        for path, status, body in answers:
            action = {"kind": "status", "status": status, "body": body}
            proxy.faults.add(verb="GET", path=path, action=action)
        place = location(lab, "p", proxy.endpoint, region="us-east-1")
        step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
        container = step.run(volumes_dir=str(tmp_path)).result.containers["init"]
    assert_failure(container, 64, "illegal object key")
    assert leftovers(tmp_path) == [] and not list(tmp_path.rglob("evil"))
