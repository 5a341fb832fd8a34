"""The pod runner itself: does a pod live and end as under a kubelet? Busybox images only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)

from pod import PodRunner, SandboxError  # noqa: E402
from pod.samples import (  # noqa: E402
    IMAGE,
    RUN_SECONDS,
    make_pod,
    mount,
    run,
    run_main,
    shell,
    wait_for_log,
)

LOOP = "echo ready; while :; do sleep 0.05; done"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


# Ends of containers


@pytest.mark.parametrize(
    ("script", "code", "number", "reason"),
    [
        ("exit 0", 0, 0, "Completed"),
        ("exit 3", 3, 0, "Error"),
        ("exit 137", 137, 0, "Error"),
        ("exit 255", 255, 0, "Error"),
    ],
)
def test_exit_codes(script, code, number, reason):
    result = run(make_pod(shell("main", script)))
    main = result.containers["main"]
    assert (main.exit_code, main.signal, main.reason) == (code, number, reason)
    assert result.phase == ("Succeeded" if code == 0 else "Failed")
    assert main.started < main.finished
    assert result.outcome()["containers"]["main"]["exitCode"] == code


def test_pid_1_is_the_command_and_ignores_sigterm_without_handler():
    container = {"name": "main", "image": IMAGE, "command": ["sleep", "60"]}
    with PodRunner(make_pod(container)) as runner:
        runner.start()
        assert runner.wait_state("main", "running", RUN_SECONDS)
        pid = runner.pid("main")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            assert file.read() == b"sleep\x0060\x00"
        runner.signal("main", signal.SIGTERM)
        assert not runner.wait_state("main", "terminated", 0.2)
        runner.signal("main", signal.SIGKILL)
        main = runner.wait(RUN_SECONDS).containers["main"]
    assert (main.exit_code, main.signal, main.reason) == (137, 9, "Error")


def test_stop_lets_a_handler_run_then_kills_after_the_grace_period():
    pod = make_pod(
        shell("polite", f"trap 'echo bye; exit 143' TERM; {LOOP}"),
        shell("stubborn", f"trap '' TERM; {LOOP}"),
    )
    with PodRunner(pod) as runner:
        runner.start()
        for name in ("polite", "stubborn"):
            wait_for_log(runner, name, "ready")
        runner.stop(grace=0.4)
        result = runner.wait(RUN_SECONDS)
    polite, stubborn = result.containers["polite"], result.containers["stubborn"]
    assert (polite.exit_code, polite.log) == (143, "ready\nbye\n")
    assert (stubborn.exit_code, stubborn.signal) == (137, 9)
    assert 0.3 < stubborn.finished - polite.finished < 5


def test_deadline():
    pod = make_pod(shell("main", "exec sleep 60"), activeDeadlineSeconds=1)
    result = run(pod)
    assert (result.phase, result.reason) == ("Failed", "DeadlineExceeded")
    assert result.message == "Pod was active on the node longer than the specified deadline"
    assert result.containers["main"].exit_code == 137
    assert 1.9 < result.finished - result.started < 10


def test_out_of_memory():
    script = "x=0123456789abcdef; while :; do x=$x$x; done"
    container = shell("main", script, resources={"limits": {"memory": "16Mi"}})
    result = run(make_pod(container))
    if result.cgroups.startswith("none"):
        pytest.skip(f"no memory cgroup ({result.cgroups})")
    main = result.containers["main"]
    assert (main.exit_code, main.reason) == (137, "OOMKilled")
    assert main.oom_kills >= 1
    assert 8 << 20 < main.peak_memory <= 16 << 20


def test_command_not_found_is_a_start_error():
    pod = make_pod({"name": "main", "image": IMAGE, "command": ["no-such-program"]})
    main = run(pod).containers["main"]
    assert (main.exit_code, main.reason) == (128, "StartError")
    assert 'exec: "no-such-program": executable file not found in $PATH' in main.message


def test_memory_is_sampled():
    script = 'x=$$(head -c 8000000 /dev/zero | tr "\\0" x); sleep 0.3; exit 0'
    main = run_main(script, sample_seconds=0.02)
    assert 8_000_000 < main.peak_anonymous < 64 << 20
    assert 8_000_000 < main.peak_rss < 64 << 20


def test_cpu_limit_is_applied_when_asked():
    script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; exit 0"
    pod = make_pod(shell("main", script, resources={"limits": {"cpu": "250m"}}))
    result = run(pod, cpu_limits=True)
    if result.cgroups.startswith("none"):
        pytest.skip(f"no control groups ({result.cgroups})")
    assert result.containers["main"].log.split()[0] == "25000"
    assert not run(pod).containers["main"].log.startswith("25000")


# Order of containers


def test_init_containers_run_one_after_the_other_then_all_containers():
    # Each container waits for the other: they must run at the same time.
    meet = "touch /v/$0; until [ -e /v/{0} ]; do sleep 0.02; done"
    pod = make_pod(
        {**shell("a", meet.format("b")), "args": ["a"], "volumeMounts": [mount("v", "/v")]},
        {**shell("b", meet.format("a")), "args": ["b"], "volumeMounts": [mount("v", "/v")]},
        initContainers=[
            shell("one", "sleep 0.1; echo 1 > /v/one", volumeMounts=[mount("v", "/v")]),
            shell("two", "cat /v/one", volumeMounts=[mount("v", "/v")]),
        ],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    result = run(pod)
    assert result.phase == "Succeeded"
    status = result.containers
    assert status["one"].finished <= status["two"].started
    assert status["two"].finished <= status["a"].started <= status["b"].started
    assert status["b"].started < status["a"].finished
    assert status["two"].log == "1\n"


def test_stop_during_an_init_container_starts_nothing_else():
    init = shell("init", f"trap 'exit 143' TERM; {LOOP}")
    pod = make_pod(shell("main", "true"), initContainers=[init, shell("two", "true")])
    with PodRunner(pod) as runner:
        runner.start()
        wait_for_log(runner, "init", "ready")
        runner.stop()
        result = runner.wait(RUN_SECONDS)
    states = {name: (c.state, c.exit_code) for name, c in result.containers.items()}
    waiting = ("waiting", None)
    assert states == {"init": ("terminated", 143), "two": waiting, "main": waiting}
    assert result.phase == "Failed"


def test_unknown_image_is_named():
    pod = make_pod(shell("main", "true"), {"name": "odd", "image": "example.org/nowhere:1"})
    result = run(pod)
    assert result.phase == "Pending"
    assert result.containers["main"].exit_code == 0
    assert result.containers["odd"].reason == "ErrImagePull"
    assert "example.org/nowhere:1" in result.containers["odd"].message


def test_failed_init_container_ends_the_pod():
    pod = make_pod(shell("main", "true"), initContainers=[shell("init", "exit 64")])
    outcome = run(pod).outcome()
    assert outcome["phase"] == "Failed"
    assert outcome["containers"]["init"]["exitCode"] == 64
    assert outcome["containers"]["main"] == {"init": False, "never": True}


# Messages and logs


def test_termination_messages():
    fill = "i=0; while [ $i -lt 500 ]; do echo 0123456789; i=$((i+1)); done"
    pod = make_pod(
        shell("long", f"({fill}) > /dev/termination-log"),
        shell("own", "echo there > /tmp/why", terminationMessagePath="/tmp/why"),
        shell("logs", "echo oops; exit 1", terminationMessagePolicy="FallbackToLogsOnError"),
        shell("none", "echo oops; exit 1"),
    )
    status = run(pod).containers
    # 12 KiB for all messages of a pod, 4 containers.
    assert len(status["long"].message) == 3072
    assert status["own"].message == "there\n"
    assert status["logs"].message == "oops\n"
    assert status["none"].message == ""


def test_logs_keep_the_order_of_both_streams():
    script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done; echo again > /dev/stdout"
    pod = make_pod(shell("main", script, securityContext={"runAsUser": 1000}))
    main = run(pod).containers["main"]
    assert main.log == "out1\nerr1\nout2\nerr2\nout3\nerr3\nagain\n"


# Exec, names, namespaces


def test_exec_runs_as_the_container():
    container = shell(
        "main",
        "touch /tmp/inside; trap 'exit 7' TERM; while :; do sleep 0.05; done",
        securityContext={"runAsUser": 1000},
        env=[{"name": "MARK", "value": "m"}],
    )
    seen = []
    with PodRunner(make_pod(container), on_event=lambda event: seen.append(event.kind)) as runner:
        runner.start()
        assert runner.wait_state("main", "running", RUN_SECONDS)
        probe = "until [ -e /tmp/inside ]; do sleep 0.02; done; id -u; echo $MARK; exit 5"
        done = runner.exec("main", ["sh", "-c", probe])
        assert (done.code, done.output) == (5, "1000\nm\n")
        missing = runner.exec("main", ["no-such"])
        assert missing.code == 126 and "executable file not found" in missing.output
        memory = runner.memory("main")
        assert any(entry["command"] == "sh" and entry["rss"] > 0 for entry in memory)
        assert runner.exec("main", ["kill", "-15", "1"]).code == 0
        assert runner.wait(RUN_SECONDS).containers["main"].exit_code == 7
    assert seen[0] == "pod_started" and seen[-1] == "pod_ended"
    assert {"container_started", "exec", "exec_done", "container_exited"} <= set(seen)


def test_controller_ends_what_still_runs():
    pod = make_pod(
        shell("wait-like", f"trap 'echo got it; exit 0' TERM; {LOOP}"),
        shell("main", "sleep 0.4"),
        shell("deaf", f"trap '' TERM; {LOOP}"),
        activeDeadlineSeconds=3,
    )
    for container in pod["spec"]["containers"]:
        if container["name"] != "main":
            template = json.dumps({"sidecars": [{"name": "wait-like"}, {"name": "deaf"}]})
            container["env"] = [{"name": "ARGO_TEMPLATE", "value": template}]
    result = run(pod, controller=True)
    status = result.containers
    assert status["wait-like"].log == "ready\ngot it\n"
    assert 0 <= status["wait-like"].finished - status["main"].finished < 2
    # `kill -9 1` from within its namespace does nothing to PID 1; the deadline's SIGKILL does.
    assert status["deaf"].exit_code == 137
    assert status["deaf"].finished - result.started > 3.5
    execs = [(e.container, e.detail) for e in result.events if e.kind == "exec"]
    assert execs == [
        ("deaf", "/bin/sh -c kill -15 1"),
        ("wait-like", "/bin/sh -c kill -15 1"),
        ("deaf", "/bin/sh -c kill -9 1"),
    ]


def test_names_network_and_host_name():
    pod = make_pod(
        shell(
            "main",
            "hostname; grep minio /etc/hosts; cat /sys/class/net/lo/operstate; ls /sys/class/net",
        ),
        hostAliases=[{"ip": "10.1.2.3", "hostnames": ["alias"]}],
    )
    main = run(pod, hosts={"minio": "127.0.0.1"}, network="pod").containers["main"]
    assert main.log.splitlines()[:2] == ["runner-test", "127.0.0.1\tminio"]
    assert main.log.splitlines()[3:] == ["lo"]


def test_shared_process_namespace():
    pod = make_pod(
        shell("main", "echo $$$$; exec sleep 60"),
        shell("other", "until pidof sleep; do sleep 0.02; done; sleep 60 & exit 0"),
        shareProcessNamespace=True,
    )
    with PodRunner(pod) as runner:
        runner.start()
        assert runner.wait_state("other", "terminated", RUN_SECONDS)
        # What `other` left in the background ended with it; SIGTERM works as we are not PID 1.
        assert len(runner.exec("main", ["pidof", "sleep"]).output.split()) == 1
        runner.signal("main", signal.SIGTERM)
        status = runner.wait(RUN_SECONDS).containers
    assert int(status["main"].log) > 1
    assert status["main"].exit_code == 143


def test_signal_to_the_pause_process_kills_everything():
    pod = make_pod(
        shell("main", "trap '' TERM; while :; do sleep 0.05; done"), shareProcessNamespace=True
    )
    with PodRunner(pod) as runner:
        runner.start()
        assert runner.wait_state("main", "running", RUN_SECONDS)
        runner.exec("main", ["kill", "-15", "1"])
        assert runner.wait(RUN_SECONDS).containers["main"].exit_code == 137


# The runner as a program and its manners


def test_before_start_can_prepare_volumes():
    pod = make_pod(
        shell("main", "cat /v/prepared", volumeMounts=[mount("v", "/v")]),
        volumes=[{"name": "v", "emptyDir": {}}],
    )

    def prepare(name: str) -> None:
        with open(f"{runner.volume_path('v')}/prepared", "w", encoding="ascii") as file:
            file.write(f"for {name}\n")

    with PodRunner(pod, before_start=prepare) as runner:
        assert runner.run(RUN_SECONDS).containers["main"].log == "for main\n"


def _leftovers() -> tuple[list[str], list[str]]:
    """Mounts and control groups that could be a pod's."""
    with open("/proc/self/mountinfo", encoding="ascii") as file:
        mounts = [line for line in file if "/build/pods/" in line]
    groups = []
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        groups += [f"{directory}/{name}" for name in names if name.startswith(f"pod-{os.getpid()}")]
    return mounts, groups


