"""Lax reading of what models and people write, as values of a type."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Union

from lmflow.errors import near
from lmflow.signatures.codec import DATES, SEQUENCES, convert
from lmflow.signatures.construction import under_own_names
from lmflow.signatures.description import null_means_default
from lmflow.signatures.fields import (
    fields_of,
    item_types,
    nullable,
    origin_and_args,
    type_text,
    unwrap_annotated,
)
from lmflow.signatures.list_labels import with_bullets
from lmflow.signatures.list_text import BULLET, is_empty_list, item_lines, without_remarks
from lmflow.signatures.type_syntax import type_of_node
from lmflow.values.json_text import load
from lmflow.values.record import pretty

__all__ = [
    "coerce",
    "convert",
    "default_of",
    "fit",
    "interpret",
    "read",
    "takes_list",
    "type_of_node",
    "type_text",
]

_BRACKETED = re.compile(r"\s*\[([^\[\]]+)\]\s*")
_NUMBERED = re.compile(r"^\s*(?:\[?\d+[.)\]])\s+\S", re.MULTILINE)
_TEXT_LIST = re.compile(r"\s*\[\s*(?:[\"'\]]|null\b)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_WHOLE = re.compile(r"[+-]?\d+(\.0+)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BOOLS = {"true": True, "false": False, "yes": True, "no": False}
_QUOTES = "\"'`* "
_EXPLAINED = re.compile(r"[\"'`*]*(?:[.,:;!)\]](?!\w)|\s*\n|\s+[-\u2013\u2014(]\s?)")


def read(text: str, kind: Any, *, whole: bool = True, exact: bool = False) -> Any:
    """Read the value of a type that a model or a person meant by ``text``.

    ``whole=False`` says that the text was cut, so broken JSON in it is not mended. ``exact`` says
    that the text holds the value and no words about it. ``ValueError`` says what doesn't fit.
    """
    return convert(interpret(text.strip(), kind, whole=whole, exact=exact), kind)


def fit(value: Any, kind: Any) -> Any:
    """Convert a JSON value to a type, as laxly as text is read.

    ``ValueError`` says what doesn't fit.
    """
    return convert(coerce(value, kind), kind)


def default_of(value: Any, kind: Any) -> Any:
    """Convert a default to the type; ``None`` (a field left out) stays ``None``."""
    return value if value is None else convert(value, kind)


def takes_list(kind: Any) -> bool:
    """Tell whether a list is a value of the type, or of a member of the type."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    return (origin or inner) in SEQUENCES or (origin is Union and any(map(takes_list, args)))


def interpret(text: str, kind: Any, *, whole: bool = True, exact: bool = False) -> Any:  # noqa: PLR0911 - one return a kind
    """Find the JSON value that a text means; the value may still not fit the type.

    Space around the text counts for a text alone, whose first line may be indented.
    """
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if inner is str:
        return text
    if origin is Union:
        return _interpret_union(text, args, whole, exact or _takes_text(inner))
    text = text.strip()
    if origin is Literal:
        return _choice(text, {str(arg): arg for arg in args}, exact)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return _choice(text, {m.name: m for m in inner} | {str(m.value): m for m in inner}, exact)
    if inner is bool:
        return _choice(text.strip(_QUOTES), _BOOLS, exact)
    if inner in {int, float}:
        return _number(text, inner)
    if inner in DATES:
        return text.strip(_QUOTES)
    if (origin or inner) in SEQUENCES:
        return _interpret_list(text, args, whole, exact)
    return coerce(load(text, whole=whole), kind)


def _interpret_union(text: str, kinds: tuple[Any, ...], whole: bool, exact: bool) -> Any:  # noqa: FBT001
    if type(None) in kinds and text.strip().lower() in {"", "null", "none", "n/a"}:
        return None
    problems = []
    for kind in sorted(
        (k for k in kinds if k is not type(None)), key=lambda k: unwrap_annotated(k)[0] is str
    ):
        try:
            return convert(interpret(text, kind, whole=whole, exact=exact), kind)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(problems)))


