"""The tests' own OSS server: its signatures against published examples, its checksum against the
catalogue's, and that it refuses what it must."""

from __future__ import annotations

import hashlib
import os
import sys
from datetime import datetime
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.servers import oss_signature as signature  # noqa: E402
from tests.servers.oss import OssServer  # noqa: E402
from tests.servers.oss_store import crc64, crc64_behind  # noqa: E402


def test_version_1_of_the_api_reference() -> None:
    headers = {
        "Content-MD5": "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
        "Content-Type": "text/html",
        "Date": "Thu, 17 Nov 2005 18:49:58 GMT",
        "Host": "oss-example.oss-cn-hangzhou.aliyuncs.com",
        "X-OSS-Meta-Author": "foo@bar.com",
        "X-OSS-Magic": "abracadabra",
    }
    resource = signature.resource_v1("oss-example", "nelson", {})
    text = signature.string_to_sign_v1("PUT", headers, resource)
    secret = "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV"
    assert signature.sign_v1(secret, text) == "26NBxoKdsyly4EDv6inkoDft/yA="


def test_version_1_of_the_sdk() -> None:
    date = {"x-oss-date": "Wed, 28 Dec 2022 10:27:41 GMT", "Date": "Wed, 28 Dec 2022 10:27:41 GMT"}
    put = date | {
        "Content-MD5": "eB5eJF1ptWaXm4bijSPyxw==",
        "Content-Type": "text/html",
        "x-oss-meta-author": "alice",
        "x-oss-meta-magic": "abracadabra",
    }
    cases = [
        ("PUT", put, "nelson", {}, "kSHKmLxlyEAKtZPkJhG9bZb5k7M="),
        ("PUT", put, "nelson", {"acl": ""}, "/afkugFbmWDQ967j1vr6zygBLQk="),
        ("GET", date, None, {"resourceGroup": "", "non-resousce": "null"}, "vkQmfuUDyi1uDi3bKt67oemssIs="),
        ("GET", date, None, {"resourceGroup": "", "acl": ""}, "x3E5TgOvl/i7PN618s5mEvpJDYk="),
    ]  # fmt: skip
    for method, headers, key, query, expected in cases:
        resource = signature.resource_v1("examplebucket", key, query)
        text = signature.string_to_sign_v1(method, headers, resource)
        assert signature.sign_v1("sk", text) == expected


