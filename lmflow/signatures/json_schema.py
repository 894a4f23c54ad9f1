"""JSON schemas of fields: for models that reply with them, and for clients that send and get them.

msgspec doesn't write them: a schema is part of a request, so of a call's key, which an upgrade of a
package must not change. A schema is strict if the types of its fields allow it. Strict means what
OpenAI documents for structured outputs: every field required, ``additionalProperties`` false, at
most 5,000 fields, 10 levels, 1,000 choices and 120,000 characters of names and choices, and none of
the keywords that are refused there.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union

import attrs
import toolz

from lmflow.signatures.codec import SEQUENCES
from lmflow.signatures.description import null_means_default
from lmflow.signatures.fields import Field, fields_of, origin_and_args, unwrap_annotated
from lmflow.values.media import KINDS
from lmflow.values.record import Record, plain

_MOST_FIELDS, _MOST_LEVELS, _MOST_CHOICES, _MOST_CHARACTERS = 5000, 10, 1000, 120_000
_BARE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"}, type(None): {"type": "null"}, Any: {}, dict: {"type": "object"},
    dt.date: {"type": "string", "format": "date"}, dt.time: {"type": "string", "format": "time"},
    dt.datetime: {"type": "string", "format": "date-time"},
    **{kind: {"type": "string", "format": "uri"} for kind in KINDS.values()},
}  # fmt: skip
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_SIZES = {"min_length": "minItems", "max_length": "maxItems"}
_LENGTHS = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
_ENTRIES = {"min_length": "minProperties", "max_length": "maxProperties"}

Side = Literal["asked", "taken", "given"]
"""Whom a schema is for: a model that is asked for values (``asked``), a client that sends them to
lmflow (``taken``), or a client that gets them from lmflow (``given``).
"""


def schema_of(fields: tuple[Field, ...], side: Side = "asked") -> Record:
    """Write the schema of an object with these fields.

    On the side ``asked`` (a request to a model), a field with a default is required too, null means
    the default, and open types (a mapping with any keys, ``Any``) make the schema not strict, see
    ``is_strict``. The sides ``taken`` and ``given`` hold all limits; a client may leave out a field
    with a default of what is ``taken``, and gets all fields of what is ``given``.
    """
    writer = _Writer(side)
    schema = _object(fields, writer, ())
    if writer.defs:
        schema["$defs"] = writer.defs
    return Record(schema)


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Tell whether a strict endpoint accepts a schema."""
    nodes = list(_walk(schema, 1))
    names = [name for _, node in nodes for name in node.get("properties", {})]
    choices = [choice for _, node in nodes for choice in node.get("enum", ())]
    characters = sum(map(len, names)) + sum(
        len(choice) for choice in choices if isinstance(choice, str)
    )
    return (
        not any(_is_open(node) for _, node in nodes)
        and max(level for level, _ in nodes) <= _MOST_LEVELS
        and len(names) <= _MOST_FIELDS
        and len(choices) <= _MOST_CHOICES
        and characters <= _MOST_CHARACTERS
    )


@attrs.frozen
class _Writer:
    """Whom a schema is for, and the definitions of its recursive classes, by name."""

    side: Side
    defs: dict[str, Any] = attrs.field(factory=dict)


def _object(fields: tuple[Field, ...], writer: _Writer, inside: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: _property(field, writer, inside) for field in fields},
        "required": [field.name for field in fields if field.required or writer.side != "taken"],
        "additionalProperties": False,
    }


def _property(field: Field, writer: _Writer, inside: tuple[Any, ...]) -> dict[str, Any]:
    schema = _schema(field.type, writer, inside)
    schema = (
        _any_of([schema, _BARE[None]])
        if null_means_default(field) and writer.side == "asked"
        else schema
    )
    notes = {"description": field.description} if field.description else {}
    if writer.side == "taken" and not field.required and field.default is not None:
        notes["default"] = plain(field.default)
    if not notes:
        return schema
    # Strict endpoints refuse keywords beside "$ref", so the reference moves into an "anyOf".
    return ({"anyOf": [schema]} if "$ref" in schema else schema) | notes


