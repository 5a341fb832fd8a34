"""The objects behind the test API server: versions, merge patches, history.

Follows the Kubernetes API conventions (metadata, concurrency control and consistency, generation),
RFC 7386 (JSON merge patch) and the object-names page of the Kubernetes documentation. Every write
takes the next number of one counter as its resourceVersion; a write that changes nothing is none.
"""

import datetime
import json
import pickle
import re
import threading
import uuid
from typing import Any

from tests.servers import kube_schema, kube_status
from tests.servers.kube_schema import Cause
from tests.servers.kube_status import TASK_RESULT, Kind

ETCD_LIMIT_BYTES = 1536 * 1024
ETCD_MESSAGE_LIMIT_BYTES = 2048 * 1024
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'example.com', regex used for"
    r" validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    " and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or"
    r" '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
QUALIFIED_NAME_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end"
    " with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for"
    " validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
ANNOTATIONS_LIMIT_BYTES = 256 * 1024
SET_BY_SERVER = ("namespace", "uid", "creationTimestamp", "generation", "resourceVersion")
META_FIELDS = {
    "name": str, "generateName": str, "namespace": str, "selfLink": str, "uid": str,
    "resourceVersion": str, "generation": int, "creationTimestamp": str, "deletionTimestamp": str,
    "deletionGracePeriodSeconds": int, "labels": dict, "annotations": dict,
    "ownerReferences": list, "finalizers": list,
}  # fmt: skip
API_VERSION = f"{kube_status.GROUP}/v1alpha1"
OTHER_NAMESPACE = (
    "the namespace of the provided object does not match the namespace sent on the request"
)
# The API server leaves out the CEL rules once it has met one of these.
UNCHECKED_AFTER = (
    "FieldValueRequired", "FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueTooLong",
)  # fmt: skip
RULES_NOT_CHECKED = (
    "Invalid value: null: some validation rules were not checked because the object was invalid;"
    " correct the existing errors to complete validation"
)
Object = dict[str, Any]


def _copy(value: Any) -> Any:
    """Ten times as fast as copy.deepcopy(), which large objects take seconds of."""
    return pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return _copy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def meta_type_problem(meta: Any) -> str:
    """What keeps META from being decoded as an ObjectMeta; empty if nothing does."""
    if not isinstance(meta, dict):
        found = kube_schema.type_name(meta)
        return f"json: cannot unmarshal {found} into Go value of type v1.ObjectMeta"
    for name, wanted in META_FIELDS.items():
        value = meta.get(name)
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            found = kube_schema.type_name(value)
            return f"json: cannot unmarshal {found} into Go struct field ObjectMeta.{name}"
    for name in ("labels", "annotations"):
        if not all(isinstance(value, str) for value in (meta.get(name) or {}).values()):
            return f"json: cannot unmarshal into Go struct field ObjectMeta.{name} of type string"
    return ""


