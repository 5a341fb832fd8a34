"""Makes the seeds that a program makes better than a person: archives, packets, templates.

usage: python3 -m tests.fuzz.seeds DIRECTORY     writes DIRECTORY/<target>/<name>
"""

from __future__ import annotations

import gzip
import io
import json
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.odd_zips import odd_zips

FIXTURES = Path(__file__).parents[1] / "fixtures"
TIME = 1_700_000_000
COMPRESSED, FIXED = 1, 2  # the first byte of fuzz_archive.c
MAGIC, HELLO, SIGNAL, OUTPUT, ASK, PARTS, HEARD = 0x54495031, 1, 2, 3, 5, 6, 7
ENOENT = 2

# Names and contents; a value of str is a symbolic link's target, None a directory.
TREE: dict[str, bytes | str | None] = {
    "t": None,
    "t/file": b"content\n" * 40,
    "t/empty": b"",
    "t/link": "file",
    "t/d": None,
    "t/d/up": "../file",
    "t/gr\u00fc\u00df": b"utf-8",
    "t/" + "long-" * 24 + "name": b"l",
}


def tar(form: int, tree: dict[str, bytes | str | None] = TREE, **more: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, bufsize=512) as archive:
        for name, content in tree.items():
            info = tarfile.TarInfo(name)
            info.mtime = TIME
            for key, value in more.items():
                setattr(info, key, value)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue().rstrip(b"\0") + bytes(1024)


def sparse() -> bytes:
    """A GNU sparse file: 1 MiB, of which one block is there."""
    header = bytearray(tar(tarfile.GNU_FORMAT, {"sparse": b"x" * 512})[:1024])
    header[156:157] = b"S"
    header[386:410] = b"%011o\0%011o\0" % (4096, 512)
    header[483:495] = b"%011o\0" % 1_000_000
    return bytes(header) + bytes(1024)


def archives() -> Iterator[tuple[str, bytes]]:
    ustar = tar(tarfile.USTAR_FORMAT, {"t": None, "t/a": b"a" * 600, "t/l": "a"})
    yield "ustar", bytes([0]) + ustar
    yield "ustar-gzip", bytes([COMPRESSED]) + ustar
    yield "ustar-in-pieces", bytes([FIXED | 4]) + ustar
    yield "gnu", bytes([FIXED]) + tar(tarfile.GNU_FORMAT)
    yield "pax", bytes([FIXED]) + tar(tarfile.PAX_FORMAT)
    headers = {"mtime": "1.5", "path": "p/renamed", "size": "3", "GNU.sparse.major": "1"}
    yield "pax-odd", bytes([FIXED]) + tar(tarfile.PAX_FORMAT, {"a": b"abc"}, pax_headers=headers)
    yield "gzip-as-it-is", bytes([0]) + gzip.compress(ustar, mtime=0)
    yield "gzip-two-members", bytes([0]) + gzip.compress(ustar[:512], mtime=0) + gzip.compress(ustar[512:], mtime=0)
    yield "sparse", bytes([FIXED]) + sparse()
    yield "cut", bytes([FIXED]) + ustar[:700]
    yield "no-entries", bytes([0]) + bytes(1024)
    yield "device", bytes([FIXED]) + tar(tarfile.USTAR_FORMAT, {"a": b""}).replace(b"\x000ustar", b"\x003ustar")


def zipped(method: int, tree: dict[str, bytes | str | None] = TREE) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in tree.items():
            info = zipfile.ZipInfo(name + ("/" if content is None else ""), (2023, 11, 14, 22, 13, 20))
            kind = stat.S_IFDIR if content is None else stat.S_IFLNK if isinstance(content, str) else stat.S_IFREG
            info.external_attr = (kind | 0o755) << 16
            info.compress_type = method
            archive.writestr(info, content.encode() if isinstance(content, str) else content or b"")
    return out.getvalue()


