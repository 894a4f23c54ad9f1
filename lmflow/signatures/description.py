"""Descriptions of types for models: words for a plain answer, a JSON sketch for nested values."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Mapping
from typing import Any, Literal, Union

from lmflow.signatures.codec import SEQUENCES
from lmflow.signatures.fields import Field, fields_of, nullable, origin_and_args, unwrap_annotated
from lmflow.values.media import KINDS
from lmflow.values.record import plain

_WORDS = {
    int: "a whole number", float: "a number", bool: "true or false", dt.date: "a date, YYYY-MM-DD",
    dt.datetime: "a date and time, YYYY-MM-DDThh:mm:ss", dt.time: "a time, hh:mm:ss",
}  # fmt: skip
_SKETCHES: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "true | false", Any: "any",
    type(None): "null", None: "null", dict: "object",
    dt.date: '"YYYY-MM-DD"', dt.datetime: '"YYYY-MM-DDThh:mm:ss"', dt.time: '"hh:mm:ss"',
    **dict.fromkeys(KINDS.values(), "string"),
}  # fmt: skip


def hint(field: Field) -> str:
    """Describe a field whose value stands by itself; empty if there is nothing to say."""
    kind = type_in_words(field.type)
    if field.description and kind:
        return f"{field.description} ({kind})"
    return field.description or kind


def type_in_words(kind: Any) -> str:
    """Describe a type: ``one of: a, b``, ``a whole number from 0 to 5``; empty for any text."""
    inner, limits, _ = unwrap_annotated(kind)
    if choices := _choices(inner):
        return f"one of: {', '.join(str(plain(choice)) for choice in choices)}"
    if inner is str:
        return f"text {_limits_text(inner, limits)}" if limits else ""
    if inner in _WORDS:
        return f"{_WORDS[inner]} {_limits_text(inner, limits)}".strip()
    origin, args = origin_and_args(inner)
    if (origin or inner) in SEQUENCES and args[:1] == (str,) and args[1:] in {(), (...,)}:
        return ", ".join(filter(None, ("a list, one item a line", _limits_text(inner, limits))))
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union and len(others) == 1 and not limits:
        member = type_in_words(others[0]) or "text"
        return f"{member} | null" if member.startswith("JSON") else f"{member}, or null"
    return f"JSON: {type_sketch(kind)}"


def type_sketch(kind: Any, inside: tuple[Any, ...] = ()) -> str:
    """Sketch a type as JSON: ``{"name": string, "age"?: integer >= 0, "tags": [string, ...]}``.

    ``inside`` are the classes whose sketch is being written: of them only the name is given.
    """
    inner, limits, _ = unwrap_annotated(kind)
    text = _sketch(inner, inside)
    return f"{text} {_limits_text(inner, limits)}" if limits else text


def object_sketch(fields: tuple[Field, ...], inside: tuple[Any, ...] = ()) -> str:
    """Sketch fields as a JSON object, with their descriptions; ``?`` marks an optional one."""
    return "{" + ", ".join(_member_sketch(field, inside) for field in fields) + "}"


def _member_sketch(field: Field, inside: tuple[Any, ...]) -> str:
    mark = "" if field.required else "?"
    remark = f" ({field.description})" if field.description else ""
    return f'"{field.name}"{mark}: {type_sketch(field.type, inside)}{remark}'


def _sketch(inner: Any, inside: tuple[Any, ...]) -> str:  # noqa: PLR0911 - one return a kind
    origin, args = origin_and_args(inner)
    if choices := _choices(inner):
        return " | ".join(json.dumps(plain(choice), ensure_ascii=False) for choice in choices)
    if inner in _SKETCHES:
        return _SKETCHES[inner]
    if origin is Union:
        return " | ".join(type_sketch(arg, inside) for arg in args)
    if (origin or inner) in SEQUENCES:
        return _list_sketch(origin, args, inside)
    if origin is dict:
        return f"{{string: {type_sketch(args[1], inside)}, ...}}"
    if inner in inside:
        return str(inner.__name__)
    fields = fields_of(inner) or ()
    name = f"{inner.__name__} " if _contains(inner, inner) else ""
    return name + object_sketch(fields, (*inside, inner))


def _list_sketch(origin: Any, args: tuple[Any, ...], inside: tuple[Any, ...]) -> str:
    if origin is tuple and args[-1] is not ...:
        return f"[{', '.join(type_sketch(arg, inside) for arg in args)}]"
    return f"[{type_sketch(args[0], inside) if args else 'any'}, ...]"


def _contains(kind: Any, target: Any, visited: tuple[Any, ...] = ()) -> bool:
    """Tell whether a class occurs, however deep, in the fields or arguments of a type."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if inner in visited or origin is Literal:
        return False
    members = [field.type for field in fields_of(inner) or ()] or [a for a in args if a is not ...]
    if any(unwrap_annotated(member)[0] is target for member in members):
        return True
    return any(_contains(member, target, (*visited, inner)) for member in members)


def _choices(inner: Any) -> tuple[Any, ...]:
    origin, args = origin_and_args(inner)
    if origin is Literal:
        return args
    return tuple(inner) if isinstance(inner, type) and issubclass(inner, enum.Enum) else ()


def _limits_text(inner: Any, limits: Mapping[str, Any]) -> str:
    """Describe limits: ``from 0 to 5``, ``of at most 10 characters``."""
    bounds = dict(limits)
    phrases = []
    if "ge" in bounds and "le" in bounds:
        phrases.append(f"from {bounds.pop('ge')} to {bounds.pop('le')}")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    phrases += [f"{sign} {bounds[name]}" for name, sign in signs.items() if name in bounds]
    low, high = bounds.get("min_length"), bounds.get("max_length")
    unit = "characters" if inner is str else "items"
    if low is not None and high is not None:
        phrases.append(f"of {low} to {high} {unit}")
    elif low is not None:
        phrases.append(f"of at least {low} {unit}")
    elif high is not None:
        phrases.append(f"of at most {high} {unit}")
    if "pattern" in bounds:
        phrases.append(f"matching {bounds['pattern']}")
    return " ".join(phrases)


def null_means_default(field: Field) -> bool:
    """Tell whether null stands for the field's default."""
    return not field.required and not nullable(field.type)
