"""Whole pods whose artifacts lie with plugins, in both layouts: what main sees, what the plugins are
asked, what is reported, and how everybody ends."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.control import Control
from tests.lab import Lab, PodRun
from tests.plugins import PluginStep, at
from tests.scenario import (
    artifact,
    assert_failure,
    assert_ok,
    describe,
    in_memory,
    label_of,
    mount,
    parameter,
    raw,
    tgz,
    untgz,
    wait_until_seen,
)

Json = dict[str, Any]
LAYOUTS = ["legacy", "initless"]
both_layouts = pytest.mark.parametrize("layout", LAYOUTS)


def aux(layout: str) -> str:
    return "wait" if layout == "legacy" else "supervisor"


def saved_names(step: PluginStep) -> list[str]:
    return [item["name"] for item in step.outputs().get("artifacts", [])]


def assert_sidecar_ended(run: PodRun, plugin: str = "p", code: str = "0") -> None:
    container = run.result.containers[f"artifact-plugin-{plugin}"]
    assert container.exit_code == 0
    assert f'"The plugin has ended" exitCode={code}' in container.log


@both_layouts
def test_in_and_out(lab: Lab, tmp_path: Path, layout: str) -> None:
    """All forms, from and to main's own file system and a volume, through two plugins."""
    script = """
        cat /in/a /in/t/f /in/d/sub/f /work/v /in/raw; stat -Lc %a /in/a /in/d
        mkdir -p /o/d/sub /work/d/sub; echo base > /o/f; echo sub > /o/d/sub/f; ln -s f /o/d/link
        cp -a /o/d/sub /work/d/; echo volume > /work/f; ln -s /etc/hostname /work/d/link
    """
    inputs = [
        artifact("a", "/in/a", at("p", "in/a")),
        artifact("t", "/in/t", at("q", "in/t.tgz")),
        artifact("d", "/in/d", at("p", "in/d")),
        artifact("v", "/work/v", at("q", "in/a")),
        artifact("raw", "/in/raw", raw("literal\n")),
        artifact("o", "/in/o", at("p", "in/none"), optional=True),
    ]
    none: Json = {"archive": {"none": {}}}
    artifacts = [
        artifact("base-tgz", "/o/f", at("p", "out/base-tgz")),
        artifact("base-file", "/o/f", at("p", "out/base-file"), **none),
        artifact("base-dir", "/o/d", at("q", "out/base-dir"), **none),
        artifact("base-zip", "/o/d", at("p", "out/base-zip"), archive={"zip": {}}),
        artifact("vol-tgz", "/work/d", at("p", "out/vol-tgz")),
        artifact("vol-file", "/work/f", at("p", "out/vol-file"), **none),
        artifact("vol-dir", "/work/d", at("p", "out/vol-dir"), **none),
        artifact("missing", "/o/none", at("p", "out/missing"), optional=True),
    ]
    mounts = [mount("work", "/work")]
    options: Json = {"inputs": inputs, "artifacts": artifacts, "mounts": mounts}
    step = PluginStep(lab, tmp_path, script, layout=layout, **options)
    step.put("in/a", b"hello\n")
    step.put("in/t.tgz", tgz({"t/f": b"packed\n"}))
    step.put("in/d/sub/f", b"deep\n")
    run = step.run()
    assert_ok(run)
    log = run.result.containers["main"].log
    assert log.startswith("hello\npacked\ndeep\nhello\nliteral\n666\n777\n"), log
    out = step.store / "out"
    assert untgz((out / "base-tgz").read_bytes()) == {"f": b"base\n"}
    assert (out / "base-file").read_text() == "base\n"
    assert (out / "base-dir/sub/f").read_text() == "sub\n"
    assert os.readlink(out / "base-dir/link") == "f"
    assert (out / "base-zip").read_bytes().startswith(b"PK")
    assert untgz((out / "vol-tgz").read_bytes())["d/sub/f"] == b"sub\n"
    assert (out / "vol-file").read_text() == "volume\n"
    assert (out / "vol-dir/sub/f").read_text() == "sub\n"
    assert saved_names(step) == [item["name"] for item in artifacts[:-1]]
    saves = {call["artifact"]["name"]: call["path"] for call in step.calls("Save")}
    staging = "/tmp/argo/outputs/artifacts"
    assert saves["base-tgz"] == f"{staging}/base-tgz.tgz"
    assert saves["base-file"] == f"{staging}/f"
    assert saves["base-zip"] == f"{staging}/base-zip.zip"
    assert saves["vol-dir"] == "/mainctrfs/work/d"
    assert label_of(run.task_result) == "true"
    assert_sidecar_ended(run, "p")
    assert_sidecar_ended(run, "q")


