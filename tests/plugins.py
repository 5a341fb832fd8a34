"""Pods with artifact plugins, laid out as controllers 4.0 and 4.1 do it.

    step = PluginStep(lab, tmp_path, "cat /in/a", inputs=[...], artifacts=[...], layout="initless")
    run = step.run()

LAYOUT is "legacy" (an init container per plugin of the inputs, a sidecar per plugin of the outputs)
or "initless" (a sidecar per plugin). The plugins' image runs tests/servers/artifact_plugin.py; its
store is the test's directory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab import Lab
from tests.layout import EXECUTOR_IMAGE
from tests.scenario import Step

Json = dict[str, Any]

IMAGE = "artifact-plugin:1"
COMMAND = ["python3", "/plugin.py"]
LOG_FLAGS = ["--loglevel", "info", "--log-format", "text", "--gloglevel", "0"]
SCRATCH = {"name": "tmp-dir-argo", "mountPath": "/tmp/argo/outputs", "subPath": "argo/outputs"}
INPUTS = {"name": "input-artifacts", "mountPath": "/argo/inputs/artifacts"}


def at(plugin: str, key: str, seconds: int | None = None, **configuration: Any) -> Json:
    """A full location in a plugin's store; CONFIGURATION makes it misbehave."""
    place: Json = {"name": plugin, "configuration": json.dumps(configuration), "key": key}
    if seconds is not None:
        place["connectionTimeoutSeconds"] = seconds
    return {"plugin": place}


def plugins_of(artifacts: list[Json]) -> list[str]:
    """Their plugins, each once."""
    return list(dict.fromkeys(a["plugin"]["name"] for a in artifacts if "plugin" in a))


