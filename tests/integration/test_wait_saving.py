"""What `wait` collects, stores and reports, and in which order."""

from __future__ import annotations

import io
import os
import socket
import zipfile
from pathlib import Path

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.scenario import (
    Step,
    api_calls,
    artifact,
    assert_failure,
    assert_ok,
    describe,
    label_of,
    location,
    mount,
    parameter,
    raw,
    untgz,
)

RESULT_BYTES_MAX = 262144
NONE = {"none": {}}
ZIP: dict = {"zip": {}}


def test_three_calls_in_order(lab: Lab) -> None:
    step = Step(lab, "printf v >/tmp/p", parameters=[parameter("p", "/tmp/p")], archive_logs=True)
    assert_ok(step.run())
    assert api_calls(lab) == [("POST", 201), ("PATCH", 200), ("PATCH", 200)]
    create, outputs, label = (request["body"] for request in lab.api.requests())
    assert "outputs" not in create and label_of(create) == "false"
    assert outputs["outputs"]["parameters"][0]["value"] == "v"
    assert "outputs" not in label and label_of(label) == "true"
    assert [label_of(version) for version in step.history()] == ["false", "false", "true"]


def test_nothing_to_report(lab: Lab) -> None:
    step = Step(lab)
    run = step.run()
    assert_ok(run)
    # An empty object changes nothing in the store: two versions, three calls.
    assert len(lab.api.requests()) == 3
    assert step.outputs() == {}
    assert label_of(run.task_result) == "true"


@pytest.mark.parametrize("value", [None, "true"])
def test_what_is_left_on_disk(lab: Lab, tmp_path: Path, value: str | None) -> None:
    """REMOVE_LOCAL_ART_PATH asks for what happens anyway: of our own copies none stays, and what lies
    in a volume is the user's, also when it was uploaded as it was."""
    artifacts = [
        artifact("file", "/v/f", archive=NONE),
        artifact("directory", "/v/d", archive=NONE),
        artifact("packed", "/v/d"),
        artifact("own", "/tmp/g", archive=NONE),
        artifact("zip", "/tmp/g", archive=ZIP),
    ]
    script = "echo 1 >/tmp/g; cp /tmp/g /v/f; mkdir /v/d; cp /tmp/g /v/d/g"
    step = Step(lab, script, artifacts=artifacts, mounts=[mount("v", "/v")])
    step.set_env("wait", "REMOVE_LOCAL_ART_PATH", value)
    assert_ok(step.run(volumes_dir=str(tmp_path)))
    assert len(step.outputs()["artifacts"]) == len(artifacts)
    assert (tmp_path / "v/f").read_bytes() == (tmp_path / "v/d/g").read_bytes() == b"1\n"
    assert [path for path in (tmp_path / "tmp-dir-argo").rglob("*") if path.is_file()] == []


# --- parameters and results -----------------------------------------------------------------------


def values(step: Step) -> dict[str, str]:
    return {p["name"]: p.get("value") for p in step.outputs().get("parameters", [])}


def test_parameters(lab: Lab) -> None:
    script = r"""
        mkdir -p /v/deep
        printf 'v1\n' >/tmp/base
        printf 'x\n\n' >/v/deep/two-newlines
        printf '\377a\0b' >/tmp/bytes
        printf '' >/v/empty
        head -c 200000 /dev/zero | tr '\0' a >/v/large
        printf '“ü”' >/tmp/text
        ln -s deep/two-newlines /v/link
    """
    parameters = [
        parameter("base", "/tmp/base"),
        parameter("volume", "/v/deep/two-newlines"),
        parameter("bytes", "/tmp/bytes"),
        parameter("empty", "/v/empty"),
        parameter("large", "/v/large"),
        parameter("text", "/tmp/text", default="not used"),
        parameter("link", "/v/link"),
        parameter("default", "/tmp/none", default="d\n"),
        parameter("number", "/v/none", default=5),
        {"name": "no-path", "value": "kept"},
    ]
    step = Step(lab, script, parameters=parameters, mounts=[mount("v", "/v")])
    assert_ok(step.run())
    assert values(step) == {
        "base": "v1",
        "volume": "x\n",
        "bytes": "�a\0b",
        "empty": "",
        "large": "a" * 200000,
        "text": "“ü”",
        "link": "x\n",
        "default": "d",
        "number": "5",
        "no-path": "kept",
    }


