"""Task results against a real kube-apiserver, as a service account that may create and patch them and
nothing else: what it stores, refuses and merges, and what comes of it when requests and answers are
lost, refused and delayed on the way."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Lab
from tests.pod import ApiInfo, PodRunner
from tests.scenario import (
    LABEL,
    RUN_SECONDS,
    Step,
    api_calls,
    assert_failure,
    assert_ok,
    label_of,
    parameter,
    wait_until_seen,
)
from tests.servers.apiserver import ApiServer, refusal

# A share of the requests, for as long as a rule says; the seeds make each run another one.
STATUSES = {
    409: ("Conflict", "the object has been modified"),
    429: ("TooManyRequests", "please try again later"),
    500: ("InternalError", "oh no"),
    503: ("ServiceUnavailable", "apiserver not ready"),
}
DATABASE = [
    "upper: no more rows in this result set",
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "etcdserver: too many requests",
]
MIB = 1 << 20
# Main waits for its test.
HELD = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; "


@pytest.fixture
def api(kubernetes: ApiServer) -> Iterator[ApiServer]:
    kubernetes.clear()
    yield kubernetes
    kubernetes.faults.clear()


@pytest.fixture
def lab(session_lab: Lab, api: ApiServer) -> Lab:
    """The lab's stores, and the real API."""
    real = copy.copy(session_lab)
    real.api = api  # type: ignore[assignment]
    return real


def reporting(lab: Lab, script: str = "") -> Step:
    return Step(lab, f"{script}printf v >/tmp/p", parameters=[parameter("p", "/tmp/p")])


def is_ok(call: tuple[str, int]) -> bool:
    return call[1] in (200, 201)


def start_held(runner: PodRunner, lab: Lab) -> None:
    """Until main is in its HELD and the placeholder is stored."""
    runner.start()
    wait_until_seen(lambda: "ready" in runner.log("main"), "main")
    wait_until_seen(lambda: ("POST", 201) in api_calls(lab), "the placeholder")


def let_go(runner: PodRunner) -> None:
    done = runner.exec("main", ["touch", "/tmp/go"])
    assert done.code == 0, done


def assert_reported(step: Step) -> None:
    """All of it, and nothing older behind anything newer."""
    history = step.history()
    assert history[-1]["outputs"]["parameters"][0]["value"] == "v"
    assert label_of(history[-1]) == "true"
    has_outputs = ["outputs" in version for version in history]
    assert has_outputs == sorted(has_outputs)
    labels = [label_of(version) for version in history]
    assert labels == sorted(labels), "false after true"
    assert all("outputs" in version for version in history if label_of(version) == "true")


def identity(api: ApiServer, token: str, ca: str = "") -> ApiInfo:
    return ApiInfo(host=api.host, port=api.port, ca=ca or api.ca.read_text(), token=token)


def body_of(step: Step, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {"name": step.node, "labels": {LABEL: "false"}},
        **fields,
    }


# --- in peace -------------------------------------------------------------------------------------


def test_three_requests(lab: Lab) -> None:
    step = reporting(lab)
    assert_ok(step.run())
    assert api_calls(lab) == [("POST", 201), ("PATCH", 200), ("PATCH", 200)]
    assert len(step.history()) == 3
    assert_reported(step)


def test_it_existed_already(lab: Lab, api: ApiServer) -> None:
    """Complete, from an earlier pod of the same node: POST 409, then what is there is learnt; all of it
    goes, and its label, before anything of ours is there."""
    step = reporting(lab)
    body = body_of(
        step,
        outputs={"result": "old", "parameters": [{"name": name, "value": "old"} for name in "pq"]},
        progress="2/2",
    )
    body["metadata"]["labels"][LABEL] = "true"
    api.create(body)
    assert_ok(step.run())
    assert api_calls(lab) == [("POST", 409)] + [("PATCH", 200)] * 4
    _, renewed, outputs, final = step.history()
    assert label_of(renewed) == "false"
    assert {"outputs", "progress"}.isdisjoint(renewed)
    assert [(p["name"], p["value"]) for p in outputs["outputs"]["parameters"]] == [("p", "v")]
    assert outputs["outputs"].keys() == {"parameters"} and label_of(outputs) == "false"
    assert final["outputs"] == outputs["outputs"] and label_of(final) == "true"


