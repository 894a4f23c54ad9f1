"""Object schemas of other systems in one plain form: references followed, alternatives merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import attrs

from lmflow.errors import BadSignature

_FIX = "Give the tool a schema of type object, or leave it out."
_MOST_REFERENCES = 1000


@attrs.frozen
class ObjectSchema:
    """The properties of an object, the names of those that are required, all other keywords."""

    properties: Mapping[str, Any]
    required: frozenset[str]
    keywords: Mapping[str, Any]


class TooManyReferences(ValueError):
    """A schema whose references, followed one by one, grow without bound."""


@attrs.define
class References:
    """The references within a schema. Few definitions that refer to each other twice stand for
    billions of schemas, so that only so many references are followed.
    """

    root: Any
    followed: int = 0

    def resolve(self, ref: Any) -> Any:
        """The schema that a reference points to, ``None`` if there is none."""
        self.followed += 1
        if self.followed > _MOST_REFERENCES:
            msg = f"it has more than {_MOST_REFERENCES} references within references"
            raise TooManyReferences(msg)
        return resolve(ref, self.root)


def object_schema(schema: Any) -> ObjectSchema:
    """Bring a schema to the form of one object.

    ``BadSignature`` if no object fits it, or it refers to something that it lacks.
    """
    try:
        return _merged(schema, References(schema), ())
    except RecursionError:
        raise BadSignature("schema", "it is nested too deeply", _FIX) from None
    except TooManyReferences as problem:
        raise BadSignature("schema", str(problem), _FIX) from None


def resolve(ref: Any, root: Any) -> Any:
    """The schema that a ``$ref`` points to within a schema, ``None`` if there is none."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    node = root
    for part in unquote(ref[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, (list, tuple)) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            return None
    return node if isinstance(node, (Mapping, bool)) else None


def _merged(schema: Any, references: References, refs: tuple[str, ...]) -> ObjectSchema:
    if schema is True or schema is None:
        return ObjectSchema({}, frozenset(), {})
    if not isinstance(schema, Mapping):
        raise BadSignature("schema", f"no object fits {_shown(schema)}", _FIX)
    if "$ref" in schema:
        return _referred(schema, references, refs)
    _check_type(schema)
    properties = schema.get("properties") or {}
    if not isinstance(properties, Mapping):
        raise BadSignature("properties", f"they are no object but {_shown(properties)}", _FIX)
    combined = ("properties", "required", "allOf", "anyOf", "oneOf")
    keywords = {key: value for key, value in schema.items() if key not in combined}
    own = ObjectSchema(properties, frozenset(_names(schema.get("required"))), keywords)
    for part in _schemas(schema.get("allOf")):
        own = _both(own, _merged(part, references, refs))
    for keyword in ("anyOf", "oneOf"):
        if alternatives := [part for part in _schemas(schema.get(keyword)) if _is_object(part)]:
            own = _both(own, _any_of([_merged(part, references, refs) for part in alternatives]))
    return own


def _referred(
    schema: Mapping[str, Any], references: References, refs: tuple[str, ...]
) -> ObjectSchema:
    ref = str(schema["$ref"])
    target = references.resolve(schema["$ref"])
    if target is None or ref in refs:
        problem = "it refers to itself" if ref in refs else "the schema has nothing there"
        raise BadSignature(f"$ref {ref[:80]}", problem, _FIX)
    siblings = {key: value for key, value in schema.items() if key != "$ref"}
    return _both(_merged(siblings, references, refs), _merged(target, references, (*refs, ref)))


def _check_type(schema: Mapping[str, Any]) -> None:
    kinds = schema.get("type", "object")
    names = kinds if isinstance(kinds, (list, tuple)) else [kinds]
    if names and "object" not in names:
        raise BadSignature("schema", f"its type is {_shown(kinds)}, not object", _FIX)


def _is_object(schema: Any) -> bool:
    """Tell whether an alternative may be an object: ``null`` beside one is no arguments."""
    if not isinstance(schema, Mapping):
        return schema is True
    kinds = schema.get("type", "object")
    return "object" in (kinds if isinstance(kinds, (list, tuple)) else [kinds])


def _both(left: ObjectSchema, right: ObjectSchema) -> ObjectSchema:
    """The schema of values that fit both schemas."""
    properties = dict(left.properties)
    for name, schema in right.properties.items():
        known = properties.get(name, schema)
        properties[name] = schema if known == schema else {"allOf": [known, schema]}
    keywords = {**right.keywords, **left.keywords}
    return ObjectSchema(properties, left.required | right.required, keywords)


def _any_of(alternatives: list[ObjectSchema]) -> ObjectSchema:
    """The schema of values that fit one of the schemas: all of their properties, required if all of
    them require it.
    """
    properties: dict[str, list[Any]] = {}
    for alternative in alternatives:
        for name, schema in alternative.properties.items():
            schemas = properties.setdefault(name, [])
            if schema not in schemas:
                schemas.append(schema)
    merged = {name: s[0] if len(s) == 1 else {"anyOf": s} for name, s in properties.items()}
    required = frozenset.intersection(*(alternative.required for alternative in alternatives))
    return ObjectSchema(merged, required, {})


def _schemas(value: Any) -> list[Any]:
    return [*value] if isinstance(value, (list, tuple)) else []


def _names(required: Any) -> Iterable[str]:
    if required is not None and not isinstance(required, (list, tuple)):
        raise BadSignature("required", f"it is no list but {_shown(required)}", _FIX)
    return (name for name in _schemas(required) if isinstance(name, str))


def _shown(value: Any) -> str:
    """The beginning of a value as Python writes it, which has no text for some numbers."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"