@pytest.mark.parametrize(
    "path,opened",
    [
        ("/tmp/none", "/var/run/argo/outputs/parameters/tmp/none"),
        ("/v/none", "/mainctrfs/v/none"),
    ],
)
def test_a_missing_parameter(lab: Lab, path: str, opened: str) -> None:
    """The error ends the parameters, not the report; what was found before is in it."""
    parameters = [parameter("first", "/tmp/first"), parameter("p", path)]
    parameters.append(parameter("later", "/tmp/first"))
    artifacts = [artifact("a", "/v/a")]
    script = "printf 1 >/tmp/first; printf 2 >/v/a"
    step = Step(
        lab, script, parameters=parameters, artifacts=artifacts, mounts=[mount("v", "/v")]
    )
    run = step.run()
    message = assert_failure(run.result.containers["wait"], 64)
    assert message == f"open {opened}: no such file or directory"
    assert run.result.containers["main"].exit_code == 0
    assert values(step) == {"first": "1", "p": None, "later": None}
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["a"]
    assert label_of(run.task_result) == "true"


@pytest.mark.parametrize("extra", [0, 1, 2, 40000])
def test_the_end_of_a_long_result(lab: Lab, extra: int) -> None:
    """262,144 bytes are kept, the last ones; the newline at the end does not count."""
    size = RESULT_BYTES_MAX + extra
    script = f"printf 123456; head -c {size - 6} /dev/zero | tr '\\0' a; echo"
    step = Step(lab, script, has_result=True)
    assert_ok(step.run())
    expected = ("123456" + "a" * (size - 6))[-RESULT_BYTES_MAX:]
    assert step.outputs()["result"] == expected


def test_a_result_of_a_failed_step(lab: Lab) -> None:
    step = Step(lab, "echo out; echo err >&2; exit 3", has_result=True)
    run = step.run()
    assert step.outputs()["result"] == "out"
    codes = {name: c.exit_code for name, c in run.result.containers.items()}
    assert codes == {"init": 0, "main": 3, "wait": 0}


# --- artifacts ------------------------------------------------------------------------------------

TREE = """
    mk() {
        mkdir -p $1/sub/empty; printf 1 >$1/f; printf 2 >$1/sub/g; ln -s f $1/link
        mkfifo $1/fifo; chmod 600 $1/f; chmod 755 $1/sub/g
    }
"""
PACKED = {
    "d": None,
    "d/f": b"1",
    "d/fifo": "type 6",
    "d/link": "f",
    "d/sub": None,
    "d/sub/empty": None,
    "d/sub/g": b"2",
}


def zip_members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {i.filename: archive.read(i) for i in archive.infolist() if not i.is_dir()}


def test_forms_of_artifacts(lab: Lab) -> None:
    """Files and directories, in a volume and in main's own file system, in every form."""
    script = TREE + "mk /v/d; mk /base/d; printf vf >/v/file.txt; printf bf >/base/file.txt"
    forms = {"default": None, "tar": {"tar": {}}, "none": NONE, "zip": ZIP}
    base = f"forms/{os.getpid()}"
    artifacts = []
    for where in ("v", "base"):
        for form, archive in forms.items():
            fields = {"archive": archive} if archive else {}
            for kind, path in (("d", f"/{where}/d"), ("f", f"/{where}/file.txt")):
                name = f"{where}-{form}-{kind}"
                artifacts.append(artifact(name, path, f"{base}/{name}", **fields))
    step = Step(lab, "mkdir /base;" + script, artifacts=artifacts, mounts=[mount("v", "/v")])
    run = step.run()
    assert_ok(run)
    assert [a["name"] for a in step.outputs()["artifacts"]] == [a["name"] for a in artifacts]
    # A key given by the user is used, and reported, as it is.
    for given, reported in zip(artifacts, step.outputs()["artifacts"]):
        assert reported == given
    # A pipe of another container's own files is left out.
    handed_over = {name: content for name, content in PACKED.items() if name != "d/fifo"}
    for where, text, packed in (("v", b"vf", PACKED), ("base", b"bf", handed_over)):
        for form in ("default", "tar"):
            assert untgz(lab.get(f"{base}/{where}-{form}-d")) == packed
            assert untgz(lab.get(f"{base}/{where}-{form}-f")) == {"file.txt": text}
        assert lab.get(f"{base}/{where}-none-f") == text
        none = lab.objects(f"{base}/{where}-none-d/")
        assert none == {
            f"{base}/{where}-none-d/f": 1,
            f"{base}/{where}-none-d/sub/g": 1,
        }
        assert zip_members(lab.get(f"{base}/{where}-zip-f")) == {"file.txt": text}
        members = zip_members(lab.get(f"{base}/{where}-zip-d"))
        assert members["d/f"] == b"1" and members["d/sub/g"] == b"2"


