"""Conversion of JSON values to immutable values of a type: msgspec where it can, each class by its
own ``__init__``.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

import attrs
import msgspec
import toolz

from lmflow.errors import BadMedia, BadValue, near
from lmflow.signatures.fields import Field, fields_of, is_media_type, is_pydantic, parts, peeled
from lmflow.values.media import Media, is_media, is_url, media_of
from lmflow.values.record import Record, canonical, freeze, plain

Codec = Callable[[Any], Any]
"""A JSON value as an immutable value of one type. ``ValueError`` says what doesn't fit, and where.
"""

SCALARS = (str, int, float, bool)
DATES = (dt.date, dt.datetime, dt.time)
SEQUENCES = (list, tuple, set, frozenset)


def convert(value: Any, kind: Any) -> Any:
    """``value`` as an immutable value of the type. ``ValueError`` says what doesn't fit."""
    return codec_of(kind)(plain(value, kept=True))


def codec_of(kind: Any) -> Codec:
    """The codec of a type. ``TypeError`` says what of it can't be expressed."""
    return _compiled(kind, {})


def _compiled(kind: Any, known: dict[Any, Codec]) -> Codec:
    wire = _wire(kind)
    return _built(kind, known) if wire is _NONE else _converter(wire)


_NONE: Any = object()


def _wire(kind: Any) -> Any:
    """The type with its limits as msgspec takes it, or ``_NONE`` where it doesn't."""
    inner, limits, _ = peeled(kind)
    origin, args = parts(inner)
    if inner in {None, type(None), Any, *SCALARS, *DATES, *SEQUENCES, dict}:
        return _met(inner, limits)
    wires = [arg if arg is ... else _wire(arg) for arg in args]
    if (
        any(wire is _NONE for wire in wires)
        or origin not in {*SEQUENCES, dict, Union}
        or (origin is Union and limits)
    ):
        return _NONE
    if origin is dict and inner is not dict and args[0] is not str:
        msg = f"the keys of {inner} are no text, dict[str, ...]"
        raise TypeError(msg)
    generic: Any = origin
    made = Union[tuple(wires)] if origin is Union else generic[tuple(wires)]  # noqa: UP007 - of any number
    return _met(made, limits) if origin is not Union or _accepted(made) else _NONE


def _accepted(kind: Any) -> bool:
    try:
        msgspec.json.Decoder(kind)
    except TypeError:
        return False
    return True


def _met(kind: Any, limits: Mapping[str, Any]) -> Any:
    if not limits:
        return kind
    try:
        made = typing.Annotated[kind, msgspec.Meta(**limits)]
        msgspec.json.Decoder(made)
    except (TypeError, ValueError, OverflowError) as error:
        msg = str(error).partition(" - type")[0]
        raise TypeError(msg[:1].lower() + msg[1:]) from None
    return made


def _converter(wire: Any) -> Codec:
    def converted(value: Any) -> Any:
        try:
            return freeze(msgspec.convert(value, wire))
        except msgspec.ValidationError as error:
            text = str(error)
            raise ValueError(text[:1].lower() + text[1:]) from None

    return _text if wire is str else converted


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    msg = f"expected `str`, got `{_kind_of(value)}`"
    raise ValueError(msg)


def _built(kind: Any, known: dict[Any, Codec]) -> Codec:  # noqa: PLR0911 - one return a kind
    inner, limits, _ = peeled(kind)
    origin, args = parts(inner)
    if is_media_type(inner):
        return _media(inner)
    if limits and origin not in {*SEQUENCES, dict}:
        return _limited(inner, origin, args, limits, known)
    if origin is Literal:
        return _choice(inner, args)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return _choice(inner, tuple(inner))
    if origin is Union:
        return _union(args, known)
    if origin in SEQUENCES:
        return _sequence(origin, args, limits, known)
    if origin is dict:
        return _mapping(args, limits, known)
    return _object(inner, known)