def _invalid(field: str, value: Any, text: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {json.dumps(value)}: {text}", field)


def _qualified_name_causes(field: str, key: str) -> list[Cause]:
    prefix, _, name = key.rpartition("/")
    causes = []
    if prefix and not SUBDOMAIN.fullmatch(prefix):
        causes.append(_invalid(field, key, f"prefix part {SUBDOMAIN_TEXT}"))
    if len(name) > 63:
        causes.append(_invalid(field, key, "name part must be no more than 63 characters"))
    if not LABEL_NAME.fullmatch(name):
        causes.append(_invalid(field, key, QUALIFIED_NAME_TEXT))
    return causes


def _label_causes(labels: dict[str, str]) -> list[Cause]:
    field, causes = "metadata.labels", []
    for key, value in labels.items():
        causes += _qualified_name_causes(field, key)
        if len(value) > 63:
            causes.append(_invalid(field, value, "must be no more than 63 characters"))
        if value and not LABEL_NAME.fullmatch(value):
            causes.append(_invalid(field, value, LABEL_VALUE_TEXT))
    return causes


def _annotation_causes(annotations: dict[str, str]) -> list[Cause]:
    field, causes = "metadata.annotations", []
    for key in annotations:
        causes += _qualified_name_causes(field, key.lower())
    if (
        sum(len(key) + len(value.encode()) for key, value in annotations.items())
        > ANNOTATIONS_LIMIT_BYTES
    ):
        text = f"Too long: may not be more than {ANNOTATIONS_LIMIT_BYTES} bytes"
        causes.append(Cause("FieldValueTooLong", text, field))
    return causes


def _owner_causes(owners: list[Object]) -> list[Cause]:
    causes = []
    for owner in owners:
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                text = "version must not be empty" if name == "apiVersion" else "must not be empty"
                causes.append(_invalid(f"metadata.ownerReferences.{name}", "", text))
    return causes


def _metadata_causes(meta: Object) -> list[Cause]:
    name = meta.get("name", "")
    if not name:
        text = "Required value: name or generateName is required"
        return [Cause("FieldValueRequired", text, "metadata.name")]
    causes = []
    if len(name) > 253:
        causes.append(_invalid("metadata.name", name, "must be no more than 253 characters"))
    if not SUBDOMAIN.fullmatch(name):
        causes.append(_invalid("metadata.name", name, SUBDOMAIN_TEXT))
    causes += _annotation_causes(meta.get("annotations", {}))
    return (
        causes
        + _label_causes(meta.get("labels", {}))
        + _owner_causes(meta.get("ownerReferences", []))
    )


def _prune_metadata(meta: Object) -> list[str]:
    """Drop what ObjectMeta has no field for, and nulls; the paths of the unknown ones."""
    unknown = [name for name in meta if name not in META_FIELDS and name != "managedFields"]
    for name in [
        *unknown,
        "managedFields",
        *(name for name, value in meta.items() if value is None),
    ]:
        meta.pop(name, None)
    return [f"metadata.{name}" for name in unknown]


class Store:
    """Objects of one resource in all namespaces; every method is atomic."""

    def __init__(self, schema: dict[str, Any], kind: Kind = TASK_RESULT):
        self._schema = schema
        self.kind = kind
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], Object] = {}
        self._history: list[Object] = []
        self._version = 100

    def get(self, namespace: str, name: str) -> Object:
        with self._lock:
            return _copy(self._find(namespace, name))

    def list_all(
        self, namespace: str = "", labels: Object | None = None, limit: int = 0, after: str = ""
    ) -> Object:
        """A List object; NAMESPACE "" is all of them.

        LABELS: values that an object must have. LIMIT: so many at most, of those behind AFTER, which
        is the metadata.continue of the list before.
        """
        with self._lock:
            meta = {"resourceVersion": str(self._version)}
            found = [
                obj
                for key, obj in sorted(self._objects.items())
                if namespace in ("", key[0])
                and "/".join(key) > after
                and _has_labels(obj, labels or {})
            ]
            if 0 < limit < len(found):
                last = found[limit - 1]["metadata"]
                meta |= {"continue": f"{last['namespace']}/{last['name']}"}
                meta |= {"remainingItemCount": len(found) - limit}
                found = found[:limit]
            return {
                "apiVersion": API_VERSION,
                "kind": f"{self.kind.name}List",
                "metadata": meta,
                "items": _copy(found),
            }

    def history(self, name: str = "") -> list[Object]:
        """Watch events {"type": …, "object": …} in order, of one object or of all."""
        with self._lock:
            events = self._history
            if name:
                events = [event for event in events if event["object"]["metadata"]["name"] == name]
            return _copy(events)

    def create(self, namespace: str, body: Object) -> tuple[Object, list[str]]:
        """The new object and the unknown fields that were dropped."""
        obj = _copy(body)
        if obj.get("apiVersion") != API_VERSION:
            text = (
                f"the API version in the data ({obj.get('apiVersion')}) does not match the expected"
            )
            raise kube_status.bad_request(f"{text} API version ({API_VERSION})")
        if self.kind.has_status:
            obj.pop("status", None)
        meta = obj.setdefault("metadata", {})
        if problem := meta_type_problem(meta):
            raise kube_status.bad_request(problem)
        if meta.get("namespace", namespace) != namespace:
            raise kube_status.bad_request(OTHER_NAMESPACE)
        if meta.get("resourceVersion"):
            text = "resourceVersion should not be set on objects to be created"
            raise kube_status.ApiError(500, "", text)
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now,
            "generation": 1,
        }
        dropped = self._admit(obj)
        with self._lock:
            key = (namespace, meta["name"])
            if key in self._objects:
                raise kube_status.already_exists(meta["name"], self.kind)
            self._put("ADDED", key, obj)
        return _copy(obj), dropped

    def patch(
        self, namespace: str, name: str, patch: Object, subresource: str = ""
    ) -> tuple[Object, list[str]]:
        """The object after a merge patch, and the unknown fields that were dropped.

        With a status of its own, a patch changes either that or everything else.
        """
        with self._lock:
            old = self._find(namespace, name)
            new = merge_patch(old, patch)
            if subresource:
                new = {**old, "status": new.get("status"), "metadata": new.get("metadata", {})}
            elif self.kind.has_status:
                new = {**new, "status": old.get("status")}
            meta = new.setdefault("metadata", {})
            if problem := meta_type_problem(meta):
                raise kube_status.bad_patch(json.dumps(new), problem)
            _check_identity(meta, name, namespace)
            _check_version(meta, name, self.kind, old["metadata"]["resourceVersion"])
            if meta.get("uid") != old["metadata"]["uid"]:
                cause = _invalid("metadata.uid", meta.get("uid", ""), "field is immutable")
                raise kube_status.invalid(name, [cause], self.kind.name)
            for field in SET_BY_SERVER:
                meta[field] = old["metadata"][field]
            dropped = self._admit_part(new, subresource) if subresource else self._admit(new)
            if new == old:
                return _copy(old), dropped
            if not subresource and _without_metadata(new) != _without_metadata(old):
                meta["generation"] += 1
            self._put("MODIFIED", (namespace, name), new)
            return _copy(new), dropped

    def delete(self, namespace: str, name: str) -> Object:
        with self._lock:
            self._find(namespace, name)
            obj = self._objects.pop((namespace, name))
            self._version += 1
            obj["metadata"]["resourceVersion"] = str(self._version)
            self._history.append({"type": "DELETED", "object": _copy(obj)})
            return _copy(obj)

    def clear(self) -> None:
        """Forget all objects and their history; the version counter goes on."""
        with self._lock:
            self._objects.clear()
            self._history.clear()

    def _find(self, namespace: str, name: str) -> Object:
        if (namespace, name) not in self._objects:
            raise kube_status.not_found(name, self.kind)
        return self._objects[namespace, name]

    def _put(self, event: str, key: tuple[str, str], obj: Object) -> None:
        size = len(json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode())
        if size > ETCD_MESSAGE_LIMIT_BYTES:
            raise kube_status.etcd_message_too_large(size, ETCD_MESSAGE_LIMIT_BYTES)
        if size > ETCD_LIMIT_BYTES:
            raise kube_status.etcd_too_large()
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self._objects[key] = obj
        self._history.append({"type": event, "object": _copy(obj)})

    def _admit_part(self, obj: Object, field: str) -> list[str]:
        """Prune, default and validate one field of OBJ in place; the rest is as it was."""
        schema = {"properties": {field: self._schema["properties"][field]}}
        part = {field: obj.pop(field)}
        dropped = sorted(kube_schema.prune(part, schema))
        kube_schema.fill_defaults(part, schema)
        obj |= part
        if causes := kube_schema.validate(part, schema):
            raise kube_status.invalid(obj["metadata"]["name"], causes, self.kind.name)
        return dropped

    def _admit(self, obj: Object) -> list[str]:
        """Prune, default and validate OBJ in place, in the order of the API server."""
        meta = obj.pop("metadata")
        dropped = _prune_metadata(meta) + sorted(kube_schema.prune(obj, self._schema))
        kube_schema.fill_defaults(obj, self._schema)
        obj["metadata"] = meta
        name = meta.get("name", "")
        for field, value in (("kind", self.kind.name), ("apiVersion", API_VERSION)):
            if obj.get(field) != value:
                cause = _invalid(field, obj.get(field, ""), f"must be {value}")
                raise kube_status.invalid(name, [cause], obj.get("kind", ""))
        causes = _metadata_causes(meta) + kube_schema.validate(obj, self._schema)
        if any(cause.reason in UNCHECKED_AFTER for cause in causes):
            causes.append(Cause("FieldValueInvalid", RULES_NOT_CHECKED, "<nil>"))
        if causes:
            raise kube_status.invalid(name, causes, self.kind.name)
        return dropped