def test_version_4_of_the_api_reference() -> None:
    """The page's canonical request and its hash. Its last lines do not follow from the secret that
    it names; the signature here is what all SDKs make of it."""
    headers = {
        "content-disposition": "attachment",
        "content-length": "3",
        "content-md5": "ICy5YqxZB1uWSwcVLSNLcA==",
        "content-type": "text/plain",
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        "x-oss-date": "20250411T064124Z",
    }
    canonical = signature.canonical_request_v4(
        "PUT", "examplebucket", "exampleobject", {}, headers, ["content-disposition", "content-length"]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    assert digest == "c46d96390bdbc2d739ac9363293ae9d710b14e48081fcb22cd8ad54b63136eca"
    signed = signature.sign_v4("yourAccessKeySecret", "20250411T064124Z", "cn-hangzhou", canonical)
    assert signed == "d3694c2dfc5371ee6acd35e88c4871ac95a7ba01d3a2f476768fe61218590097"


def test_version_4_of_the_sdks() -> None:
    query = {"param1": "value1", "+param1": "value3", "|param1": "value4"}
    query |= {"+param2": "", "|param2": "", "param2": ""}
    cases = [
        ("20231216T162057Z", {}, "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"),
        (
            "20231217T034736Z",
            {"x-oss-security-token": "token"},
            "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
        ),
    ]
    for date, more, expected in cases:
        headers = {"x-oss-head1": "value", "abc": "value", "ZAbc": "value", "XYZ": "value"}
        headers |= {"content-type": "text/plain", "x-oss-content-sha256": "UNSIGNED-PAYLOAD"}
        headers |= {"x-oss-date": date, **more}
        canonical = signature.canonical_request_v4("PUT", "bucket", "1234+-/123/1.txt", query, headers)
        assert signature.sign_v4("sk", date, "cn-hangzhou", canonical) == expected


def test_checksum() -> None:
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA
    assert crc64(b"") == 0
    data = os.urandom(5000)
    for cut in (0, 1, 777, 5000):
        assert crc64_behind(crc64(data[:cut]), crc64(data[cut:]), 5000 - cut) == crc64(data)


def ask(server: OssServer, headers: dict[str, str]) -> tuple[int, str]:
    connection = HTTPConnection(server.host, server.port, timeout=10)
    connection.request("GET", "/my-bucket/key", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.getheader("x-oss-request-id") in text
    return answer.status, text


def test_refusals() -> None:
    with OssServer() as server:
        server.create_bucket("my-bucket")
        server.put("my-bucket", "key", b"content")
        scope = f"{server.access_key}/20260101/test-1/oss/aliyun_v4_request"
        cases = [
            ({}, 403, "AccessDenied"),
            ({"Authorization": "Basic abc"}, 400, "InvalidArgument"),
            ({"Authorization": "OSS nobody:abc"}, 403, "InvalidAccessKeyId"),
            ({"Authorization": f"OSS {server.access_key}:abc"}, 403, "AccessDenied"),
            (
                {"Authorization": f"OSS {server.access_key}:abc", "Date": "Thu, 17 Nov 2005 18:49:58 GMT"},
                403,
                "RequestTimeTooSkewed",
            ),
            (
                {"Authorization": f"OSS4-HMAC-SHA256 Credential={scope},AdditionalHeaders=,Signature=0"},
                400,
                "InvalidArgument",
            ),
            ({"Authorization": f"OSS4-HMAC-SHA256 Credential={scope},Signature=0"}, 400, "InvalidArgument"),
        ]
        for headers, status, code in cases:
            given, text = ask(server, headers)
            assert (given, f"<Code>{code}</Code>" in text) == (status, True), text


def listed(server: OssServer, **query: str) -> ElementTree.Element:
    """The unfinished uploads of my-bucket, as the API reference has the answer."""
    headers = {"Date": formatdate(server.now(), usegmt=True)}
    resource = signature.resource_v1("my-bucket", None, {"uploads": ""})
    text = signature.string_to_sign_v1("GET", headers, resource)
    headers["Authorization"] = f"OSS {server.access_key}:{signature.sign_v1(server.secret_key, text)}"
    connection = HTTPConnection(server.host, server.port, timeout=10)
    connection.request("GET", f"/my-bucket/?uploads&{urlencode(query)}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    page = ElementTree.fromstring(answer.read())
    connection.close()
    assert page.tag == "ListMultipartUploadsResult"
    return page


def test_unfinished_uploads() -> None:
    with OssServer() as server:
        server.create_bucket("my-bucket")
        bucket = server.store.buckets["my-bucket"]
        ids = [server.store.begin(bucket, key, "") for key in ("b", "a/2", "b", "a/1", "c")]
        pages, markers = [], {"key-marker": "", "upload-id-marker": ""}
        while markers:
            page = listed(server, **{"max-uploads": "2"}, **markers)
            pages.append([(one.findtext("Key"), one.findtext("UploadId")) for one in page.findall("Upload")])
            names = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
            is_last = page.findtext("IsTruncated") == "false"
            markers = {} if is_last else {k: page.findtext(v, "") for k, v in names.items()}
        first, second, third, fourth, fifth = ids
        expected = [[("a/1", fourth), ("a/2", second)], [("b", first), ("b", third)], [("c", fifth)]]
        assert pages == expected
        below = listed(server, prefix="a/").findall("Upload")
        assert [one.findtext("Key") for one in below] == ["a/1", "a/2"]
        begun = datetime.fromisoformat(below[0].findtext("Initiated", "").replace("Z", "+00:00"))
        assert abs(begun.timestamp() - server.now()) < 60
        # With a key alone, all uploads of that key are behind.
        behind = listed(server, **{"key-marker": "b"}).findall("Upload")
        assert [one.findtext("Key") for one in behind] == ["c"]