def zips() -> Iterator[tuple[str, bytes]]:
    yield "stored", zipped(zipfile.ZIP_STORED)
    yield "deflated", zipped(zipfile.ZIP_DEFLATED)
    yield "one-file", zipped(zipfile.ZIP_DEFLATED, {"a": b"a" * 100})
    yield "one-file-stored", zipped(zipfile.ZIP_STORED, {"a": b"abc"})
    yield "data-in-front", b"#!/bin/sh\n" + zipped(zipfile.ZIP_STORED, {"a": b"abc"})
    yield "dot-dot", zipped(zipfile.ZIP_STORED, {"../outside/secret": b"x"})
    yield "absolute", zipped(zipfile.ZIP_STORED, {"/etc/x": b"x"})
    yield "link-outside", zipped(zipfile.ZIP_STORED, {"l": "../outside", "l/secret": b"x"})
    yield "empty", zipped(zipfile.ZIP_STORED, {})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("big", "w", force_zip64=True) as member:
        member.write(b"abc")
    yield "zip64", out.getvalue()
    yield from odd_zips()


def compressed() -> Iterator[tuple[str, bytes]]:
    text = b"abcabcabc" * 30
    yield "text", b"\x05" + text
    yield "nothing", b"\x00"
    yield "gzip", b"\x00" + gzip.compress(text, mtime=0)
    optional = b"\x03\x00abcname\0comment\0\xff\xff"
    yield "gzip-with-name", b"\x00\x1f\x8b\x08\x1e" + bytes(6) + optional + b"\x03\x00" + bytes(8)
    # One raw block of three bytes and one of repeated ones: RFC 8878, 3.1.1.
    yield "zstd", b"\x00\x28\xb5\x2f\xfd\x20\x07" + b"\x18\x00\x00abc" + b"\x23\x00\x00z"
    yield "zstd-skippable", b"\x00\x50\x2a\x4d\x18\x02\x00\x00\x00xx\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00a"
    yield "zstd-window-too-large", b"\x00\x28\xb5\x2f\xfd\x00\xf8\x09\x00\x00a"


def packet(kind: int, number: int = 0, text: bytes = b"", magic: int = MAGIC) -> bytes:
    whole = struct.pack("=IHH64s", magic, kind, number, text)
    return b"p" + bytes([len(whole)]) + whole


def packets() -> Iterator[tuple[str, bytes]]:
    server, wrapper = b"\x00", b"\x01"
    yield "hello", server + b"hmain\n."
    yield "hello-and-signal", server + b"hmain\n.s\x0e."
    yield "hello-twice", server + b"hmain\n.hmain\n."
    yield "two-wrappers-of-one", server + b"hmain\n.nhmain\n.c.#\x00c."
    yield "bad-names", server + b"h../x\n.nh\n.nhA\n.nh" + b"a" * 64 + b"\n."
    yield "as-it-is", server + packet(HELLO, text=b"main") + b"."
    yield "from-the-wrong-side", server + packet(SIGNAL, 9) + b"."
    yield "bad-magic", server + packet(HELLO, text=b"main", magic=1) + b"."
    yield "short", server + b"p\x05abcde." + b"np\x00."
    yield "long", server + b"p\xff" + b"x" * 255 + b"."
    yield "leaves-before-hello", server + b"c.nhmain\nc."
    yield "too-many", server + b"n" * 70 + b".hmain\n."
    for name, how in (("taken", 1), ("absent", 4), ("two-descriptors", 2), ("neither", 0), ("both", 5)):
        yield f"output-{name}", server + b"hmain\n.o" + bytes([how]) + b"/tmp/out\n."
    yield "output-of-a-stranger", server + b"o\x01/tmp/out\n."
    yield "output-busy", server + b"hmain\n.bo\x01/tmp/out\n.v."
    yield "output-while-busy", server + b"hmain\n.bo\x01/a\n.o\x01/b\n.v."
    yield "output-relative", server + b"hmain\n.o\x01out\n."
    yield "output-then-leaves", server + b"hmain\n.bo\x01/a\nc..v."
    yield "answers", wrapper + b"o/tmp/out\na\x03a\x01.a\x02."
    yield "answer-unknown", wrapper + b"a\x04."
    yield "signals", wrapper + b"s\x0f.s\x01s\x40."
    yield "signal-0", wrapper + b"s\x00."
    yield "signal-65", wrapper + b"s\x41."
    yield "signal-as-it-is", wrapper + packet(SIGNAL, 9) + b"."
    yield "hello-to-a-wrapper", wrapper + packet(HELLO, text=b"main") + b"."
    yield "nonsense", wrapper + b"p\x03abc."
    yield "leaves-at-a-signal", wrapper + b"ls\x0fs\x0f."
    yield from parts(server + b"hmain\n.bo\x01/a\n.")
    yield from heard(server + b"hmain\n.", wrapper)
    yield from asks(wrapper)
    yield "with-descriptors", server + b"f\x03hmain\n." + b"nhmain\n.f\x02e\x0f\x01."
    yield "with-descriptors-to-a-wrapper", wrapper + b"f\x03s\x0f."
    for name, kind, rest in (("output", OUTPUT, b"/a\x00"), ("parts", PARTS, b"\x00\x00")):
        one = struct.pack("=IHH", MAGIC, kind, kind == PARTS) + rest
        yield f"{name}-to-a-wrapper", wrapper + b"f\x01p" + bytes([len(one)]) + one + b"."
    yield "with-too-many-descriptors-to-a-wrapper", wrapper + b"f\xfcq\x01d:a\n."