def test_default_keys_and_names(lab: Lab) -> None:
    script = "printf 1 >/tmp/file.txt"
    artifacts = [
        artifact("plain", "/tmp/file.txt"),
        artifact("none", "/tmp/file.txt", archive=NONE),
        artifact("zip", "/tmp/file.txt", archive=ZIP),
        artifact("kept", "/tmp/file.txt", mode=0o644, globalName="g"),
    ]
    step = Step(lab, script, artifacts=artifacts, archive_logs=True)
    assert_ok(step.run())
    found = {a["name"]: a for a in step.outputs()["artifacts"]}
    keys = {"plain": "plain.tgz", "none": "file.txt", "zip": "zip.zip", "kept": "kept.tgz"}
    keys["main-logs"] = "main.log"
    assert {name: a["s3"] for name, a in found.items()} == {
        name: {"key": step.key(file)} for name, file in keys.items()
    }
    assert found["kept"]["mode"] == 0o644 and found["kept"]["globalName"] == "g"
    assert set(lab.objects(step.prefix)) == {step.key(file) for file in keys.values()}


@pytest.mark.parametrize("level", [-2, -1, 0, 1, 9])
def test_levels_of_compression(lab: Lab, level: int) -> None:
    archive = {"tar": {"compressionLevel": level}}
    step = Step(
        lab,
        "yes 0123456789 | head -c 1000000 >/v/f",
        artifacts=[artifact("a", "/v/f", archive=archive)],
        mounts=[mount("v", "/v")],
    )
    assert_ok(step.run())
    data = lab.get(step.key("a.tgz"))
    assert len(untgz(data)["f"] or b"") == 1000000
    assert len(data) > 1000000 if level == 0 else len(data) < 500000
    assert data[8] == {9: 2, 1: 4}.get(level, data[8])


def test_a_wrong_level(lab: Lab) -> None:
    archive = {"tar": {"compressionLevel": 10}}
    artifacts = [artifact("a", "/v/f", archive=archive)]
    step = Step(lab, "printf 1 >/v/f", artifacts=artifacts, mounts=[mount("v", "/v")])
    run = step.run()
    failed = [c for c in run.result.containers.values() if c.exit_code]
    assert failed, describe(run)
    assert_failure(failed[0], failed[0].exit_code or 0, "compression level: 10")


