"""The lax reading of what models and people write, as values of a type."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from lmflow.signatures.codec import DATES, SEQUENCES, convert
from lmflow.signatures.fields import (
    fields_of,
    holds_media,
    is_media_type,
    nullable,
    parts,
    peeled,
    type_of_node,
    type_text,
)
from lmflow.values.json_text import load
from lmflow.values.media import is_url
from lmflow.values.record import pretty

__all__ = [
    "convert",
    "default_of",
    "fit",
    "located",
    "loosened",
    "meant",
    "read",
    "takes_list",
    "type_of_node",
    "type_text",
]

_BULLET = re.compile(r"^\s*(?:[-*•]|\[?\d+[.)\]])\s+")
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
    """What a model or a person meant by ``text``, as a value of the type. ``ValueError`` says what
    doesn't fit.

    Of a text that was cut (``whole`` is false) no broken JSON is mended. ``exact``: it holds the
    value and no words about it.
    """
    return convert(meant(text.strip(), kind, whole=whole, exact=exact), kind)


def fit(value: Any, kind: Any) -> Any:
    """A JSON value of a model as a value of the type, read as laxly as text. ``ValueError`` says
    what doesn't fit.
    """
    return convert(loosened(value, kind), kind)


def default_of(value: Any, kind: Any) -> Any:
    """A default as the type says, or as it is where it doesn't fit (``None`` for a field that may
    be left out).
    """
    return value if value is None else convert(value, kind)


def located(value: Any, kind: Any, folder: Path) -> Any:
    """A value of a type that holds media, as a person writes it, with the media that its texts
    name: by a URL, or by a path as seen from the folder. Only for what a person wrote: a path
    reads a file. ``BadMedia``.
    """
    inner = peeled(kind)[0]
    origin, args = parts(inner)
    if is_media_type(inner):
        return (
            inner(value if is_url(value) else folder / value) if isinstance(value, str) else value
        )
    if origin is Union:
        held = [arg for arg in args if holds_media(arg)]
        return value if value is None or len(held) != 1 else located(value, held[0], folder)
    if isinstance(value, list) and origin in SEQUENCES:
        return [
            located(item, kind, folder)
            for item, kind in zip(value, _kinds(args, len(value)), strict=True)
        ]
    return value


def takes_list(kind: Any) -> bool:
    """Whether a list is a value of the type, or of a member of it."""
    inner = peeled(kind)[0]
    origin, args = parts(inner)
    return (origin or inner) in SEQUENCES or (origin is Union and any(map(takes_list, args)))


def meant(text: str, kind: Any, *, whole: bool = True, exact: bool = False) -> Any:  # noqa: PLR0911 - one return a kind
    """What ``read`` converts: the JSON value that a stripped text means. It may still not fit the
    type.
    """
    inner = peeled(kind)[0]
    origin, args = parts(inner)
    if inner is str:
        return text
    if origin is Union:
        return _meant_of_union(text, args, whole, exact or _takes_text(inner))
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
        return _meant_list(text, args, whole, exact)
    return loosened(load(text, whole=whole), kind)


def _meant_of_union(text: str, kinds: tuple[Any, ...], whole: bool, exact: bool) -> Any:  # noqa: FBT001
    if type(None) in kinds and text.lower() in {"", "null", "none", "n/a"}:
        return None
    problems = []
    for kind in sorted(
        (k for k in kinds if k is not type(None)), key=lambda k: peeled(k)[0] is str
    ):
        try:
            return read(text, kind, whole=whole, exact=exact)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(dict.fromkeys(problems)))


def _choice(text: str, known: Mapping[str, Any], exact: bool) -> Any:  # noqa: FBT001
    wanted = text.strip(_QUOTES).removesuffix(".").strip(_QUOTES)
    folded = [value for name, value in known.items() if name.casefold() == wanted.casefold()]
    for name in (text, wanted):
        if name in known:
            return known[name]
    if len(set(folded)) == 1:
        return folded[0]
    if not exact and len(led := set(_led(wanted, known))) == 1:
        return led.pop()
    msg = f"{text[:80]!r} is none of {', '.join(known)}"
    raise ValueError(msg)


def _led(text: str, known: Mapping[str, Any]) -> Iterator[Any]:
    """The choices that a text speaks of, where it begins with one and goes on to explain it: ``(A)
    Because ...``, ``yes, it is``. After a choice that ends in a letter or digit, a mark must
    follow: ``no idea`` isn't ``no``.
    """
    first = max((name for name in known if _begins(text, name)), key=len, default="")
    if first:
        rest = text[len(first) :]
        yield known[first]
        yield from (value for name, value in known.items() if name and _named(name, rest))


def _begins(text: str, name: str) -> bool:
    rest = text[len(name) :]
    led = bool(name) and text[: len(name)].casefold() == name.casefold()
    return led and (
        (not name[-1].isalnum() and not rest[:1].isalnum()) or _EXPLAINED.match(rest) is not None
    )


def _named(name: str, text: str) -> bool:
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


def _meant_list(text: str, args: tuple[Any, ...], whole: bool, exact: bool) -> list[Any]:  # noqa: FBT001
    """A JSON list, else one item a line, else items between commas, for texts only in brackets."""
    item = args[0] if args else Any
    value = _json_list(text, item, whole)
    if value is not None:
        return _each(value, args)
    if fields_of(peeled(item)[0]) is not None or parts(peeled(item)[0])[0] is dict:
        msg = f"{text[:80]!r} is no JSON list"
        raise ValueError(msg)
    lines = [_BULLET.sub("", line) for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and (bracketed := _BRACKETED.fullmatch(lines[0])):
        lines = [part.strip().strip(_QUOTES) for part in bracketed[1].split(",") if part.strip()]
    elif len(lines) == 1 and not _takes_text(item):
        lines = [part for part in lines[0].split(",") if part.strip()]
    pairs = zip(map(str.strip, lines), _kinds(args or (Any,), len(lines)), strict=True)
    return [line if kind is Any else meant(line, kind, exact=exact) for line, kind in pairs]


def _json_list(text: str, item: Any, whole: bool) -> list[Any] | None:  # noqa: FBT001
    """The JSON list in a text; a numbered list is none, and a list of texts stands by itself."""
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
    inner = peeled(kind)[0]
    return inner is str or (parts(inner)[0] is Union and any(map(_takes_text, parts(inner)[1])))


def _each(values: list[Any], args: tuple[Any, ...]) -> list[Any]:
    pairs = zip(values, _kinds(args, len(values)), strict=True)
    return [loosened(value, kind) for value, kind in pairs] if args else values


def _kinds(args: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """The type of each of so many items: of a tuple of fixed length its own, else the one of all."""
    return args if len(args) == count and ... not in args else args[:1] * count


def loosened(value: Any, kind: Any) -> Any:  # noqa: PLR0911 - one return a kind
    """What ``fit`` converts: a JSON value nearer to the type (numbers in quotes, whole floats, null
    for a default).
    """
    inner = peeled(kind)[0]
    origin, args = parts(inner)
    if inner is Any or (value is None and nullable(inner)):
        return value
    if origin is Union:
        return _loosened_union(value, args)
    if inner is str:
        return value if isinstance(value, str | list | dict) or value is None else pretty(value)
    if isinstance(value, str):
        return meant(value.strip(), kind)
    if inner is int and isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, list) and (origin or inner) in SEQUENCES:
        return _each(value, args)
    if isinstance(value, dict):
        return _loosened_object(value, inner, args)
    return value


def _loosened_union(value: Any, kinds: tuple[Any, ...]) -> Any:
    """As the first member that fits as it is, else as the first that fits laxly."""
    changes: tuple[Callable[[Any, Any], Any], ...] = (lambda value, _: value, loosened)
    for change in changes:
        for kind in sorted(kinds, key=lambda k: peeled(k)[0] is str):
            try:
                changed = change(value, kind)
                convert(changed, kind)
            except ValueError:
                continue
            return changed
    return value


def _loosened_object(value: dict[str, Any], kind: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    fields = fields_of(kind)
    if fields is None:
        return (
            {name: loosened(item, args[1]) for name, item in value.items()}
            if len(args) > 1
            else value
        )
    known = {field.name: field for field in fields}
    return {
        name: loosened(item, known[name].type) if name in known else item
        for name, item in value.items()
        if not (
            item is None
            and name in known
            and not known[name].required
            and not nullable(known[name].type)
        )
    }