def given(number: int, descriptors: int, codes: bytes = b"") -> bytes:
    """Parts: how many, and what comes along."""
    return b"r" + bytes([number, descriptors, len(codes)]) + codes + b"."


def parts(owed: bytes) -> Iterator[tuple[str, bytes]]:
    """For a server that owes somebody a verdict."""
    two = owed + b"q\x01d:a:b\n"
    all_of_them = owed + b"q\xffd:a\n"
    yield "parts", two + given(2, 2) + b"v."
    yield "parts-absent", two + given(2, 1, bytes([ENOENT])) + b"v."
    yield "parts-none", two + given(2, 0, bytes([ENOENT, 13])) + b"v."
    yield "parts-again-and-again", two + b"t\x01" + given(2, 2) * 4 + b"v."
    yield "parts-then-verdict", two + b"t\x02" + given(2, 2) + b"o\x01/b\n.v."
    yield "parts-after-a-sign-of-life", two + b"l" + given(2, 2) + b"v."
    yield "parts-128", all_of_them + given(128, 128) + b"v."
    yield "parts-of-128-one", all_of_them + given(128, 127, bytes([ENOENT])) + b"v."
    yield "parts-129", all_of_them + given(129, 129)
    yield "parts-0", two + given(0, 0)
    yield "parts-fewer", two + given(1, 1)
    yield "parts-more", two + given(3, 3)
    yield "parts-twice", two + given(2, 2) * 2
    yield "parts-not-asked-for", owed + given(2, 2)
    yield "parts-after-the-verdict", two + b"v" + given(2, 2)
    yield "parts-of-another", two + b"nhmain\n." + given(2, 2) + b"v."
    yield "parts-of-a-stranger", b"\x00" + given(1, 1)
    yield "parts-without-descriptors", two + given(2, 0)
    yield "parts-with-one-descriptor-more", two + given(2, 2, bytes([ENOENT]))
    yield "parts-short", two + b"p\x0a" + struct.pack("=IHHH", MAGIC, PARTS, 2, ENOENT) + b"."
    yield "leaves-when-asked", two + b"c."
    yield "asked-when-it-has-left", owed + b"cq\x01d:a\n."
    yield "asked-twice", two + b"q\x01e:c\n" + given(2, 2)
    yield "asked-in-many-names", owed + b"q\xff" + b"d:" + b"n" * 200 + b"\n.c."
    yield "output-instead-of-parts", two + b"o\x01/b\n."


def heard(server: bytes, wrapper: bytes) -> Iterator[tuple[str, bytes]]:
    yield "heard", server + b"e\x0f\x01e\x40\x00."
    yield "heard-signal-0", server + b"e\x00\x01."
    yield "heard-signal-65", server + b"e\x41\x01."
    yield "heard-negative-pid", server + b"e\x0f\xff."
    yield "heard-of-a-stranger", server[:1] + b"e\x0f\x01."
    for size in (15, 17):
        packed = struct.pack("=IHHiIx", MAGIC, HEARD, 15, 1, 0)
        yield f"heard-{size}-bytes", server + b"p" + bytes([size]) + packed[:size] + b"."
    yield "heard-to-a-wrapper", wrapper + b"p\x10" + struct.pack("=IHHiI", MAGIC, HEARD, 15, 1, 0) + b"."
    yield "tells-what-it-heard", wrapper + b"e\x0e\x01e\x3f\x00d"