def _choice(text: str, choices: Mapping[str, Any], exact: bool) -> Any:  # noqa: FBT001
    name = text.strip(_QUOTES).removesuffix(".").strip(_QUOTES)
    for spelling in (text, name):
        if spelling in choices:
            return choices[spelling]
    folded = {value for key, value in choices.items() if key.casefold() == name.casefold()}
    if len(folded) == 1:
        return folded.pop()
    leading = set() if exact else set(_leading_choices(name, choices))
    if len(leading) == 1:
        return leading.pop()
    msg = f"{text[:80]!r} is none of {', '.join(choices)}"
    raise ValueError(msg)


def _leading_choices(text: str, choices: Mapping[str, Any]) -> Iterator[Any]:
    """The choice that a text begins with, and all choices that its explanation mentions.

    An explained choice is ``(A) Because ...`` or ``yes, it is``. After a choice that ends in a
    letter or digit a mark must follow: ``no idea`` isn't ``no``.
    """
    first = max((name for name in choices if _starts_with_choice(text, name)), key=len, default="")
    if first:
        rest = text[len(first) :]
        yield choices[first]
        yield from (value for name, value in choices.items() if name and _mentions(name, rest))


def _starts_with_choice(text: str, name: str) -> bool:
    rest = text[len(name) :]
    if not name or text[: len(name)].casefold() != name.casefold():
        return False
    ends_in_mark = not name[-1].isalnum() and not rest[:1].isalnum()
    return ends_in_mark or _EXPLAINED.match(rest) is not None


