"""The pod runner itself: volumes, environment, users and images as a kubelet makes them."""

from __future__ import annotations

import datetime
import json
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from pod import ApiInfo, PodRunner, SpecError, shift_deadlines  # noqa: E402
from pod.model import expand, parse_quantity  # noqa: E402
from pod.samples import IMAGE, RUN_SECONDS, make_pod, mount, run, run_main, shell  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


# Volumes


def test_empty_dir_is_shared_writable_and_measured():
    pod = make_pod(
        shell(
            "main",
            "stat -c %a /v; ls -la /v/x; cat /v/x",
            securityContext={"runAsUser": 1000},
            volumeMounts=[mount("v", "/v")],
        ),
        initContainers=[
            shell("init", "head -c 5000 /dev/zero > /v/x", volumeMounts=[mount("v", "/v")])
        ],
        volumes=[{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}],
    )
    result = run(pod)
    assert result.containers["main"].log.startswith("777\n")
    assert result.volumes["v"].apparent == 5000
    assert result.volumes["v"].files == 1
    assert result.containers["init"].io["wchar"] >= 5000


def test_sub_path_directory_file_and_link_that_leads_out():
    pod = make_pod(
        shell(
            "main",
            "stat -c %a:%F /dir; echo x > /dir/new; cat /file; ls /escape",
            volumeMounts=[
                mount("v", "/dir", subPath="a/b"),
                mount("v", "/file", subPath="f"),
                mount("v", "/escape", subPath="link"),
            ],
        ),
        initContainers=[
            shell("init", "echo content > /v/f; ln -s / /v/link", volumeMounts=[mount("v", "/v")])
        ],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    with PodRunner(pod) as runner:
        log = runner.run(RUN_SECONDS).containers["main"].log
        assert os.path.exists(runner.volume_path("v") + "/a/b/new")
    lines = log.splitlines()
    assert lines[:2] == ["777:directory", "content"]
    # `/` of the link is the volume, not the machine's root.
    assert lines[2:] == ["a", "f", "link"]


def test_host_path_claim_and_read_only_mount(tmp_path):
    claim, host = tmp_path / "claim", tmp_path / "host"
    claim.mkdir()
    pod = make_pod(
        shell(
            "main",
            "echo c > /claim/c; echo h > /host/h; echo no > /ro/x",
            volumeMounts=[
                mount("c", "/claim"),
                mount("h", "/host"),
                mount("h", "/ro", readOnly=True),
            ],
        ),
        volumes=[
            {"name": "c", "persistentVolumeClaim": {"claimName": "work"}},
            {"name": "h", "hostPath": {"path": str(host)}},
        ],
    )
    main = run(pod, claims={"work": str(claim)}).containers["main"]
    assert "Read-only file system" in main.log
    assert (claim / "c").read_text() == "c\n"
    assert (host / "h").read_text() == "h\n"


def test_secret_config_map_and_projected_volumes():
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = f"""
        cd /s; for i in *; do echo $i=$(cat $i); done; readlink user; stat -Lc %a user
        cat /c; echo; cd {token}; cat token ca.crt namespace; echo; stat -Lc %a:%u token
        cat /d/labels; echo; touch /s/new
    """
    pod = make_pod(
        shell(
            "main",
            script,
            volumeMounts=[
                mount("s", "/s"),
                mount("c", "/c", subPath="key.txt"),
                mount("t", token, readOnly=True),
                mount("d", "/d"),
            ],
        ),
        securityContext={"runAsUser": 8737},
        volumes=[
            {
                "name": "s",
                "secret": {
                    "secretName": "cred",
                    "items": [{"key": "u", "path": "user", "mode": 0o444}],
                },
            },
            {"name": "c", "configMap": {"name": "conf"}},
            {
                "name": "t",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token"}},
                        {
                            "configMap": {
                                "name": "kube-root-ca.crt",
                                "items": [{"key": "ca.crt", "path": "ca.crt"}],
                            }
                        },
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "namespace",
                                        "fieldRef": {"fieldPath": "metadata.namespace"},
                                    }
                                ]
                            }
                        },
                    ]
                },
            },
            {
                "name": "d",
                "downwardAPI": {
                    "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
                },
            },
        ],
    )
    result = run(
        pod,
        secrets={"cred": {"u": b"me", "p": "secret"}},
        configmaps={"conf": {"key.txt": "value"}},
        api=ApiInfo(ca="CA\n", token="TOKEN\n"),
    )
    lines = result.containers["main"].log.splitlines()
    assert lines[:3] == ["user=me", "..data/user", "444"]
    assert lines[3:] == [
        "value",
        "TOKEN",
        "CA",
        "argo",
        "600:8737",
        'colour="blue"',
        "touch: /s/new: Read-only file system",
    ]


