"""A `wait` that stands still: main does not wait for it for ever, and no output is lost."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.lab import Lab
from tests.scenario import Step, artifact, mount, untgz, wait_until_seen


def test_a_wait_that_stands_still(lab: Lab, tmp_path: Path) -> None:
    script = "mkdir /tmp/d; printf x >/tmp/d/f; echo ready; while [ ! -e /v/go ]; do sleep 0.1; done"
    step = Step(lab, script, artifacts=[artifact("d", "/tmp/d")], mounts=[mount("v", "/v")])
    with step.runner(volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main")
        runner.signal("wait", signal.SIGSTOP)
        (Path(runner.volume_path("v")) / "go").touch()
        assert runner.wait_state("main", "terminated", 40)
        (archive,) = tmp_path.glob("*var-run-argo/outputs/artifacts/tmp/d.tgz")
        assert untgz(archive.read_bytes()) == {"d": None, "d/f": b"x"}
        runner.signal("wait", signal.SIGCONT)
        result = runner.wait(60)
    assert [result.containers[name].exit_code for name in ("main", "wait")] == [0, 0]
    assert untgz(lab.get(f"{step.prefix}/d.tgz")) == {"d": None, "d/f": b"x"}