@both_layouts
def test_a_repository_with_a_plugin(lab: Lab, tmp_path: Path, layout: str) -> None:
    """What has no location of its own, and the logs, go to the default: the report has keys only."""
    repository = at("p", "wf/pod")
    step = PluginStep(
        lab,
        tmp_path,
        "echo said; echo out > /o",
        layout=layout,
        artifacts=[artifact("o", "/o")],
        parameters=[parameter("par", "/o")],
        repository=repository,
        archive_logs=True,
    )
    # The layout asks what the artifacts say; the default is the controller's to resolve.
    run = step.run()
    assert_ok(run)
    assert (step.store / "wf/pod/main.log").read_text().startswith("said\n")
    assert untgz((step.store / "wf/pod/o.tgz").read_bytes()) == {"o": b"out\n"}
    places = [{k: v for k, v in item.items() if k == "plugin"} for item in step.outputs()["artifacts"]]
    assert places == [{"plugin": {"key": "wf/pod/o.tgz"}}, {"plugin": {"key": "wf/pod/main.log"}}]
    (save,) = [call for call in step.calls("Save") if call["artifact"]["name"] == "main-logs"]
    assert save["path"].startswith("/tmp/argo/outputs/") and save["path"].endswith("/main.log")
    assert_sidecar_ended(run)


@pytest.mark.parametrize("size", ["4Ki", "256Ki", "1900Ki"])
def test_no_room_for_what_a_plugin_shall_save(lab: Lab, tmp_path: Path, size: str) -> None:
    """Nothing of it is shown to the plugin, or reported; what lies in a volume needs no room."""
    none: Json = {"archive": {"none": {}}}
    artifacts = [
        artifact("packed", "/o/f", at("p", "out/packed")),
        artifact("zipped", "/o/f", at("p", "out/zipped"), archive={"zip": {}}),
        artifact("copied", "/o/f", at("p", "out/copied"), **none),
        artifact("volume", "/work/f", at("p", "out/volume"), **none),
        artifact("empty", "/o/empty", at("p", "out/empty"), **none),
    ]
    script = "mkdir /o; head -c 2000000 /dev/urandom >/o/f; cp /o/f /work/f; : >/o/empty"
    step = PluginStep(lab, tmp_path, script, artifacts=artifacts, mounts=[mount("work", "/work")])
    in_memory(step, "tmp-dir-argo", size)
    run = step.run()
    message = assert_failure(run.result.containers["wait"], 64, "no space left on device")
    for name in ("packed", "zipped", "copied"):
        assert f"artifact {name} failed to save" in message
    assert saved_names(step) == ["volume", "empty"]
    assert {call["artifact"]["name"] for call in step.calls("Save")} == {"volume", "empty"}
    assert os.stat(step.store / "out/volume").st_size == 2000000
    assert label_of(run.task_result) == "true"


@both_layouts
def test_an_output_that_the_plugin_refuses(lab: Lab, tmp_path: Path, layout: str) -> None:
    """The others are saved, optional or not, and the plugin is ended all the same."""
    artifacts = [
        artifact("no", "/o", at("p", "no", Save="say no")),
        artifact("nf", "/o", at("p", "nf", Save="NOT_FOUND"), optional=True),
        artifact("ok", "/o", at("p", "ok", Save="unavailable once")),
    ]
    step = PluginStep(lab, tmp_path, "echo out > /o", layout=layout, artifacts=artifacts)
    run = step.run()
    message = assert_failure(
        run.result.containers[aux(layout)],
        64,
        "artifact no failed to save: plugin p save failed: the answer is no (plugin object no, permanent); ",
        "artifact nf failed to save: plugin p save failed: rpc error: code = NotFound desc = ",
    )
    assert "ok failed" not in message
    assert saved_names(step) == ["ok"]
    assert run.result.containers["main"].exit_code == 0
    assert_sidecar_ended(run)