def _check_identity(meta: Object, name: str, namespace: str) -> None:
    """A patch may repeat the object's name and namespace, not change them."""
    if not meta.get("name"):
        text = f"the name of the object ({name} based on URL) was undeterminable: "
        raise kube_status.bad_request(text + "name must be provided")
    if meta["name"] != name:
        text = (
            f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        )
        raise kube_status.bad_request(text)
    if meta.get("namespace", namespace) != namespace:
        raise kube_status.bad_request(OTHER_NAMESPACE)


def _has_labels(obj: Object, labels: Object) -> bool:
    return labels.items() <= obj["metadata"].get("labels", {}).items()


def _check_version(meta: Object, name: str, kind: Kind, current: str) -> None:
    """Optimistic concurrency: custom resources cannot be updated without any version."""
    version = meta.get("resourceVersion") or "0"
    if not version.isascii() or not version.isdigit():
        text = f"strconv.ParseUint: parsing {json.dumps(version)}: invalid syntax"
        raise kube_status.ApiError(500, "", text)
    if int(version) == 0:
        text = "Invalid value: 0: must be specified for an update"
        cause = Cause("FieldValueInvalid", text, "metadata.resourceVersion")
        raise kube_status.invalid_resource(name, kind, cause)
    if version != current:
        raise kube_status.conflict(name, kind)


def _without_metadata(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key != "metadata"}