def test_it_is_deleted_meanwhile(lab: Lab, api: ApiServer) -> None:
    """As the controller does when the workflow is over: PATCH 404, then POST, with everything."""
    step = reporting(lab, HELD)
    with step.runner() as runner:
        start_held(runner, lab)
        api.delete(step.node)
        let_go(runner)
        result = runner.wait(RUN_SECONDS)
    assert result.containers["wait"].exit_code == 0, result.containers["wait"].log
    assert [call for call in api_calls(lab) if call[0] == "PATCH"][0] == ("PATCH", 404)
    last = step.history()[-1]
    assert last["outputs"]["parameters"][0]["value"] == "v" and label_of(last) == "true"


def test_two_writers(lab: Lab, api: ApiServer) -> None:
    """Somebody else writes between placeholder and outputs: each keeps what the other has written,
    and what we send names a version that is no longer the last, so it is refused first."""
    step = reporting(lab, HELD)
    with step.runner() as runner:
        start_held(runner, lab)
        artifacts = [{"name": "main-logs", "s3": {"key": "k"}}]
        api.patch(step.node, {"outputs": {"artifacts": artifacts}, "progress": "1/2"})
        let_go(runner)
        result = runner.wait(RUN_SECONDS)
    assert result.containers["wait"].exit_code == 0, result.containers["wait"].log
    assert ("PATCH", 409) in api_calls(lab)
    assert_reported(step)
    last = step.history()[-1]
    assert last["outputs"]["artifacts"] == artifacts
    assert last["progress"] == "1/2"


def test_two_writers_of_one_array(lab: Lab, api: ApiServer) -> None:
    """Two of one pod write `parameters` at the same time, each an entry of its own and one that both
    have; somebody else's is there before. All of them are there afterwards, whoever was last."""
    steps: list[Step] = []
    for name in ("p", "q"):
        step = Step(
            lab,
            f"{HELD}printf {name} >/tmp/{name}; printf both >/tmp/both",
            parameters=[parameter(of, f"/tmp/{of}") for of in (name, "both")],
            node=steps[0].node if steps else "",
        )
        step.set_env("wait", "ARGO_POD_UID", "one")
        steps.append(step)
    with steps[0].runner() as first, steps[1].runner() as second:
        start_held(first, lab)
        second.start()
        wait_until_seen(lambda: "ready" in second.log("main"), "the other main")
        wait_until_seen(lambda: len(api_calls(lab)) >= 3, "the other placeholder")
        api.patch(steps[0].node, {"outputs": {"parameters": [{"name": "x", "value": "x"}]}})
        let_go(first)
        let_go(second)
        for runner in (first, second):
            wait = runner.wait(RUN_SECONDS).containers["wait"]
            assert (wait.exit_code, wait.message) == (0, ""), wait.log
    reported = [
        {entry["name"]: entry["value"] for entry in version.get("outputs", {}).get("parameters", [])}
        for version in steps[0].history()
    ]
    assert reported[-1] == {"x": "x", "p": "p", "q": "q", "both": "both"}
    assert label_of(steps[0].history()[-1]) == "true"
    sizes = [len(entries) for entries in reported]
    assert sizes == sorted(sizes), "what was reported is gone"


