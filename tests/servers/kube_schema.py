"""Structural schemas of CustomResourceDefinitions: prune, default, validate.

Follows the published rules of "Extend the Kubernetes API with CustomResourceDefinitions"
(apiextensions.k8s.io/v1): unknown fields are pruned unless x-kubernetes-preserve-unknown-fields is
set, null values of fields that are not nullable are dropped, defaults are filled in, and the rest
is validated as OpenAPI v3. Of the Common Expression Language only the one
form that the WorkflowTaskResult definition of Argo Workflows 4.1 uses is evaluated: a sum of
`(has(self.FIELD) ? 1 : 0)` with an upper bound. "format" is an annotation: a kube-apiserver 1.34
takes 5000000000 for an int32. A keyword that is not known here is an error when
the schema is loaded, so that no rule is passed over in silence.
"""

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KNOWN_KEYWORDS = {
    "additionalProperties", "default", "enum", "format", "items", "maximum", "minItems", "minimum",
    "pattern", "properties", "required", "type", "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip
HAS_TERM = re.compile(r"\(has\(self\.(\w+)\) \? 1 : 0\)")
HAS_SUM = re.compile(rf"{HAS_TERM.pattern}(?: \+ {HAS_TERM.pattern})* <= (\d+)")


@dataclass(frozen=True)
class Cause:
    """One entry of a Status's details.causes, in the terms of the API machinery."""

    reason: str
    message: str
    field: str


def load(crd_file: Path) -> dict[str, Any]:
    """The validation schema of the only version of a CustomResourceDefinition file."""
    crd = json.loads(crd_file.read_text())
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    _check_keywords(schema, "")
    return schema


def _check_keywords(schema: dict[str, Any], path: str) -> None:
    if unknown := set(schema) - KNOWN_KEYWORDS:
        raise ValueError(f"schema {path or '.'}: unknown keyword {', '.join(sorted(unknown))}")
    for rule in schema.get("x-kubernetes-validations", []):
        if not HAS_SUM.fullmatch(rule["rule"]):
            raise ValueError(f"schema {path}: cannot evaluate {rule['rule']!r}")
    for name, child in _children(schema):
        _check_keywords(child, f"{path}.{name}")


def _children(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = list(schema.get("properties", {}).items())
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            found.append((keyword, schema[keyword]))
    return found


def prune(value: Any, schema: dict[str, Any], path: str = "", is_root: bool = True) -> list[str]:
    """Remove unknown fields from VALUE in place; the paths of what was removed.

    apiVersion, kind and metadata of the root object belong to the API machinery and stay as they
    are.
    """
    removed: list[str] = []
    if isinstance(value, list):
        for index, item in enumerate(value):
            removed += prune(item, schema.get("items", {}), f"{path}[{index}]", False)
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return removed
    properties = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    for name in list(value):
        child_path = f"{path}.{name}" if path else name
        if is_root and name in ("apiVersion", "kind", "metadata"):
            continue
        if name in properties:
            removed += prune(value[name], properties[name], child_path, False)
        elif isinstance(extra, dict):
            removed += prune(value[name], extra, child_path, False)
        elif not extra:
            del value[name]
            removed.append(child_path)
    return removed


def fill_defaults(value: Any, schema: dict[str, Any]) -> None:
    """Drop null fields (none is nullable) and set absent ones that have a default, in place."""
    if isinstance(value, list):
        for item in value:
            fill_defaults(item, schema.get("items", {}))
    if not isinstance(value, dict):
        return
    for name in [name for name, item in value.items() if item is None]:
        del value[name]
    properties = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    for name, child in properties.items():
        if "default" in child and name not in value:
            value[name] = copy.deepcopy(child["default"])
    for name, item in value.items():
        fill_defaults(item, properties.get(name, extra if isinstance(extra, dict) else {}))


def type_name(value: Any) -> str:
    """The OpenAPI type of a JSON value."""
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return names.get(type(value), "null")


def validate(value: Any, schema: dict[str, Any], path: str = "") -> list[Cause]:
    """What is wrong with VALUE, in document order; empty for a valid one."""
    wanted = schema.get("type")
    found = type_name(value)
    if wanted and found != wanted and not (wanted == "number" and found == "integer"):
        reason = "FieldValueTypeInvalid"
        text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
        return [Cause(reason, text, path or "<nil>")]
    checks = {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": _number,
        "number": _number,
    }
    check = checks.get(found)
    causes = check(value, schema, path) if check else []
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(json.dumps(item) for item in schema["enum"])
        text = f"Unsupported value: {json.dumps(value)}: supported values: {allowed}"
        causes.append(Cause("FieldValueNotSupported", text, path))
    return causes


def _invalid(value: Any, path: str, text: str) -> Cause:
    shown = json.dumps(value) if not isinstance(value, dict) else '"object"'
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {text}", path)


def _object(value: dict[str, Any], schema: dict[str, Any], path: str) -> list[Cause]:
    causes = []
    properties = schema.get("properties", {})
    for name, child in properties.items():
        if name in value:
            causes += validate(value[name], child, f"{path}.{name}" if path else name)
    for name in schema.get("required", []):
        if name not in value:
            child_path = f"{path}.{name}" if path else name
            causes.append(Cause("FieldValueRequired", "Required value", child_path))
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for name in value.keys() - properties.keys():
            causes += validate(value[name], extra, f"{path}.{name}")
    for rule in schema.get("x-kubernetes-validations", []):
        limit = int(rule["rule"].rpartition(" ")[2])
        if sum(name in value for name in HAS_TERM.findall(rule["rule"])) > limit:
            causes.append(_invalid(value, path, rule["message"]))
    return causes


def _array(value: list[Any], schema: dict[str, Any], path: str) -> list[Cause]:
    causes = []
    minimum = schema.get("minItems", 0)
    if len(value) < minimum:
        text = f"{path} in body should have at least {minimum} items"
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {len(value)}: {text}", path))
    for index, item in enumerate(value):
        causes += validate(item, schema.get("items", {}), f"{path}[{index}]")
    return causes


def _string(value: str, schema: dict[str, Any], path: str) -> list[Cause]:
    pattern = schema.get("pattern")
    # RE2's $ is the end of the text, Python's also matches before a final newline.
    if pattern is None or re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        return []
    return [_invalid(value, path, f"{path} in body should match '{pattern}'")]


def _number(value: int | float, schema: dict[str, Any], path: str) -> list[Cause]:
    causes = []
    if value < schema.get("minimum", value):
        text = f"{path} in body should be greater than or equal to {schema['minimum']}"
        causes.append(_invalid(value, path, text))
    if value > schema.get("maximum", value):
        text = f"{path} in body should be less than or equal to {schema['maximum']}"
        causes.append(_invalid(value, path, text))
    return causes
