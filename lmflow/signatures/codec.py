"""Conversion of JSON values to immutable values of a type.

msgspec converts what it can; an instance of a class is made by the class's own ``__init__``.
"""

from __future__ import annotations

import datetime as dt
import enum
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

import msgspec

from lmflow.errors import BadMedia, BadValue, near
from lmflow.signatures.construction import check_frozen, error_message, new_instance
from lmflow.signatures.fields import (
    Field,
    fields_of,
    is_media_type,
    origin_and_args,
    unwrap_annotated,
)
from lmflow.values.attributes import lean_fields
from lmflow.values.media import Media, is_media, is_url, media_of
from lmflow.values.record import Record, canonical, freeze, plain

Codec = Callable[[Any], Any]
"""Converts a JSON value to an immutable value of one type.

``ValueError`` says what doesn't fit, and where.
"""

SCALARS = (str, int, float, bool)
DATES = (dt.date, dt.datetime, dt.time)
SEQUENCES = (list, tuple, set, frozenset)


def convert(value: Any, kind: Any) -> Any:
    """Convert ``value`` to an immutable value of the type. ``ValueError`` says what doesn't fit."""
    return codec_of(kind)(plain(value, kept=True))


def codec_of(kind: Any) -> Codec:
    """Build the codec of a type. ``TypeError`` says which part of the type can't be expressed."""
    return _compile(kind, {})


def _compile(kind: Any, codecs: dict[Any, Codec]) -> Codec:
    """Build the codec of a type; ``codecs`` holds those of the classes that are being built."""
    wire = _wire(kind)
    return _build(kind, codecs) if wire is _NONE else _converter(wire)


_NONE: Any = object()


def _wire(kind: Any) -> Any:
    """The type with its limits as msgspec takes it, or ``_NONE`` if msgspec can't."""
    inner, limits, _ = unwrap_annotated(kind)
    origin, args = origin_and_args(inner)
    if inner in {None, type(None), Any, *SCALARS, *DATES, *SEQUENCES, dict}:
        return _with_limits(inner, limits)
    wires = [_wire_argument(arg) for arg in args]
    if (
        any(wire is _NONE for wire in wires)
        or origin not in {*SEQUENCES, dict, Union}
        or (origin is Union and limits)
    ):
        return _NONE
    if origin is dict and inner is not dict and args[0] is not str:
        msg = f"the keys of {inner} are no text, dict[str, ...]"
        raise TypeError(msg)
    if origin is Union:
        union: Any = Union[tuple(wires)]  # noqa: UP007 - of any number
        return _with_limits(union, limits) if _is_accepted(union) else _NONE
    generic: Any = origin
    return _with_limits(generic[tuple(wires)], limits)


def _wire_argument(arg: Any) -> Any:
    return arg if arg is ... else _wire(arg)


def _is_accepted(kind: Any) -> bool:
    try:
        msgspec.json.Decoder(kind)
    except TypeError:
        return False
    return True


def _with_limits(kind: Any, limits: Mapping[str, Any]) -> Any:
    if not limits:
        return kind
    try:
        limited = typing.Annotated[kind, msgspec.Meta(**limits)]
        msgspec.json.Decoder(limited)
    except (TypeError, ValueError, OverflowError) as error:
        msg = str(error).partition(" - type")[0]
        raise TypeError(msg[:1].lower() + msg[1:]) from None
    return limited


def _converter(wire: Any) -> Codec:
    def convert_by_msgspec(value: Any) -> Any:
        try:
            return freeze(msgspec.convert(value, wire))
        except msgspec.ValidationError as error:
            text = str(error)
            raise ValueError(text[:1].lower() + text[1:]) from None

    return _text if wire is str else convert_by_msgspec


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    msg = f"expected `str`, got `{_kind_of(value)}`"
    raise ValueError(msg)


