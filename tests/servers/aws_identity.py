"""Where programs on Amazon's machines and in its containers get temporary keys: the instance metadata
service (Amazon EC2 user guide, "Use IMDSv2"), the containers' credentials service (Amazon ECS developer
guide, "Task IAM role"; Amazon EKS user guide, "EKS Pod Identity"), and STS (AWS STS API reference, AssumeRole,
AssumeRoleWithWebIdentity), which checks signatures by code of its own. One server is all of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.servers.identity import METADATA_TOKEN, ROLE, Asked, IdentityServer, timestamp

ROLES = "/latest/meta-data/iam/security-credentials/"
CONTAINER_TOKEN = "container-token"
WEB_TOKEN = "web-token"


@dataclass
class Keys:
    access_key: str
    secret_key: str
    token: str = ""


def signature(asked: Asked, secret: str) -> str:
    """What the Authorization header's signature must be (IAM user guide, "Signature Version 4")."""
    header = asked.headers["authorization"]
    scope = re.search(r"Credential=[^/]+/([^,]+)", header)[1].split("/")
    names = re.search(r"SignedHeaders=([^,]+)", header)[1].split(";")
    lines = [f"{name}:{' '.join(asked.headers[name].split())}" for name in names]
    payload = hashlib.sha256(asked.body).hexdigest()
    request = "\n".join([asked.method, asked.path, "", *lines, "", ";".join(names), payload])
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", asked.headers["x-amz-date"], "/".join(scope), digest])
    key = b"AWS4" + secret.encode()
    for link in scope:
        key = hmac.digest(key, link.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


class AwsIdentity(IdentityServer):
    """Hands out what ISSUE gives."""

    def __init__(self, issue: Callable[[], Keys]):
        self.issue = issue
        self.known: dict[str, Keys] = {}
        super().__init__()

    @property
    def steps(self) -> list[str]:
        return [asked.form.get("Action") or f"{asked.method} {asked.path}" for asked in self.asked]

    def _keys(self) -> tuple[Keys, str]:
        keys = self.issue()
        self.known[keys.access_key] = keys
        return keys, timestamp(self.next_seconds())

    def _json(self) -> str:
        keys, end = self._keys()
        answer = {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key}
        return json.dumps(answer | {"Token": keys.token, "Expiration": end, "Code": "Success"})

    def answer(self, asked: Asked) -> tuple[int, str]:
        if asked.form:
            return self._sts(asked)
        if asked.path == "/latest/api/token":
            good = asked.method == "PUT" and asked.headers["x-aws-ec2-metadata-token-ttl-seconds"]
            return (200, METADATA_TOKEN) if self.knows_tokens and good else (404, "")
        if asked.path.startswith(ROLES):
            given = asked.headers.get("x-aws-ec2-metadata-token")
            if self.knows_tokens and given != METADATA_TOKEN:
                return 401, ""
            return (200, ROLE) if asked.path == ROLES else (200, self._json())
        if asked.path == "/v1/credentials":
            is_good = asked.headers.get("authorization") == CONTAINER_TOKEN
            return (200, self._json()) if is_good else (401, "")
        return 404, ""

    def _sts(self, asked: Asked) -> tuple[int, str]:
        action = asked.form.get("Action", "")
        if asked.form.get("Version") != "2011-06-15" or not asked.form.get("RoleSessionName"):
            return 400, _error("ValidationError", "1 validation error detected")
        if action == "AssumeRoleWithWebIdentity":
            if asked.form.get("WebIdentityToken") != WEB_TOKEN or "authorization" in asked.headers:
                return 400, _error("InvalidIdentityToken", "The token is not ours")
        elif not self._is_signed(asked):
            return 403, _error("SignatureDoesNotMatch", "The request signature does not match")
        keys, end = self._keys()
        names = {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key}
        names |= {"SessionToken": keys.token, "Expiration": end}
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in names.items())
        result = f"<{action}Result><Credentials>{inner}</Credentials></{action}Result>"
        space = "https://sts.amazonaws.com/doc/2011-06-15/"
        return 200, f'<{action}Response xmlns="{space}">{result}</{action}Response>'

    def _is_signed(self, asked: Asked) -> bool:
        found = re.search(r"Credential=([^/]+)/.*Signature=([0-9a-f]{64})$", asked.headers["authorization"])
        keys = self.known.get(found[1]) if found else None
        if not keys or asked.headers.get("x-amz-security-token", "") != keys.token:
            return False
        return hmac.compare_digest(signature(asked, keys.secret_key), found[2])


def _error(code: str, message: str) -> str:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return f"<ErrorResponse>{error}<RequestId>R-1</RequestId></ErrorResponse>"
