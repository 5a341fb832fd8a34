"""What `init` puts where: the binary, the template, the script, input artifacts of every form."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

import pytest

from tests.lab import BUCKET, SECRET, Lab
from tests.layout import pod_for
from tests.scenario import (
    WORKFLOW,
    Step,
    artifact,
    assert_failure,
    assert_ok,
    leftovers,
    location,
    mount,
    raw,
    tgz,
    wait_until_seen,
)
from tests.servers.fault_proxy import FaultProxy

MIB = 1 << 20


def put(lab: Lab, key: str, data: bytes) -> str:
    lab.s3.client().put(BUCKET, key, data)
    return key


def loaded(step: Step, volumes: Path) -> Path:
    """Runs init alone; the folder of the inputs that are no volume's."""
    run = step.only_init().run(volumes_dir=str(volumes))
    assert_ok(run)
    assert leftovers(volumes) == []
    return volumes / "input-artifacts"


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tree(directory: Path) -> dict[str, bytes | str | None]:
    """Relative path -> content of a file, target of a link, None for a directory."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


# --- the shared files ---------------------------------------------------------------------------


@pytest.mark.parametrize("user", [0, 8737])
def test_binary_and_template_are_replaced_by_a_second_run(
    lab: Lab, tmp_path: Path, argoexec: str, user: int
) -> None:
    step = Step(lab, "true", inputs=[artifact("a", "/in/a", raw("text"))]).only_init(times=2)
    step.pod["spec"]["securityContext"] = {"runAsUser": user}
    assert_ok(step.run(volumes_dir=str(tmp_path)))
    shared = tmp_path / "var-run-argo"
    assert sorted(os.listdir(shared)) == ["argoexec", "template"]
    for name, mode in (("argoexec", 0o555), ("template", 0o444)):
        status = os.stat(shared / name)
        assert (status.st_mode & 0o7777, status.st_uid) == (mode, user)
    assert (shared / "argoexec").read_bytes() == Path(argoexec).read_bytes()
    assert json.loads((shared / "template").read_bytes()) == step.template
    assert (tmp_path / "input-artifacts/a").read_text() == "text"
    assert leftovers(tmp_path) == []


def test_a_script_is_staged_executable_and_verbatim(lab: Lab, tmp_path: Path) -> None:
    source = "#!/bin/sh\necho '“quoted” $HOME \\n'\n"
    template = {
        "name": "script",
        "script": {"image": "busybox", "command": ["sh"], "source": source},
    }
    step = Step(lab)
    step.pod = pod_for(template, WORKFLOW, step.node)
    run = step.run(volumes_dir=str(tmp_path))
    assert_ok(run)
    staged = tmp_path / "argo-staging/script"
    assert staged.read_text() == source
    assert os.stat(staged).st_mode & 0o7777 == 0o755
    assert "“quoted” $HOME" in run.result.containers["main"].log


# --- forms --------------------------------------------------------------------------------------


def test_forms_of_objects(lab: Lab, tmp_path: Path) -> None:
    """Every archive strategy with every kind of object, one pod."""
    directory = tgz({"top": None, "top/f": b"1", "top/sub": None, "top/sub/g": b"2"})
    single = tgz({"name-inside": b"content"})
    two = tgz({"a": b"1", "b": b"2"})
    plain_tar = tgz({"a": b"1"}, compression="")
    archive = zipped({"top/f": b"1", "top/sub/g": b"2"})
    not_a_tar = gzip.compress(b"not a tar " * 1000)
    objects: dict[str, tuple[bytes, dict]] = {
        "none": (directory, {"archive": {"none": {}}}),
        "tar-dir": (directory, {"archive": {"tar": {}}}),
        "tar-file": (single, {"archive": {"tar": {}}}),
        "zip": (archive, {"archive": {"zip": {}}}),
        "auto-dir": (directory, {}),
        "auto-file": (single, {}),
        "auto-two": (two, {}),
        "auto-gz": (not_a_tar, {}),
        "auto-empty-tgz": (tgz({}), {}),
        "auto-tar": (plain_tar, {}),
        "auto-zip": (archive, {}),
        "auto-empty": (b"", {}),
        "auto-text": (b"text\n", {}),
    }
    step = Step(lab)
    inputs = [
        artifact(name, f"/in/{name}", put(lab, step.key(name), data), **fields)
        for name, (data, fields) in objects.items()
    ]
    step = Step(lab, inputs=inputs)
    found = loaded(step, tmp_path)
    content = {"f": b"1", "sub": None, "sub/g": b"2"}
    for name in ("tar-dir", "zip", "auto-dir"):
        assert tree(found / name) == content, name
    for name in ("tar-file", "auto-file"):
        assert (found / name).read_bytes() == b"content", name
    assert tree(found / "auto-two") == {"a": b"1", "b": b"2"}
    for name in ("none", "auto-gz", "auto-empty-tgz", "auto-tar", "auto-zip", "auto-empty"):
        assert (found / name).read_bytes() == objects[name][0], name
    assert (found / "auto-text").read_bytes() == b"text\n"
    assert set(os.listdir(found)) == set(objects)


@pytest.mark.parametrize("value", ["GZip", "PGZip", "other"])
def test_the_reader_of_gzip_is_always_the_same(lab: Lab, tmp_path: Path, value: str) -> None:
    """GZIP_IMPLEMENTATION chooses among those of Argo's own executor."""
    step = Step(lab)
    place = put(lab, step.key("a"), tgz({"d": None, "d/f": os.urandom(3_000_000)}))
    step = Step(lab, inputs=[artifact("a", "/in/a", place)])
    step.set_env("init", "GZIP_IMPLEMENTATION", value)
    assert (loaded(step, tmp_path) / "a/f").stat().st_size == 3_000_000