def _is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not os.path.exists(f"/proc/{pid}"):
            return True
        time.sleep(0.02)
    return False


def test_nothing_is_left_behind():
    pod = make_pod(
        shell("main", "sleep 600 & exec sleep 600", volumeMounts=[mount("v", "/v")]),
        volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}],
    )
    with PodRunner(pod) as runner:
        runner.start()
        assert runner.wait_state("main", "running", RUN_SECONDS)
        pids = [runner.pid("main")]
        work = runner.work_dir
    assert all(_is_gone(pid) for pid in pids)
    assert not os.path.exists(work)
    assert _leftovers() == ([], [])


def test_the_sandbox_removes_its_control_groups_itself(monkeypatch):
    monkeypatch.setattr("pod.client.sweep", lambda name: None)
    assert run_main("true").exit_code == 0
    assert _leftovers() == ([], [])


def test_a_killed_sandbox_is_reported_and_leaves_nothing():
    with PodRunner(make_pod(shell("main", LOOP))) as runner:
        runner.start()
        assert runner.wait_state("main", "running", RUN_SECONDS)
        pid = runner.pid("main")
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            sandbox = int(file.read().rpartition(")")[2].split()[1])
        os.kill(sandbox, signal.SIGKILL)
        with pytest.raises(SandboxError, match="ended unexpectedly"):
            runner.wait(RUN_SECONDS)
    assert _is_gone(pid)
    assert _leftovers() == ([], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_command_line_interrupted(tmp_path, number):
    path = tmp_path / "pod.json"
    mark = f"{os.getpid()}{int(number)}"
    path.write_text(json.dumps(make_pod(shell("main", f"exec sleep 9{mark}"))))
    command = [sys.executable, f"{TESTS}/pod/run.py", str(path), "--work-dir", f"{tmp_path}/work"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        pid = _pid_of(f"sleep\x009{mark}\x00".encode())
        process.send_signal(number)
        assert process.wait(10) == (130 if number == signal.SIGINT else -number)
    assert _is_gone(pid)


def _pid_of(cmdline: bytes) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if file.read() == cmdline:
                        return int(entry)
            except OSError:
                continue
        time.sleep(0.02)
    raise AssertionError(f"{cmdline!r} does not run")


def test_command_line_output_with_the_distributions_python(tmp_path):
    path = tmp_path / "pod.json"
    path.write_text(json.dumps(make_pod(shell("main", "echo hello; exit 4"))))
    command = ["/usr/bin/python3", f"{TESTS}/pod/run.py", str(path)]
    table = subprocess.run([*command, "--logs"], capture_output=True, text=True, check=False)
    assert table.returncode == 1
    assert "runner-test: Failed" in table.stdout and "hello" in table.stdout
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(as_json.stdout)["containers"]["main"]["exit_code"] == 4
