"""What a model is told of a type: in words for a plain answer, in the notation of JSON for what is
nested.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Mapping
from typing import Any, Literal, Union

from lmflow.signatures.codec import SEQUENCES
from lmflow.signatures.fields import Field, fields_of, nullable, parts, peeled
from lmflow.values.media import KINDS
from lmflow.values.record import plain

_WORDS = {
    int: "a whole number", float: "a number", bool: "true or false", dt.date: "a date, YYYY-MM-DD",
    dt.datetime: "a date and time, YYYY-MM-DDThh:mm:ss", dt.time: "a time, hh:mm:ss",
}  # fmt: skip
_NOTES: dict[Any, str] = {
    str: "string", int: "integer", float: "number", bool: "true | false", Any: "any", type(None): "null", None: "null",
    dt.date: '"YYYY-MM-DD"', dt.datetime: '"YYYY-MM-DDThh:mm:ss"', dt.time: '"hh:mm:ss"', dict: "object",
    **dict.fromkeys(KINDS.values(), "string"),
}  # fmt: skip


def hint(field: Field) -> str:
    """What a field is told as where its value stands by itself; empty where there is nothing to
    say.
    """
    kind = words(field.type)
    return (
        f"{field.description} ({kind})" if field.description and kind else field.description or kind
    )


def words(kind: Any) -> str:
    """The type in words: ``one of: a, b``, ``a whole number from 0 to 5``; empty for any text."""
    inner, limits, _ = peeled(kind)
    if choices := _choices(inner):
        return f"one of: {', '.join(str(plain(choice)) for choice in choices)}"
    if inner is str:
        return f"text {_limited(inner, limits)}" if limits else ""
    if inner in _WORDS:
        return f"{_WORDS[inner]} {_limited(inner, limits)}".strip()
    origin, args = parts(inner)
    if (origin or inner) in SEQUENCES and args[:1] == (str,) and args[1:] in {(), (...,)}:
        return f"a list, one item a line{', ' * bool(limits)}{_limited(inner, limits)}"
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union and len(others) == 1 and not limits:
        told = words(others[0]) or "text"
        return f"{told} | null" if told.startswith("JSON") else f"{told}, or null"
    return f"JSON: {notation(kind)}"


def notation(kind: Any, inside: tuple[Any, ...] = ()) -> str:
    """The type as JSON is sketched: ``{"name": string, "age"?: integer >= 0, "tags": [string,
    ...]}``.
    """
    inner, limits, _ = peeled(kind)
    text = _notation(inner, inside)
    return f"{text} {_limited(inner, limits)}" if limits else text


def members(fields: tuple[Field, ...], inside: tuple[Any, ...] = ()) -> str:
    """Fields as a JSON object is sketched, with their descriptions; one that may be left out has a
    ``?``.
    """
    told = [
        f'"{f.name}"{"" if f.required else "?"}: {notation(f.type, inside)}{_remark(f.description)}'
        for f in fields
    ]
    return "{" + ", ".join(told) + "}"


def _remark(description: str) -> str:
    return f" ({description})" if description else ""


def _notation(inner: Any, inside: tuple[Any, ...]) -> str:  # noqa: PLR0911 - one return a kind
    origin, args = parts(inner)
    if choices := _choices(inner):
        return " | ".join(json.dumps(plain(choice), ensure_ascii=False) for choice in choices)
    if inner in _NOTES:
        return _NOTES[inner]
    if origin is Union:
        return " | ".join(notation(arg, inside) for arg in args)
    if (origin or inner) in SEQUENCES:
        return _list(origin, args, inside)
    if origin is dict:
        return f"{{string: {notation(args[1], inside)}, ...}}"
    if inner in inside:
        return str(inner.__name__)
    fields = fields_of(inner) or ()
    name = f"{inner.__name__} " if _recursive(inner, inner, ()) else ""
    return name + members(fields, (*inside, inner))


def _list(origin: Any, args: tuple[Any, ...], inside: tuple[Any, ...]) -> str:
    if origin is tuple and args[-1] is not ...:
        return f"[{', '.join(notation(arg, inside) for arg in args)}]"
    return f"[{notation(args[0], inside) if args else 'any'}, ...]"


def _recursive(kind: Any, wanted: Any, seen: tuple[Any, ...]) -> bool:
    """Whether a type occurs in the fields of itself."""
    inner = peeled(kind)[0]
    if inner in seen:
        return False
    kinds = [field.type for field in fields_of(inner) or ()] or [
        arg for arg in parts(inner)[1] if arg is not ...
    ]
    if parts(inner)[0] is Literal:
        return False
    return any(peeled(k)[0] is wanted or _recursive(k, wanted, (*seen, inner)) for k in kinds)


def _choices(inner: Any) -> tuple[Any, ...]:
    origin, args = parts(inner)
    if origin is Literal:
        return args
    return tuple(inner) if isinstance(inner, type) and issubclass(inner, enum.Enum) else ()


def _limited(inner: Any, limits: Mapping[str, Any]) -> str:
    """Limits in words: ``from 0 to 5``, ``of at most 10 characters``."""
    held = dict(limits)
    told = []
    if "ge" in held and "le" in held:
        told.append(f"from {held.pop('ge')} to {held.pop('le')}")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    told += [f"{sign} {held[name]}" for name, sign in signs.items() if name in held]
    low, high, unit = (
        held.get("min_length"),
        held.get("max_length"),
        "characters" if inner is str else "items",
    )
    if low is not None and high is not None:
        told.append(f"of {low} to {high} {unit}")
    elif low is not None or high is not None:
        told.append(f"of at least {low} {unit}" if high is None else f"of at most {high} {unit}")
    told += [f"matching {held['pattern']}"] if "pattern" in held else []
    return " ".join(told)


def optional(field: Field) -> bool:
    """Whether null stands for the field's default."""
    return not field.required and not nullable(field.type)
