#!/usr/bin/env python3
"""Run the Pod of a JSON file and print its timeline.

    python3 tests/pod/run.py pod.json --executor build/argoexec --controller \\
        --secret my-minio-cred=accesskey:KEY,secretkey:SECRET --host minio=127.0.0.1 \\
        --api 127.0.0.1:6443 --api-ca ca.crt --api-token TOKEN

Exit code: 0 the pod succeeded, 1 it failed or could not start, 2 wrong usage, 3 timeout or a
failure of the runner itself. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from pod import ApiInfo, PodRunner, SandboxError, SpecError, shift_deadlines  # noqa: E402


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return key, value


def _object(text: str) -> tuple[str, dict[str, bytes]]:
    """NAME=DIRECTORY (one key per file) or NAME=KEY:VALUE,KEY:VALUE."""
    name, value = _pair(text)
    if os.path.isdir(value):
        data = {}
        for entry in os.scandir(value):
            if entry.is_file():
                with open(entry.path, "rb") as file:
                    data[entry.name] = file.read()
        return name, data
    pairs = (item.partition(":") for item in value.split(","))
    return name, {key: content.encode() for key, _, content in pairs}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="See the head of this file for an example."
    )
    add = parser.add_argument
    add("pod", help="file with the Pod as JSON")
    add("--executor", help="executor image directory or argoexec binary (default build/argoexec)")
    add("--image", type=_pair, action="append", default=[], metavar="PATTERN=DIR")
    add("--secret", type=_object, action="append", default=[], metavar="NAME=DIR|KEY:VALUE,…")
    add("--configmap", type=_object, action="append", default=[], metavar="NAME=DIR|KEY:VALUE,…")
    add("--claim", type=_pair, action="append", default=[], metavar="CLAIM=DIR")
    add("--host", type=_pair, action="append", default=[], metavar="NAME=ADDRESS")
    add("--env", type=_pair, action="append", default=[], metavar="NAME=VALUE")
    add("--api", metavar="HOST:PORT", help="API server the pod is told of")
    add("--api-ca", metavar="FILE", help="its CA certificates")
    add("--api-token", default="", metavar="TOKEN", help="service account token")
    add("--network", default="host", help="host, pod (loopback only) or a namespace's path")
    add("--controller", action="store_true", help="end what runs after the main containers")
    add("--cpu-limits", action="store_true", help="apply CPU limits too")
    add("--no-memory-limits", action="store_true", help="do not apply memory limits")
    add("--sample", type=float, metavar="SECONDS", help="sample memory that often")
    add("--restart-policy", choices=["Never"], help="run as if the Pod said so")
    add("--shift-deadlines", action="store_true", help="for a Pod recorded on another day")
    add("--timeout", type=float, default=600.0, metavar="SECONDS")
    add("--work-dir", help="keep logs, volumes and messages here")
    add("--logs", action="store_true", help="print the containers' logs too")
    add("--json", action="store_true", help="print everything as JSON instead")
    return parser.parse_args()


def _api(options: argparse.Namespace) -> ApiInfo | None:
    if not options.api:
        return None
    host, _, port = options.api.rpartition(":")
    ca = ""
    if options.api_ca:
        with open(options.api_ca, encoding="ascii") as file:
            ca = file.read()
    return ApiInfo(host, int(port), ca, options.api_token)


def _run(options: argparse.Namespace) -> int:
    with open(options.pod, encoding="utf-8") as file:
        pod = json.load(file)
    if options.shift_deadlines:
        shift_deadlines(pod)
    runner = PodRunner(
        pod,
        images=dict(options.image),
        executor=options.executor,
        claims=dict(options.claim),
        secrets=dict(options.secret),
        configmaps=dict(options.configmap),
        api=_api(options),
        hosts=dict(options.host),
        env_overrides={"*": dict(options.env)},
        network=options.network,
        controller=options.controller,
        memory_limits=not options.no_memory_limits,
        cpu_limits=options.cpu_limits,
        sample_seconds=options.sample,
        restart_policy=options.restart_policy,
        work_dir=options.work_dir,
    )
    with runner:
        result = runner.run(options.timeout)
        if options.json:
            print(result.to_json())
            return 0 if result.phase == "Succeeded" else 1
        print(result.table())
        if options.logs:
            for container in result.containers.values():
                print(f"--- {container.name}\n{container.log}", end="")
    return 0 if result.phase == "Succeeded" else 1


def main() -> int:
    """The command line."""
    options = _arguments()
    if os.geteuid() != 0:
        print("run.py: needs root (namespaces, mounts)", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("run.py: interrupted, the pod is gone", file=sys.stderr)
        return 130
    except (SpecError, json.JSONDecodeError, OSError) as error:
        code = 3 if isinstance(error, TimeoutError) else 2
        print(f"run.py: {error}", file=sys.stderr)
        return code
    except SandboxError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
