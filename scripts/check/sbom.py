"""Writes what is linked into the program, with versions and licences, as SPDX 2.3 (JSON).

usage: python3 scripts/check/sbom.py build/argoexec FILE.spdx.json     (from the top of the tree, after make)

The linker's map says which files those are, the package manager and build/deps where they come from,
and the packages' copyright files under which terms. A file without a package, and a package whose
licence nobody has looked at, are failures. The same binary gives the same file.
"""

import hashlib
import json
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import link_map

DEPS = Path("build/deps").resolve()


class Licence(NamedTuple):
    """Of what is linked in, not of tests and tools beside it."""

    spdx: str
    # Words of the distribution's copyright file that say so; if they change, someone has to look.
    said: str


# By source package; `gcc` and `glibc` also stand for the cross compiler's.
LICENCES = {
    "argon2": Licence("CC0-1.0 OR Apache-2.0", "License: CC0 or Apache-2.0"),
    "c-ares": Licence("MIT", "Permission to use, copy, modify, and distribute this"),
    "curl": Licence("curl AND ISC", "License: curl"),
    "expat": Licence("MIT", "License: MIT"),
    "gcc": Licence("GPL-3.0-or-later WITH GCC-exception-3.1", "GCC Runtime Library Exception"),
    "glibc": Licence("LGPL-2.1-or-later", "GNU Lesser General Public"),
    "json-c": Licence("MIT", "License: Expat"),
    "libarchive": Licence("BSD-2-Clause", "License: BSD-2-clause"),
    "libcap2": Licence("BSD-3-Clause OR GPL-2.0-only", "License: BSD-3-clause or GPL-2"),
    "libisal": Licence("BSD-3-Clause", "License: BSD-3-clause"),
    "libseccomp": Licence("LGPL-2.1-only", "License: LGPL-2.1"),
    "libwebsockets": Licence("MIT AND BSD-3-Clause", "MIT"),
    "libyaml": Licence("MIT", "License: Expat"),
    "libzstd": Licence("(BSD-3-Clause OR GPL-2.0-only) AND MIT", "License: BSD-3-clause or GPL-2"),
    "nghttp2": Licence("MIT", "License: Expat"),
    "openssl": Licence("Apache-2.0", "License: Apache-2.0"),
    "pcre2": Licence("BSD-3-Clause WITH PCRE2-exception AND BSD-2-Clause", "BINARY LIBRARY-LIKE PACKAGES exception"),
    "zlib": Licence("Zlib", "License: Zlib"),
}
FAMILIES = {r"gcc-\d+(-cross\w*)?": "gcc", r"cross-toolchain-base\S*": "glibc"}


class Package(NamedTuple):
    source: str
    version: str
    copyright_file: Path
    is_rebuilt: bool


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def rebuilt(file: Path) -> Package:
    """A library that scripts/build-deps.sh makes of the distribution's sources: lib/libNAME.a, .NAME."""
    prefix = file.parent.parent
    stems = (file.stem, file.stem.removeprefix("lib"), "openssl")
    source = next(name for name in stems if (prefix / f".{name}").is_file())
    version = (prefix / f".{source}").read_text().split()[0]
    found = list((DEPS / "src" / f"{source}-{version}").glob("*/debian/copyright"))
    return Package(source, version, found[0], True)


def installed(file: Path) -> Package:
    package = output("dpkg-query", "--search", str(file)).split(": ")[0]
    source, version = output("dpkg-query", "-W", "-f", "${source:Package} ${source:Version}", package).split()
    for pattern, family in FAMILIES.items():
        source = family if re.fullmatch(pattern, source) else source
    return Package(source, version, Path("/usr/share/doc") / package.split(":")[0] / "copyright", False)


def collect(taken: dict[str, set[str]]) -> tuple[dict[Package, set[str]], list[str]]:
    """Packages and their files, and what is wrong."""
    packages: dict[Package, set[str]] = {}
    troubles = []
    for name in sorted(taken):
        file = Path(name)
        if file.is_relative_to(DEPS.parent) and not file.is_relative_to(DEPS):
            continue
        try:
            package = rebuilt(file) if file.is_relative_to(DEPS) else installed(file)
        except (StopIteration, IndexError, subprocess.CalledProcessError):
            troubles.append(f"{name}: of no known package")
            continue
        packages.setdefault(package, set()).add(file.name)
    for package in packages:
        licence = LICENCES.get(package.source)
        if not licence:
            troubles.append(f"{package.source}: its licence is not in the table")
        elif licence.said not in package.copyright_file.read_text(errors="replace"):
            troubles.append(f"{package.copyright_file}: does not say '{licence.said}'")
    return packages, troubles


def described(package: Package, files: set[str]) -> dict:
    how = "built from the distribution's source package" if package.is_rebuilt else "as the distribution ships it"
    licence = LICENCES[package.source].spdx
    return {
        "SPDXID": f"SPDXRef-{package.source}",
        "name": package.source,
        "versionInfo": package.version,
        "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": licence,
        "licenseDeclared": licence,
        "copyrightText": package.copyright_file.read_text(errors="replace"),
        "comment": f"linked in, {how}: {', '.join(sorted(files))}",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:deb/debian/{package.source}@{package.version.replace('+', '%2B')}?arch=source",
            }
        ],
    }


def document(binary: Path, packages: dict[Package, set[str]]) -> dict:
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    version = output(str(binary), "version").split()[-1]
    when = datetime.fromtimestamp(int(output("git", "log", "-1", "--format=%ct")), timezone.utc)
    program = {
        "SPDXID": "SPDXRef-argoexec",
        "name": "argoexec",
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
    }
    parts = [described(package, files) for package, files in sorted(packages.items())]
    relation = {"spdxElementId": "SPDXRef-argoexec", "relationshipType": "STATIC_LINK"}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"argoexec-{version}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "creationInfo": {"created": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "creators": ["Tool: scripts/check/sbom.py"]},
        "documentDescribes": ["SPDXRef-argoexec"],
        "packages": [program, *parts],
        "relationships": [{**relation, "relatedSpdxElement": part["SPDXID"]} for part in parts],
    }


def main() -> int:
    binary, target = Path(sys.argv[1]), Path(sys.argv[2])
    packages, troubles = collect(link_map.read(binary.parent / "obj" / "argoexec.map"))
    for trouble in troubles:
        print(f"audit: {target}: {trouble}")
    if troubles:
        return 1
    target.write_text(json.dumps(document(binary, packages), indent=1) + "\n")
    files = sum(len(names) for names in packages.values())
    print(f"audit: {target}: ok ({len(packages)} packages, {files} libraries and start files)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