def _build(kind: Any, codecs: dict[Any, Codec]) -> Codec:  # noqa: PLR0911 - one return a kind
    inner, limits, _ = unwrap_annotated(kind)
    origin, args = origin_and_args(inner)
    if is_media_type(inner):
        return _media(inner)
    if limits and origin not in {*SEQUENCES, dict}:
        return _limited(inner, origin, args, limits, codecs)
    if origin is Literal:
        return _choice(inner, args)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return _choice(inner, tuple(inner))
    if origin is Union:
        return _union(args, codecs)
    if origin in SEQUENCES:
        return _sequence(origin, args, limits, codecs)
    if origin is dict:
        return _mapping(args, limits, codecs)
    return _object(inner, codecs)


def _media(kind: type[Media]) -> Codec:
    """A medium itself, the object that stands for it, or a URL.

    A path is refused: whoever supplies a text must not be able to choose a file.
    """

    def convert_media(value: Any) -> Any:
        try:
            media = media_of(value) if is_media(value) else value
            media = kind(media) if isinstance(media, str) and is_url(media) else media
        except BadMedia as problem:
            msg = problem.problem
            raise ValueError(msg) from None
        if isinstance(media, kind):
            return media
        name = kind.__name__
        article = "an" if name[0] in "AI" else "a"
        msg = f"expected {article} {name}, lf.{name}(path, bytes or URL)"
        raise ValueError(msg)

    return convert_media


def _limited(
    kind: Any, origin: Any, args: tuple[Any, ...], limits: dict[str, Any], codecs: dict[Any, Codec]
) -> Codec:
    """Apply limits on ``X | None`` to ``X``; on any other type limits would be ambiguous."""
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union and len(others) == 1:
        return _union((typing.Annotated[others[0], Field(**limits)], type(None)), codecs)
    msg = (
        f"limits ({', '.join(limits)}) have no meaning for {kind}; "
        "put them on the member that they limit"
    )
    raise TypeError(msg)


def _choice(kind: Any, members: tuple[Any, ...]) -> Codec:
    try:
        values = {canonical(member): member for member in members}
    except BadValue as problem:
        msg = f"{getattr(kind, '__name__', kind)} has values that JSON can't hold ({problem})"
        raise TypeError(msg) from None

    def choose(value: Any) -> Any:
        key = canonical(value)
        if key not in values:
            options = ", ".join(map(_member_text, values.values()))
            msg = f"expected one of {options}, found {str(value)[:80]!r}"
            raise ValueError(msg)
        return values[key]

    return choose


def _member_text(member: Any) -> str:
    return str(member.value if isinstance(member, enum.Enum) else member)


def _union(kinds: tuple[Any, ...], codecs: dict[Any, Codec]) -> Codec:
    """The first member that fits, plain text last: a date in a text is a date before it is text."""
    ordered = sorted(kinds, key=lambda kind: unwrap_annotated(kind)[0] is str)
    _check_apart([kind for kind in kinds if fields_of(unwrap_annotated(kind)[0]) is not None])
    members = [_compile(kind, codecs) for kind in ordered]

    def convert_to_first(value: Any) -> Any:
        problems = []
        for codec in members:
            try:
                return codec(value)
            except ValueError as problem:
                problems.append(str(problem))
        raise ValueError("; or ".join(dict.fromkeys(problems)))

    return convert_to_first


def _check_apart(classes: list[Any]) -> None:
    """Raise ``TypeError`` if one stored object could be read as two of the classes."""
    for position, kind in enumerate(classes):
        for other in classes[:position]:
            if not _are_apart(fields_of(kind) or (), fields_of(other) or ()):
                name = kind.__name__
                msg = (
                    f"an object could be a {other.__name__} or a {name}: "
                    "give each a field that tells, "
                    f'`kind: Literal["{name.lower()}"] = "{name.lower()}"`'
                )
                raise TypeError(msg)


def _are_apart(ours: tuple[Field, ...], theirs: tuple[Field, ...]) -> bool:
    our_required = {f.name for f in ours if f.required}
    their_required = {f.name for f in theirs if f.required}
    if our_required - {f.name for f in theirs} or their_required - {f.name for f in ours}:
        return True
    our_literals, their_literals = _literals(ours), _literals(theirs)
    shared = our_literals.keys() & their_literals.keys()
    return any(not our_literals[name] & their_literals[name] for name in shared)