def asks(wrapper: bytes) -> Iterator[tuple[str, bytes]]:
    """For a wrapper: in order (q), and not (Q: the number, how often, and the bytes, ':' for NUL)."""
    offered = wrapper + b"o/a\n"
    yield "asked", offered + b"q\x01d:a:b\n.r\x00d"
    yield "asked-absent", offered + b"q\x01d:a:b:c\n.r\x02d"
    yield "asked-prompt", offered + b"iq\x01:a\nq\x01d/e:b\n.d"
    yield "asked-for-128", offered + b"iq\xffd:a\n.d"
    yield "asked-for-long-names", offered + b"q\xff" + b"d" * 255 + b":" + b"n" * 255 + b"\n.r\x01d"
    yield "leaves-when-asked-for-parts", offered + b"ilq\x01d:a\nq\x01d:b\n."
    odd = {
        "0": b"\x00\x01d:",
        "129": b"\x81\xffa:",
        "fewer": b"\x02\x01d:a:",
        "more": b"\x01\x01d:a:b:",
        "no-end": b"\x01\x01d:a",
        "no-names": b"\x01\x00",
        "empty-name": b"\x02\x01d::a:",
        "dot": b"\x01\x01d:.:",
        "dots": b"\x01\x01d:..:",
        "path": b"\x01\x01d:a/b:",
        "absolute-directory": b"\x01\x01/d:a:",
        "directory-up": b"\x01\x01../d:a:",
        "too-long": b"\x01\xff" + b"n" * 60,
        "more-to-the-last-byte": b"\x80\x60" + b"n" * 127 + b":",
        "without-end-but-for-the-last": b"\x7f\x01" + b"a" * 300 + b":",
    }
    for name, data in odd.items():
        yield f"asked-{name}", offered + b"Q" + data + b"\n."
    yield "asked-to-a-server", b"\x00hmain\n.p\x0c" + struct.pack("=IHH", MAGIC, ASK, 1) + b"d\x00a\x00."


def journals() -> Iterator[tuple[str, bytes]]:
    """For fuzz_journal.c: lines, of which it makes records."""
    begin = '{"journal":"1","pod":"p","node":"n"}'
    plan = '{"entry":%d,"state":"planned","kind":"%s","name":"%s"}'
    stored = '{"entry":0,"state":"stored","artifact":{"name":"a","s3":{"key":"k"}},"size":3,"etag":"e","checksum":"c"}'
    failed = '{"entry":1,"state":"failed","why":"w","class":2}'
    lines = [begin, plan % (0, "artifact", "a"), plan % (1, "log", "l"), '{"entry":0,"state":"reading"}']
    lines += ['{"entry":0,"state":"sending"}', stored, '{"entry":0,"state":"reported"}', failed]
    yield "whole", b"\x01" + "\n".join(lines).encode()
    yield "planned", b"\x01" + "\n".join(lines[:3]).encode()
    yield "as-it-is", b"\x00" + struct.pack("<II", 1, 0) + b"x"
    yield "another-pod", b"\x01" + begin.replace("p", "q").encode()
    yield "step-back", b"\x01" + "\n".join([*lines[:7], lines[3]]).encode()


def deflated(text: bytes, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy)
    return packer.compress(text) + packer.flush()


def members() -> Iterator[tuple[str, bytes]]:
    """For fuzz_gzip.c."""
    text = b"abcabcabc" * 40 + bytes(range(256))
    as_it_is, made = b"\x00\x00\x00", b"\x07\x03\x01"
    yield "dynamic", as_it_is + deflated(text * 4, 9)
    yield "fixed", as_it_is + deflated(text, 9, zlib.Z_FIXED)
    yield "huffman", as_it_is + deflated(text, 9, zlib.Z_HUFFMAN_ONLY)
    yield "runs", as_it_is + deflated(bytes(5000), 9, zlib.Z_RLE)
    yield "stored", b"\x01\x01\x00" + deflated(text, 0)
    yield "stored-empty", as_it_is + b"\x00\x00\x00\xff\xff\x01\x00\x00\xff\xff"
    yield "stored-then-fixed", b"\x03\x05\x00" + b"\x00\x03\x00\xfc\xffabc\x03\x00"
    yield "cut", as_it_is + deflated(text, 9)[:40]
    block = bytes([60]) + text[:60]
    yield "blocks", made + b"\x06" + (block + b"\x01") * 4 + block + b"\x03"
    yield "members", made + (b"\x09" + block + b"\x02" + block + b"\x03") * 3
    yield "members-empty", made + b"\x01\x00\x03" * 4
    yield "changed", made + b"\x06" + block + b"\x03" + b"\x06" + block + b"\x03" + b"\x00\x80"


