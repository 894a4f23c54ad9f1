"""Construction of objects by their own classes: attrs, TypedDict, msgspec Struct, pydantic."""

from __future__ import annotations

import json
import typing
from typing import Any

import attrs
import msgspec
import toolz

from lmflow.signatures.fields import is_pydantic
from lmflow.values.record import Record


def new_instance(kind: Any, arguments: dict[str, Any], value: dict[str, Any]) -> Any:
    """Make an instance of a class from its converted fields; pydantic converts ``value`` itself."""
    if typing.is_typeddict(kind):
        return Record(arguments)
    if is_pydantic(kind):
        return kind.model_validate_json(json.dumps(value))
    if attrs.has(kind):
        aliases = {field.name: field.alias or field.name for field in attrs.fields(kind)}
        return kind(**toolz.keymap(aliases.__getitem__, arguments))
    return kind(**arguments)


def error_message(error: Exception) -> str:
    """The message of an error that a class raised: pydantic's first, or the first argument."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first: Any = toolz.first(errors())
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return str(error.args[0] if error.args else type(error).__name__)


def check_frozen(kind: Any) -> None:
    """Raise ``TypeError`` with the line that mends it if instances of a class can be changed."""
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
