"""JSON schemas that others wrote, as fields of a signature: names that lmflow takes, types as far
as they go.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

import attrs

from lmflow.signatures.codec import codec_of
from lmflow.signatures.signature import Field
from lmflow.values.record import Record

_BARE: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
}
_TAKEN = frozenset({"items", "keys", "values", "get", "only", "digest"})
_SAID = (str, int, bool, type(None))


@attrs.frozen
class Foreign:
    """An object's schema under names that lmflow takes: its fields, the schema as a model is told
    it, and by name the name that its owner knows.
    """

    fields: tuple[Field, ...]
    schema: Record
    names: Mapping[str, str]

    def owned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs under their owner's names, without those that are left out."""
        known = {field.name: field for field in self.fields}
        given = (
            (name, value)
            for name, value in inputs.items()
            if value is not None or known[name].required
        )
        return {self.names[name]: value for name, value in given}


def foreign(schema: Mapping[str, Any]) -> Foreign:
    """The fields that an object's schema stands for. What its keywords say beyond types is left to
    its owner to check.

    A property that isn't required has its default, else null, which means that it is left out.
    """
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties") or {}
    required = frozenset(schema.get("required") or ())
    names = dict(zip(properties, named(properties), strict=True))
    fields = tuple(_field(names[own], told, own in required) for own, told in properties.items())
    kept = {name: value for name, value in schema.items() if name not in {"properties", "required"}}
    shown = {
        "type": "object",
        **kept,
        "properties": {names[own]: told for own, told in properties.items()},
        "required": [names[own] for own in properties if own in required],
    }
    return Foreign(fields, Record(shown), {name: own for own, name in names.items()})


def named(names: Iterable[str]) -> list[str]:
    """Names as lmflow takes them, in order, each once: ``maxResults`` is ``max_results``."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        plain = re.sub(r"[^a-z0-9_]+", "_", plain).strip("_") or "_"
        plain = f"_{plain}" if plain[0].isdigit() else plain
        plain = f"{plain}_" if keyword.iskeyword(plain) or plain in _TAKEN else plain
        twice = sum(1 for other in found if re.fullmatch(rf"{re.escape(plain)}(_\d+)?", other))
        found.append(f"{plain}_{twice + 1}" if plain in found else plain)
    return found


def _field(name: str, told: Mapping[str, Any], required: bool) -> Field:  # noqa: FBT001 - as the schema has it
    kind, description = _kind(told), str(told.get("description") or "")
    if required:
        return Field(name=name, type=kind, description=description)
    default = told.get("default")
    fits = default is not None and _fits(default, kind)
    if fits:
        return Field(name=name, type=kind, description=description, default=default)
    return Field(name=name, type=_union([kind, type(None)]), description=description, default=None)


def _kind(told: Mapping[str, Any]) -> Any:
    """The type that a schema says, ``Any`` where there is none."""
    kind = _said(told)
    try:
        codec_of(kind)
    except TypeError:
        return Any
    return kind


def _said(told: Mapping[str, Any]) -> Any:
    if choices := told.get("enum") or ([told["const"]] if "const" in told else []):
        return (
            Literal[tuple(choices)] if all(isinstance(choice, _SAID) for choice in choices) else Any
        )
    if several := told.get("anyOf") or told.get("oneOf"):
        return _union([_said(part) for part in several])
    kind = told.get("type")
    if isinstance(kind, (list, tuple)):
        return _union([_said({**told, "type": one}) for one in kind])
    if kind == "array":
        items = told.get("items")
        return list[_said(items) if isinstance(items, Mapping) else Any]  # type: ignore[misc]
    if kind == "object":
        return dict[str, Any]
    return _BARE.get(str(kind), Any)


def _union(kinds: list[Any]) -> Any:
    return Any if Any in kinds or not kinds else Union[tuple(kinds)]  # noqa: UP007 - of any number


def _fits(value: Any, kind: Any) -> bool:
    try:
        codec_of(kind)(value)
    except ValueError:
        return False
    return True
