"""The fields of objects of frozen classes: all of them, those that are written, those that are
pickled.
"""

from __future__ import annotations

import enum
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


def field_names(kind: Any) -> tuple[str, ...] | None:
    """The fields of an attrs class, a msgspec Struct or a pydantic model, ``None`` for any other
    class. The libraries aren't imported: their classes are recognised by an attribute.
    """
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    if hasattr(kind, "__struct_fields__"):
        return tuple(kind.__struct_fields__)
    return tuple(kind.model_fields) if hasattr(kind, "__pydantic_fields__") else None


def is_frozen_object(value: Any) -> bool:
    """Tell whether a value is an enum member or an object of a frozen class, so that it can't
    change.
    """
    if isinstance(value, enum.Enum):
        return True
    kind: Any = type(value)
    if attrs.has(kind):
        return kind.__setattr__ is not object.__setattr__ and kind.__hash__ is not None
    if hasattr(kind, "__struct_config__"):
        return bool(kind.__struct_config__.frozen)
    return hasattr(kind, "__pydantic_fields__") and bool(kind.model_config.get("frozen"))


def written_fields(value: Any) -> dict[str, Any] | None:
    """The fields of an object as its JSON value has them: all but those with the metadata ``LEAN``
    that are at their defaults. ``None`` if its class isn't one of ``field_names``.
    """
    kind: Any = type(value)
    names = field_names(kind)
    if names is None:
        return None
    fields = {name: getattr(value, name) for name in names}
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
