"""Conversion of JSON values to immutable values of a type.

msgspec converts what it can; an instance of a class is made by the class's own ``__init__``.
"""

from __future__ import annotations

import enum
import typing
from typing import Any, Literal, Union

import attrs

from lmflow.errors import BadMedia, BadValue
from lmflow.signatures.construction import (
    UncarriedType,
    construct,
    convert_at,
    in_type,
    is_built_frozen,
)
from lmflow.signatures.fields import (
    Field,
    fields_of,
    is_media_type,
    origin_and_args,
    unwrap_annotated,
)
from lmflow.signatures.unions import check_apart
from lmflow.signatures.wire_types import (
    DATES,
    NONE,
    SCALARS,
    SEQUENCES,
    Codec,
    converter,
    kind_of,
    wire_type,
    with_limits,
)
from lmflow.values.attributes import lean_fields
from lmflow.values.media import Media, is_media, is_url, media_of
from lmflow.values.record import Record, canonical, freeze, plain

__all__ = ["DATES", "SCALARS", "SEQUENCES", "Codec", "UncarriedType", "codec_of", "convert"]


def convert(value: Any, kind: Any) -> Any:
    """Convert ``value`` to an immutable value of the type. ``ValueError`` says what doesn't fit."""
    return codec_of(kind)(plain(value, kept=True))


def codec_of(kind: Any) -> Codec:
    """Build the codec of a type.

    ``UncarriedType``, a ``TypeError``, says which part of the type can't be expressed.
    """
    return _compile(kind, _Build({}))


@attrs.frozen
class _Build:
    """The codecs of the classes that are being built, by class, and whether containers are live.

    A list is frozen to a tuple and a dict to a record. Within an object of a class that can be
    changed they are live: they have the types that the class says, since the object is copied.
    """

    codecs: dict[Any, Codec]
    live: bool = False


def _compile(kind: Any, build: _Build) -> Codec:
    wire = wire_type(kind)
    return _build(kind, build) if wire is NONE else converter(wire, live=build.live)


def _build(kind: Any, build: _Build) -> Codec:  # noqa: PLR0911 - one return a kind
    inner, limits, _ = unwrap_annotated(kind)
    origin, args = origin_and_args(inner)
    if is_media_type(inner):
        return _media(inner)
    if limits and origin not in {*SEQUENCES, dict}:
        return _limited(inner, origin, args, limits, build)
    if origin is Literal:
        return _choice(inner, args)
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return _choice(inner, tuple(inner))
    if origin is Union:
        return _union(args, build)
    if origin in SEQUENCES:
        return _sequence(origin, args, limits, build)
    if origin is dict:
        return _mapping(args, limits, build)
    return _object(inner, build)


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
    kind: Any, origin: Any, args: tuple[Any, ...], limits: dict[str, Any], build: _Build
) -> Codec:
    """Apply limits on ``X | None`` to ``X``; on any other type limits would be ambiguous."""
    others = [arg for arg in args if arg is not type(None)]
    if origin is Union and len(others) == 1:
        return _union((typing.Annotated[others[0], Field(**limits)], type(None)), build)
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


def _union(kinds: tuple[Any, ...], build: _Build) -> Codec:
    """The first member that fits, plain text last: a date in a text is a date before it is text."""
    ordered = sorted(kinds, key=lambda kind: unwrap_annotated(kind)[0] is str)
    check_apart([kind for kind in kinds if fields_of(unwrap_annotated(kind)[0]) is not None])
    members = [_compile(kind, build) for kind in ordered]

    def convert_to_first(value: Any) -> Any:
        problems = []
        for codec in members:
            try:
                return codec(value)
            except ValueError as problem:
                problems.append(str(problem))
        raise ValueError("; or ".join(dict.fromkeys(problems)))

    return convert_to_first


def _sequence(origin: Any, args: tuple[Any, ...], limits: dict[str, Any], build: _Build) -> Codec:
    check_size = converter(with_limits(list, limits))
    has_fixed_length = origin is tuple and args[-1] is not ...
    item_codecs = [in_type("[]", _compile, arg, build) for arg in args if arg is not ...]
    frozen: Any = frozenset if origin in {set, frozenset} else tuple
    collect: Any = origin if build.live else frozen

    def convert_items(value: Any) -> Any:
        if not isinstance(value, list):
            msg = f"expected a list, found {kind_of(value)}"
            raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
        check_size(value)
        if has_fixed_length and len(value) != len(item_codecs):
            msg = f"expected {len(item_codecs)} items, found {len(value)}"
            raise ValueError(msg)
        each = item_codecs if has_fixed_length else item_codecs * len(value)
        pairs = zip(each, value, strict=True)
        return collect(convert_at(f"[{i}]", codec, item) for i, (codec, item) in enumerate(pairs))

    return convert_items


def _mapping(args: tuple[Any, ...], limits: dict[str, Any], build: _Build) -> Codec:
    if unwrap_annotated(args[0])[0] is not str:
        msg = "the keys of a dict must be text, dict[str, ...]"
        raise TypeError(msg)
    check_size = converter(with_limits(dict, limits))
    key, codec = _compile(args[0], build), in_type("[...]", _compile, args[1], build)
    collect: Any = dict if build.live else Record

    def convert_entries(value: Any) -> Any:
        check_size(value)
        return collect({key(name): convert_at(name, codec, item) for name, item in value.items()})

    return convert_entries


def _object(kind: Any, build: _Build) -> Codec:
    """An object, made by its class's own ``__init__``."""
    fields = fields_of(kind)
    if fields is None:
        name = getattr(kind, "__name__", kind)
        msg = f"{name} can't be said in JSON; use JSON's types, dates, Literal, Enum, classes"
        raise TypeError(msg)
    # A TypedDict is a dict or a record, as the values around it are.
    live = build.live if typing.is_typeddict(kind) else not is_built_frozen(kind)
    if (kind, live) in build.codecs:
        return build.codecs[kind, live]
    # The class's codec is entered before those of its fields are built: a class that contains
    # itself would recurse without end otherwise.
    field_codecs: dict[str, Codec] = {}
    inner = _Build(build.codecs, live)

    def convert_object(value: Any) -> Any:
        return construct(kind, fields, field_codecs, value, live=live)

    build.codecs[kind, live] = convert_object
    field_codecs.update(
        {field.name: in_type(f".{field.name}", _compile, field.type, inner) for field in fields}
    )
    field_codecs.update(dict.fromkeys(lean_fields(kind), freeze))
    return convert_object
