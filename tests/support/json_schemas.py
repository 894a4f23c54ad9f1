"""Types for schemas, and a check of values against a schema."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs

_TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
    "object": dict,
}  # fmt: skip


@attrs.frozen
class Tree:
    """Holds itself."""

    name: str
    inside: tuple[Tree, ...] = ()


class Size(enum.Enum):
    """Choices."""

    S = "s"
    L = "l"


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value fits a schema without references."""
    if "anyOf" in schema:
        return any(fits(value, part) for part in schema["anyOf"])
    kind = schema.get("type")
    if kind and (
        not isinstance(value, _TYPES[kind]) or (value.__class__ is bool and kind != "boolean")
    ):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if kind == "array":
        bounds = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return bounds and all(fits(item, schema["items"]) for item in value)
    if kind == "object":
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", {})
        return set(schema.get("required", ())) <= value.keys() and all(
            fits(item, known[name]) if name in known else rest is not False and fits(item, rest)
            for name, item in value.items()
        )
    return schema.get("minimum", value) <= value if kind in {"integer", "number"} else True