def _schema(kind: Any, writer: _Writer, inside: tuple[Any, ...]) -> dict[str, Any]:
    inner, limits, _ = unwrap_annotated(kind)
    origin, args = origin_and_args(inner)
    if origin is Literal or (isinstance(inner, type) and issubclass(inner, enum.Enum)):
        return _choice([plain(member) for member in (args or tuple(inner))])
    if inner in _BARE:
        return _BARE[inner] | (
            _limits(inner, limits) if writer.side == "asked" else _all_limits(inner, limits)
        )
    if origin is Union:
        return _any_of([_schema(arg, writer, inside) for arg in args])
    if (origin or inner) in SEQUENCES:
        return _list(origin, args, writer, inside) | {
            _SIZES[name]: limit for name, limit in limits.items()
        }
    if origin is dict:
        sizes = {} if writer.side == "asked" else _all_limits(dict, limits)
        return {"type": "object", "additionalProperties": _schema(args[1], writer, inside)} | sizes
    return _class(inner, writer, inside)


def _class(kind: Any, writer: _Writer, inside: tuple[Any, ...]) -> dict[str, Any]:
    """Write a class in place; a class that contains itself is defined once and referred to."""
    if kind in inside:
        writer.defs.setdefault(kind.__name__, {})
        return {"$ref": f"#/$defs/{kind.__name__}"}
    schema = _object(fields_of(kind) or (), writer, (*inside, kind))
    if kind.__name__ not in writer.defs:
        return schema
    writer.defs[kind.__name__] = schema
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _list(
    origin: Any, args: tuple[Any, ...], writer: _Writer, inside: tuple[Any, ...]
) -> dict[str, Any]:
    """Write a list. A schema can't bind items to positions: the codec checks those of a tuple."""
    if origin is tuple and args[-1] is not ...:
        items = _any_of([_schema(arg, writer, inside) for arg in args])
        return {"type": "array", "items": items, "minItems": len(args), "maxItems": len(args)}
    return {"type": "array", "items": _schema(args[0] if args else Any, writer, inside)}


def _choice(values: list[Any]) -> dict[str, Any]:
    """Write one ``enum`` per JSON type, since a strict schema names the type of each."""
    names = {str: "string", bool: "boolean", int: "integer", float: "number"}
    groups = toolz.groupby(type, (value for value in values if value is not None))
    schemas = [{"type": names[kind], "enum": members} for kind, members in groups.items()]
    if None in values:
        schemas.append(_BARE[None])
    return _any_of(schemas)


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    distinct: list[dict[str, Any]] = []
    for schema in toolz.mapcat(lambda s: s["anyOf"] if s.keys() == {"anyOf"} else [s], schemas):
        if schema not in distinct:
            distinct.append(schema)
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _limits(inner: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Select the limits that a strict schema allows: bounds, and a pattern for the whole text."""
    if inner is str:
        pattern = limits.get("pattern", "")
        return {"pattern": pattern} if pattern.startswith("^") and pattern.endswith("$") else {}
    return {_BOUNDS[name]: limit for name, limit in limits.items() if name in _BOUNDS}


def _all_limits(inner: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Write all limits, for any reader of JSON schema."""
    keywords = {str: _LENGTHS, dict: _ENTRIES}.get(inner, _BOUNDS)
    return {keywords[name]: limit for name, limit in limits.items() if name in keywords}


def _is_open(node: Mapping[str, Any]) -> bool:
    if node.get("type") == "object":
        closed = node.get("additionalProperties") is False
        return not closed or set(node.get("required", ())) != set(node.get("properties", {}))
    return not node.keys() & {"type", "anyOf", "$ref"}


def _walk(schema: Mapping[str, Any], level: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Visit every schema in a schema, with its depth in objects and lists."""
    yield level, schema
    for part in schema.get("properties", {}).values():
        yield from _walk(part, level + 1)
    for part in (*schema.get("anyOf", ()), *schema.get("$defs", {}).values()):
        yield from _walk(part, level)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield from _walk(schema[name], level + 1)
