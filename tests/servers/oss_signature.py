"""What OSS expects in the Authorization header, worked out from a request as it arrived.

Published by Alibaba Cloud in the OSS API reference, "Include a V1 signature in the Authorization
header" and "Include a V4 signature in the Authorization header". Both examples of these pages, and
those of the SDKs' own tests, are in tests/integration/test_servers_oss.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import quote

SUB_RESOURCES = frozenset(
    "acl append continuation-token delete lifecycle location logging objectMeta partNumber position"
    " restore security-token tagging uploadId uploads versionId versions resourceGroup".split()
)

Query = Mapping[str, str]
Headers = Mapping[str, str]


def _oss_headers(headers: Headers) -> list[tuple[str, str]]:
    named = ((name.lower(), value.strip()) for name, value in headers.items())
    return sorted(item for item in named if item[0].startswith("x-oss-"))


def _lower(headers: Headers) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in headers.items()}


# --- Version 1: HMAC-SHA1 of six lines ----------------------------------------------------------


def resource_v1(bucket: str | None, key: str | None, query: Query) -> str:
    """CanonicalizedResource: decoded, with the sub-resources that are part of it."""
    path = "/" + (f"{bucket}/" if bucket else "") + (key or "")
    parts = [
        f"{name}={value}" if value else name
        for name, value in sorted(query.items())
        if name in SUB_RESOURCES or name.startswith("x-oss-")
    ]
    return path + ("?" + "&".join(parts) if parts else "")


def string_to_sign_v1(method: str, headers: Headers, resource: str) -> str:
    lower = _lower(headers)
    first = [method, *(lower.get(name, "") for name in ("content-md5", "content-type", "date"))]
    own = "".join(f"{name}:{value}\n" for name, value in _oss_headers(headers))
    return "\n".join(first) + "\n" + own + resource


def sign_v1(secret: str, text: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


# --- Version 4: HMAC-SHA256 with a derived key ----------------------------------------------------


def canonical_request_v4(
    method: str,
    bucket: str | None,
    key: str | None,
    query: Query,
    headers: Headers,
    additional: Iterable[str] = (),
) -> str:
    lower, extra = _lower(headers), sorted(additional)
    path = "/" + (f"{bucket}/" if bucket else "") + (key or "")
    encoded = sorted((quote(n, safe="~"), quote(v, safe="~")) for n, v in query.items())
    names = sorted(
        name
        for name in lower
        if name.startswith("x-oss-") or name in ("content-type", "content-md5") or name in extra
    )
    return "\n".join(
        [
            method,
            quote(path, safe="/~"),
            "&".join(f"{name}={value}" if value else name for name, value in encoded),
            "".join(f"{name}:{lower[name]}\n" for name in names),
            ";".join(extra),
            lower.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
        ]
    )


def sign_v4(secret: str, date: str, region: str, canonical: str) -> str:
    """DATE is x-oss-date."""
    scope = [date[:8], region, "oss", "aliyun_v4_request"]
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["OSS4-HMAC-SHA256", date, "/".join(scope), digest])
    signing_key = b"aliyun_v4" + secret.encode()
    for link in scope:
        signing_key = hmac.digest(signing_key, link.encode(), "sha256")
    return hmac.digest(signing_key, text.encode(), "sha256").hex()
