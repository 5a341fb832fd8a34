"""How a step ends and what is said of it: the table of docs/states.md, "Endings"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import ROOT, Lab
from tests.scenario import Step, artifact, describe, label_of, mount
from tests.servers.fault_proxy import FaultProxy

NONE = {"none": {}}
REFUSAL = "<Error><Code>AccessDenied</Code><Message>Not here.</Message></Error>"
OUTPUTS = {
    "stored": "printf x >{path}; ",
    "absent": "",
    "missing": "",
    "refused": "printf x >{path}; ",
    "fifo": "mkfifo {path}; ",
}
FIELDS = ("exit code", "output", "main", "wait", "reported", "main's message", "message of `wait`")


def table() -> list[list[str]]:
    """The rows of the section, below its head."""
    text = (ROOT / "docs/states.md").read_text()
    section = text.partition("\n## Endings\n")[2].partition("\n##")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    assert tuple(rows[0]) == FIELDS
    return rows[2:]


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with FaultProxy(lab.s3.address) as fault_proxy:
        yield fault_proxy


@pytest.mark.parametrize("row", table(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_an_ending(lab: Lab, proxy: FaultProxy, tmp_path: Path, row: list[str]) -> None:
    code, output, main_code, wait_code, reported, main_says, wait_says = row
    place, _, kind = output.partition(" ")
    path = {"volume": "/v/o", "own": "/tmp/o"}[place]
    if kind == "refused":
        action = {"kind": "status", "status": 403, "body": REFUSAL}
        proxy.faults.add(verb="PUT", path="/o", action=action)
    step = Step(
        lab,
        f"{OUTPUTS[kind].format(path=path)}exit {code}",
        artifacts=[artifact("o", path, None, archive=NONE, optional=kind == "absent")],
        mounts=[mount("v", "/v")],
        endpoint=proxy.endpoint,
    )
    run = step.run(volumes_dir=str(tmp_path))
    main, wait = run.result.containers["main"], run.result.containers["wait"]
    assert (str(main.exit_code), str(wait.exit_code)) == (main_code, wait_code), describe(run)
    assert (tmp_path / "var-run-argo/ctr/main/exitcode").read_text() == code
    locations = ["s3" in item for item in step.outputs().get("artifacts", [])]
    assert locations == {"with a location": [True], "–": []}[reported], step.outputs()
    for container, text in ((main, main_says), (wait, wait_says)):
        if text == "–":
            assert container.message == "", describe(run)
        else:
            at = [container.message.find(part) for part in text.split(" … ")]
            assert at[0] == 0 or not text.startswith(("exit", "main", "output")), container.message
            assert -1 not in at and at == sorted(at), container.message
    assert label_of(run.task_result) == "true"


def test_a_key_that_a_retry_shares(lab: Lab) -> None:
    """Of those that the user has fixed, once; not of those with the pod's or node's name in them."""
    step = Step(lab, "printf x | tee /v/a /v/b >/v/c", mounts=[mount("v", "/v")])
    keys = {"a": f"{step.prefix.split('/')[0]}/fixed", "b": f"k/{step.node}/b", "c": None}
    step.template["outputs"]["artifacts"] = [
        artifact(name, f"/v/{name}", key, archive=NONE) for name, key in keys.items()
    ]
    step.set_artifacts()
    run = step.run()
    warned = [line for line in run.result.containers["wait"].log.splitlines() if "shares" in line]
    assert len(warned) == 1, describe(run)
    assert re.search(r"level=WARN.* artifacts=a( |$)", warned[0]), warned
    assert run.result.containers["wait"].message == ""