def test_missing_secret_leaves_the_pod_pending():
    pod = make_pod(
        shell("main", "true", volumeMounts=[mount("s", "/s")]),
        volumes=[{"name": "s", "secret": {"secretName": "gone"}}],
    )
    result = run(pod)
    assert (result.phase, result.reason) == ("Pending", "FailedMount")
    assert 'secret "gone" not found' in result.message


def test_fs_group():
    pod = make_pod(
        shell("main", "id -u; id -G; stat -c %a:%g /v; touch /v/f; stat -c %g /v/f"),
        securityContext={"runAsUser": 8737, "runAsGroup": 20, "fsGroup": 4242},
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    pod["spec"]["containers"][0]["volumeMounts"] = [mount("v", "/v")]
    lines = run(pod).containers["main"].log.splitlines()
    assert lines == ["8737", "20 4242", "2777:4242", "4242"]


def test_image_volume_is_read_only(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "argoexec").write_text("#!/bin/sh\necho from the image\n")
    (tmp_path / "bin" / "argoexec").chmod(0o755)
    pod = make_pod(
        shell("main", "/argo-bin/bin/argoexec; touch /argo-bin/x", volumeMounts=[]),
        {"name": "other", "image": "example.org/argoexec:v1", "args": ["x"]},
        volumes=[{"name": "bin", "image": {"reference": "example.org/argoexec:v1"}}],
    )
    pod["spec"]["containers"][0]["volumeMounts"] = [mount("bin", "/argo-bin", readOnly=True)]
    result = run(pod, executor=str(tmp_path))
    assert result.containers["main"].log == (
        "from the image\ntouch: /argo-bin/x: Read-only file system\n"
    )
    # The image has an ENTRYPOINT, argoexec, found in PATH; its interpreter is not there.
    other = result.containers["other"]
    assert (other.reason, other.exit_code) == ("StartError", 128)
    assert "/bin/argoexec" in other.message


# Environment, command, users


def test_environment_and_expansion():
    container = shell(
        "main",
        "echo $0 $1; env",
        args=["$(A)-$(B)", "$$(A) $(NOT_SET)"],
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)2"},
            {"name": "TWICE", "value": "first"},
            {"name": "TWICE", "value": "last"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "UID_", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            {
                "name": "COLOUR",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['colour']"}},
            },
            {
                "name": "MEMORY",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
            },
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {
                "name": "ABSENT",
                "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}},
            },
        ],
        envFrom=[{"configMapRef": {"name": "all"}, "prefix": "P_"}],
        resources={"limits": {"memory": "64Mi"}},
    )
    main = run(
        make_pod(container),
        secrets={"s": {"k": "sesame"}},
        configmaps={"all": {"X": "x"}},
        api=ApiInfo("10.0.0.1", 6443),
        env_overrides={"main": {"EXTRA": "yes"}},
    ).containers["main"]
    first, *rest = main.log.splitlines()
    assert first == "1-12 $(A) $(NOT_SET)"
    env = dict(line.split("=", 1) for line in rest)
    expected = {
        "A": "1",
        "B": "12",
        "TWICE": "last",
        "NAME": "runner-test",
        "UID_": "11111111-2222-3333-4444-555555555555",
        "COLOUR": "blue",
        "MEMORY": "64",
        "SECRET": "sesame",
        "P_X": "x",
        "EXTRA": "yes",
        "HOSTNAME": "runner-test",
        "HOME": "/root",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "6443",
        "KUBERNETES_PORT_6443_TCP": "tcp://10.0.0.1:6443",
    }
    assert {key: env.get(key) for key in expected} == expected
    assert "ABSENT" not in env


