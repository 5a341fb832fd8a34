"""Runs the demo: `python3 -m tests.demo [POD.json]`, as root, from the project's root.

Exit code 0 only if every pod did what it should; 2 for wrong usage. Ends all that it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.demo import show, steps
from tests.demo.localise import localise, node_id
from tests.lab import ROOT, Lab, PodRun
from tests.pod import SandboxError, SpecError

BINARY = Path(os.environ.get("ARGOEXEC", ROOT / "build/argoexec")).resolve()
# Often enough to see every container's memory, seldom enough not to slow it down.
SAMPLE_SECONDS = 0.005
POD_SECONDS = 600


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


def run_pod(lab: Lab, pod: dict[str, Any], **options: Any) -> PodRun:
    pod, secrets = localise(pod, lab)
    with lab.runner(pod, secrets=secrets, sample_seconds=SAMPLE_SECONDS, **options) as runner:
        result = runner.run(POD_SECONDS)
    return PodRun(pod, result, lab.history(node_id(pod)))


def present(lab: Lab, run: PodRun, before: dict[str, int]) -> None:
    """Everything that the pod left."""
    result = run.result
    reason = f": {result.reason} {result.message}" if result.reason else ""
    say(f"{result.phase} after {result.finished - result.started:.3f} s{reason}", "")
    say(*show.timeline(result), "")
    say("logs", *(f"  {line}" for line in show.logs(result)), "")
    after = lab.objects()
    new = {key: count for key, count in after.items() if before.get(key) != count}
    say("stored objects", *(show.objects(new) or ["  none"]), "")
    say("task result, as the controller reads it")
    say(*(f"  {line}" for line in show.task_result(run)), "")


def moments(run: PodRun) -> tuple[float | None, float | None]:
    """When user code began and ended, by the lines that it wrote."""
    found: dict[str, float] = {}
    for line in run.result.containers["main"].log.splitlines():
        time, _, text = line.partition(" ")
        if text in ("user code runs", "user code ends"):
            found[text] = float(time)
    return found.get("user code runs"), found.get("user code ends")


def comparison(run: PodRun) -> list[str]:
    """The reference's known figures, and those of a pod that stored two artifacts."""
    init, main, wait = (run.result.containers[name] for name in ("init", "main", "wait"))
    began, ended = moments(run)

    def since(late: float | None, early: float | None) -> str:
        return "-" if late is None or early is None else show.milliseconds(late - early)

    def of(container: Any, attribute: str) -> str:
        value = getattr(container, attribute)
        return "-" if value is None else f"{value / 1e6:.1f} MB"

    # Main's figures are the wrapper's and the user's processes together.
    rows = [
        ("binary", "117 MB", f"{BINARY.stat().st_size / 1e6:.1f} MB"),
        ("init: time", "265 ms", show.milliseconds(init.seconds)),
        ("init: written", "112 MB", f"{init.io.get('wchar', 0) / 1e6:.1f} MB"),
        ("wrapper starts -> user code runs", "154 ms", since(began, main.started)),
        ("user code ends -> wait has reported", "825 ms", since(wait.finished, ended)),
        ("resident: wait, largest process of main", "86 MB each", ""),
        ("anonymous: wait, main with the user's shell", "17 MB each", ""),
    ]
    rows[5] = (*rows[5][:2], f"{of(wait, 'peak_rss')}, {of(main, 'peak_rss')}")
    rows[6] = (*rows[6][:2], f"{of(wait, 'peak_anonymous')}, {of(main, 'peak_anonymous')}")
    titles = ("", "reference (Go, 4.1.2)", "this run, first step")
    return [
        *show.table(titles, rows),
        "",
        "The reference was measured with a pod that stored nothing but its log; this one stored",
        "a log and two artifacts. `make bench` measures like with like.",
    ]


def two_steps(lab: Lab, directory: Path) -> bool:
    """The demo's own workflow."""
    images = {steps.IMAGE: steps.build_image(directory / "image")}
    runs = []
    for number, (about, pod) in enumerate(steps.pods(), 1):
        say(show.rule(f"step {number} of 2: {pod['metadata']['name']}"), about)
        before = lab.objects()
        # Nothing but `wait` runs beside main, and it ends by itself: no controller is needed.
        run = run_pod(lab, pod, images=images, controller=False)
        present(lab, run, before)
        runs.append(run)
        if run.result.phase != "Succeeded":
            return False
    say(show.rule("beside the reference"), *comparison(runs[0]), show.rule())
    proven = steps.PROOF in runs[1].result.containers["main"].log
    say("both steps did what they should" if proven else f"step 2 did not say: {steps.PROOF}")
    return proven


def one_pod(lab: Lab, path: Path) -> bool:
    """A pod of the user's own."""
    pod = json.loads(path.read_text(encoding="utf-8"))
    say(show.rule(f"pod {pod['metadata']['name']}, from {path}"))
    run = run_pod(lab, pod)
    present(lab, run, {})
    say(show.rule())
    return run.result.phase == "Succeeded"


def version() -> str:
    argv = [BINARY, "version", "--short"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> int:
    """The command line."""
    if len(sys.argv) > 2:
        print("usage: python3 -m tests.demo [POD.json]", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="demo-", dir=ROOT / "build") as scratch:
            directory = Path(scratch)
            say(f"{version()}, {BINARY.stat().st_size / 1e6:.1f} MB")
            with Lab(directory / "lab", executor=str(BINARY)) as lab:
                say(f"S3 (OpenStack Swift) on {lab.s3.endpoint}")
                say(f"Kubernetes API on {lab.api.host}:{lab.api.port}", "")
                if len(sys.argv) == 2:
                    good = one_pod(lab, Path(sys.argv[1]))
                else:
                    good = two_steps(lab, directory)
            return 0 if good else 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything is ended", file=sys.stderr)
        return 130
    except KeyError as error:
        print(f"demo: {sys.argv[-1]}: field {error} is missing", file=sys.stderr)
    except (OSError, SpecError, SandboxError, RuntimeError, json.JSONDecodeError) as error:
        print(f"demo: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