def _literals(fields: tuple[Field, ...]) -> dict[str, set[Any]]:
    """The members of each field whose type is a ``Literal``, by the field's name."""
    types = {field.name: origin_and_args(field.type) for field in fields}
    return {name: set(args) for name, (origin, args) in types.items() if origin is Literal}


def _sequence(
    origin: Any, args: tuple[Any, ...], limits: dict[str, Any], codecs: dict[Any, Codec]
) -> Codec:
    check_size = _converter(_with_limits(list, limits))
    has_fixed_length = origin is tuple and args[-1] is not ...
    item_codecs = [_compile(arg, codecs) for arg in args if arg is not ...]
    collect: Any = frozenset if origin in {set, frozenset} else tuple

    def convert_items(value: Any) -> Any:
        if not isinstance(value, list):
            msg = f"expected a list, found {_kind_of(value)}"
            raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
        check_size(value)
        if has_fixed_length and len(value) != len(item_codecs):
            msg = f"expected {len(item_codecs)} items, found {len(value)}"
            raise ValueError(msg)
        each = item_codecs if has_fixed_length else item_codecs * len(value)
        pairs = zip(each, value, strict=True)
        return collect(_convert_at(f"[{i}]", codec, item) for i, (codec, item) in enumerate(pairs))

    return convert_items


def _mapping(args: tuple[Any, ...], limits: dict[str, Any], codecs: dict[Any, Codec]) -> Codec:
    if unwrap_annotated(args[0])[0] is not str:
        msg = "the keys of a dict must be text, dict[str, ...]"
        raise TypeError(msg)
    check_size = _converter(_with_limits(dict, limits))
    key, codec = _compile(args[0], codecs), _compile(args[1], codecs)

    def convert_entries(value: Any) -> Any:
        check_size(value)
        return Record({key(name): _convert_at(name, codec, item) for name, item in value.items()})

    return convert_entries


def _object(kind: Any, codecs: dict[Any, Codec]) -> Codec:
    """An object, made by its class's own ``__init__``."""
    fields = fields_of(kind)
    if fields is None:
        name = getattr(kind, "__name__", kind)
        msg = f"{name} can't be said in JSON; use JSON's types, dates, Literal, Enum, attrs"
        raise TypeError(msg)
    check_frozen(kind)
    if kind in codecs:
        return codecs[kind]
    # The class's codec is entered before those of its fields are built: a class that contains
    # itself would recurse without end otherwise.
    field_codecs: dict[str, Codec] = {}
    codecs[kind] = lambda value: _construct(kind, fields, field_codecs, value)
    field_codecs.update({field.name: _compile(field.type, codecs) for field in fields})
    field_codecs.update(dict.fromkeys(lean_fields(kind), freeze))
    return codecs[kind]


def _construct(
    kind: Any, fields: tuple[Field, ...], codecs: Mapping[str, Codec], value: Any
) -> Any:
    if not isinstance(value, dict):
        msg = f"expected an object with {', '.join(codecs)}, found {_kind_of(value)}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
    if unknown := next((name for name in value if name not in codecs), None):
        msg = f"{kind.__name__} has no field {unknown[:80]!r}.{near(unknown[:80], codecs)}"
        raise ValueError(msg.removesuffix("."))
    required = (field.name for field in fields if field.required)
    if missing := next((name for name in required if name not in value), None):
        msg = f"{kind.__name__} needs {missing!r}"
        raise ValueError(msg)
    arguments = {name: _convert_at(name, codecs[name], item) for name, item in value.items()}
    try:
        return new_instance(kind, arguments, value)
    except Exception as error:  # noqa: BLE001 - a user's class may raise anything
        msg = f"{kind.__name__}: {error_message(error)}"
        raise ValueError(msg) from None


def _convert_at(place: str, codec: Codec, value: Any) -> Any:
    try:
        return codec(value)
    except ValueError as problem:
        msg = f"{place[:80]}: {problem}"
        raise ValueError(msg) from None


_KIND_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    type(None): "null",
    bool: "a boolean",
}


def _kind_of(value: Any) -> str:
    return _KIND_NAMES.get(type(value), "a number")
