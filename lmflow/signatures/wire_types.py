"""Types as msgspec takes them, which converts most values by itself."""

from __future__ import annotations

import datetime as dt
import typing
from collections.abc import Callable, Mapping
from typing import Any, Union

import msgspec

from lmflow.signatures.fields import origin_and_args, unwrap_annotated
from lmflow.values.record import freeze

Codec = Callable[[Any], Any]
"""Converts a JSON value to a value of one type.

``ValueError`` says what doesn't fit, and where.
"""

SCALARS = (str, int, float, bool)
DATES = (dt.date, dt.datetime, dt.time)
SEQUENCES = (list, tuple, set, frozenset)

NONE: Any = object()


def wire_type(kind: Any) -> Any:
    """The type with its limits as msgspec takes it, or ``NONE`` if msgspec can't."""
    inner, limits, _ = unwrap_annotated(kind)
    origin, args = origin_and_args(inner)
    if inner in {None, type(None), Any, *SCALARS, *DATES, *SEQUENCES, dict}:
        return with_limits(inner, limits)
    wires = [_argument(arg) for arg in args]
    if (
        any(wire is NONE for wire in wires)
        or origin not in {*SEQUENCES, dict, Union}
        or (origin is Union and limits)
    ):
        return NONE
    if origin is dict and inner is not dict and args[0] is not str:
        msg = f"the keys of {inner} are no text, dict[str, ...]"
        raise TypeError(msg)
    if origin is Union:
        union: Any = Union[tuple(wires)]  # noqa: UP007 - of any number
        return with_limits(union, limits) if _is_accepted(union) else NONE
    generic: Any = origin
    return with_limits(generic[tuple(wires)], limits)


def _argument(arg: Any) -> Any:
    return arg if arg is ... else wire_type(arg)


def _is_accepted(kind: Any) -> bool:
    try:
        msgspec.json.Decoder(kind)
    except TypeError:
        return False
    return True


def with_limits(kind: Any, limits: Mapping[str, Any]) -> Any:
    """Add limits to a type. ``TypeError`` if the type has no such limit."""
    if not limits:
        return kind
    try:
        limited = typing.Annotated[kind, msgspec.Meta(**limits)]
        msgspec.json.Decoder(limited)
    except (TypeError, ValueError, OverflowError) as error:
        msg = str(error).partition(" - type")[0]
        raise TypeError(msg[:1].lower() + msg[1:]) from None
    return limited


def converter(wire: Any, *, live: bool = False) -> Codec:
    """Build the codec of a type that msgspec takes: of frozen values or, if ``live``, of lists and
    dicts as the type says.
    """

    def convert_by_msgspec(value: Any) -> Any:
        try:
            converted = msgspec.convert(value, wire)
            return converted if live else freeze(converted)
        except msgspec.ValidationError as error:
            text = str(error)
            raise ValueError(text[:1].lower() + text[1:]) from None

    return _text if wire is str else convert_by_msgspec


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    msg = f"expected `str`, got `{kind_of(value)}`"
    raise ValueError(msg)


_KIND_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    type(None): "null",
    bool: "a boolean",
}


def kind_of(value: Any) -> str:
    """The kind of a JSON value, for messages."""
    return _KIND_NAMES.get(type(value), "a number")
