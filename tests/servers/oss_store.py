"""The buckets and objects of the OSS server, and the checksum that OSS keeps of each object."""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import threading
import time
from dataclasses import dataclass, field

LIBLZMA = ctypes.CDLL("liblzma.so.5")
LIBLZMA.lzma_crc64.restype = ctypes.c_uint64


def crc64(data: bytes) -> int:
    """CRC-64 of ECMA-182, reflected, as .xz files have it: by the library that Python's lzma uses."""
    return LIBLZMA.lzma_crc64(data, ctypes.c_size_t(len(data)), ctypes.c_uint64(0))


POLYNOMIAL = 0x1_42F0E1EBA9EA3693


def _reversed(value: int) -> int:
    return int(f"{value:064b}"[::-1], 2)


def _times(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo that of the CRC."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a <<= 1
        a ^= POLYNOMIAL if a >> 64 else 0
        b >>= 1
    return product


def crc64_behind(first: int, second: int, size: int) -> int:
    """The checksum of two pieces one behind the other, the second of SIZE bytes."""
    power, shifted, bits = 2, _reversed(first), 8 * size
    while bits:
        if bits & 1:
            shifted = _times(shifted, power)
        power = _times(power, power)
        bits >>= 1
    return _reversed(shifted) ^ second


@dataclass
class Object:
    data: bytes
    etag: str
    content_type: str = "application/octet-stream"
    kind: str = "Normal"
    _crc: int | None = None
    modified: float = field(default_factory=time.time)

    @property
    def crc(self) -> int:
        if self._crc is None:
            self._crc = crc64(self.data)
        return self._crc


@dataclass
class Upload:
    key: str
    content_type: str
    parts: dict[int, Object] = field(default_factory=dict)
    initiated: float = field(default_factory=time.time)


@dataclass
class Bucket:
    objects: dict[str, Object] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    lifecycle: bytes = b""
    logging: bytes = b""


def new_object(data: bytes, content_type: str = "", kind: str = "Normal") -> Object:
    etag = f'"{hashlib.md5(data).hexdigest().upper()}"'
    return Object(data, etag, content_type or "application/octet-stream", kind)


class OssStore:
    """Everything under one lock: handlers run in threads."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.buckets: dict[str, Bucket] = {}
        self._numbers = itertools.count(1)

    def begin(self, bucket: Bucket, key: str, content_type: str) -> str:
        upload_id = f"{next(self._numbers):032X}"
        bucket.uploads[upload_id] = Upload(key, content_type)
        return upload_id

    def complete(self, bucket: Bucket, upload_id: str, named: list[tuple[int, str]]) -> Object:
        """KeyError for a part that is not there, or is another one."""
        upload = bucket.uploads[upload_id]
        for number, etag in named:
            if upload.parts[number].etag.strip('"') != etag.strip('"'):
                raise KeyError(number)
        data = b"".join(upload.parts[number].data for number, _ in sorted(named))
        etag = hashlib.md5("".join(etag for _, etag in sorted(named)).encode()).hexdigest()
        crc = 0
        for number, _ in sorted(named):
            part = upload.parts[number]
            crc = crc64_behind(crc, part.crc, len(part.data))
        kind = "Multipart"
        item = Object(data, f'"{etag.upper()}-{len(named)}"', upload.content_type, kind, crc)
        bucket.objects[upload.key] = item
        del bucket.uploads[upload_id]
        return item