@pytest.mark.parametrize("fault", ["UNAVAILABLE", "hang"])
def test_calls_are_counted(lab: Lab, tmp_path: Path, fault: str) -> None:
    """Those that are tried again; and the one that hangs, while nothing else happens."""
    step = PluginStep(
        lab, tmp_path, "echo out > /o", artifacts=[artifact("a", "/o", at("p", "a", Save=fault))]
    )
    step.set_env("wait", "EXECUTOR_RETRY_BACKOFF_DURATION", "20ms")
    with step.runner(volumes_dir=str(tmp_path / "volumes")) as runner:
        runner.start()
        wait_until_seen(lambda: runner.volumes, "volumes")
        control = Control(runner.volume_path("var-run-argo"))

        def value(family: str, labels: str) -> int:
            samples = control.ask("GET", "/metrics").body.decode()
            found = re.search(rf"argoexec_{family}{{[^}}]*{labels}}} (\d+)\n", samples)
            return int(found[1]) if found else 0

        if fault == "hang":
            wait_until_seen(lambda: step.calls("Save"), "the call")
            way = '/p/socket",phase="running"'
            wait_until_seen(lambda: value("endpoint_requests", way) == 1, "a call under way")
        else:
            again = 'store="plugin",class="transient"'
            wait_until_seen(lambda: value("store_retries_total", again) >= 2, "retries")
            assert value("store_requests_total", 'store="plugin"') >= 2
        control.close()
        runner.stop(0)


def test_an_input_that_the_plugin_refuses(lab: Lab, tmp_path: Path) -> None:
    inputs = [artifact("a", "/in/a", at("p", "a", Load="say no"))]
    step = PluginStep(lab, tmp_path, inputs=inputs)
    run = step.run()
    reason = "artifact a failed to load: plugin p load failed: the answer is no"
    assert_failure(run.result.containers["init-artifact-p"], 64, reason)
    assert run.result.containers["main"].state != "running"
    step = PluginStep(lab, tmp_path, inputs=inputs, layout="initless")
    run = step.run()
    prefix = 'failed to load input artifacts from plugin "p": '
    assert_failure(run.result.containers["supervisor"], 64, prefix + reason)
    assert run.result.containers["main"].exit_code == 65
    assert_sidecar_ended(run)


def test_the_first_failure_ends_the_other_passes(lab: Lab, tmp_path: Path) -> None:
    """A supervisor's plugins load side by side: one hangs, and nobody waits for it."""
    inputs = [
        artifact("a", "/in/a", at("q", "a", Load="hang")),
        artifact("b", "/in/b", at("p", "b", Load="say no")),
        artifact("c", "/in/c", raw("c")),
    ]
    step = PluginStep(lab, tmp_path, inputs=inputs, layout="initless")
    run = step.run()
    reason = 'failed to load input artifacts from plugin "p": artifact b failed to load: plugin p'
    assert_failure(run.result.containers["supervisor"], 64, reason)
    assert run.result.containers["main"].exit_code == 65
    assert_sidecar_ended(run, "p")
    assert run.result.containers["artifact-plugin-q"].exit_code == 0


def test_a_sidecar_whose_plugin_dies(lab: Lab, tmp_path: Path) -> None:
    """Nobody waits 120 s for its socket, nor for its end."""
    begun = time.monotonic()
    step = PluginStep(
        lab, tmp_path, "echo > /o", artifacts=[artifact("o", "/o", at("p", "o"))], start="die"
    )
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "plugin p has ended (exit code 3)")
    assert_sidecar_ended(run, code="3")
    step = PluginStep(
        lab, tmp_path, inputs=[artifact("a", "/in/a", at("p", "a"))], start="die", layout="initless"
    )
    run = step.run()
    assert_failure(run.result.containers["supervisor"], 64, "plugin p has ended (exit code 3)")
    assert run.result.containers["main"].exit_code == 65
    assert time.monotonic() - begun < 30


def test_a_plugin_that_dies_while_it_saves(lab: Lab, tmp_path: Path) -> None:
    artifacts = [artifact("o", "/o", at("p", "o", Save="die"))]
    step = PluginStep(lab, tmp_path, "echo > /o", artifacts=artifacts)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "plugin p has ended (exit code 5)")
    assert_sidecar_ended(run, code="5")