def test_too_large_beside_another_writer(lab: Lab, api: ApiServer) -> None:
    """The limit is that of what is stored, not of what we send; the other's is not ours to cut."""
    step = Step(
        lab,
        f"{HELD}head -c 600000 /dev/zero | tr '\\0' x >/tmp/p",
        parameters=[parameter("p", "/tmp/p")],
    )
    with step.runner() as runner:
        start_held(runner, lab)
        theirs = [{"name": "q", "value": "y" * 600_000}]
        api.patch(step.node, {"outputs": {"parameters": theirs}})
        let_go(runner)
        wait = runner.wait(RUN_SECONDS).containers["wait"]
    assert_failure(wait, 64, "another writer's are 6000", "parameter p (600002 bytes)", "use artifacts")
    values = {item["name"]: len(item.get("value", "")) for item in step.outputs()["parameters"]}
    assert values == {"q": 600_000, "p": 0}
    assert label_of(step.history()[-1]) == "true"


def test_too_large(lab: Lab) -> None:
    """What etcd would refuse is left out by name, the largest first; the rest arrives."""
    sizes = {"large": 700_000, "larger": 750_000}
    makes = [f"head -c {n} /dev/zero | tr '\\0' x >/tmp/{name}; " for name, n in sizes.items()]
    names = ["p", *sizes]
    step = Step(
        lab,
        f"{''.join(makes)}printf v >/tmp/p",
        parameters=[parameter(name, f"/tmp/{name}") for name in names],
    )
    run = step.run()
    assert_failure(run.result.containers["wait"], 64, "parameter larger (", "use artifacts")
    values = [len(item.get("value", "")) for item in step.outputs()["parameters"]]
    assert values == [1, 700_000, 0]
    assert label_of(step.history()[-1]) == "true"


# --- rights and trust -----------------------------------------------------------------------------


@pytest.mark.parametrize("verbs", [("create",), ("patch",), ()])
def test_missing_rights(lab: Lab, api: ApiServer, verbs: tuple[str, ...]) -> None:
    step = reporting(lab)
    token = api.add_account(f"poor-{os.urandom(4).hex()}", verbs)
    run = step.run(api=identity(api, token))
    missing = "patch" if "create" in verbs else "create"
    message = assert_failure(
        run.result.containers["wait"],
        64,
        f'cannot {missing} resource "workflowtaskresults"',
        "grant the pod's service account create and patch on workflowtaskresults.argoproj.io",
    )
    assert "forbidden" in message
    assert len(api.requests()) <= 4, "a refusal is final"


def test_a_token_that_has_ended(lab: Lab, api: ApiServer, tmp_path) -> None:
    """Its account is gone when it is to be used first; by then the kubelet has brought another one: the
    old one is not even tried."""
    name = f"gone-{os.urandom(4).hex()}"
    token = api.add_account(name)
    api.delete_account(name)
    step = reporting(lab, HELD)
    info = identity(api, token)
    api.suspend()
    with step.runner(api=info, volumes_dir=str(tmp_path)) as runner:
        runner.start()
        wait_until_seen(lambda: "ready" in runner.log("main"), "main")
        replace_volume(tmp_path, token=api.token)
        api.resume()
        let_go(runner)
        result = runner.wait(RUN_SECONDS)
    assert result.containers["wait"].exit_code == 0, result.containers["wait"].log
    assert all(is_ok(call) for call in api_calls(lab)), api_calls(lab)
    assert_reported(step)


def test_the_authority_changes(lab: Lab, api: ApiServer, tmp_path) -> None:
    """The server comes back with a certificate that the old one has not signed: whoever has the file of
    the new one does not try with the old one first."""
    step = reporting(lab, HELD)
    with step.runner(volumes_dir=str(tmp_path)) as runner:
        start_held(runner, lab)
        before = api.ca.read_text()
        api.suspend()
        api.resume(has_new_authority=True)
        assert api.ca.read_text() != before
        replace_volume(tmp_path, **{"ca.crt": api.ca.read_text()})
        let_go(runner)
        result = runner.wait(RUN_SECONDS)
    assert result.containers["wait"].exit_code == 0, result.containers["wait"].log
    assert_reported(step)
    assert api.refused_handshakes == 0
    assert all(is_ok(call) for call in api_calls(lab)), api_calls(lab)


