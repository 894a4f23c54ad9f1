"""Fields and their types: limits, members of object types, and the text of a type."""

from __future__ import annotations

import enum
import functools
import types as pytypes
import typing
from collections import abc
from typing import Any, Literal, NewType, Union, get_args, get_origin

import attrs

from lmflow.errors.options import FIELD_OPTIONS, explains_constructor
from lmflow.signatures.history import History
from lmflow.signatures.members import LIMITS, Member, limits_of, members_of
from lmflow.values.media import Media
from lmflow.values.record import Record, freeze, pretty

Reasoning = NewType("Reasoning", str)
"""An output filled with the thinking that the provider shows; empty if the provider shows none."""


Confidence = NewType("Confidence", float)
"""An output filled with the probability of the reply, from 0 to 1, by the logprobs beside it."""


METADATA_TYPES: tuple[Any, ...] = (Reasoning, Confidence)
"""Output types filled from a reply's metadata instead of from the model's text."""

_CONTAINERS = {
    abc.Sequence: list, abc.Collection: list, abc.Iterable: list, abc.Set: frozenset,
    abc.Mapping: dict, abc.MutableMapping: dict, Record: dict, Reasoning: str, Confidence: float,
}  # fmt: skip


class _Required:
    """The default of a field without a default."""

    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Required()


def _default(value: Any) -> Any:
    return value if value is REQUIRED else freeze(value)


@explains_constructor(FIELD_OPTIONS)
@attrs.frozen(kw_only=True)
class Field:
    """One input or output of a signature.

    Limits are told to the model and checked in its reply. In ``Annotated[int,
    lf.Field(description="stars", ge=0, le=5)]`` name and type come from the annotated parameter.

    Args:
        name: The field's name: lower case letters, digits and ``_``.
        type: The type of its values.
        description: Told to the model beside the name.
        default: The value of an input that the caller leaves out; ``REQUIRED`` for none.
        ge: Least number.
        gt: Number that values must exceed.
        le: Greatest number.
        lt: Number that values must stay below.
        pattern: A regular expression that occurs in a text.
        min_length: Least length of a text, list or mapping.
        max_length: Greatest length of a text, list or mapping.

    Example:
        >>> str(Field(name="stars", type=int, default=3))
        'stars: int = 3'
    """

    name: str = ""
    type: Any = str
    description: str = ""
    default: Any = attrs.field(default=REQUIRED, converter=_default)
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None

    @property
    def required(self) -> bool:
        """Tell whether a caller must supply the field, since it has no default."""
        return self.default is REQUIRED

    def __str__(self) -> str:
        kind = "" if self.type is str else f": {type_text(self.type)}"
        default = "" if self.required else f" = {pretty(self.default)}"
        return f"{self.name}{kind}{default}"


def normalize_field(field: Field) -> Field:
    """Move a field's limits into its type, and its type's description into the field."""
    _, limits, description = unwrap_annotated(field.type)
    inner = get_args(field.type)[0] if get_origin(field.type) is typing.Annotated else field.type
    limits |= limits_of(field)
    kind = typing.Annotated[inner, Field(**limits)] if limits else inner
    free: dict[str, Any] = dict.fromkeys(LIMITS)
    return attrs.evolve(field, type=kind, description=field.description or description, **free)


def unwrap_annotated(kind: Any) -> tuple[Any, dict[str, Any], str]:
    """Split ``Annotated[type, ...]`` into the type, its limits and its description.

    Anything with the attributes ``ge``, ``pattern`` and so on counts as a limit: ``lf.Field``,
    ``msgspec.Meta`` and those of annotated-types.
    """
    if get_origin(kind) is not typing.Annotated:
        return _CONTAINERS.get(kind, kind), {}, ""
    inner, *extras = get_args(kind)
    limits: dict[str, Any] = {}
    for extra in extras:
        limits |= limits_of(extra)
    texts = map(_description_of, extras)
    return _CONTAINERS.get(inner, inner), limits, next((text for text in texts if text), "")


def _description_of(extra: Any) -> Any:
    return extra if isinstance(extra, str) else getattr(extra, "description", "")


