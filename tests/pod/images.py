"""Images as directories: `NAME/rootfs` and `NAME/config.json` (the config of an OCI image).

Public images that workflows use are stood in for by small trees built from this machine's
packages (busybox-static, python3) and our own `argosay`; the executor's image is composed from
the built binary. A directory without `rootfs` is taken as the root itself, so that an unpacked
or exported image of any origin works too.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import glob
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(REPOSITORY, "build")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EXECUTOR_PATTERNS = ["*argoexec*"]

_BUSYBOX = "/bin/busybox"
_PYTHON = "/usr/bin/python3"
_PACKAGES = "/usr/lib/python3/dist-packages"
_GRPC = f"{_PACKAGES}/grpc/__init__.py"
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# Bump when a builder below changes, so that trees of an older recipe are built anew.
_RECIPE = "1"
_PYTHON_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip", "config-*",
    "pydoc_data", "turtledemo", "dist-packages", "site-packages", "distutils", "sqlite3",
)  # fmt: skip
_PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
_GROUP = "root:x:0:\nnobody:x:65534:\n"


class ImageError(Exception):
    """An image cannot be built or is not known; a kubelet would say ErrImagePull."""


@dataclass
class Image:
    """An image ready for use; `layers` are directories, uppermost first."""

    name: str
    layers: list[str]
    config: dict


class Images:
    """Finds, and builds when needed, the directory of an image reference.

    custom: {shell pattern of references: directory}, looked at first.
    executor: directory of the executor's image, or an `argoexec` binary to compose one from;
    None takes build/argoexec.
    """

    def __init__(
        self,
        custom: dict[str, str] | None = None,
        executor: str | None = None,
        executor_patterns: list[str] | None = None,
        root: str = os.path.join(BUILD, "images"),
    ):
        self.custom = custom or {}
        self.executor = executor
        self.executor_patterns = executor_patterns or EXECUTOR_PATTERNS
        self.root = root

    def find(self, reference: str, is_root: bool = True) -> Image:
        """The image of a reference, for a container's root or a volume. ImageError without one.

        A sanitizer's build of the executor needs libc and the loader wherever it runs; they lie
        below the root of every container then, as its lowest layer.
        """
        image = self._find(reference)
        libraries = self._executor_libraries() if is_root else []
        layers = image.layers + libraries
        return Image(image.name, layers, image.config) if libraries else image

    def _executor_libraries(self) -> list[str]:
        binary = os.path.abspath(self.executor or os.path.join(BUILD, "argoexec"))
        needed = _libraries(binary) if os.path.isfile(binary) else set()
        if not needed:
            return []
        tag = hashlib.sha256(binary.encode()).hexdigest()[:12]
        build = lambda work: _copy_libraries(needed, os.path.join(work, "rootfs"))  # noqa: E731
        return self._built(f"libraries-{tag}", build, sorted(needed)).layers

    def _find(self, reference: str) -> Image:
        for pattern, directory in self.custom.items():
            if fnmatch.fnmatchcase(reference, pattern):
                return load(directory)
        if any(fnmatch.fnmatchcase(reference, p) for p in self.executor_patterns):
            return self._executor_image()
        name = reference.removeprefix("docker.io/").removeprefix("library/")
        for pattern, (directory, builder, inputs) in _KNOWN.items():
            if fnmatch.fnmatchcase(name, pattern):
                return self._built(directory, builder, inputs)
        raise ImageError(f'image "{reference}" is not known: give a directory for it')

    def _executor_image(self) -> Image:
        if self.executor and os.path.isdir(self.executor):
            return load(self.executor)
        binary = os.path.abspath(self.executor or os.path.join(BUILD, "argoexec"))
        tag = hashlib.sha256(binary.encode()).hexdigest()[:12]
        return self._built(f"argoexec-{tag}", lambda work: _build_executor(work, binary), [binary])

    def _built(self, name: str, builder, inputs: list[str]) -> Image:
        """Build under a lock, into a temporary directory, unless the stamp says it is done."""
        for path in inputs:
            if not os.path.exists(path):
                raise ImageError(f"image {name}: {path} is missing")
        directory = os.path.join(self.root, name)
        stats = [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in inputs]
        stamp = json.dumps([_RECIPE, stats])
        stamp_path = os.path.join(self.root, f"{name}.stamp")
        os.makedirs(self.root, exist_ok=True)
        with _locked(os.path.join(self.root, f"{name}.lock")):
            if _text_of(stamp_path) != stamp or not os.path.isdir(directory):
                work = tempfile.mkdtemp(prefix=f".{name}-", dir=self.root)
                os.chmod(work, 0o755)
                try:
                    builder(work)
                    shutil.rmtree(directory, ignore_errors=True)
                    os.rename(work, directory)
                except BaseException:
                    shutil.rmtree(work, ignore_errors=True)
                    raise
                _put(stamp_path, stamp)
        return load(directory)


def load(directory: str) -> Image:
    """An image directory, or a plain root (with the executor image's config if it is one)."""
    directory = os.path.abspath(directory)
    rootfs = os.path.join(directory, "rootfs")
    if not os.path.isdir(rootfs):
        if not os.path.isdir(directory):
            raise ImageError(f"no image directory {directory}")
        config: dict = {"Env": [PATH]}
        if os.path.exists(os.path.join(directory, "bin/argoexec")):
            config["Entrypoint"] = ["argoexec"]
        return Image(os.path.basename(directory), [directory], config)
    text = _text_of(os.path.join(directory, "config.json"))
    config = json.loads(text) if text else {"Env": [PATH]}
    return Image(os.path.basename(directory), [rootfs], config)


@contextlib.contextmanager
def _locked(path: str):
    with open(path, "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _put(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _skeleton(work: str, config: dict) -> str:
    """What every stand-in has: users, /tmp, a config. Returns the root."""
    root = os.path.join(work, "rootfs")
    for name, mode in (("tmp", 0o1777), ("root", 0o700), ("etc", 0o755), ("bin", 0o755)):
        os.makedirs(f"{root}/{name}")
        os.chmod(f"{root}/{name}", mode)
    os.chmod(root, 0o755)
    _put(f"{root}/etc/passwd", _PASSWD)
    _put(f"{root}/etc/group", _GROUP)
    _put(f"{root}/etc/nsswitch.conf", "hosts: files dns\n")
    _put(f"{work}/config.json", json.dumps(config, indent=1))
    return root


def _busybox_into(root: str) -> None:
    shutil.copy(_BUSYBOX, f"{root}/bin/busybox")
    listing = subprocess.run(
        [_BUSYBOX, "--list-full"], check=True, capture_output=True, text=True
    ).stdout
    for applet in listing.split():
        path = f"{root}/{applet}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink("../" * applet.count("/") + "bin/busybox", path)


def _build_busybox(work: str) -> None:
    root = _skeleton(work, {"Env": [PATH], "Cmd": ["/bin/sh"]})
    _busybox_into(root)


def _build_argosay(work: str) -> None:
    root = _skeleton(work, {"Env": [PATH], "Entrypoint": ["/argosay"]})
    _busybox_into(root)
    ready = os.path.join(BUILD, "probes", "argosay")
    if os.path.exists(ready):
        shutil.copy(ready, f"{root}/argosay")
    else:
        compiler = os.environ.get("CC", "gcc")
        command = [compiler, "-static", "-O2", "-s", "-o", f"{root}/argosay", _ARGOSAY]
        subprocess.run(command, check=True)


def _libraries(binary: str) -> set[str]:
    """Shared libraries of a program, by ldd; none for a static one."""
    text = subprocess.run(["ldd", binary], check=False, capture_output=True, text=True).stdout
    return {word for word in text.split() if word.startswith("/")}


def _copy_libraries(libraries: set[str], root: str) -> None:
    for library in libraries:
        os.makedirs(os.path.dirname(root + library), exist_ok=True)
        shutil.copy(library, root + library)


def _build_python(work: str) -> None:
    """The machine's own Python: interpreter, standard library without tests, shared libraries."""
    root = _skeleton(work, {"Env": [PATH], "Cmd": ["python3"]})
    _busybox_into(root)
    real = os.path.realpath(_PYTHON)
    query = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    stdlib = subprocess.run(
        [real, "-I", "-c", query], check=True, capture_output=True, text=True
    ).stdout.strip()
    shutil.copytree(stdlib, root + stdlib, symlinks=True, ignore=_PYTHON_LEFT_OUT)
    os.makedirs(f"{root}/usr/bin", exist_ok=True)
    shutil.copy(real, f"{root}/usr/bin/python3")
    needed = _libraries(real)
    for entry in os.scandir(f"{stdlib}/lib-dynload"):
        needed |= _libraries(entry.path)
    _copy_libraries(needed, root)


def _build_plugin(work: str) -> None:
    """Python with gRPC, and the artifact plugin of the tests as /plugin.py."""
    _build_python(work)
    root = os.path.join(work, "rootfs")
    for package in ("grpc", "google/protobuf"):
        shutil.copytree(
            f"{_PACKAGES}/{package}", f"{root}{_PACKAGES}/{package}", ignore=_PYTHON_LEFT_OUT
        )
    needed: set[str] = set()
    for extension in glob.glob(f"{root}{_PACKAGES}/**/*.so", recursive=True):
        needed |= _libraries(extension)
    _copy_libraries(needed, root)
    shutil.copy(_PLUGIN, f"{root}/plugin.py")


def _build_executor(work: str, binary: str) -> None:
    root = _skeleton(work, {"Env": [PATH], "Entrypoint": ["argoexec"]})
    shutil.copy(binary, f"{root}/bin/argoexec")
    os.chmod(f"{root}/bin/argoexec", 0o755)
    if os.path.exists(_CA_BUNDLE):
        os.makedirs(os.path.dirname(root + _CA_BUNDLE))
        shutil.copy(_CA_BUNDLE, root + _CA_BUNDLE)


_ARGOSAY = os.path.join(REPOSITORY, "tests", "probes", "argosay.c")
_PLUGIN = os.path.join(REPOSITORY, "tests", "servers", "artifact_plugin.py")
_KNOWN = {
    "alpine*": ("busybox", _build_busybox, [_BUSYBOX]),
    "busybox*": ("busybox", _build_busybox, [_BUSYBOX]),
    "python*": ("python", _build_python, [_BUSYBOX, _PYTHON]),
    "artifact-plugin*": ("artifact-plugin", _build_plugin, [_BUSYBOX, _PYTHON, _PLUGIN, _GRPC]),
    "argoproj/argosay*": ("argosay", _build_argosay, [_BUSYBOX, _ARGOSAY]),
}


def main() -> None:
    """Build all stand-ins; prints where they are."""
    images = Images()
    for reference in ("alpine:3", "python:3", "argoproj/argosay:v2"):
        print(f"{reference}: {images.find(reference).layers[0]}")


if __name__ == "__main__":
    main()