def test_a_socket_is_left_out(lab: Lab, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    (claim / "d").mkdir(parents=True)
    (claim / "d/f").write_text("1")
    directory = os.open(claim / "d", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"/proc/self/fd/{directory}/sock")
    os.close(directory)
    artifacts = [
        artifact("tar", "/v/d"),
        artifact("none", "/v/d", archive=NONE),
        artifact("zip", "/v/d", archive=ZIP),
        artifact("it", "/v/d/sock", optional=True),
    ]
    step = Step(lab, artifacts=artifacts, mounts=[mount("v", "/v")])
    step.volume("v").pop("emptyDir")
    step.volume("v")["persistentVolumeClaim"] = {"claimName": "c"}
    run = step.run(claims={"c": str(claim)})
    # The socket itself as an artifact is an error, also when it is optional: it is there.
    assert_failure(run.result.containers["wait"], 64, "/mainctrfs/v/d/sock", "; ")
    assert untgz(lab.get(step.key("tar.tgz"))) == {"d": None, "d/f": b"1"}
    assert lab.objects(step.key("d/")) == {step.key("d/f"): 1}
    assert zip_members(lab.get(step.key("zip.zip"))) == {"d/f": b"1"}


def test_a_link_as_the_artifact_itself(lab: Lab) -> None:
    """The top of an artifact is followed, in a volume and in main's own file system."""
    script = "mkdir /v/real /real; printf 1 >/v/real/f; printf 2 >/real/f; cd /v; ln -s real link; "
    script += "ln -s /real /tmp/link; ln -s real/f fl"
    artifacts = [
        artifact("v", "/v/link"),
        artifact("base", "/tmp/link"),
        artifact("vf", "/v/fl", archive=NONE),
    ]
    step = Step(lab, script, artifacts=artifacts, mounts=[mount("v", "/v")])
    assert_ok(step.run())
    assert untgz(lab.get(step.key("v.tgz"))) == {"link": None, "link/f": b"1"}
    assert untgz(lab.get(step.key("base.tgz"))) == {"link": None, "link/f": b"2"}
    assert lab.get(step.key("fl")) == b"1"


def test_an_input_is_written_back(lab: Lab) -> None:
    """An input's path as an output: main sees a mount there, wait reads it in the mirror."""
    lab.s3.client().put(BUCKET, "inputs/w", b"old")
    inputs = [artifact("in", "/in/file", "inputs/w")]
    artifacts = [artifact("out", "/in/file", archive=NONE)]
    step = Step(lab, "printf new >/in/file", inputs=inputs, artifacts=artifacts)
    assert_ok(step.run())
    assert lab.get(step.key("file")) == b"new"


def test_missing_artifacts(lab: Lab) -> None:
    """Optional ones are left out; the others are all named, and what is there is stored."""
    artifacts = [
        artifact("opt", "/tmp/none", optional=True),
        artifact("opt-v", "/v/none", optional=True),
        artifact("one", "/tmp/none"),
        artifact("two", "/v/none"),
        artifact("there", "/tmp/there"),
    ]
    step = Step(
        lab,
        "printf 1 >/tmp/there",
        artifacts=artifacts,
        mounts=[mount("v", "/v")],
        archive_logs=True,
    )
    run = step.run()
    message = assert_failure(run.result.containers["wait"], 64)
    first, second, end = message.split("; ")
    assert first == "artifact one failed to save: /tmp/none no such file or directory"
    assert second.endswith("no such file or directory") and "/mainctrfs/v/none" in second
    assert end == ""
    assert [a["name"] for a in step.outputs()["artifacts"]] == ["there", "main-logs"]
    assert label_of(run.task_result) == "true"


# --- where to -------------------------------------------------------------------------------------


def test_a_full_location_uses_its_own_secret(lab: Lab) -> None:
    keys = {name: {"name": "own-cred", "key": name} for name in ("access", "secret")}
    place = location(
        lab, "own/key", accessKeySecret=keys["access"], secretKeySecret=keys["secret"]
    )
    artifacts = [artifact("a", "/tmp/a", place, archive=NONE)]
    step = Step(lab, "printf 1 >/tmp/a", artifacts=artifacts, has_repository=False)
    secrets = {"own-cred": {"access": lab.s3.access_key, "secret": lab.s3.secret_key}}
    assert_ok(step.run(secrets=secrets))
    assert lab.get("own/key") == b"1"
    assert step.outputs()["artifacts"] == artifacts


def test_without_a_repository(lab: Lab) -> None:
    artifacts = [artifact("a", "/tmp/a"), artifact("k", "/tmp/a", "some/key")]
    step = Step(lab, "printf 1 >/tmp/a", artifacts=artifacts, has_repository=False)
    message = assert_failure(step.run().result.containers["wait"], 64)
    # The first text has a semicolon of its own.
    first, second = "artifact a failed to save: ", "; artifact k failed to save: "
    assert message.startswith(first + "artifact storage is not configured; see the docs")
    assert message.endswith(second + "template artifact location not set; ")


def test_a_type_that_cannot_be_written(lab: Lab) -> None:
    artifacts = [artifact("a", "/tmp/a", raw("x"))]
    step = Step(lab, "printf 1 >/tmp/a", artifacts=artifacts)
    message = assert_failure(step.run().result.containers["wait"], 64)
    assert "raw" in message and message.endswith("; ")


def test_logs(lab: Lab, tmp_path: Path) -> None:
    """Both streams as they came; a container that never ran has no log, and that is no error."""
    step = Step(lab, "echo out; echo err >&2", archive_logs=True)
    assert_ok(step.run())
    assert sorted(lab.get(step.key("main.log")).splitlines()) == [b"err", b"out"]

    step = Step(lab, archive_logs=True).plain_main("echo 0 >/var/run/argo/ctr/main/exitcode")
    run = step.run(volumes_dir=str(tmp_path))
    assert run.result.containers["wait"].exit_code == 0, describe(run)
    assert step.outputs() == {}
    assert SECRET not in run.result.containers["wait"].log


# --- outputs of one key ---------------------------------------------------------------------------


def names(step: Step) -> list[str]:
    return [entry["name"] for entry in step.outputs().get("artifacts", [])]


def test_two_outputs_of_one_key(lab: Lab) -> None:
    """What is not packed has the end of its path for a default key: the first one is stored, and the
    record that would lie is not made."""
    artifacts = [
        artifact("small", "/tmp/b/f", archive=NONE),
        artifact("empty", "/tmp/a/f", archive=NONE, optional=True),
        artifact("other", "/tmp/b/f"),
    ]
    script = "mkdir /tmp/a /tmp/b; : >/tmp/a/f; echo small >/tmp/b/f"
    step = Step(lab, script, artifacts=artifacts)
    run = step.run()
    assert_failure(
        run.result.containers["wait"],
        64,
        f"artifact empty failed to save: its key '{step.key('f')}' is also that of artifact small,"
        " which it would replace; give one of them a key of its own",
    )
    assert names(step) == ["small", "other"]
    assert lab.get(step.key("f")) == b"small\n"
    assert label_of(run.task_result) == "true"


def test_an_output_of_the_key_of_a_log(lab: Lab) -> None:
    step = Step(lab, "echo log; echo mine >/tmp/o", archive_logs=True)
    step.template["outputs"]["artifacts"] = [artifact("o", "/tmp/o", step.key("main.log"))]
    step.set_artifacts(archive=NONE)
    text = f"main-logs failed to save: its key '{step.key('main.log')}' is also that of artifact o,"
    assert_failure(step.run().result.containers["wait"], 64, text)
    assert names(step) == ["o"]
    assert lab.get(step.key("main.log")) == b"mine\n"


def test_one_key_of_which_one_is_there(lab: Lab) -> None:
    artifacts = [
        artifact("failure", "/tmp/failure", "one/key", archive=NONE, optional=True),
        artifact("success", "/tmp/success", "one/key", archive=NONE, optional=True),
    ]
    step = Step(lab, "echo fine >/tmp/success", artifacts=artifacts)
    assert_ok(step.run())
    assert names(step) == ["success"]
    assert lab.get("one/key") == b"fine\n"


def test_directories_below_one_key(lab: Lab) -> None:
    artifacts = [
        artifact("x", "/tmp/x", "site", archive=NONE),
        artifact("y", "/tmp/y", "site", archive=NONE),
    ]
    step = Step(lab, "mkdir /tmp/x /tmp/y; echo 1 >/tmp/x/1; echo 2 >/tmp/y/2", artifacts=artifacts)
    run = step.run()
    assert_ok(run)
    assert names(step) == ["x", "y"]
    assert lab.get("site/1") == b"1\n" and lab.get("site/2") == b"2\n"
    log = run.result.containers["wait"].log
    assert "are stored below one key" in log and "otherName=y" in log