def test_raw_inputs(lab: Lab, tmp_path: Path) -> None:
    data = {"plain": "a\u0000b“\n", "empty": ""}
    inputs = [artifact(name, f"/in/{name}", raw(text)) for name, text in data.items()]
    found = loaded(Step(lab, inputs=inputs, has_repository=False), tmp_path)
    for name, text in data.items():
        assert (found / name).read_bytes() == text.encode()
        assert os.stat(found / name).st_mode & 0o7777 == 0o666


def test_a_prefix_is_a_directory_and_its_sibling_is_not(lab: Lab, tmp_path: Path) -> None:
    base = Step(lab).prefix
    for key, data in {"foo/a": b"1", "foo/deep/b": b"2", "foo/e": b"", "foobar": b"x"}.items():
        put(lab, f"{base}/{key}", data)
    put(lab, f"{base}/foobar2/c", b"y")
    inputs = [
        artifact("plain", "/in/plain", f"{base}/foo"),
        artifact("slash", "/in/slash", f"{base}/foo/"),
        artifact("none", "/in/none", f"{base}/foo", archive={"none": {}}),
    ]
    found = loaded(Step(lab, inputs=inputs), tmp_path)
    for name in ("plain", "slash", "none"):
        assert tree(found / name) == {"a": b"1", "deep": None, "deep/b": b"2", "e": b""}
    assert os.stat(found / "plain").st_mode & 0o7777 == 0o755


def test_a_directory_where_an_archive_is_asked_for(lab: Lab, tmp_path: Path) -> None:
    base = Step(lab).prefix
    put(lab, f"{base}/dir/a", b"1")
    inputs = [artifact("a", "/in/a", f"{base}/dir", archive={"tar": {}})]
    run = Step(lab, inputs=inputs).only_init().run(volumes_dir=str(tmp_path))
    assert_failure(run.result.containers["init"], 64, "artifact a failed to load", "directory")
    assert os.listdir(tmp_path / "input-artifacts") == []


