"""Builds etcd and kube-apiserver from their Go modules, for tests/servers/apiserver.py.

    python3 -m tests.servers.kubernetes_build

puts both programs into $XDG_CACHE_HOME/tiphys (~/.cache/tiphys), once; that takes minutes. The modules
have no main package of their own that `go install` would build: k8s.io/kubernetes replaces its parts by
directories, which is not allowed outside of its tree. So each gets a small module here that requires it,
with those parts at the versions under which they are published.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.servers import cache

KUBERNETES = "v1.34.4"
ETCD = "v3.6.5"
# The parts of k8s.io/kubernetes v1.x.y are published as v0.x.y.
PARTS = KUBERNETES.replace("v1.", "v0.", 1)

ETCD_MAIN = """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""
# Makes the module need what is built, so that its requirements are those of the program.
KUBERNETES_NEEDS = """//go:build never

package server

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
"""


def directory() -> Path:
    return cache.directory(f"kubernetes-{KUBERNETES}-etcd-{ETCD}")


def is_built() -> bool:
    return all((directory() / name).exists() for name in ("etcd", "kube-apiserver"))


def _run(argv: list[str], where: Path) -> str:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOWORK": "off"}
    done = subprocess.run(argv, cwd=where, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _compile(module: Path, package: str, flags: str, program: str) -> None:
    """The program appears in the cache when it is whole."""
    partial = module / program
    options = ["-p", "2", "-trimpath", "-ldflags", f"-s -w {flags}".rstrip()]
    _run(["nice", "go", "build", *options, "-o", str(partial), package], module)
    partial.rename(directory() / program)


def _build_etcd(module: Path) -> None:
    (module / "main.go").write_text(ETCD_MAIN)
    requirement = f"require go.etcd.io/etcd/server/v3 {ETCD}"
    (module / "go.mod").write_text(f"module etcdserver\n\ngo 1.25.0\n\n{requirement}\n")
    _run(["go", "mod", "tidy"], module)
    _compile(module, ".", "", "etcd")


def _build_apiserver(module: Path) -> None:
    name = f"k8s.io/kubernetes@{KUBERNETES}"
    _run(["go", "mod", "download", name], module)
    source = Path(_run(["go", "env", "GOMODCACHE"], module).strip()) / name
    text = (source / "go.mod").read_text()
    text = re.sub(r"^module k8s.io/kubernetes$", "module server", text, flags=re.M)
    text = re.sub(r"=> \./staging/src/(k8s\.io/\S+)", rf"=> \1 {PARTS}", text)
    text = re.sub(r"^(\s*k8s\.io/\S+) v0\.0\.0$", rf"\1 {PARTS}", text, flags=re.M)
    (module / "go.mod").write_text(f"{text}\nrequire k8s.io/kubernetes {KUBERNETES}\n")
    (module / "go.sum").write_text((source / "go.sum").read_text())
    (module / "needs.go").write_text(KUBERNETES_NEEDS)
    at = "k8s.io/component-base/version."
    major, minor = KUBERNETES[1:].split(".")[:2]
    flags = f"-X {at}gitVersion={KUBERNETES} -X {at}gitMajor={major} -X {at}gitMinor={minor}"
    _compile(module, "k8s.io/kubernetes/cmd/kube-apiserver", flags, "kube-apiserver")


def build() -> Path:
    """The directory of the programs, built if they are not yet there; RuntimeError if that fails."""
    target = directory()
    if is_built():
        return target
    if not shutil.which("go"):
        raise RuntimeError("Go is not installed")
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for program, how in {"etcd": _build_etcd, "kube-apiserver": _build_apiserver}.items():
            if not (target / program).exists():
                module = target / f"{program}.module"
                shutil.rmtree(module, ignore_errors=True)
                module.mkdir()
                how(module)
                shutil.rmtree(module)
    return target


if __name__ == "__main__":
    started = time.monotonic()
    try:
        place = build()
    except RuntimeError as failure:
        sys.exit(f"kubernetes_build: {failure}")
    print(f"kubernetes_build: {place} ({time.monotonic() - started:.0f} s)")