def _media(kind: type[Media]) -> Codec:
    """Itself, what stands for it, or a URL; never a path: who gives a text may not choose a file."""

    def taken(value: Any) -> Any:
        try:
            found = media_of(value) if is_media(value) else value
            found = kind(found) if isinstance(found, str) and is_url(found) else found
        except BadMedia as problem:
            msg = problem.problem
            raise ValueError(msg) from None
        if isinstance(found, kind):
            return found
        name = kind.__name__
        msg = f"expected a{'n' * (name[0] in 'AI')} {name}, lf.{name}(path, bytes or URL)"
        raise ValueError(msg)

    return taken


def _limited(
    kind: Any, origin: Any, args: tuple[Any, ...], limits: dict[str, Any], known: dict[Any, Codec]
) -> Codec:
    """Limits on ``X | None`` are those of ``X``; on anything else they have no one meaning."""
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union and len(others) == 1:
        return _union((typing.Annotated[others[0], Field(**limits)], type(None)), known)
    msg = f"limits ({', '.join(limits)}) have no meaning for {kind}; put them on the member that they limit"
    raise TypeError(msg)


def _choice(kind: Any, members: tuple[Any, ...]) -> Codec:
    try:
        values = {canonical(member): member for member in members}
    except BadValue as problem:
        msg = f"{getattr(kind, '__name__', kind)} has values that JSON can't hold ({problem})"
        raise TypeError(msg) from None

    def chosen(value: Any) -> Any:
        key = canonical(value)
        if key not in values:
            options = ", ".join(map(_shown, values.values()))
            msg = f"expected one of {options}, found {str(value)[:80]!r}"
            raise ValueError(msg)
        return values[key]

    return chosen


def _shown(member: Any) -> str:
    return str(member.value if isinstance(member, enum.Enum) else member)


def _union(kinds: tuple[Any, ...], known: dict[Any, Codec]) -> Codec:
    """The first member that fits, plain text last: a date as text is a date before it is a text."""
    ordered = sorted(kinds, key=lambda kind: peeled(kind)[0] is str)
    _check_apart([kind for kind in kinds if fields_of(peeled(kind)[0]) is not None])
    codecs = [_compiled(kind, known) for kind in ordered]

    def first(value: Any) -> Any:
        problems = []
        for codec in codecs:
            try:
                return codec(value)
            except ValueError as problem:
                problems.append(str(problem))
        raise ValueError("; or ".join(dict.fromkeys(problems)))

    return first


def _check_apart(classes: list[Any]) -> None:
    """``TypeError`` where one stored object could be read as two of the classes."""
    for position, kind in enumerate(classes):
        for other in classes[:position]:
            if not _apart(fields_of(kind) or (), fields_of(other) or ()):
                name = kind.__name__
                msg = (
                    f"an object could be a {other.__name__} or a {name}: give each a field that tells, "
                    f'`kind: Literal["{name.lower()}"] = "{name.lower()}"`'
                )
                raise TypeError(msg)


def _apart(ours: tuple[Field, ...], theirs: tuple[Field, ...]) -> bool:
    needed = [{f.name for f in side if f.required} for side in (ours, theirs)]
    if needed[0] - {f.name for f in theirs} or needed[1] - {f.name for f in ours}:
        return True
    literals = {f.name: parts(f.type)[1] for f in theirs if parts(f.type)[0] is Literal}
    return any(
        f.name in literals and not set(parts(f.type)[1]) & set(literals[f.name])
        for f in ours
        if parts(f.type)[0] is Literal
    )


def _sequence(
    origin: Any, args: tuple[Any, ...], limits: dict[str, Any], known: dict[Any, Codec]
) -> Codec:
    outer = _converter(_met(list, limits))
    fixed = origin is tuple and args[-1] is not ...
    codecs = [_compiled(arg, known) for arg in args if arg is not ...]
    collect: Any = frozenset if origin in {set, frozenset} else tuple

    def items(value: Any) -> Any:
        if not isinstance(value, list):
            msg = f"expected a list, found {_kind_of(value)}"
            raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
        outer(value)
        if fixed and len(value) != len(codecs):
            msg = f"expected {len(codecs)} items, found {len(value)}"
            raise ValueError(msg)
        each = codecs if fixed else codecs * len(value)
        return collect(
            _at(f"[{i}]", codec, item)
            for i, (codec, item) in enumerate(zip(each, value, strict=True))
        )

    return items


