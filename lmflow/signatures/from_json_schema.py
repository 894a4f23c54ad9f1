"""Imports JSON schemas of other systems as fields of a signature, under names that lmflow takes."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

import attrs

from lmflow.errors import BadSignature, BadValue
from lmflow.signatures.codec import codec_of
from lmflow.signatures.fields import Field
from lmflow.signatures.schema_objects import References, TooManyReferences, object_schema
from lmflow.values.record import Record, plain

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
    owner, such as an MCP server. ``open_field`` is the input that holds any arguments by name, if
    the schema names none and takes all.
    """

    fields: tuple[Field, ...]
    schema: Record
    names: Mapping[str, str]
    open_field: str = ""

    def owned(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Give inputs their owner's names again, without optional inputs that are ``None``."""
        if self.open_field:
            return dict(inputs.get(self.open_field) or {})
        required = {field.name for field in self.fields if field.required}
        return {
            self.names[name]: value
            for name, value in inputs.items()
            if value is not None or name in required
        }


def import_schema(schema: Any) -> ImportedSchema:
    """Import the fields of an object's schema.

    Keywords beyond types are left to the schema's owner to check. A property that isn't required
    has its default, else null, which means that it is left out. ``BadSignature`` if no object fits
    the schema, or it refers to something that it lacks.
    """
    merged = object_schema(schema)
    properties = {name: told for name, told in merged.properties.items() if told is not False}
    for name in merged.required & (merged.properties.keys() - properties.keys()):
        raise BadSignature(name[:80], "it is required, and no value fits it", "Leave the tool out.")
    if not properties and _is_open(merged.keywords):
        return _open_schema(merged.keywords)
    names = dict(zip(properties, valid_names(properties), strict=True))
    fields = tuple(
        _field(names[own], told, schema, required=own in merged.required)
        for own, told in properties.items()
    )
    shown = {
        "type": "object",
        **merged.keywords,
        "properties": {names[own]: told for own, told in properties.items()},
        "required": [names[own] for own in properties if own in merged.required],
    }
    return ImportedSchema(fields, _record(shown), {name: own for own, name in names.items()})


def _is_open(keywords: Mapping[str, Any]) -> bool:
    """Tell whether an object without named properties says that it takes others."""
    extra = keywords.get("additionalProperties")
    return extra is True or isinstance(extra, Mapping) or bool(keywords.get("patternProperties"))


def _open_schema(keywords: Mapping[str, Any]) -> ImportedSchema:
    """One input that holds all arguments by name."""
    name, description = "arguments", "all arguments of the tool, by name"
    inner = {"type": "object", **keywords, "description": description}
    shown = {"type": "object", "properties": {name: inner}, "required": []}
    field = Field(name=name, type=dict[str, Any], description=description, default={})
    return ImportedSchema((field,), _record(shown), {name: name}, name)


def _record(schema: Mapping[str, Any]) -> Record:
    try:
        return Record(schema)
    except (BadValue, RecursionError) as problem:
        raise BadSignature("schema", f"it is no JSON schema ({problem!s:.80})") from None


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


def _field(name: str, schema: Any, root: Any, *, required: bool) -> Field:
    kind = _checked_type(schema, root)
    told = schema if isinstance(schema, Mapping) else {}
    description = str(told.get("description") or "")
    if required:
        return Field(name=name, type=kind, description=description)
    default = told.get("default")
    if default is not None and _fits(default, kind):
        return Field(name=name, type=kind, description=description, default=default)
    return Field(name=name, type=_union([kind, type(None)]), description=description, default=None)


def _checked_type(schema: Any, root: Any) -> Any:
    """The type of a schema, ``Any`` if lmflow has no such type."""
    try:
        kind = _type(schema, References(root), ())
        codec_of(kind)
    except (TypeError, RecursionError, TooManyReferences):
        return Any
    return kind


def _type(schema: Any, references: References, refs: tuple[str, ...]) -> Any:  # noqa: PLR0911 - one a keyword
    if not isinstance(schema, Mapping):
        return Any
    if "$ref" in schema:
        return _referred_type(schema, references, refs)
    if choices := _choices(schema):
        are_literals = all(isinstance(choice, _LITERALS) for choice in choices)
        return Literal[tuple(choices)] if are_literals else Any
    members = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(members, (list, tuple)):
        return _union(
            [_type(member, references, refs) for member in members if member is not False]
        )
    if isinstance(parts := schema.get("allOf"), (list, tuple)):
        kinds = [_type(part, references, refs) for part in (*parts, {**schema, "allOf": None})]
        said = [kind for kind in kinds if kind is not Any]
        return said[0] if said and all(kind == said[0] for kind in said) else Any
    kind = schema.get("type")
    if isinstance(kind, (list, tuple)):
        return _union([_type({**schema, "type": name}, references, refs) for name in kind])
    return _plain_type(kind, schema, references, refs)


def _plain_type(
    kind: Any, schema: Mapping[str, Any], references: References, refs: tuple[str, ...]
) -> Any:
    """The type of a schema without alternatives; one without ``type`` is told by its keywords."""
    if kind == "array" or (kind is None and "items" in schema):
        return list[_type(schema.get("items"), references, refs)]  # type: ignore[misc]
    if kind == "object" or (kind is None and "properties" in schema):
        extra = schema.get("additionalProperties")
        is_mapping = isinstance(extra, Mapping) and not schema.get("properties")
        return dict[str, _type(extra, references, refs) if is_mapping else Any]  # type: ignore[misc]
    return _BARE.get(str(kind), Any)


def _referred_type(schema: Mapping[str, Any], references: References, refs: tuple[str, ...]) -> Any:
    """The type of a reference, ``Any`` if it leads nowhere or back to itself."""
    target = references.resolve(schema["$ref"])
    ref = str(schema["$ref"])
    return Any if target is None or ref in refs else _type(target, references, (*refs, ref))


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    enum = schema.get("enum")
    if isinstance(enum, (list, tuple)) and enum:
        return [*enum]
    return [schema["const"]] if "const" in schema else []


def _union(kinds: list[Any]) -> Any:
    return Any if Any in kinds or not kinds else Union[tuple(kinds)]  # noqa: UP007 - of any number


def _fits(value: Any, kind: Any) -> bool:
    try:
        codec_of(kind)(plain(value))
    except (ValueError, BadValue, RecursionError):
        return False
    return True
