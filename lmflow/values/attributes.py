"""The fields of objects of frozen classes: all of them, those that are written, those that are
pickled.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import attrs

LEAN: Mapping[str, Any] = {"lmflow": "lean"}
"""Metadata of a field that JSON values and descriptions of its class leave out at its default: a
field that is added later then changes no digest, root or prompt.
"""


def lean(value: Any) -> dict[str, Any]:
    """The fields of an attrs value that differ from their defaults, so that a field that is added
    later changes no digest. Fields that don't count in its equality are left out.
    """
    fields = {}
    for name, default in _defaults(value.__class__):
        field = getattr(value, name)
        if field is not default and field != default:
            fields[name] = field
    return fields


def uncached(value: Any) -> dict[str, Any]:
    """The state that is pickled of an object: its fields, without values that
    ``functools.cached_property`` computed from them.
    """
    kind = type(value)
    return {
        name: field
        for name, field in vars(value).items()
        if not isinstance(getattr(kind, name, None), functools.cached_property)
    }


@functools.cache
def written_names(kind: Any) -> Mapping[str, str] | None:
    """The attributes of a class's objects that are written, each with its name in JSON.

    ``None`` for a class that isn't one of attrs, dataclasses, NamedTuple, msgspec Struct and
    pydantic. The libraries aren't imported: their classes are recognised by an attribute.
    """
    if attrs.has(kind):
        return {field.name: field.name for field in attrs.fields(kind)}
    if dataclasses.is_dataclass(kind):
        return {field.name: field.name for field in dataclasses.fields(kind) if field.init}
    if is_named_tuple(kind):
        return {name: name for name in kind._fields}
    if hasattr(kind, "__struct_fields__"):
        return {name: name for name in kind.__struct_fields__}
    if hasattr(kind, "__pydantic_fields__"):
        return {name: alias_of(name, info) for name, info in kind.model_fields.items()}
    return None


def alias_of(name: str, info: Any) -> str:
    """The name of a pydantic field in JSON: the first alias that pydantic reads, else its name."""
    choices = getattr(info.validation_alias, "choices", [info.validation_alias])
    texts = [alias for alias in (info.alias, *choices) if isinstance(alias, str)]
    return texts[0] if texts else info.serialization_alias or name


def is_named_tuple(kind: Any) -> bool:
    """Tell whether a class is a NamedTuple."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def is_object(value: Any) -> bool:
    """Tell whether a value is an object whose fields are written."""
    kind: Any = type(value)
    return not isinstance(value, type) and written_names(kind) is not None


def is_frozen_class(kind: Any) -> bool:
    """Tell whether the fields of a class's objects can't be assigned."""
    if attrs.has(kind):
        return kind.__setattr__ is not object.__setattr__ and kind.__hash__ is not None
    if hasattr(kind, "__dataclass_params__"):
        return bool(kind.__dataclass_params__.frozen)
    if hasattr(kind, "__struct_config__"):
        return bool(kind.__struct_config__.frozen)
    if hasattr(kind, "__pydantic_fields__"):
        return bool(kind.model_config.get("frozen"))
    return is_named_tuple(kind)


def written_fields(value: Any) -> dict[str, Any] | None:
    """The fields of an object as its JSON value has them: all but those with the metadata ``LEAN``
    that are at their defaults. ``None`` if its class isn't one of ``written_names``.
    """
    kind: Any = type(value)
    names = written_names(kind)
    if names is None:
        return None
    fields = {written: getattr(value, name) for name, written in names.items()}
    fields |= getattr(value, "__pydantic_extra__", None) or {}
    for name, default in lean_fields(kind).items():
        if fields[name] == default:
            del fields[name]
    return fields


@functools.cache
def lean_fields(kind: Any) -> Mapping[str, Any]:
    """The fields of an attrs class with the metadata ``LEAN``, with their defaults."""
    if not attrs.has(kind):
        return {}
    return {field.name: field.default for field in attrs.fields(kind) if field.metadata == LEAN}


@functools.cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of an attrs class with their defaults, ``NOTHING`` for a field without one."""
    defaults = []
    for field in attrs.fields(kind):
        default: Any = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory()
        if field.eq:
            defaults.append((field.name, default))
    return tuple(defaults)