def _mapping(args: tuple[Any, ...], limits: dict[str, Any], known: dict[Any, Codec]) -> Codec:
    if peeled(args[0])[0] is not str:
        msg = "the keys of a dict must be text, dict[str, ...]"
        raise TypeError(msg)
    outer, key, codec = (
        _converter(_met(dict, limits)),
        _compiled(args[0], known),
        _compiled(args[1], known),
    )

    def entries(value: Any) -> Any:
        outer(value)
        return Record({key(name): _at(name, codec, item) for name, item in value.items()})

    return entries


def _object(kind: Any, known: dict[Any, Codec]) -> Codec:
    """An object by its own ``__init__``, known before its fields are, so that a class may hold
    itself.
    """
    fields = fields_of(kind)
    if fields is None:
        msg = f"{getattr(kind, '__name__', kind)} can't be said in JSON; use JSON's types, dates, Literal, Enum, attrs"
        raise TypeError(msg)
    _check_frozen(kind)
    if kind in known:
        return known[kind]
    codecs: dict[str, Codec] = {}
    known[kind] = lambda value: _made(kind, fields, codecs, value)
    codecs.update({field.name: _compiled(field.type, known) for field in fields})
    return known[kind]


def _made(kind: Any, fields: tuple[Field, ...], codecs: Mapping[str, Codec], value: Any) -> Any:
    if not isinstance(value, dict):
        msg = f"expected an object with {', '.join(codecs)}, found {_kind_of(value)}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
    if unknown := next((name for name in value if name not in codecs), None):
        msg = f"{kind.__name__} has no field {unknown[:80]!r}.{near(unknown[:80], codecs)}"
        raise ValueError(msg.removesuffix("."))
    if missing := next(
        (field.name for field in fields if field.required and field.name not in value), None
    ):
        msg = f"{kind.__name__} needs {missing!r}"
        raise ValueError(msg)
    held = {name: _at(name, codecs[name], item) for name, item in value.items()}
    try:
        return _init(kind, held, value)
    except Exception as error:  # noqa: BLE001 - whatever a class of the user says, the value doesn't fit
        msg = f"{kind.__name__}: {_reason(error)}"
        raise ValueError(msg) from None


def _init(kind: Any, held: dict[str, Any], value: dict[str, Any]) -> Any:
    if typing.is_typeddict(kind):
        return Record(held)
    if is_pydantic(kind):
        return kind.model_validate_json(json.dumps(value))
    if attrs.has(kind):
        aliases = {field.name: field.alias or field.name for field in attrs.fields(kind)}
        return kind(**toolz.keymap(aliases.__getitem__, held))
    return kind(**held)


def _reason(error: Exception) -> str:
    """The words of an error that a class raised: pydantic's first problem, attrs' first argument."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first: Any = toolz.first(errors())
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return str(error.args[0] if error.args else type(error).__name__)


def _check_frozen(kind: Any) -> None:
    """``TypeError`` with the line that mends it where instances of a class can be changed."""
    name, by_attrs = kind.__name__, attrs.has(kind)
    if by_attrs and (kind.__setattr__ is object.__setattr__ or kind.__hash__ is None):
        msg = f"{name} can be changed: @attrs.frozen"
        raise TypeError(msg)
    if not by_attrs and is_pydantic(kind) and not kind.model_config.get("frozen"):
        msg = f"{name} can be changed: model_config = pydantic.ConfigDict(frozen=True)"
        raise TypeError(msg)
    if issubclass(kind, msgspec.Struct) and not kind.__struct_config__.frozen:
        msg = f"{name} can be changed: class {name}(msgspec.Struct, frozen=True)"
        raise TypeError(msg)


def _at(place: str, codec: Codec, value: Any) -> Any:
    try:
        return codec(value)
    except ValueError as problem:
        msg = f"{place[:80]}: {problem}"
        raise ValueError(msg) from None


def _kind_of(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        type(None): "null",
        bool: "a boolean",
    }
    return names.get(type(value), "a number")
