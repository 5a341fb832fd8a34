"""A machine on Alibaba Cloud, as far as credentials go: in network and mount namespaces of its own,
with a metadata service at its address, and STS under its name.

    unshare --net --mount python3 -m tests.oss_machine SOURCE DIRECTORY

SOURCE is metadata, metadata-v1, metadata-v1-off (forbidden), oidc, or oidc-ahead (its clock is). Stores and fetches an object
with useSDKCreds, and prints what was asked for as JSON. Run it from the top of the tree, as root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.aliyun_identity import AliyunIdentity
from tests.servers.oss import OssServer
from tests.servers.tls_front import TlsFront
from tests.store_driver import Store

METADATA = "100.100.100.200"
STS = "sts-vpc.test-1.aliyuncs.com"
BUCKET = "my-bucket"


def prepare(directory: Path) -> None:
    for command in (["link", "set", "lo", "up"], ["addr", "add", f"{METADATA}/32", "dev", "lo"]):
        subprocess.run(["ip", *command], check=True)
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {STS}\n")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)


def environment(source: str, directory: Path) -> dict[str, str]:
    # A proxy is never asked for the machine's own role.
    if not source.startswith("oidc"):
        forbidden = str(source == "metadata-v1-off").lower()
        return {
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1",
            "ALIBABA_CLOUD_IMDSV1_DISABLED": forbidden,
        }
    token = directory / "token"
    token.write_text("oidc-token")
    return {
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1234:role/test",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1234:oidc-provider/test",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token),
        "ALIBABA_CLOUD_STS_REGION": "test-1",
        "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true",
        "SSL_CERT_FILE": str(directory / "tls/ca.pem"),
    }


def main(source: str, directory: Path) -> None:
    prepare(directory)
    is_sts = source.startswith("oidc")
    host, port = ("127.0.0.1", 0) if is_sts else (METADATA, 80)
    with OssServer() as oss, AliyunIdentity(oss, host, port) as identity:
        oss.create_bucket(BUCKET)
        identity.knows_tokens = not source.startswith("metadata-v1")
        identity.ahead = 3600 if source == "oidc-ahead" else 0
        with TlsFront(identity.address, directory / "tls", port=443, names=(STS,)) as front:
            env = environment(source, directory)
            if is_sts:
                env["SSL_CERT_FILE"] = str(front.cert.ca)
            store = Store("oss", directory, {"bucket": BUCKET, "useSDKCreds": True}, env)
            store.location["endpoint"] = oss.endpoint
            (directory / "in").write_bytes(b"content")
            put = store.run("key", "put-file", directory / "in", "x", "")
            get = store.run("key", "get", directory / "out")
        asked = [{"method": a.method, "path": a.path, "form": a.form} for a in identity.asked]
        answer = {"ok": put.ok and get.ok, "log": put.log + get.log, "asked": asked}
        print(json.dumps(answer))


if __name__ == "__main__":
    os.environ.pop("OSS_REGION", None)
    main(sys.argv[1], Path(sys.argv[2]))
