"""The container images: what the Dockerfile's final stages make of a binary, and their check.

The binary under test is put in as it is, so that nothing is compiled here; `make image` builds it
inside Debian.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import ROOT

NAMES = ["argoexec", "argoexec-nonroot"]


def unusable() -> str:
    """Why buildah cannot be used here; empty if it can."""
    if not shutil.which("buildah"):
        return "buildah is not installed"
    if os.geteuid() != 0:
        return "buildah needs root here"
    return ""


# A binary with sanitizers is larger than an image may be.
pytestmark = [
    pytest.mark.bar,
    pytest.mark.skipif(bool(unusable()), reason=unusable() or "-"),
]

_spec = importlib.util.spec_from_file_location("check", ROOT / "scripts/image/check.py")
assert _spec and _spec.loader
check = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check)


@pytest.fixture(scope="module")
def images(argoexec: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("images")
    done = subprocess.run(
        ["scripts/image.sh", "--prebuilt", argoexec, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in NAMES:
        assert f"image.sh: {name}: " in done.stdout
    return out


@pytest.fixture
def copy(images: Path, tmp_path: Path) -> Iterator[Path]:
    """An image that a test may damage."""
    shutil.copytree(images / "argoexec", tmp_path / "argoexec")
    yield tmp_path / "argoexec"


@pytest.mark.parametrize("name", NAMES)
def test_binary_is_the_one_given(images: Path, name: str, argoexec: str) -> None:
    assert (images / name / "rootfs/bin/argoexec").read_bytes() == Path(argoexec).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_config(images: Path, name: str) -> None:
    config = json.loads((images / name / "config.json").read_text())
    assert config["Entrypoint"] == ["argoexec"]
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in config["Env"]
    assert config.get("User", "") == ("8737" if name.endswith("nonroot") else "")
    assert "Cmd" not in config and "WorkingDir" not in config


@pytest.mark.parametrize("name", NAMES)
def test_archive_can_be_loaded(images: Path, name: str) -> None:
    with tarfile.open(images / f"{name}.tar") as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    assert manifest[0]["RepoTags"][0].endswith(f"/tiphys/{name}:latest")
    assert (images / f"{name}.tar").stat().st_size < check.BYTES_MAX


DAMAGES: dict[str, Callable[[Path], object]] = {
    "etc/more should not be there": lambda root: (root / "etc/more").write_text("x"),
    "etc/passwd is missing": lambda root: (root / "etc/passwd").unlink(),
    "tmp/ has mode": lambda root: (root / "tmp").chmod(0o755),
    "bin/argoexec belongs to 8737": lambda root: os.chown(root / "bin/argoexec", 8737, 0),
    "bytes are more than": lambda root: os.truncate(root / "bin/argoexec", check.BYTES_MAX),
}


@pytest.mark.parametrize("complaint", DAMAGES)
def test_check_sees_a_damaged_root(copy: Path, complaint: str) -> None:
    assert check.check_content(copy) == []
    DAMAGES[complaint](copy / "rootfs")
    wrong = check.check_content(copy)
    assert len(wrong) == 1 and complaint in wrong[0]


@pytest.mark.parametrize("field", ["Env", "Entrypoint"])
def test_check_sees_a_damaged_config(copy: Path, field: str) -> None:
    assert check.check_config(copy) == []
    config = json.loads((copy / "config.json").read_text())
    del config[field]
    (copy / "config.json").write_text(json.dumps(config))
    assert any(field in text or "PATH" in text for text in check.check_config(copy))


def test_check_sees_a_binary_that_does_not_run(copy: Path) -> None:
    assert check.check_version(copy) == []
    binary = copy / "rootfs/bin/argoexec"
    binary.chmod(0o755)
    binary.write_bytes(b"\x7fELF")
    assert check.check_version(copy)
