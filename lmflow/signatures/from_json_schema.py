"""Imports JSON schemas of other systems as fields of a signature, under names that lmflow takes."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

import attrs

from lmflow.signatures.codec import codec_of
from lmflow.signatures.fields import Field
from lmflow.values.record import Record

_BARE: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
}
_TAKEN = frozenset({"items", "keys", "values", "get", "only", "digest"})
_LITERALS = (str, int, bool, type(None))


@attrs.frozen
class ImportedSchema:
    """An object's schema under names that lmflow takes.

    ``schema`` is what a model is told; ``names`` maps each name here to the name of the schema's
    owner, such as an MCP server.
    """

    fields: tuple[Field, ...]
    schema: Record
    names: Mapping[str, str]

    def owned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Give inputs their owner's names again, without optional inputs that are ``None``."""
        required = {field.name for field in self.fields if field.required}
        return {
            self.names[name]: value
            for name, value in inputs.items()
            if value is not None or name in required
        }


def import_schema(schema: Mapping[str, Any]) -> ImportedSchema:
    """Import the fields of an object's schema.

    Keywords beyond types are left to the schema's owner to check. A property that isn't required
    has its default, else null, which means that it is left out.
    """
    properties: Mapping[str, Mapping[str, Any]] = schema.get("properties") or {}
    required = frozenset(schema.get("required") or ())
    names = dict(zip(properties, valid_names(properties), strict=True))
    fields = tuple(
        _field(names[own], property_, required=own in required)
        for own, property_ in properties.items()
    )
    keywords = {
        key: value for key, value in schema.items() if key not in {"properties", "required"}
    }
    shown = {
        "type": "object",
        **keywords,
        "properties": {names[own]: property_ for own, property_ in properties.items()},
        "required": [names[own] for own in properties if own in required],
    }
    return ImportedSchema(fields, Record(shown), {name: own for own, name in names.items()})


def valid_names(names: Iterable[str]) -> list[str]:
    """Turn names into distinct names that lmflow takes: ``maxResults`` into ``max_results``."""
    valid: dict[str, None] = {}
    similar: Counter[str] = Counter()  # counts valid names by what they are without a number
    for name in names:
        plain = _valid_name(name)
        chosen, number = plain, similar[plain]
        while chosen in valid:
            number += 1
            chosen = f"{plain}_{number}"
        valid[chosen] = None
        similar[chosen] += 1
        if numbered := re.fullmatch(r"(.+)_\d+", chosen):
            similar[numbered[1]] += 1
    return list(valid)


def _valid_name(name: str) -> str:
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    plain = re.sub(r"[^a-z0-9_]+", "_", plain).strip("_") or "_"
    plain = f"_{plain}" if plain[0].isdigit() else plain
    return f"{plain}_" if keyword.iskeyword(plain) or plain in _TAKEN else plain


def _field(name: str, schema: Mapping[str, Any], *, required: bool) -> Field:
    kind, description = _checked_type(schema), str(schema.get("description") or "")
    if required:
        return Field(name=name, type=kind, description=description)
    default = schema.get("default")
    fits = default is not None and _fits(default, kind)
    if fits:
        return Field(name=name, type=kind, description=description, default=default)
    return Field(name=name, type=_union([kind, type(None)]), description=description, default=None)


def _checked_type(schema: Mapping[str, Any]) -> Any:
    """The type of a schema, ``Any`` if lmflow has no such type."""
    kind = _type(schema)
    try:
        codec_of(kind)
    except TypeError:
        return Any
    return kind


def _type(schema: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one return a keyword
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        if all(isinstance(choice, _LITERALS) for choice in choices):
            return Literal[tuple(choices)]
        return Any
    if members := schema.get("anyOf") or schema.get("oneOf"):
        return _union([_type(member) for member in members])
    kind = schema.get("type")
    if isinstance(kind, (list, tuple)):
        return _union([_type({**schema, "type": name}) for name in kind])
    if kind == "array":
        items = schema.get("items")
        return list[_type(items) if isinstance(items, Mapping) else Any]  # type: ignore[misc]
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
