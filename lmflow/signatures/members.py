"""The fields of classes: attrs, dataclasses, NamedTuple, TypedDict, msgspec Structs, pydantic."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import types as pytypes
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import msgspec

from lmflow.values.attributes import LEAN, alias_of, is_named_tuple
from lmflow.values.media import Media

LIMITS = ("ge", "gt", "le", "lt", "pattern", "min_length", "max_length")


@attrs.frozen
class Member:
    """One field of a class: its name in JSON, its type, and the attribute that holds it.

    ``aliases`` are the other names under which the class reads the field. ``notes`` hold a
    description and limits that the class states beside the type.
    """

    name: str
    type: Any
    required: bool
    attribute: str
    aliases: tuple[str, ...] = ()
    notes: Mapping[str, Any] = attrs.field(factory=dict)


def members_of(kind: Any) -> tuple[Member, ...] | None:
    """List the fields of a class, ``None`` for a type that isn't a class with fields.

    ``TypeError`` names a field of which no object could be built again.
    """
    if not isinstance(kind, type) or issubclass(kind, Media):
        return None
    reader = _reader_of(kind)
    return None if reader is None else tuple(reader(kind))


def is_pydantic(kind: Any) -> bool:
    """Tell whether a type is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def names_read(kind: Any) -> Mapping[str, str]:
    """Every name under which a class reads a field, with the field's name in JSON.

    Empty if the class has no field with an alias.
    """
    members = members_of(kind) or ()
    if not any(member.aliases for member in members):
        return {}
    names = {alias: member.name for member in members for alias in member.aliases}
    return names | {member.name: member.name for member in members}


def limits_of(extra: Any) -> dict[str, Any]:
    """The limits among the attributes of an object, such as ``lf.Field`` or ``annotated_types``."""
    limits = {name: getattr(extra, name, None) for name in LIMITS}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _reader_of(kind: type) -> Any:
    if attrs.has(kind):
        return _of_attrs
    if typing.is_typeddict(kind):
        return _of_typed_dict
    if dataclasses.is_dataclass(kind):
        return _of_dataclass
    if is_named_tuple(kind):
        return _of_named_tuple
    if issubclass(kind, msgspec.Struct):
        return _of_struct
    return _of_pydantic if is_pydantic(kind) else None


def _of_attrs(kind: Any) -> Iterator[Member]:
    """List the fields of an attrs class; their metadata may hold limits and a description too."""
    attrs.resolve_types(kind, include_extras=True)
    for field in attrs.fields(kind):
        if field.metadata == LEAN:
            continue
        if field.type is None or not field.init:
            problem = (
                "has init=False, so it couldn't be built again" if field.type else "has no type"
            )
            msg = f"{kind.__name__}.{field.name} {problem}"
            raise TypeError(msg)
        notes = _notes(field.metadata)
        required = field.default is attrs.NOTHING
        yield Member(field.name, field.type, required, field.name, (), notes)


def _of_dataclass(kind: Any) -> Iterator[Member]:
    """List the fields of a dataclass that its ``__init__`` takes: the class fills in the others."""
    hints = _hints(kind)
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar) or hint is dataclasses.InitVar:
            msg = f"{kind.__name__}.{name} is an InitVar, so an object couldn't be built again"
            raise TypeError(msg)
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        defaults = (field.default, field.default_factory)
        required = all(default is dataclasses.MISSING for default in defaults)
        yield Member(
            field.name, hints[field.name], required, field.name, (), _notes(field.metadata)
        )


def _of_named_tuple(kind: Any) -> Iterator[Member]:
    hints = _hints(kind)
    for name in kind._fields:
        yield Member(name, hints.get(name, Any), name not in kind._field_defaults, name)


def _of_typed_dict(kind: Any) -> Iterator[Member]:
    for name, hint in _hints(kind).items():
        yield Member(name, hint, name in kind.__required_keys__, name)


def _of_struct(kind: Any) -> Iterator[Member]:
    for field in msgspec.structs.fields(kind):
        yield Member(field.name, field.type, field.required, field.name)


def _of_pydantic(kind: Any) -> Iterator[Member]:
    if getattr(kind, "__pydantic_root_model__", False):
        root = getattr(kind.model_fields["root"].annotation, "__name__", "its root's type")
        msg = f"{kind.__name__} is a RootModel, whose value has no fields: write {root} itself"
        raise TypeError(msg)
    if not kind.__pydantic_complete__:  # it names a class that was defined after it
        kind.model_rebuild(raise_errors=False)
    for name, info in kind.model_fields.items():
        notes: dict[str, Any] = {"description": info.description or ""}
        for extra in info.metadata:
            notes |= limits_of(extra)
        wire = alias_of(name, info)
        aliases = tuple(alias for alias in _pydantic_names(name, info) if alias != wire)
        yield Member(wire, info.annotation, info.is_required(), name, aliases, notes)


def _pydantic_names(name: str, info: Any) -> list[str]:
    """All names of a field: its own, and its aliases but for paths into other values."""
    choices = getattr(info.validation_alias, "choices", [info.validation_alias])
    names = [name, info.alias, *choices, info.serialization_alias]
    return list(dict.fromkeys(alias for alias in names if isinstance(alias, str)))


def _notes(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metadata[name] for name in ("description", *LIMITS) if name in metadata}


def _hints(kind: Any) -> dict[str, Any]:
    """The annotations of a class. ``TypeError`` names a type that can't be looked up."""
    with contextlib.suppress(NameError):
        return typing.get_type_hints(kind, include_extras=True)
    own_name = {getattr(kind, "__name__", ""): kind}  # a class of a function that contains itself
    try:
        return typing.get_type_hints(kind, localns=own_name, include_extras=True)
    except NameError as problem:
        name = kind.__name__ if isinstance(kind, (type, pytypes.FunctionType)) else str(kind)
        msg = f"{name} names the type {problem.name!r}, which its module doesn't have"
        raise TypeError(msg) from None