def test_image_entrypoint_cmd_user_and_workdir(tmp_path):
    built = PodRunner(make_pod(shell("x", "true")))
    with built:
        rootfs = built.images.find(IMAGE).layers[0]
    (tmp_path / "rootfs").symlink_to(rootfs)
    config = {
        "Env": ["PATH=/bin:/usr/bin", "FROM_IMAGE=1"],
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["pwd; id -u; id -g; echo $FROM_IMAGE $HOME"],
        "User": "nobody",
        "WorkingDir": "/made/on/demand",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    images = {"mine:*": str(tmp_path)}
    pod = make_pod(
        {"name": "plain", "image": "mine:1"},
        {"name": "args", "image": "mine:1", "args": ["echo given"]},
        {"name": "command", "image": "mine:1", "command": ["echo", "only"]},
        {"name": "cwd", "image": "mine:1", "args": ["pwd"], "workingDir": "/tmp"},
    )
    logs = {name: c.log for name, c in run(pod, images=images).containers.items()}
    assert logs == {
        "plain": "/made/on/demand\n65534\n65534\n1 /\n",
        "args": "given\n",
        "command": "only\n",
        "cwd": "/tmp\n",
    }


def test_capabilities_and_no_new_privileges():
    script = "grep -E 'CapPrm|CapBnd|NoNewPrivs' /proc/self/status"
    drop_all = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = make_pod(
        shell("plain", script),
        shell("dropped", script, securityContext=drop_all),
        shell("user", script, securityContext={"runAsUser": 1000}),
        shell("some", script, securityContext={"capabilities": {"drop": ["ALL"], "add": ["KILL"]}}),
    )
    logs = {name: c.log.split() for name, c in run(pod).containers.items()}
    values = {name: (log[1], log[3], log[5]) for name, log in logs.items()}
    default, none, kill = "00000000a80425fb", "0" * 16, "0000000000000020"
    assert values == {
        "plain": (default, default, "0"),
        "dropped": (none, none, "1"),
        "user": (none, default, "0"),
        "some": (kill, kill, "0"),
    }


def test_seccomp_profiles():
    script = "grep Seccomp_filters /proc/self/status; unshare -U true"
    profile = {"seccompProfile": {"type": "RuntimeDefault"}}
    pod = make_pod(
        shell("plain", script),
        shell("refused", script, securityContext=profile),
        shell("user", script, securityContext={**profile, "runAsUser": 1000}),
    )
    logs = {name: c.log.split("\n", 1) for name, c in run(pod).containers.items()}
    counts = {name: int(log[0].split()[1]) for name, log in logs.items()}
    assert counts["refused"] == counts["user"] == counts["plain"] + 1
    assert logs["plain"][1] == ""
    for name in ("refused", "user"):
        assert "Operation not permitted" in logs[name][1]


def test_run_as_non_root_refuses_root():
    pod = make_pod(shell("main", "true", securityContext={"runAsNonRoot": True}))
    main = run(pod).containers["main"]
    assert (main.state, main.reason) == ("waiting", "CreateContainerConfigError")


def test_read_only_root():
    container = shell(
        "main",
        "touch /x; echo m > /dev/termination-log; echo ok > /v/y && cat /v/y",
        securityContext={"readOnlyRootFilesystem": True},
        volumeMounts=[mount("v", "/v")],
    )
    main = run(make_pod(container, volumes=[{"name": "v", "emptyDir": {}}])).containers["main"]
    assert main.log == "touch: /x: Read-only file system\nok\n"
    assert main.message == "m\n"


def test_images_stay_pristine():
    first = run_main("echo dirty > /etc/dirty; rm /bin/ls; head -c 3000 /dev/zero > /root/f")
    assert first.layer_bytes >= 3000
    assert run_main("ls /etc/dirty").exit_code == 1


# Parts


def test_what_cannot_be_played_is_refused():
    with pytest.raises(SpecError, match="restartPolicy OnFailure"):
        PodRunner(make_pod(shell("main", "true"), restartPolicy="OnFailure"))
    with pytest.raises(SpecError, match="livenessProbe"):
        PodRunner(make_pod(shell("main", "true", livenessProbe={"exec": {}})))


def test_shift_deadlines():
    pod = make_pod(
        shell(
            "main",
            "true",
            env=[
                {"name": "ARGO_DEADLINE", "value": "2026-01-01T00:05:00Z"},
            ],
        ),
        shell("other", "true", env=[{"name": "ARGO_DEADLINE", "value": "0001-01-01T00:00:00Z"}]),
    )
    now = datetime.datetime(2027, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    main, other = shift_deadlines(pod, now)["spec"]["containers"]
    assert main["env"][0]["value"] == "2027-02-03T04:10:06Z"
    assert other["env"][0]["value"] == "0001-01-01T00:00:00Z"


def test_expansion_and_quantities():
    env = {"A": "1", "B": "$(A)"}
    assert expand("$(A) $(B) $$(A) $(C) $A $( $$", env) == "1 $(A) $(A) $(C) $A $( $"
    assert [parse_quantity(q) for q in ("64Mi", "500m", "1k", "2", "1e3")] == [
        64 << 20,
        0.5,
        1000,
        2,
        1000,
    ]
    with pytest.raises(SpecError):
        parse_quantity("12x")