def replace_volume(directory: Any, **changes: str) -> None:
    """As a kubelet does it: a new directory of files behind one link."""
    volume = directory / "kube-api-access"
    fresh = volume / "..fresh"
    fresh.mkdir()
    for name in ("ca.crt", "namespace", "token"):
        (fresh / name).write_bytes((volume / "..data" / name).read_bytes())
    for name, text in changes.items():
        (fresh / name).write_text(text)
    os.symlink("..fresh", volume / "..link")
    os.rename(volume / "..link", volume / "..data")


# --- one fault ------------------------------------------------------------------------------------

ONE_FAULT = {
    **{str(status): refusal(status, *words) for status, words in STATUSES.items()},
    "500-plain": {"kind": "status", "status": 500, "body": "oh no\n"},
    "409-plain": {"kind": "status", "status": 409, "body": "conflict\n"},
    "lost": {"kind": "lost"},
    "cut": {"kind": "cut_response", "bytes": 40},
}


@pytest.mark.parametrize("fault", ONE_FAULT)
def test_one_fault(lab: Lab, api: ApiServer, fault: str) -> None:
    """Of each call: the first POST, and the PATCH of the outputs; then that of the label."""
    step = reporting(lab, HELD)
    rules = [api.faults.add(verb="POST", count=1, action=ONE_FAULT[fault])]
    with step.runner() as runner:
        start_held(runner, lab)
        wait_until_seen(lambda: len(api_calls(lab)) > 1 and is_ok(api_calls(lab)[-1]), "it is over")
        # Between the outputs and the label: nothing but the outputs again (429), what is learnt (they
        # were stored: lost, cut), or both.
        for nth in (1, 2 if fault in ("429", "lost", "cut") else 3):
            rules.append(api.faults.add(verb="PATCH", nth=nth, count=1, action=ONE_FAULT[fault]))
        let_go(runner)
        result = runner.wait(RUN_SECONDS)
    assert result.phase == "Succeeded", result.containers["wait"].log
    assert [rule.fired for rule in rules] == [1, 1, 1]
    assert_reported(step)
    assert len(api.requests()) <= 12
    created = [event for event in api.history(step.node) if event["type"] == "ADDED"]
    assert len(created) == 1


def test_what_the_database_says(lab: Lab, api: ApiServer) -> None:
    """One text after the other, with no success in between."""
    rules = [
        api.faults.add(verb="PATCH", count=1, action=refusal(500, "InternalError", text))
        for text in DATABASE
    ]
    step = reporting(lab)
    assert_ok(step.run())
    assert [rule.fired for rule in rules] == [1] * len(DATABASE)
    assert_reported(step)


# --- answers that are none ------------------------------------------------------------------------

HTML = {"Content-Type": "text/html"}
JSON = {"Content-Type": "application/json"}
NO_ANSWERS = {
    "html": ({"status": 200, "body": "<html>Welcome</html>", "headers": HTML}, "text/html, not JSON"),
    "redirect": ({"status": 302, "headers": {"Location": "https://elsewhere/"}}, "redirected (302) to"),
    "huge": ({"status": 200, "body": '"' + "x" * 100_000_000 + '"', "headers": JSON}, "longer than"),
    "huge-refusal": ({"status": 422, "body": "x" * 100_000_000}, "HTTP status 422"),
    "text": ({"status": 200, "body": "{}", "headers": {"Content-Type": "text/plain"}}, "not JSON"),
    "array": ({"status": 200, "body": "[]", "headers": JSON}, "the answer is not that object"),
    "another": (
        {"status": 200, "body": '{"metadata": {"name": "x", "resourceVersion": "1"}}', "headers": JSON},
        "the answer is not that object",
    ),
}
ANSWER_MEMORY_MAX = 48 * MIB