class Pages:
    """A store that holds `many/NUMBER` and lists a thousand of them a page, as Amazon does."""

    def __init__(self, count: int):
        self.names = [f"{number:05}" for number in range(count)]
        self.requests: list[tuple[str, str, int]] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(handler) -> None:  # pylint: disable=no-self-argument
                port = handler.client_address[1]
                self.requests.append((handler.command, handler.path, port))
                status, body = self._answer(urlsplit(handler.path))
                handler.send_response(status)
                handler.send_header("Content-Length", str(len(body)))
                handler.send_header("ETag", '"e"')
                handler.end_headers()
                if handler.command == "GET":
                    handler.wfile.write(body)

            do_HEAD = do_GET

            def log_message(handler, *_args: object) -> None:  # pylint: disable=no-self-argument
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.endpoint = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Pages":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, url: SplitResult) -> tuple[int, bytes]:
        key = url.path.removeprefix(f"/{BUCKET}").lstrip("/")
        query = parse_qs(url.query, keep_blank_values=True)
        if "list-type" in query:
            return 200, self._page(int(query.get("continuation-token", ["0"])[0]))
        if key.removeprefix("many/") in self.names:
            return 200, key.encode()
        error = "<Error><Code>NoSuchKey</Code><Message>It is not here.</Message></Error>"
        return 404, error.encode()

    def _page(self, start: int) -> bytes:
        end = min(start + 1000, len(self.names))
        keys = "".join(
            f"<Contents><Key>many/{name}</Key><Size>10</Size></Contents>"
            for name in self.names[start:end]
        )
        more = f"<NextContinuationToken>{end}</NextContinuationToken>"
        is_cut = end < len(self.names)
        flag = f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>"
        text = f"<ListBucketResult>{flag}{keys}{more if is_cut else ''}</ListBucketResult>"
        return text.encode()


def test_a_prefix_of_more_than_a_page(lab: Lab, tmp_path: Path) -> None:
    """Two pages of a listing; one GET for each object, no HEAD, 16 connections."""
    with Pages(1001) as store:
        place = location(lab, "many", store.endpoint, region="us-east-1")
        found = loaded(Step(lab, inputs=[artifact("m", "/in/m", place)]), tmp_path) / "m"
    assert sorted(os.listdir(found)) == store.names
    assert all((found / name).read_text() == f"many/{name}" for name in store.names)
    assert {verb for verb, _path, _port in store.requests} == {"GET"}
    assert len({port for _verb, _path, port in store.requests}) <= 16
    assert len(store.requests) == 1 + 2 + 1001


def test_a_large_object(lab: Lab, tmp_path: Path) -> None:
    """100 MiB: on disk once, and never whole in memory."""
    block = os.urandom(MIB)
    key = f"{Step(lab).prefix}/large"
    lab.s3.client().put_multipart(BUCKET, key, [block * 50, block * 50])
    step = Step(lab, inputs=[artifact("l", "/in/l", key)]).only_init()
    run = step.run(volumes_dir=str(tmp_path))
    assert_ok(run)
    path = tmp_path / "input-artifacts/l"
    assert path.stat().st_size == 100 * MIB
    with open(path, "rb") as file:
        assert all(file.read(MIB) == block for _ in range(100))
    assert run.result.volumes["input-artifacts"].apparent == 100 * MIB


@pytest.mark.parametrize(
    "name",
    ["a b+c", "ünï–çødé/文件", "pct%20%2F", "x//y", "q?a=b&c#d", "~!*'()", "tail/"],
)
def test_keys_with_special_characters(lab: Lab, tmp_path: Path, name: str) -> None:
    key = f"{Step(lab).prefix}/{name}"
    put(lab, key + ("x" if key.endswith("/") else ""), b"content")
    found = loaded(Step(lab, inputs=[artifact("a", "/in/a", key)]), tmp_path) / "a"
    assert (found / "x" if key.endswith("/") else found).read_bytes() == b"content"


# --- where from ---------------------------------------------------------------------------------


