"""A certificate authority and server certificates for tests, made with the openssl command."""

import ipaddress
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
ONE_DAY_S = 86400


@dataclass(frozen=True)
class ServerCert:
    """Files of one server certificate and of the authority that signed it."""

    ca: Path
    cert: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, HTTP/1.1 by ALPN."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.cert, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A client that trusts only this authority."""
        return ssl.create_default_context(cafile=str(self.ca))


def _openssl(*args: str | Path) -> None:
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.strip()}")


def _valid(cert: Path) -> bool:
    args = ["openssl", "x509", "-in", cert, "-noout", "-checkend", str(ONE_DAY_S)]
    return cert.exists() and subprocess.run(args, capture_output=True, check=False).returncode == 0


def _new_key(path: Path) -> None:
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def _make_ca(directory: Path, subject: str) -> None:
    _new_key(directory / "ca.key")
    args = ["-key", directory / "ca.key", "-subj", f"/CN={subject}", "-days", "30"]
    for extension in ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"):
        args += ["-addext", extension]
    _openssl("req", "-x509", "-new", "-config", "/dev/null", *args, "-out", directory / "ca.crt")


def _alt_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def make(
    directory: Path, names: tuple[str, ...] = LOOPBACK_NAMES, ca_name: str = "tests"
) -> ServerCert:
    """The certificate for NAMES in DIRECTORY; made once, kept while it is valid for another day.

    Every directory has an authority of its own: two directories give a right and a wrong CA.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = ServerCert(directory / "ca.crt", directory / "server.crt", directory / "server.key")
    wanted = ",".join(_alt_name(name) for name in names)
    names_file = directory / "server.names"
    same_names = names_file.exists() and names_file.read_text() == wanted
    if same_names and _valid(files.ca) and _valid(files.cert):
        return files
    _make_ca(directory, ca_name)
    _new_key(files.key)
    request, extensions = directory / "server.csr", directory / "server.ext"
    extensions.write_text(f"subjectAltName={wanted}\nextendedKeyUsage=serverAuth,clientAuth\n")
    subject = ["-subj", "/CN=" + names[0]]
    _openssl("req", "-new", "-config", "/dev/null", "-key", files.key, *subject, "-out", request)
    authority = ["-CA", files.ca, "-CAkey", directory / "ca.key", "-CAcreateserial"]
    options = ["-days", "30", "-extfile", extensions, "-out", files.cert]
    _openssl("x509", "-req", "-in", request, *authority, *options)
    names_file.write_text(wanted)
    return files
