"""Zip files that no library writes: for the seeds of the target `zip`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

STORE, DEFLATE = 0, 8
UNIX, DOS = 3, 0
WIDE = 0xFFFFFFFF


def odd(
    name: bytes = b"a",
    text: bytes = b"abc",
    *,
    packed: bytes | None = None,
    method: int = STORE,
    flags: int = 0,
    extra: bytes = b"",
    creator: int = UNIX,
    attributes: int = 0o100644 << 16,
    announced: int | None = None,
    crc: int | None = None,
    offset: int = 0,
    packed_bytes: int | None = None,
    count: int = 1,
    disk: int = 0,
    is_wide: bool = False,
    wide_signature: bytes = b"PK\x06\x06",
    shift: int = 0,
) -> bytes:
    """One entry; whatever is given stands there, true or not."""
    packed = text if packed is None else packed
    size = len(text) if announced is None else announced
    packed_size = len(packed) if packed_bytes is None else packed_bytes
    crc = zlib.crc32(text) if crc is None else crc
    common = (flags, method, 0x6A2E, 0x576E, crc, packed_size, size, len(name))
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, *common, 0) + name + packed
    place = (len(extra), 0, 0, 0, attributes, offset)
    central = struct.pack("<4sBBHHHHHIIIHHHHHII", b"PK\x01\x02", 20, creator, 20, *common, *place) + name + extra
    out = local + central
    start, length = len(local) + shift, len(central)
    if is_wide:
        record = struct.pack("<4sQHHIIQQQQ", wide_signature, 44, 45, 45, 0, 0, count, count, length, start)
        out += record + struct.pack("<4sIQI", b"PK\x06\x07", 0, len(out), 1)
        start = length = WIDE
    return out + struct.pack("<4sHHHHIIH", b"PK\x05\x06", disk, 0, count & 0xFFFF, count & 0xFFFF, length, start, 0)


def odd_zips() -> Iterator[tuple[str, bytes]]:
    yield "wide-end", odd(is_wide=True)
    yield "wide-end-damaged", odd(is_wide=True, wide_signature=b"PK\x06\x05")
    yield "wide-end-outside", odd(is_wide=True, shift=1 << 40)
    yield "directory-outside", odd(shift=1 << 30)
    yield "several-parts", odd(disk=1)
    yield "more-entries-announced", odd(count=2)
    sizes = struct.pack("<HHQQ", 1, 16, 3, 3)
    yield "wide-sizes", odd(extra=sizes, announced=WIDE, packed_bytes=WIDE)
    yield "wide-sizes-cut", odd(extra=sizes[:12].replace(b"\x10", b"\x08"), announced=WIDE, packed_bytes=WIDE)
    yield "wide-sizes-missing", odd(extra=struct.pack("<HHI", 1, 4, 3), announced=WIDE)
    yield "time", odd(extra=struct.pack("<HHBI", 0x5455, 5, 1, 1_700_000_000))
    yield "extra-garbage", odd(extra=b"\x01\x00\xff\xff")
    yield "read-only-of-dos", odd(creator=DOS, attributes=1)
    yield "directory-of-dos", odd(b"d", b"", creator=DOS, attributes=16)
    yield "encrypted", odd(flags=1)
    yield "bzip2", odd(method=12)
    yield "name-with-nul", odd(b"a\0b")
    yield "entry-outside", odd(offset=1 << 20)
    yield "entry-is-none", odd(offset=1)
    yield "longer-than-the-file", odd(packed_bytes=1 << 20)
    yield "shorter-than-announced", odd(announced=4)
    yield "longer-than-announced", odd(announced=2)
    yield "wrong-checksum", odd(crc=1)
    yield "not-deflated", odd(packed=b"\xff\xff\xff", method=DEFLATE)
    yield "deflate-cut", odd(packed=zlib.compress(b"abc" * 99, 9)[2:-8], text=b"abc" * 99, method=DEFLATE)
    yield "damaged-directory", odd().replace(b"PK\x01\x02", b"PK\x01\x03")
    yield "too-short", b"PK\x05\x06"