def test_a_full_location_uses_its_own_secret(lab: Lab, tmp_path: Path) -> None:
    key = put(lab, f"{Step(lab).prefix}/own", b"content")
    keys = {name: {"name": "own-cred", "key": name} for name in ("access", "secret")}
    place = location(lab, key, accessKeySecret=keys["access"], secretKeySecret=keys["secret"])
    step = Step(lab, inputs=[artifact("a", "/in/a", place)], has_repository=False)
    secrets = {"own-cred": {"access": lab.s3.access_key, "secret": lab.s3.secret_key + "\n"}}
    run = step.only_init().run(volumes_dir=str(tmp_path), secrets=secrets)
    assert_ok(run)
    assert (tmp_path / "input-artifacts/a").read_bytes() == b"content"


def test_a_key_alone_without_repository(lab: Lab) -> None:
    step = Step(lab, inputs=[artifact("a", "/in/a", "some/key")], has_repository=False)
    message = assert_failure(step.only_init().run().result.containers["init"], 64)
    assert message == "failed to load artifact 'a': template artifact location not set"


def test_optional_and_required(lab: Lab, tmp_path: Path) -> None:
    optional = [
        artifact("gone", "/in/gone", f"{Step(lab).prefix}/gone", optional=True),
        artifact("unset", "/in/unset", optional=True),
    ]
    script = "ls -ld /in/gone; ls -A /in/gone | wc -l; echo end"
    step = Step(lab, script, inputs=optional)
    run = step.run(volumes_dir=str(tmp_path))
    assert_ok(run)
    # The mount of the controller: a directory that everybody may write to.
    assert run.result.containers["main"].log.startswith("drwxrwxrwx")
    assert "\n0\nend" in run.result.containers["main"].log
    assert leftovers(tmp_path) == []

    step = Step(lab, inputs=[artifact("x", "/in/x")])
    message = assert_failure(step.run().result.containers["init"], 64)
    assert message == "required artifact 'x' not supplied"
    step = Step(lab, inputs=[artifact("x", "/in/x", f"{step.prefix}/gone")])
    run = step.run()
    message = assert_failure(run.result.containers["init"], 64)
    assert message == "artifact x failed to load: The specified key does not exist."
    assert run.history == []


@pytest.mark.parametrize("path", ["/in/../../etc/x", "/in/..", "/v/x/../dotted"])
def test_a_path_that_leaves_its_directory(lab: Lab, path: str) -> None:
    run = Step(lab, inputs=[artifact("a", path, raw("x"))]).only_init().run()
    message = assert_failure(run.result.containers["init"], 64)
    assert message == (
        "Artifact 'a' attempted to use a path containing '..'. "
        "Directory traversal is not permitted"
    )


# --- where to -----------------------------------------------------------------------------------


def test_targets_in_volumes(lab: Lab, tmp_path: Path) -> None:
    """A file, a directory and nested places in a volume; main sees them under its own paths."""
    archive = put(lab, f"{Step(lab).prefix}/d", tgz({"d": None, "d/f": b"1"}))
    inputs = [
        artifact("file", "/v/file", raw("text")),
        artifact("nested", "/v/a/b/c", raw("nested")),
        artifact("dir", "/v/dir", archive),
    ]
    script = "cd /v && cat file a/b/c dir/f; find . | sort"
    step = Step(lab, script, inputs=inputs, mounts=[mount("v", "/v")])
    run = step.run(volumes_dir=str(tmp_path))
    assert_ok(run)
    assert run.result.containers["main"].log.startswith("textnested1")
    assert tree(tmp_path / "v") == {
        "a": None,
        "a/b": None,
        "a/b/c": b"nested",
        "dir": None,
        "dir/f": b"1",
        "file": b"text",
    }