def _mentions(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _number(text: str, kind: type) -> Any:
    bare = text.strip(_QUOTES)
    if _THOUSANDS.fullmatch(bare):
        msg = f"{bare[:80]!r} has a thousands separator, write {bare[:80].replace(',', '')}"
        raise ValueError(msg)
    if not (_WHOLE if kind is int else _NUMBER).fullmatch(bare):
        msg = f"{text[:80]!r} is no {'whole number' if kind is int else 'number'}"
        raise ValueError(msg)
    return int(bare.partition(".")[0]) if kind is int else float(bare)


def _interpret_list(
    text: str,
    args: tuple[Any, ...],
    whole: bool,  # noqa: FBT001
    exact: bool,  # noqa: FBT001
) -> list[Any]:
    """A JSON list, else one item a line, else items between commas, for texts only in brackets.

    A line that announces the list or follows it isn't an item.
    """
    item = args[0] if args else Any
    if not exact:
        # "A. Because ..." may be an item of a list of choices.
        text = without_remarks(text if any(map(_has_choices, args)) else with_bullets(text))
        if is_empty_list(text):
            return []
    value = _json_list(text, item, whole)
    if value is not None:
        return _coerce_items(value, args)
    item_type = unwrap_annotated(item)[0]
    if fields_of(item_type) is not None or origin_and_args(item_type)[0] is dict:
        msg = f"{text[:80]!r} is no JSON list"
        raise ValueError(msg)
    lines = [BULLET.sub("", line) for line in item_lines(text)]
    if len(lines) == 1 and (bracketed := _BRACKETED.fullmatch(lines[0])):
        lines = [part.strip().strip(_QUOTES) for part in bracketed[1].split(",") if part.strip()]
    elif len(lines) == 1 and not _takes_text(item):
        lines = [part for part in lines[0].split(",") if part.strip()]
    pairs = zip(map(str.strip, lines), item_types(args or (Any,), len(lines)), strict=True)
    return [_interpret_item(line, kind, exact) for line, kind in pairs]


def _interpret_item(line: str, kind: Any, exact: bool) -> Any:  # noqa: FBT001
    return line if kind is Any else interpret(line, kind, exact=exact)


def _json_list(text: str, item: Any, whole: bool) -> list[Any] | None:  # noqa: FBT001
    """Find the JSON list in a text; a list of texts must be the whole text.

    ``[1] a`` in a numbered list isn't JSON.
    """
    if "[" not in text or _NUMBERED.search(text):
        return None
    if _takes_text(item) and not (_TEXT_LIST.match(text) or text.startswith("```")):
        return None
    try:
        value = load(text, whole=whole)
    except ValueError:
        if not whole:
            raise
        return None
    return value if isinstance(value, list) else None


def _takes_text(kind: Any) -> bool:
    inner = unwrap_annotated(kind)[0]
    return inner is str or (
        origin_and_args(inner)[0] is Union and any(map(_takes_text, origin_and_args(inner)[1]))
    )


def _has_choices(kind: Any) -> bool:
    """Tell whether a value of the type is one of a few words."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if origin is Union:
        return any(map(_has_choices, args))
    is_enum = isinstance(inner, type) and issubclass(inner, enum.Enum)
    return origin is Literal or is_enum or inner is bool


def _coerce_items(values: list[Any], args: tuple[Any, ...]) -> list[Any]:
    pairs = zip(values, item_types(args, len(values)), strict=True)
    return [coerce(value, kind) for value, kind in pairs] if args else values


def drop_unknown(value: Any, kind: Any) -> Any:
    """Drop members of objects that their classes lack, at any depth, as a reply's are at the top.

    A member whose name is nearly that of an absent field stays, so that it is refused by name.
    """
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if origin is Union:
        objects = [arg for arg in args if _is_class(arg) or isinstance(value, list)]
        return drop_unknown(value, objects[0]) if len(objects) == 1 else value
    if isinstance(value, list) and args and origin in SEQUENCES:
        return [
            drop_unknown(item, kind)
            for item, kind in zip(value, item_types(args, len(value)), strict=False)
        ]
    if not isinstance(value, dict):
        return value
    value = under_own_names(inner, value)
    if origin is dict:
        return {name: drop_unknown(item, args[1]) for name, item in value.items()}
    fields = {field.name: field.type for field in fields_of(inner) or ()}
    if not fields:
        return value
    absent = fields.keys() - value.keys()
    kept = {name: item for name, item in value.items() if name in fields or near(name[:80], absent)}
    return {name: drop_unknown(item, fields.get(name, Any)) for name, item in kept.items()}


def _is_class(kind: Any) -> bool:
    return fields_of(unwrap_annotated(kind)[0]) is not None


def coerce(value: Any, kind: Any) -> Any:  # noqa: PLR0911 - one return a kind
    """Bring a JSON value nearer to a type: numbers in quotes, whole floats, null for a default."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if inner is Any or (value is None and nullable(inner)):
        return value
    if origin is Union:
        return _coerce_union(value, args)
    if inner is str:
        return value if isinstance(value, str | list | dict) or value is None else pretty(value)
    if isinstance(value, str):
        # JSON in a text within JSON isn't mended: the text may be an argument of a call.
        return interpret(value.strip(), kind, whole=False)
    if inner is int and isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, list) and (origin or inner) in SEQUENCES:
        return _coerce_items(value, args)
    if isinstance(value, dict):
        return _coerce_object(value, inner, args)
    return value


def _coerce_union(value: Any, kinds: tuple[Any, ...]) -> Any:
    """The first member that the value fits as it is, else the first that it fits laxly."""
    changes: tuple[Callable[[Any, Any], Any], ...] = (lambda value, _: value, coerce)
    for change in changes:
        for kind in sorted(kinds, key=lambda k: unwrap_annotated(k)[0] is str):
            try:
                changed = change(value, kind)
                convert(changed, kind)
            except ValueError:
                continue
            return changed
    return value


def _coerce_object(value: dict[str, Any], kind: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    fields, value = fields_of(kind), under_own_names(kind, value)
    if fields is None:
        return {k: coerce(v, args[1]) for k, v in value.items()} if len(args) > 1 else value
    coerced = dict(value)
    for field in fields:
        if field.name not in value:
            continue
        item = value[field.name]
        if item is None and null_means_default(field):
            del coerced[field.name]
        else:
            coerced[field.name] = coerce(item, field.type)
    return coerced
