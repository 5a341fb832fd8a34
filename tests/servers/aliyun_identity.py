"""Where programs on Alibaba Cloud get temporary keys: the instance metadata service with its tokens
(ECS user guide, "Instance metadata" and "Instance RAM roles"), STS's AssumeRoleWithOIDC (STS API
reference), and a service behind ALIBABA_CLOUD_CREDENTIALS_URI. One server is all three.
"""

from __future__ import annotations

import calendar
import itertools
import json
import time
from urllib.parse import parse_qsl, urlsplit

from tests.servers.identity import METADATA_TOKEN, ROLE, Asked, IdentityServer, timestamp
from tests.servers.oss import Key, OssServer

ROLES = "/latest/meta-data/ram/security-credentials/"
# How old a question to STS may be, or come too early.
TOLERANCE_SECONDS = 15 * 60


class AliyunIdentity(IdentityServer):
    """Issues keys that OSS knows; what it tells of their end is TOLD seconds away."""

    def __init__(self, oss: OssServer, host: str = "127.0.0.1", port: int = 0):
        self.oss, self.told = oss, 3600.0
        self._numbers = itertools.count(1)
        super().__init__(host, port)

    def issue(self) -> dict[str, str]:
        number = next(self._numbers)
        name, secret, token = (f"{what}-{number}" for what in ("STS.key", "secret", "token/+="))
        self.oss.keys[name] = Key(secret, token, time.time() + self.next_seconds())
        return {
            "AccessKeyId": name,
            "AccessKeySecret": secret,
            "SecurityToken": token,
            "Expiration": timestamp(self.told),
        }

    def answer(self, asked: Asked) -> tuple[int, str]:
        path = urlsplit(asked.path)
        if path.path == "/latest/api/token":
            return (200, METADATA_TOKEN) if self.knows_tokens else (404, "")
        if path.path.startswith(ROLES):
            given = asked.headers.get("x-aliyun-ecs-metadata-token")
            if self.knows_tokens and given != METADATA_TOKEN:
                return 403, ""
            if path.path == ROLES:
                return 200, ROLE
            if path.path == ROLES + ROLE:
                return 200, json.dumps(self.issue() | {"Code": "Success"})
            return 404, ""
        if "AssumeRoleWithOIDC" in path.query:
            return self._assume(asked)
        return 200, json.dumps(self.issue())

    def _judge_time(self, text: str) -> str:
        try:
            sent = calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
        except ValueError:
            return "InvalidTimeStamp.Format"
        is_near = abs(sent - time.time() - self.ahead) < TOLERANCE_SECONDS
        return "" if is_near else "InvalidTimeStamp.Expired"

    def _assume(self, asked: Asked) -> tuple[int, str]:
        query = dict(parse_qsl(urlsplit(asked.path).query))
        wanted = {"RoleArn", "OIDCProviderArn", "OIDCToken", "RoleSessionName", "DurationSeconds"}
        if asked.method != "POST" or set(asked.form) != wanted or query["Version"] != "2015-04-01":
            return 400, json.dumps({"Code": "InvalidParameter", "Message": "Parameters are missing."})
        if code := self._judge_time(query["Timestamp"]):
            failure = {"Code": code, "RequestId": "R-3"}
            return 400, json.dumps(failure | {"Message": "The time stamp is refused."})
        if asked.form["OIDCToken"] != "oidc-token":
            failure = {"Code": "AuthenticationFail.OIDCToken.Invalid", "RequestId": "R-1"}
            return 400, json.dumps(failure | {"Message": "This JSON Web Token is invalid."})
        return 200, json.dumps({"RequestId": "R-2", "Credentials": self.issue()})