@pytest.mark.parametrize("path", ["/v", "/v/existing"])
@pytest.mark.parametrize("form", ["archive", "prefix", "zip"])
def test_a_directory_into_one_that_exists(
    lab: Lab, tmp_path: Path, path: str, form: str
) -> None:
    """A volume's own root, or a directory that was there: the content joins what lies there."""
    base = Step(lab).prefix
    fields = {}
    if form == "archive":
        key = put(lab, f"{base}/a", tgz({"d": None, "d/f": b"new", "d/s": None, "d/s/g": b"2"}))
    elif form == "zip":
        key = put(lab, f"{base}/a", zipped({"d/f": b"new", "d/s/g": b"2"}))
        fields = {"archive": {"zip": {}}}
    else:
        put(lab, f"{base}/p/f", b"new")
        put(lab, f"{base}/p/s/g", b"2")
        key = f"{base}/p"
    claim = tmp_path / "claim"
    there = claim / path.removeprefix("/v").lstrip("/")
    (there / "s").mkdir(parents=True)
    (there / "f").write_bytes(b"old")
    (there / "s/kept").write_bytes(b"kept")
    (there / "lost+found").mkdir()
    step = Step(lab, inputs=[artifact("a", path, key, **fields)], mounts=[mount("v", "/v")])
    step.volume("v").pop("emptyDir")
    step.volume("v")["persistentVolumeClaim"] = {"claimName": "c"}
    assert_ok(step.only_init().run(claims={"c": str(claim)}))
    assert tree(there) == {
        "f": b"new",
        "lost+found": None,
        "s": None,
        "s/g": b"2",
        "s/kept": b"kept",
    }
    assert leftovers(tmp_path) == []


def test_a_file_where_a_directory_is(lab: Lab, tmp_path: Path) -> None:
    """It cannot be; what is there stays, and the message says what is in the way."""
    claim = tmp_path / "claim"
    (claim / "d").mkdir(parents=True)
    (claim / "d/kept").write_text("kept")
    step = Step(lab, inputs=[artifact("a", "/v/d", raw("x"))], mounts=[mount("v", "/v")])
    step.volume("v").pop("emptyDir")
    step.volume("v")["persistentVolumeClaim"] = {"claimName": "c"}
    run = step.only_init().run(claims={"c": str(claim)})
    assert_failure(run.result.containers["init"], 64, "artifact a failed to load", "/mainctrfs/v/d")
    assert tree(claim) == {"d": None, "d/kept": b"kept"}


@pytest.mark.parametrize("link", ["/var/run/argo", "../../etc", "/etc"])
def test_a_link_that_leads_out_of_the_volume(lab: Lab, tmp_path: Path, link: str) -> None:
    """A volume that others write to: init does not follow it to other places of its container."""
    claim = tmp_path / "claim"
    claim.mkdir()
    (claim / "way").symlink_to(link)
    step = Step(lab, inputs=[artifact("a", "/v/way/x/f", raw("x"))], mounts=[mount("v", "/v")])
    step.volume("v").pop("emptyDir")
    step.volume("v")["persistentVolumeClaim"] = {"claimName": "c"}
    run = step.only_init().run(claims={"c": str(claim)}, volumes_dir=str(tmp_path / "volumes"))
    assert_failure(run.result.containers["init"], 64, "artifact a failed to load", "leads out")
    assert not (tmp_path / "volumes/var-run-argo/x").exists()


