"""The operations of tests/servers/oss.py: a request against the stored objects, and the answer."""

from __future__ import annotations

import hashlib
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.servers.oss_store import Bucket, Object, OssStore, new_object

if TYPE_CHECKING:
    from tests.servers.oss import Request

Answer = tuple[int, dict[str, str], bytes]

DATE = "2026-01-01T00:00:00.000Z"


def _error(status: int, code: str, message: str, **more: str) -> Exception:
    from tests.servers.oss import OssError

    return OssError(status, code, message, **more)


def error_xml(code: str, message: str, request_id: str, host: str, more: dict[str, str]) -> bytes:
    fields = {"Code": code, "Message": message, "RequestId": request_id, "HostId": host, **more}
    fields["EC"] = f"0001-{int(hashlib.md5(code.encode()).hexdigest()[:6], 16):08d}"
    return _xml("Error", "".join(_element(name, value) for name, value in fields.items()))


def _element(name: str, value: object) -> str:
    return f"<{name}>{escape(str(value))}</{name}>"


def _xml(root: str, content: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{content}</{root}>'.encode()


def _document(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise _error(400, "MalformedXML", "The XML you provided was not well-formed.") from None


def perform(store: OssStore, request: Request) -> Answer:
    if request.bucket is None:
        return _list_buckets(store, request)
    if request.key is None:
        return _bucket(store, request)
    bucket = _existing(store, request)
    if request.method == "GET":
        return _get(bucket, request)
    if request.method == "HEAD":
        item = _found(bucket, request)
        return 200, {**_object_headers(item, request), "Content-Length": str(len(item.data))}, b""
    if request.method == "PUT":
        return _put(bucket, request)
    if request.method == "POST":
        return _post(store, bucket, request)
    return _delete(bucket, request)


def _existing(store: OssStore, request: Request) -> Bucket:
    bucket = store.buckets.get(request.bucket or "")
    if bucket is None:
        text = "The specified bucket does not exist."
        raise _error(404, "NoSuchBucket", text, BucketName=request.bucket or "")
    return bucket


# --- Buckets --------------------------------------------------------------------------------------


def _list_buckets(store: OssStore, request: Request) -> Answer:
    prefix, limit = request.query.get("prefix", ""), int(request.query.get("max-keys", 100))
    names = sorted(name for name in store.buckets if name.startswith(prefix))[:limit]
    entries = "".join(f"<Bucket>{_element('Name', name)}</Bucket>" for name in names)
    return 200, {}, _xml("ListAllMyBucketsResult", f"<Buckets>{entries}</Buckets>")


def _bucket(store: OssStore, request: Request) -> Answer:
    if request.method == "PUT" and not request.query:
        if request.bucket in store.buckets:
            raise _error(409, "BucketAlreadyExists", "The requested bucket name is not available.")
        if request.body:
            _document(request.body)
        store.buckets[request.bucket or ""] = Bucket()
        return 200, {}, b""
    bucket = _existing(store, request)
    if "lifecycle" in request.query:
        return _lifecycle(bucket, request)
    if "logging" in request.query and request.method == "PUT":
        bucket.logging = request.body
        return 200, {}, b""
    if "uploads" in request.query and request.method == "GET":
        return _list_uploads(bucket, request)
    return _list(bucket, request)


def _lifecycle(bucket: Bucket, request: Request) -> Answer:
    if request.method == "GET":
        if not bucket.lifecycle:
            raise _error(404, "NoSuchLifecycle", "No Row found in Lifecycle Table.")
        return 200, {"Content-Type": "application/xml"}, bucket.lifecycle
    rules = _document(request.body).findall("Rule")
    if not 1 <= len(rules) <= 1000:
        raise _error(400, "InvalidRequest", "The number of rules is not valid.")
    for rule in rules:
        days = [int(item.text or 0) for item in rule.iter("Days")]
        if not days or min(days) < 1 or rule.findtext("Status") not in ("Enabled", "Disabled"):
            raise _error(400, "MalformedXML", "The rule is not valid.")
    bucket.lifecycle = request.body
    return 200, {}, b""


def _list(bucket: Bucket, request: Request) -> Answer:
    """Both versions; with a start behind the last key of the page before."""
    query = request.query
    is_v2 = query.get("list-type") == "2"
    after = query.get("marker", "")
    if is_v2:
        after = urlsafe_b64decode(query.get("continuation-token", "").encode()).decode()
    prefix, limit = query.get("prefix", ""), int(query.get("max-keys", 100))
    keys = [key for key in sorted(bucket.objects) if key.startswith(prefix) and key > after]
    is_encoded = query.get("encoding-type") == "url"

    def text(value: str) -> str:
        return quote(value, safe="") if is_encoded else value

    page = [
        ("Name", request.bucket),
        ("Prefix", text(prefix)),
        ("MaxKeys", limit),
        ("IsTruncated", "true" if len(keys) > limit else "false"),
    ]
    if is_encoded:
        page.append(("EncodingType", "url"))
    if is_v2:
        page.append(("KeyCount", len(keys[:limit])))
    if len(keys) > limit:
        last = keys[limit - 1]
        token = urlsafe_b64encode(last.encode()).decode()
        page.append(("NextContinuationToken", token) if is_v2 else ("NextMarker", text(last)))
    content = "".join(_element(name, value) for name, value in page)
    for key in keys[:limit]:
        item = bucket.objects[key]
        fields = {"Key": text(key), "LastModified": DATE, "ETag": item.etag, "Type": item.kind}
        fields |= {"Size": str(len(item.data)), "StorageClass": "Standard"}
        entry = "".join(_element(name, value) for name, value in fields.items())
        content += f"<Contents>{entry}</Contents>"
    return 200, {"Content-Type": "application/xml"}, _xml("ListBucketResult", content)


def _list_uploads(bucket: Bucket, request: Request) -> Answer:
    """By key and upload id; a page begins behind key-marker, or behind both markers."""
    query = request.query
    prefix, limit = query.get("prefix", ""), int(query.get("max-uploads", 1000))
    if not 1 <= limit <= 1000:
        raise _error(400, "InvalidArgument", "Argument max-uploads must be an integer between 1 and 1000.")
    key, upload_id = query.get("key-marker", ""), query.get("upload-id-marker", "")
    behind = (key, upload_id or "\U0010ffff")
    uploads = sorted((upload.key, name, upload.initiated) for name, upload in bucket.uploads.items())
    uploads = [item for item in uploads if item[0].startswith(prefix) and (not key or item[:2] > behind)]
    page, is_encoded = uploads[:limit], query.get("encoding-type") == "url"

    def text(value: str) -> str:
        return quote(value, safe="") if is_encoded else value

    last = page[-1] if len(uploads) > limit else ("", "")
    fields = [
        ("Bucket", request.bucket),
        ("KeyMarker", text(key)),
        ("UploadIdMarker", upload_id),
        ("NextKeyMarker", text(last[0])),
        ("NextUploadIdMarker", last[1]),
        ("Prefix", text(prefix)),
        ("MaxUploads", limit),
        ("IsTruncated", "true" if len(uploads) > limit else "false"),
    ]
    if is_encoded:
        fields.append(("EncodingType", "url"))
    content = "".join(_element(name, value) for name, value in fields)
    for name, upload_id, initiated in page:
        begun = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(initiated))
        one = {"Key": text(name), "UploadId": upload_id, "Initiated": begun}
        content += f"<Upload>{''.join(_element(*item) for item in one.items())}</Upload>"
    answer = _xml("ListMultipartUploadsResult", content)
    return 200, {"Content-Type": "application/xml"}, answer


# --- Objects --------------------------------------------------------------------------------------


def _found(bucket: Bucket, request: Request) -> Object:
    item = bucket.objects.get(request.key or "")
    if item is None:
        text = "The specified key does not exist."
        raise _error(404, "NoSuchKey", text, Key=request.key or "")
    return item


def _crc(item: Object, request: Request) -> str:
    return str(item.crc ^ (1 if request.fault == "crc" else 0))


def _object_headers(item: Object, request: Request) -> dict[str, str]:
    return {
        "ETag": item.etag,
        "Last-Modified": formatdate(item.modified, usegmt=True),
        "Content-Type": item.content_type,
        "x-oss-object-type": item.kind,
        "x-oss-hash-crc64ecma": _crc(item, request),
        "x-oss-storage-class": "Standard",
        "Accept-Ranges": "bytes",
    }


def _get(bucket: Bucket, request: Request) -> Answer:
    item = _found(bucket, request)
    wanted = request.headers.get("if-match")
    if wanted and wanted.strip('"') != item.etag.strip('"'):
        raise _error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold.")
    headers, size = _object_headers(item, request), len(item.data)
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not match or int(match[1]) >= size:
        return 200, headers, item.data
    first, last = int(match[1]), min(int(match[2] or size), size - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return 206, headers, item.data[first : last + 1]


def _stored(item: Object, request: Request) -> Answer:
    return 200, {"ETag": item.etag, "x-oss-hash-crc64ecma": _crc(item, request)}, b""


def _put(bucket: Bucket, request: Request) -> Answer:
    item = new_object(request.body, request.headers.get("content-type", ""))
    if "partNumber" not in request.query:
        if (request.key or "")[0] in "/\\":
            raise _error(400, "InvalidObjectName", "The specified object is not valid.")
        bucket.objects[request.key or ""] = item
        return _stored(item, request)
    upload = bucket.uploads.get(request.query.get("uploadId", ""))
    if upload is None or upload.key != request.key:
        raise _no_upload()
    upload.parts[int(request.query["partNumber"])] = item
    return _stored(item, request)


def _no_upload() -> Exception:
    text = "The specified upload does not exist. The upload ID may be invalid, or the upload may"
    return _error(404, "NoSuchUpload", text + " have been aborted or completed.")


def _post(store: OssStore, bucket: Bucket, request: Request) -> Answer:
    key = request.key or ""
    if "uploads" in request.query:
        upload_id = store.begin(bucket, key, request.headers.get("content-type", ""))
        fields = {"Bucket": request.bucket, "Key": key, "UploadId": upload_id}
        content = "".join(_element(name, value) for name, value in fields.items())
        return 200, {"Content-Type": "application/xml"}, _xml("InitiateMultipartUploadResult", content)
    if "append" in request.query:
        return _append(bucket, request)
    return _complete(store, bucket, request)


def _complete(store: OssStore, bucket: Bucket, request: Request) -> Answer:
    upload_id, key = request.query.get("uploadId", ""), request.key or ""
    if upload_id not in bucket.uploads or bucket.uploads[upload_id].key != key:
        raise _no_upload()
    named: list[tuple[int, Any]] = [
        (int(part.findtext("PartNumber", "0")), part.findtext("ETag", ""))
        for part in _document(request.body).findall("Part")
    ]
    if not named:
        raise _error(400, "MalformedXML", "The XML you provided names no parts.")
    small = [n for n, _ in named[:-1] if len(bucket.uploads[upload_id].parts[n].data) < 100 << 10]
    if small:
        raise _error(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum.")
    try:
        item = store.complete(bucket, upload_id, named)
    except KeyError:
        text = "One or more of the specified parts could not be found or the specified entity tag"
        raise _error(400, "InvalidPart", text + " might not have matched.") from None
    fields = {"Bucket": request.bucket, "Key": key, "ETag": item.etag}
    content = "".join(_element(name, value) for name, value in fields.items())
    headers = {"Content-Type": "application/xml", "x-oss-hash-crc64ecma": _crc(item, request)}
    return 200, headers, _xml("CompleteMultipartUploadResult", content)


def _append(bucket: Bucket, request: Request) -> Answer:
    old = bucket.objects.get(request.key or "")
    if old and old.kind != "Appendable":
        raise _error(409, "ObjectNotAppendable", "The object is not appendable.")
    data = old.data if old else b""
    if int(request.query.get("position", 0)) != len(data):
        raise _error(409, "PositionNotEqualToLength", "Position is not equal to file length.")
    item = new_object(data + request.body, request.headers.get("content-type", ""), "Appendable")
    bucket.objects[request.key or ""] = item
    status, headers, body = _stored(item, request)
    return status, {**headers, "x-oss-next-append-position": str(len(item.data))}, body


def _delete(bucket: Bucket, request: Request) -> Answer:
    if "uploadId" in request.query:
        if bucket.uploads.pop(request.query["uploadId"], None) is None:
            raise _no_upload()
    else:
        bucket.objects.pop(request.key or "", None)
    return 204, {}, b""