@pytest.mark.parametrize("verb", ["POST", "PATCH"])
@pytest.mark.parametrize("answer", NO_ANSWERS)
def test_not_an_answer(lab: Lab, api: ApiServer, answer: str, verb: str) -> None:
    """Something else answers there, once: it is said, and the rest is told the API server."""
    action, text = NO_ANSWERS[answer]
    api.faults.add(verb=verb, nth=1, count=1, action={"kind": "status", **action})
    step = reporting(lab)
    container = step.run().result.containers["wait"]
    assert_failure(container, 64, text)
    assert label_of(step.history()[-1]) == "true"
    assert (container.max_rss or 0) < ANSWER_MEMORY_MAX


def test_not_json(lab: Lab, api: ApiServer) -> None:
    """A body that is broken on the way: the request itself went through, or goes again."""
    action = {"kind": "status", "status": 200, "body": '{"kind": "Workfl', "headers": JSON}
    rule = api.faults.add(verb="PATCH", count=1, action=action)
    step = reporting(lab)
    assert_ok(step.run())
    assert rule.fired == 1
    assert_reported(step)


# --- many faults ----------------------------------------------------------------------------------


def disturb(api: ApiServer, seed: int) -> None:
    """Of all requests 30 % are refused, and 10 % of the answers are cut or lost."""
    for i, (status, words) in enumerate(STATUSES.items()):
        # One after the other, so each is asked about what those before have left over.
        share = 0.075 / (1 - 0.075 * i)
        api.faults.add(probability=share, seed=seed * 10 + i, action=refusal(status, *words))
    for i, action in enumerate(({"kind": "lost"}, {"kind": "cut_response", "bytes": 20})):
        share = 0.05 / (0.7 - 0.05 * i)
        api.faults.add(probability=share, seed=seed * 10 + 5 + i, action=action)


def assert_no_storm(api: ApiServer) -> None:
    requests = api.requests()
    assert len([r for r in requests if (r["verb"], r["status"]) == ("POST", 201)]) == 1
    seconds = requests[-1]["time"] - requests[0]["time"]
    # What is said in peace, and what one refusal is answered with at once, comes on top.
    assert len(requests) <= 2 * seconds + 8


@pytest.mark.parametrize("seed", range(1, 3))
def test_many_faults(lab: Lab, api: ApiServer, seed: int) -> None:
    disturb(api, seed)
    step = reporting(lab)
    assert_ok(step.run(timeout=120))
    assert_reported(step)
    assert_no_storm(api)


def test_faults_and_an_outage(lab: Lab, api: ApiServer) -> None:
    """Nobody listens when main ends, for two seconds; the minute of it is in tests/soak."""
    disturb(api, 7)
    step = reporting(lab, HELD)
    with step.runner() as runner:
        start_held(runner, lab)
        api.suspend()
        let_go(runner)
        assert runner.wait_state("main", "terminated", RUN_SECONDS)
        runner.wait_for(lambda: False, 2)
        api.resume()
        result = runner.wait(120)
    assert result.phase == "Succeeded", result.containers["wait"].log
    assert_reported(step)
    assert_no_storm(api)


def test_the_placeholder_is_not_waited_for(lab: Lab, api: ApiServer) -> None:
    """It is under way for longer than main runs: main's end is seen all the same, and what main left
    is reported in one request, once it can be."""
    api.faults.add(verb="POST", count=1, action={"kind": "delay", "seconds": 3})
    step = reporting(lab)
    with step.runner() as runner:
        runner.start()
        assert runner.wait_state("main", "terminated", RUN_SECONDS)
        wait_until_seen(lambda: "Main containers completed" in runner.log("wait"), "main's end")
        assert api_calls(lab) == [] or api_calls(lab)[0][1] is None
        result = runner.wait(RUN_SECONDS)
    assert result.phase == "Succeeded", result.containers["wait"].log
    assert_reported(step)
    assert len([r for r in api.requests() if r["verb"] == "POST"]) == 1