def origin_and_args(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Split a type without ``Annotated`` into its origin and arguments.

    An abstract container has the concrete one as its origin; both kinds of union have ``Union``.
    """
    origin = get_origin(kind)
    if origin is pytypes.UnionType:
        return Union, get_args(kind)
    return _CONTAINERS.get(origin, origin), get_args(kind)


def item_types(args: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """The type of each of ``count`` items: its own in a tuple of fixed length, else that of all."""
    has_fixed_length = len(args) == count and ... not in args
    return args if has_fixed_length else args[:1] * count


def nullable(kind: Any) -> bool:
    """Tell whether ``None`` is a value of the type."""
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if origin is Union:
        return any(nullable(arg) for arg in args)
    return inner in {None, type(None), Any} or (origin is Literal and None in args)


def metadata_kind(kind: Any) -> Any:
    """Find the metadata type, such as ``Reasoning``, within ``Annotated`` or ``Optional``.

    ``None`` if the type is filled from the model's text.
    """
    if kind in METADATA_TYPES:
        return kind
    args = [arg for arg in get_args(kind) if arg is not type(None)]
    return metadata_kind(args[0]) if len(args) == 1 or hasattr(kind, "__metadata__") else None


def is_history(field: Field) -> bool:
    """Tell whether a field may hold the earlier turns of a conversation."""
    inner = unwrap_annotated(field.type)[0]
    return inner is History or History in origin_and_args(inner)[1]


def is_media_type(kind: Any) -> bool:
    """Tell whether a type is ``Image``, ``Audio`` or ``File``."""
    return isinstance(kind, type) and issubclass(kind, Media)


def holds_media(kind: Any, inside: tuple[Any, ...] = (), *, untyped: bool = False) -> bool:
    """Tell whether a picture, sound or file may occur in a value of the type, however deep.

    With ``untyped``, types that allow any value count too.
    """
    inner = unwrap_annotated(kind)[0]
    if inner in inside:
        return False
    if untyped and inner in {Any, dict, list, tuple, set, frozenset}:
        return True
    if is_media_type(inner) or get_origin(inner) is Literal:
        return is_media_type(inner)
    members = [field.type for field in fields_of(inner) or ()] or [
        arg for arg in get_args(inner) if arg is not ...
    ]
    return any(holds_media(member, (*inside, inner), untyped=untyped) for member in members)


@functools.cache
def holds_objects(kind: Any) -> bool:
    """Tell whether an object of a class with fields may occur in a value of the type."""
    inner = unwrap_annotated(kind)[0]
    if get_origin(inner) is Literal:
        return False
    args = (arg for arg in get_args(inner) if arg is not ...)
    return fields_of(inner) is not None or any(map(holds_objects, args))


def places_media(kind: Any) -> bool:
    """Tell whether a message can hold all media of the type's values: alone or in lists.

    Media within objects can't be placed in a message.
    """
    inner = unwrap_annotated(kind)[0]
    origin, args = origin_and_args(inner)
    if is_media_type(inner) or not holds_media(inner):
        return True
    return origin in {Union, list, tuple} and all(
        places_media(arg) for arg in args if arg is not ...
    )


def type_text(kind: Any, inside: tuple[Any, ...] = ()) -> str:  # noqa: PLR0911 - one return a kind
    """Write a type as text, the same on every Python: ``list[str]``, ``int | None``.

    ``inside`` are the classes being written: of them only the name is given.
    """
    origin, args = get_origin(kind), get_args(kind)
    if kind is None or kind is type(None):
        return "None"
    if origin in {Union, pytypes.UnionType}:
        return " | ".join(type_text(arg, inside) for arg in args)
    if origin is Literal:
        return f"Literal[{', '.join(_member_text(arg) for arg in args)}]"
    if origin is typing.Annotated:
        text = type_text(args[0], inside)
        limits = ", ".join(f"{n}={v!r}" for n, v in unwrap_annotated(kind)[1].items())
        return f"Annotated[{text}, Field({limits})]" if limits else text
    if origin is not None:
        return f"{origin.__name__}[{', '.join(_argument_text(arg, inside) for arg in args)}]"
    if kind is History:
        return "History"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"{kind.__name__}({', '.join(repr(member.value) for member in kind)})"
    if kind not in inside and (fields := fields_of(kind)) is not None:
        texts = (f"{f.name}: {type_text(f.type, (*inside, kind))}" for f in fields)
        return f"{kind.__name__}({', '.join(texts)})"
    return getattr(kind, "__name__", str(kind))


def _argument_text(arg: Any, inside: tuple[Any, ...]) -> str:
    return "..." if arg is ... else type_text(arg, inside)


def fields_of(kind: Any) -> tuple[Field, ...] | None:
    """List the fields of an object type by their names in JSON, ``None`` for any other type.

    Object types are attrs classes, dataclasses, NamedTuples, TypedDicts, msgspec Structs and
    pydantic models. The default of a field that the class itself fills in is ``None``.
    """
    return _fields_of(kind) if isinstance(kind, type) else None


@functools.cache
def _fields_of(kind: Any) -> tuple[Field, ...] | None:
    members = members_of(kind)
    return None if members is None else tuple(map(_field_of, members))


def _field_of(member: Member) -> Field:
    default, kind = REQUIRED if member.required else None, member.type
    while get_origin(kind) in {typing.Required, typing.NotRequired}:
        kind = get_args(kind)[0]
    return normalize_field(Field(name=member.name, type=kind, default=default, **member.notes))


def _member_text(member: Any) -> str:
    return repr(member.value) if isinstance(member, enum.Enum) else repr(member)
