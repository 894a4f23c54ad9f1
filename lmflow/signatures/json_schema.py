"""The JSON schema of a step's outputs, strict where their types allow it, and of the values that
clients send and get.

It is written here and not by msgspec, because it is part of what is sent, so of a call's key:
another version of a package may not change it. Strict means what OpenAI documents for structured
outputs: every field required, ``additionalProperties`` false, at most 5,000 fields, 10 levels,
1,000 choices and 120,000 characters of names and choices, and none of the keywords that are refused
there.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union

import attrs
import toolz

from lmflow.signatures.codec import SEQUENCES
from lmflow.signatures.description import optional
from lmflow.signatures.fields import Field, fields_of, parts, peeled
from lmflow.values.media import KINDS
from lmflow.values.record import Record, plain

_MOST_FIELDS, _MOST_LEVELS, _MOST_CHOICES, _MOST_CHARACTERS = 5000, 10, 1000, 120_000
_BARE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"},
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
"""Whom a schema is for: a model that is asked for values, a client that gives them, a client that
gets them.
"""


def schema_of(fields: tuple[Field, ...], side: Side = "asked") -> Record:
    """The schema of an object with these fields.

    ``asked``, as a request to a model carries it: a field with a default is required too, and null
    means the default. What the outputs leave open (a mapping with any keys, ``Any``) makes it not
    strict, which ``is_strict`` tells. ``taken`` and ``given`` say all limits: of what is taken a
    field with a default may be left out, what is given is whole.
    """
    telling = _Telling(side)
    schema = _object(fields, telling, ())
    return Record(schema | ({"$defs": telling.defs} if telling.defs else {}))


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is one that a strict endpoint takes."""
    found = list(_walk(schema, 1))
    names = [name for _, node in found for name in node.get("properties", {})]
    choices = [choice for _, node in found for choice in node.get("enum", ())]
    characters = sum(map(len, names)) + sum(
        len(choice) for choice in choices if isinstance(choice, str)
    )
    return (
        not any(_open(node) for _, node in found)
        and max(level for level, _ in found) <= _MOST_LEVELS
        and len(names) <= _MOST_FIELDS
        and len(choices) <= _MOST_CHOICES
        and characters <= _MOST_CHARACTERS
    )


@attrs.frozen
class _Telling:
    """Whom a schema is for, and the classes that are defined in it, by name."""

    side: Side
    defs: dict[str, Any] = attrs.field(factory=dict)


def _object(
    fields: tuple[Field, ...], telling: _Telling, inside: tuple[Any, ...]
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: _property(field, telling, inside) for field in fields},
        "required": [field.name for field in fields if field.required or telling.side != "taken"],
        "additionalProperties": False,
    }


def _property(field: Field, telling: _Telling, inside: tuple[Any, ...]) -> dict[str, Any]:
    schema = _schema(field.type, telling, inside)
    schema = (
        _any_of([schema, _BARE[None]]) if optional(field) and telling.side == "asked" else schema
    )
    told = {"description": field.description} if field.description else {}
    if telling.side == "taken" and not field.required and field.default is not None:
        told["default"] = plain(field.default)
    return ({"anyOf": [schema]} if "$ref" in schema else schema) | told if told else schema


def _schema(kind: Any, telling: _Telling, inside: tuple[Any, ...]) -> dict[str, Any]:
    inner, limits, _ = peeled(kind)
    origin, args = parts(inner)
    if origin is Literal or (isinstance(inner, type) and issubclass(inner, enum.Enum)):
        return _choice([plain(member) for member in (args or tuple(inner))])
    if inner in _BARE:
        return _BARE[inner] | (
            _limits(inner, limits) if telling.side == "asked" else _all_limits(inner, limits)
        )
    if origin is Union:
        return _any_of([_schema(arg, telling, inside) for arg in args])
    if (origin or inner) in SEQUENCES:
        return _list(origin, args, telling, inside) | {
            _SIZES[name]: held for name, held in limits.items()
        }
    if origin is dict:
        sizes = {} if telling.side == "asked" else _all_limits(dict, limits)
        return {"type": "object", "additionalProperties": _schema(args[1], telling, inside)} | sizes
    return _class(inner, telling, inside)


def _class(kind: Any, telling: _Telling, inside: tuple[Any, ...]) -> dict[str, Any]:
    """A class in place; one that holds itself is defined once and referred to."""
    if kind in inside:
        telling.defs.setdefault(kind.__name__, {})
        return {"$ref": f"#/$defs/{kind.__name__}"}
    schema = _object(fields_of(kind) or (), telling, (*inside, kind))
    if kind.__name__ not in telling.defs:
        return schema
    telling.defs[kind.__name__] = schema
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _list(
    origin: Any, args: tuple[Any, ...], telling: _Telling, inside: tuple[Any, ...]
) -> dict[str, Any]:
    """Items of a fixed tuple may stand in any order for the schema, which knows no positions; the
    codec does.
    """
    if origin is tuple and args[-1] is not ...:
        items = _any_of([_schema(arg, telling, inside) for arg in args])
        return {"type": "array", "items": items, "minItems": len(args), "maxItems": len(args)}
    return {"type": "array", "items": _schema(args[0] if args else Any, telling, inside)}


def _choice(values: list[Any]) -> dict[str, Any]:
    """One ``enum`` a JSON type, since a strict schema names the type of each."""
    names = {str: "string", bool: "boolean", int: "integer", float: "number"}
    groups = toolz.groupby(type, (value for value in values if value is not None))
    found = [{"type": names[kind], "enum": members} for kind, members in groups.items()]
    return _any_of([*found, *([_BARE[None]] if None in values else [])])


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    distinct: list[dict[str, Any]] = []
    for schema in toolz.mapcat(lambda s: s["anyOf"] if s.keys() == {"anyOf"} else [s], schemas):
        if schema not in distinct:
            distinct.append(schema)
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _limits(inner: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The limits that a strict schema can say: bounds, and a pattern for the whole text."""
    if inner is str:
        pattern = limits.get("pattern", "")
        return {"pattern": pattern} if pattern.startswith("^") and pattern.endswith("$") else {}
    return {_BOUNDS[name]: held for name, held in limits.items() if name in _BOUNDS}


def _all_limits(inner: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    """The limits as any reader of JSON schema understands them."""
    names = _LENGTHS if inner is str else _ENTRIES if inner is dict else _BOUNDS
    return {names[name]: held for name, held in limits.items() if name in names}


def _open(node: Mapping[str, Any]) -> bool:
    if node.get("type") == "object":
        closed = node.get("additionalProperties") is False
        return not closed or set(node.get("required", ())) != set(node.get("properties", {}))
    return not node.keys() & {"type", "anyOf", "$ref"}


def _walk(schema: Mapping[str, Any], level: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Every schema in a schema, with the objects and lists that it is nested in."""
    yield level, schema
    for part in schema.get("properties", {}).values():
        yield from _walk(part, level + 1)
    for part in (*schema.get("anyOf", ()), *schema.get("$defs", {}).values()):
        yield from _walk(part, level)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), Mapping):
            yield from _walk(schema[name], level + 1)