@both_layouts
def test_a_stubborn_plugin_is_killed(lab: Lab, tmp_path: Path, layout: str) -> None:
    artifacts = [artifact("o", "/o", at("p", "o"))]
    options: Json = {"layout": layout, "artifacts": artifacts, "start": "stubborn", "grace": 1}
    step = PluginStep(lab, tmp_path, "echo > /o", **options)
    run = step.run()
    assert_ok(run)
    assert_sidecar_ended(run, code="137")
    assert label_of(run.task_result) == "true"
    late = run.result.containers["artifact-plugin-p"].finished - run.result.containers["main"].finished
    assert 1 <= late < 20


def test_stopped_while_saving(lab: Lab, tmp_path: Path) -> None:
    """SIGTERM to everybody, as a deleted pod gets it: the plugin goes on until all is saved."""
    script = "echo out > /o; echo up; sleep 1000"
    step = PluginStep(lab, tmp_path, script, artifacts=[artifact("o", "/o", at("p", "o"))])
    with step.runner(controller=False) as runner:
        runner.start()
        wait_until_seen(lambda: "serving" in runner.log("artifact-plugin-p"), "the plugin")
        wait_until_seen(lambda: "up" in runner.log("main"), "main")
        runner.stop(20)
        result = runner.wait(60)
    assert result.containers["main"].exit_code == 143
    assert result.containers["wait"].exit_code == 0, result.containers["wait"].log
    assert "Ignoring SIGTERM" in result.containers["artifact-plugin-p"].log
    assert untgz((step.store / "o").read_bytes()) == {"o": b"out\n"}


def test_other_users(lab: Lab, tmp_path: Path) -> None:
    """wait, main and the plugin run under three users; the sidecar on a read-only root."""
    artifacts = [artifact("o", "/o/f", at("p", "o")), artifact("v", "/o/f", at("p", "v"))]
    artifacts[1]["archive"] = {"none": {}}
    step = PluginStep(
        lab,
        tmp_path,
        "echo out > /o/f",
        inputs=[artifact("a", "/in/a", at("p", "a"))],
        artifacts=artifacts,
        mounts=[mount("o", "/o")],
    )
    step.put("a", b"hello\n")
    for name, user in (("wait", 8737), ("main", 1000), ("artifact-plugin-p", 2000)):
        step.container(name)["securityContext"] = {"runAsUser": user}
    step.container("artifact-plugin-p")["securityContext"]["readOnlyRootFilesystem"] = True
    (step.store / "calls").touch()
    (step.store / "calls").chmod(0o666)
    run = step.run()
    assert_ok(run)
    assert (step.store / "v").read_text() == "out\n"
    assert (step.store / "v").stat().st_uid == 2000
    assert saved_names(step) == ["o", "v"]


def test_links_in_a_volume_do_not_lead_the_plugin_away(lab: Lab, tmp_path: Path) -> None:
    """The path that a plugin is given has no link in it that main could have made."""
    script = "mkdir /work/d; echo x > /work/d/f; ln -s d/f /work/near; ln -s /plugin.py /work/far"
    none: Json = {"archive": {"none": {}}}
    artifacts = [
        artifact("near", "/work/near", at("p", "near"), **none),
        artifact("far", "/work/far", at("p", "far"), **none),
    ]
    mounts = [mount("work", "/work")]
    step = PluginStep(lab, tmp_path, script, artifacts=artifacts, mounts=mounts)
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "/mainctrfs/work/far: a symbolic link")
    (call,) = step.calls("Save")
    assert call["path"] == "/mainctrfs/work/d/f"
    assert saved_names(step) == ["near"], describe(run)


def test_wait_that_cannot_start_ends_the_plugins(lab: Lab, tmp_path: Path) -> None:
    step = PluginStep(lab, tmp_path, artifacts=[artifact("o", "/o", at("p", "o"))])
    step.set_env("wait", "ARGO_DEADLINE", "no time")
    run = step.run(controller=False)
    assert run.result.containers["wait"].exit_code == 2
    assert run.result.containers["artifact-plugin-p"].exit_code == 0
    assert run.history == []