PROFILES = b"""default
aws_access_key_id
[default]
aws_access_key_id = AKIDEXAMPLE  # a comment
aws_secret_access_key=secret
type = access_key
access_key_id = a
access_key_secret = s
[profile p]
role_arn = arn:aws:iam::1:role/r
source_profile = default
region = eu-west-1
duration_seconds = 3600
"""


def profiles() -> Iterator[tuple[str, bytes]]:
    """For fuzz_ini.c."""
    yield "keys", PROFILES
    yield "role", PROFILES.replace(b"default\naws_access_key_id", b"p\nrole_arn", 1)
    yield "roles-in-a-circle", PROFILES.replace(b"default", b"p", 1).replace(b"= default", b"= p")
    yield "web-identity", b"p\nx\n[p]\nrole_arn=r\nweb_identity_token_file=/t\nrole_session_name=s\n"
    yield "credential-source", b"p\nx\n[profile p]\nrole_arn=r\ncredential_source=Ec2InstanceMetadata\n"
    yield "role-of-the-machine", b"p\nx\n[p]\ntype=ecs_ram_role\nrole_name=r\n"
    yield "continued", b"p\nx\n[p]\nx =\n  y = 1\n;x = 2\n#x = 3\nx = 4 ;5\n"
    for mode in ("AK", "StsToken", "OIDC", "EcsRamRole", "RamRoleArn"):
        profile = {"name": "p", "mode": mode, "access_key_id": "a", "access_key_secret": "s", "sts_token": "t"}
        profile |= {"ram_role_arn": "r", "oidc_provider_arn": "o", "oidc_token_file": "/t", "ram_role_name": "n"}
        yield f"aliyun-{mode}", b"p\nx\n" + json.dumps({"current": "p", "profiles": [profile]}).encode()


def keys() -> Iterator[tuple[str, bytes]]:
    """For fuzz_keys.c; 100 is status 200."""
    until = "<Expiration>2026-08-21T12:39:06Z</Expiration>"
    fields = f"<AccessKeyId>a</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>{until}"
    for action in ("AssumeRole", "AssumeRoleWithWebIdentity"):
        inner = f"<{action}Result><Credentials>{fields}</Credentials></{action}Result>"
        answer = f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{inner}</{action}Response>'
        yield action, b"100\n\n" + answer.encode()
    for code in ("ExpiredToken", "SignatureDoesNotMatch", "RequestExpired", "Throttling", "IDPCommunicationError"):
        error = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
        yield f"error-{code}", b"303\ndate: Fri, 21 Aug 2026 12:39:06 GMT\n\n" + error.encode()
    metadata = {"Code": "Success", "AccessKeyId": "a", "Expiration": "2026-08-21T12:39:06Z"}
    aws = metadata | {"SecretAccessKey": "s", "Token": "t"}
    oss = metadata | {"AccessKeySecret": "s", "SecurityToken": "t"}
    yield "metadata", b"100\n\n" + json.dumps(aws).encode()
    yield "metadata-oss", b"100\n\n" + json.dumps(oss).encode()
    yield "wrapped", b"100\n\n" + json.dumps({"RequestId": "1", "Credentials": oss}).encode()
    yield "refused", b"100\n\n" + json.dumps({"Code": "Failed"}).encode()
    yield "line-end-in-a-key", b"100\n\n" + json.dumps(aws | {"AccessKeyId": "a\r\nx: y"}).encode()
    yield "name", b"100\n\nmy-role\n"


def headers() -> Iterator[tuple[str, bytes]]:
    """For fuzz_headers.c."""
    ok = "1787315946\nHTTP/1.1 200 OK\nContent-Length: 12\nETag: \"abc\"\nDate: Fri, 21 Aug 2026 12:39:06 GMT\n"
    yield "ok", ok.encode() + b"\n"
    yield "range", b"0\nHTTP/1.1 206 P\nContent-Range: bytes 7-11/12\nContent-Length: 5\n\n"
    for number, value in enumerate(("5", "Fri, 21 Aug 2099 12:39:06 GMT", "Friday, 21-Aug-68 12:39:06 GMT", "-1", "9" * 30, "1.5")):
        yield f"retry-after-{number}", f"4102444800\nHTTP/1.1 503 S\nRetry-After: {value}\n\n".encode()
    yield "milliseconds", b"1\nHTTP/1.1 503 S\nretry-after-ms: 20\nx-ms-retry-after-ms: 30\n\n"
    yield "folded", b"1\nHTTP/1.1 200\nA: b\n  c\n\td\nDate:\n x\n\n"
    yield "continue-first", b"1\nHTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nEtag: W/\"a\"\n\n"
    yield "trailers", ok.encode() + b"\nx-checksum: 1\n folded\n\n"
    yield "odd", b"253402300799\nHTTP/2 99999\nno colon\n: no name\nA:\n\n"
    yield "length-odd", b"1\nHTTP/1.1 200\ncontent-length: -5\ncontent-length: 99999999999999999999\n\n"