def test_a_link_that_stays_in_the_volume(lab: Lab, tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    (claim / "real").mkdir(parents=True)
    (claim / "way").symlink_to("real")
    step = Step(lab, inputs=[artifact("a", "/v/way/x/f", raw("x"))], mounts=[mount("v", "/v")])
    step.volume("v").pop("emptyDir")
    step.volume("v")["persistentVolumeClaim"] = {"claimName": "c"}
    assert_ok(step.only_init().run(claims={"c": str(claim)}))
    assert (claim / "real/x/f").read_text() == "x"


def test_mode_and_recurse_mode(lab: Lab, tmp_path: Path) -> None:
    base = Step(lab).prefix
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    outside.chmod(0o600)
    archive = tgz({"d": None, "d/f": b"1", "d/gone": "nothing", "d/s": None, "d/s/g": b"2"})
    key = put(lab, f"{base}/d", archive)
    inputs = [
        artifact("file", "/in/file", raw("x"), mode=0o400),
        artifact("top", "/in/top", key, mode=0o700),
        artifact("all", "/in/all", key, mode=0o751, recurseMode=True),
        artifact("flat", "/in/flat", raw("x"), mode=0o644, recurseMode=True),
    ]
    found = loaded(Step(lab, inputs=inputs), tmp_path / "volumes")
    modes = {
        str(path.relative_to(found)): path.lstat().st_mode & 0o7777
        for path in found.rglob("*")
        if not path.is_symlink()
    }
    assert modes == {
        "file": 0o400,
        "flat": 0o644,
        "top": 0o700,
        "top/f": 0o644,
        "top/s": 0o755,
        "top/s/g": 0o644,
        "all": 0o751,
        "all/f": 0o751,
        "all/s": 0o751,
        "all/s/g": 0o751,
    }
    assert outside.stat().st_mode & 0o7777 == 0o600


# --- after a crash ------------------------------------------------------------------------------


def bytes_below(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", ["plain", "archive", "prefix"])
def test_a_second_run_after_a_kill(lab: Lab, tmp_path: Path, form: str) -> None:
    """SIGKILL in the middle of a download; what it leaves is no obstacle, and does not stay."""
    base = Step(lab).prefix
    data = os.urandom(3 * MIB)
    if form == "prefix":
        put(lab, f"{base}/p/a", data)
        put(lab, f"{base}/p/b", b"b")
        key, expected = f"{base}/p", {"a": data, "b": b"b"}
    elif form == "archive":
        key = put(lab, f"{base}/t", tgz({"d": None, "d/a": data, "d/b": b"b"}))
        expected = {"a": data, "b": b"b"}
    else:
        key, expected = put(lab, f"{base}/o", data), {}
    with FaultProxy(lab.s3.address) as proxy:
        place = location(lab, key, proxy.endpoint)
        step = Step(lab, inputs=[artifact("a", "/in/a", place)]).only_init()
        stall = {"kind": "stall", "bytes": 2 * MIB}
        large = f"{BUCKET}/{base}/(o|t|p/a)$"
        proxy.faults.add(verb="GET", path=large, count=1, action=stall)
        # A failed init container ends a pod, so the second run is a pod on the same volumes.
        claim = tmp_path / "inputs"
        claim.mkdir()
        claim.chmod(0o777)
        step.volume("input-artifacts").pop("emptyDir")
        step.volume("input-artifacts")["persistentVolumeClaim"] = {"claimName": "c"}
        with step.runner(claims={"c": str(claim)}) as runner:
            runner.start()
            wait_until_seen(lambda: bytes_below(claim) > MIB, "half a download")
            assert leftovers(claim)
            runner.signal("init", 9)
            assert runner.wait(30).containers["init"].exit_code == 137
        assert not (claim / "a").exists()
        assert_ok(step.run(claims={"c": str(claim)}))
    if expected:
        assert tree(claim / "a") == expected
    else:
        assert (claim / "a").read_bytes() == data
    assert os.listdir(claim) == ["a"]


def test_secrets_are_not_in_the_log(lab: Lab, tmp_path: Path) -> None:
    key = put(lab, f"{Step(lab).prefix}/o", b"x")
    step = Step(lab, inputs=[artifact("a", "/in/a", key)])
    container = step.container("init")
    container["command"][container["command"].index("info")] = "debug"
    step.set_env("init", "ARGO_TRACE", "1")
    run = step.only_init().run(volumes_dir=str(tmp_path))
    assert_ok(run)
    assert lab.s3.secret_key not in run.result.containers["init"].log
    assert SECRET not in os.listdir(tmp_path / "var-run-argo")