class PluginStep(Step):
    """A Step whose artifacts may lie with plugins. START: PLUGIN_START of all plugins."""

    def __init__(
        self,
        lab: Lab,
        directory: Path,
        script: str = "true",
        *,
        layout: str = "legacy",
        start: str = "",
        **options: Any,
    ):
        super().__init__(lab, script, **options)
        self.store = directory / "store"
        self.store.mkdir(mode=0o777, exist_ok=True)
        self.store.chmod(0o777)
        self.plugin_env = [{"name": "PLUGIN_START", "value": start}]
        inputs = plugins_of(self.template["inputs"]["artifacts"])
        places = [*self.template["outputs"]["artifacts"]]
        if self.template.get("archiveLocation", {}).get("archiveLogs"):
            places.append(self.template["archiveLocation"])
        outputs = plugins_of(places)
        spec = self.pod["spec"]
        for name in dict.fromkeys(inputs + outputs):
            spec["volumes"].append({"name": f"artifact-plugin-{name}", "emptyDir": {}})
        spec["volumes"].append({"name": "store", "hostPath": {"path": str(self.store)}})
        if layout == "legacy":
            self._lay_out(inputs, outputs)
        else:
            self._lay_out_initless(inputs, list(dict.fromkeys(inputs + outputs)))

    # --- containers ---------------------------------------------------------------------------

    def _plugin(self, name: str, plugin: str, command: list[str], mounts: list[Json]) -> Json:
        like = self.container("supervisor" if self._has("supervisor") else "wait")
        env = [e for e in like["env"] if not e["name"].startswith(("ARGO_CONTAINER", "ARGO_TEMP"))]
        return {
            "name": name,
            "image": IMAGE,
            "command": [*command, *LOG_FLAGS, "--", *COMMAND, f"/tmp/artifact-plugins/{plugin}/socket"],
            "env": [*env, {"name": "ARGO_CONTAINER_NAME", "value": name}, *self.plugin_env],
            "volumeMounts": [
                self._socket(plugin),
                {"name": "var-run-argo", "mountPath": "/var/run/argo"},
                {"name": "store", "mountPath": "/store"},
                *mounts,
            ],
        }

    @staticmethod
    def _socket(plugin: str) -> Json:
        path = f"/tmp/artifact-plugins/{plugin}"
        return {"name": f"artifact-plugin-{plugin}", "mountPath": path}

    def _has(self, name: str) -> bool:
        return any(c["name"] == name for c in self.pod["spec"]["containers"])

    @staticmethod
    def _mirrored(container: Json) -> list[Json]:
        return [m for m in container["volumeMounts"] if m["mountPath"].startswith("/mainctrfs")]

    def _lay_out(self, inputs: list[str], outputs: list[str]) -> None:
        spec, init, wait = self.pod["spec"], self.container("init"), self.container("wait")
        template = next(e for e in init["env"] if e["name"] == "ARGO_TEMPLATE")
        for plugin in inputs:
            command = ["/var/run/argo/argoexec", "artifact-plugin-init", "--plugin-name", plugin]
            mounts = [INPUTS, *self._mirrored(init)]
            container = self._plugin(f"init-artifact-{plugin}", plugin, command, mounts)
            container["env"].append(template)
            spec["initContainers"].append(container)
        if outputs:
            wait["volumeMounts"].append(SCRATCH)
        for plugin in outputs:
            command = ["/var/run/argo/argoexec", "artifact-plugin-sidecar"]
            mounts = [SCRATCH, *self._mirrored(wait)]
            name = f"artifact-plugin-{plugin}"
            spec["containers"].append(self._plugin(name, plugin, command, mounts))
            wait["volumeMounts"].append(self._socket(plugin))
        names = ",".join(f"artifact-plugin-{plugin}" for plugin in outputs)
        self.set_env("wait", "ARGO_ARTIFACT_PLUGIN_NAMES", names)

    def _lay_out_initless(self, inputs: list[str], plugins: list[str]) -> None:
        spec, init, wait = self.pod["spec"], self.container("init"), self.container("wait")
        main = self.container("main")
        template = next(e for e in init["env"] if e["name"] == "ARGO_TEMPLATE")
        wait["name"], wait["command"][1] = "supervisor", "supervisor"
        wait["env"].append(template)
        self.set_env("supervisor", "ARGO_CONTAINER_NAME", "supervisor")
        self.set_env("supervisor", "ARGO_INITLESS_POD", "true")
        own = [INPUTS] if self.template["inputs"]["artifacts"] else []
        mirror = [{**m, "mountPath": "/mainctrfs" + m["mountPath"]} for m in own]
        mounts = [m for m in wait["volumeMounts"] if m["name"] != "input-artifacts"]
        wait["volumeMounts"] = [*mounts, *own, *mirror, SCRATCH]
        spec["initContainers"] = []
        spec["volumes"].append({"name": "argoexec-bin", "image": {"reference": EXECUTOR_IMAGE}})
        binary = {"name": "argoexec-bin", "mountPath": "/argo-bin", "readOnly": True}
        main["command"][0] = "/argo-bin/bin/argoexec"
        main["volumeMounts"] = [
            *(m for m in main["volumeMounts"] if m["name"] != "input-artifacts"), binary, *own
        ]  # fmt: skip
        self.set_env("main", "ARGO_WAIT_FOR_READY", "true")
        for plugin in plugins:
            command = ["/argo-bin/bin/argoexec", "artifact-plugin-sidecar"]
            mounts = [SCRATCH, binary, *own, *self._mirrored(wait)]
            name = f"artifact-plugin-{plugin}"
            spec["containers"].append(self._plugin(name, plugin, command, mounts))
            wait["volumeMounts"].append(self._socket(plugin))
        names = ",".join(f"artifact-plugin-{plugin}" for plugin in plugins)
        self.set_env("supervisor", "ARGO_ARTIFACT_PLUGIN_NAMES", names)
        self.set_env("supervisor", "ARGO_INPUT_ARTIFACT_PLUGIN_NAMES", ",".join(inputs))

    # --- what the plugins saw -----------------------------------------------------------------

    def calls(self, method: str = "") -> list[Json]:
        """What the plugins were asked, oldest first."""
        path = self.store / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if method in ("", call["method"])]

    def put(self, key: str, data: bytes) -> None:
        path = self.store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