def offers() -> Iterator[tuple[str, bytes]]:
    """For fuzz_offers.c: who, how, and the path."""
    for how, name in enumerate("file folder crowd read-write path pipe socket proc device none".split()):
        yield name, b"m" + bytes([how]) + b"/out\n"
    yield "another-container", b"x\x00/out\n"
    yield "volume", b"m\x00/vol/x\n"
    yield "twice", b"m\x00/out\nm\x01/out\nm\x02/p\nm\x02/p\n"
    yield "not-in-the-template", b"m\x00/etc/passwd\nm\x00/out/..\nm\x00\n"
    item = {"path": "/out", "code": 0, "uid": 1, "gid": 2, "groups": "1,2,3", "files": 1, "directories": 1, "links": 0}
    yield "described", b"\n" + json.dumps(item).encode()
    yield "described-absent", b"\n" + json.dumps(item | {"code": 2}).encode()
    many = ",".join(str(i) for i in range(80))
    yield "described-odd", b"\n" + json.dumps(item | {"code": 1 << 32, "groups": many, "files": -1}).encode()


def templates() -> Iterator[tuple[str, bytes]]:
    for path in sorted(FIXTURES.glob("*/pod-*.json")):
        pod = json.loads(path.read_text())
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"] == "ARGO_TEMPLATE" and variable.get("value", "").startswith("{"):
                    yield path.parent.name, variable["value"].encode()


def gc_tasks() -> Iterator[tuple[str, bytes]]:
    """For fuzz_gc_task.c: recorded ones, and what users can make of one."""
    recorded = [json.loads(line)["object"] for line in (FIXTURES / "artifact-gc/artifactgctasks.jsonl").open()]
    for i, task in enumerate(recorded):
        yield f"recorded-{i}", json.dumps(task).encode()
    yield "list", json.dumps({"items": recorded, "metadata": {"continue": "t"}}).encode()
    place = {"endpoint": "e", "bucket": "b"}
    s3, oss = {"s3": place | {"key": "{{pod.name}}"}}, {"oss": place | {"key": "k"}}

    def task(artifacts: dict[str, object], archive: object = s3, results: object = None, **more: object) -> bytes:
        nodes = {"n": archive} | more
        spec = {"artifactsByNode": {n: {"archiveLocation": a, "artifacts": artifacts} for n, a in nodes.items()}}
        status = {"artifactResultsByNode": {"n": {"artifactResults": results}}}
        return json.dumps({"metadata": {"name": "t"}, "spec": spec, "status": status}).encode()

    bare = {name: {"name": name, "s3": {"key": f"k/{name}"}} for name in "abcde"}
    yield "bare-keys", task(bare)
    yield "bare-keys-of-another-store", task(bare, oss)
    yield "nodes", task(bare, s3, None, m=s3, o={"s3": s3["s3"] | {"bucket": "c"}}, p=oss, q=None)
    yield "no-archive-location", task(bare, None)
    yield "archive-location-is-none", task(bare, 1)
    yield "unsupported", task(bare, {"gcs": {"bucket": "b"}})
    yield "complete", task({"a": {"s3": place | {"key": "a"}}, "b": {"oss": place | {"key": "b"}}, "c": {"s3": {"key": "c"}}})
    yield "plugin", task({"a": {"plugin": {"name": "p", "configuration": "c", "key": "k"}}, "b": {"plugin": {"key": "l"}}})
    yield "never-stored", task({"a": {"name": "a"}, "b": {"s3": {}}, "c": {"raw": {"data": "x"}}, "d": 5})
    yield "url-beside-a-key", task({"a": {"s3": {"key": "k"}}, "b": {"http": {"url": "/l?x"}}})
    yield "urls", task({"a": {"http": {"url": "https://h/a"}}, "b": {"artifactory": {"url": "/a/b?c"}}})
    yield "recorded", task(bare, s3, {"a": {"success": True}, "b": {"success": False, "error": "x"}, "c": {"error": "y"}, "d": 1, "z": {"success": True}})
    yield "name-of-characters", task({"\u00e4" * 60: {"gcs": {"key": "\u00f6" * 120}}}, None)
    twins = task({"a": 1}).replace(b'"a": 1', b'"a": {"s3": {"key": "k"}}, "a": {"s3": {"key": "l"}}')
    yield "artifact-twice", twins
    yield "no-name", b'{"metadata":{},"spec":{}}'


def spans() -> Iterator[tuple[str, bytes]]:
    """For fuzz_span.c: what it is used for, and what is kept of JSON."""
    yield from gc_tasks()
    for path in sorted((Path(__file__).parent / "corpus/json").iterdir()):
        yield f"json-{path.name}", path.read_bytes()
    yield "null-members", b'{"a":null,"b":[null,{"c":null}],"a":1,"b":null}'


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def framed(message: bytes) -> bytes:
    return b"f\0" + len(message).to_bytes(4, "big") + message


def plugins() -> Iterator[tuple[str, bytes]]:
    """For fuzz_plugin.c: answers as plugins send them, requests as they get them, artifacts."""
    refused = field(1, 0) + field(2, b"the bucket is gone\n")
    place = field(1, b"p") + field(2, b"bucket: b") + field(3, 300) + field(4, b"wf/pod/a.tgz")
    artifact = field(1, b"a") + field(2, b"/tmp/a") + field(3, 0o644) + field(5, place) + field(6, 1)
    messages = {
        "success": field(1, 1),
        "refused": refused,
        "empty": b"",
        "load-request": field(1, artifact) + field(2, b"/argo/inputs/artifacts/a"),
        "save-request": field(1, b"/tmp/argo/a") + field(2, artifact),
        "delete-request": field(1, artifact),
        "negative": field(1, (1 << 64) - 1),
        "more-than-64-bits": varint(8) + b"\x80" * 10 + b"\x01",
        "fixed": b"\x21" + bytes(8) + b"\x35" + bytes(4) + field(1, 1),
        "fixed-cut": b"\x21" + bytes(7),
        "group": b"\x0b\x0c",
        "no-type": b"\x0e",
        "field-0": b"\x02\x00",
        "large-number": field((1 << 29) - 1, 1) + field(1 << 29, 1),
        "longer-than-it-is": varint(18) + varint(1 << 40) + b"n",
        "long-text": field(2, b"\xc3\xbc" * 1500),
        "unknown": field(7, b"new") + field(1, 1) + field(9, 5),
    }
    for name, message in messages.items():
        yield name, b"m" + message
        yield f"{name}-framed", framed(message)
    yield "frame-cut", framed(refused)[:-1]
    yield "frame-long", framed(refused) + b"x"
    yield "frame-short", b"f\0\0"
    yield "frame-compressed", b"f\1" + framed(refused)[2:]
    for name, text in {"escaped": b"no%20such%0akey", "odd": b"100%, %zz%4", "high": b"%C3%bc%00x"}.items():
        yield f"text-{name}", b"t" + text
    members = {"name": "a", "path": "/tmp/a", "mode": 420, "from": "f", "optional": True, "subPath": "s"}
    members |= {"recurseMode": True, "fromExpression": "e", "deleted": False, "archive": {"none": {}}}
    plugin = {"name": "p", "configuration": "c", "connectionTimeoutSeconds": 5, "key": "k\u00fc\u0000"}
    for name, value in {"whole": members | {"plugin": plugin}, "bare": {}, "no-plugin": members}.items():
        yield f"artifact-{name}", b"j" + json.dumps(value).encode()
    yield "artifact-odd", b'j{"name":5,"mode":-1,"plugin":[],"optional":"x"}'


SEEDS = {
    "archive": archives,
    "zip": zips,
    "compress": compressed,
    "channel": packets,
    "gc_task": gc_tasks,
    "journal": journals,
    "span": spans,
    "template": templates,
    "gzip": members,
    "ini": profiles,
    "keys": keys,
    "headers": headers,
    "offers": offers,
    "plugin": plugins,
}


def write(directory: Path) -> None:
    for target, make in SEEDS.items():
        folder = directory / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
