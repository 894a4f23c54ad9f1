"""Outputs in the JSON of a reply: in one object, or in an object or list around that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.adapters.base import Unreadable
from lmflow.adapters.thinking import without_thinking
from lmflow.errors import BadValue, near
from lmflow.signatures.fields import Field, fields_of, unwrap_annotated
from lmflow.signatures.parsing import coerce, drop_unknown
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import load_strict

_WRAPPERS = frozenset({
    "answer", "arguments", "data", "json", "output", "outputs", "parameters", "properties",
    "reply", "response", "result", "results", "value", "values",
})  # fmt: skip
"""Keys that models write around their outputs, beside other members."""

_DEEPEST = 4


def read_json_value(value: Any, kind: Any) -> Any:
    """Bring a JSON value of a reply nearer to a type; members that the type lacks are dropped."""
    if isinstance(value, str) and value.lstrip()[:1] in {"<", "[", "\u25c1"}:
        value = _without_thinking(value)
    return coerce(drop_unknown(value, kind), kind)


def _without_thinking(text: str) -> str:
    """The text of a member without the thinking that it begins with: a model that is held to a
    schema has no other place for it.
    """
    answer = without_thinking(text)
    return answer.lstrip() if answer != text and answer.strip() else text


def outputs_in(signature: Signature, values: Iterable[Any]) -> dict[str, Any]:
    """Find the outputs in JSON values, by name: in the first object that has all of them.

    Else in the first that has some of them; else the first value is the only output. Objects in a
    wrapper count if none in the open has all. An error that ends ``values`` is raised if nothing
    came before it.
    """
    seen: list[Any] = []
    try:
        for value in values:
            for candidate in (value, opened(value)):
                if _has_all(signature, candidate):
                    return _own_members(signature, candidate)
            seen.append(value)
    except ValueError:
        if not seen:
            raise
    objects = [value for value in seen if _is_only_object(signature, value)]
    if objects:
        return {signature.outputs[0].name: objects[0]}
    return _outputs_within(signature, seen)


def opened(value: Any) -> Any:
    """The object or list that a text in a reply's JSON holds as JSON; any other value itself."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        return load_strict(value)
    except ValueError:
        return value


def _outputs_within(signature: Signature, seen: list[Any]) -> dict[str, Any]:
    """The outputs in a wrapper, or some of them, or the only one."""
    wrapped = [inner for value in seen for inner in _unwrapped(value)]
    for value in wrapped:
        if _has_all(signature, value):
            return _own_members(signature, value)
    for value in (*seen, *wrapped):
        if isinstance(value, dict) and value.keys() & _names(signature):
            return _own_members(signature, value)
    if len(signature.outputs) == 1:
        return {signature.outputs[0].name: _only_value(signature, seen[0])}
    return {}


def _names(signature: Signature) -> set[str]:
    return {field.name for field in signature.outputs}


def _has_all(signature: Signature, value: Any) -> bool:
    """Tell whether a value is an object with all required outputs, and at least one output."""
    if not isinstance(value, dict) or not value.keys() & _names(signature):
        return False
    return all(field.name in value for field in signature.outputs if field.required)


def _own_members(signature: Signature, value: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs among an object's members; ``Unreadable`` if another one seems to be misspelt."""
    field = signature.outputs[0]
    if _is_only_object(signature, value) and not _is_object_of(signature, value[field.name]):
        return {field.name: value}
    is_only = len(signature.outputs) == 1 and not _fits_named(signature, value)
    if is_only and _fits(signature, field, value):  # a mapping with a key of the output's name
        return {field.name: value}
    absent = [field.name for field in signature.outputs if field.name not in value]
    for name in value.keys() - _names(signature):
        if guess := near(name[:80], absent):
            msg = f"there is no output {name[:80]!r}.{guess}"
            raise Unreadable(msg.removesuffix("."))
    return {
        field.name: _without_repetition(signature, field, value[field.name])
        for field in signature.outputs
        if field.name in value
    }


def _is_only_object(signature: Signature, value: Any) -> bool:
    """Tell whether a value is the only output itself: an object with members of its class alone.

    A member of the class may be called as the output is, or as one within it.
    """
    return len(signature.outputs) == 1 and bool(value) and _is_object_of(signature, value)


def _is_object_of(signature: Signature, value: Any) -> bool:
    """Tell whether a value is an object of the first output's class, with no other members."""
    field = signature.outputs[0]
    if not isinstance(value, dict) or fields_of(unwrap_annotated(field.type)[0]) is None:
        return False
    try:
        signature.convert(field, coerce(value, field.type))
    except (ValueError, BadValue, RecursionError):
        return False
    return True


def _fits_named(signature: Signature, value: Mapping[str, Any]) -> bool:
    field = signature.outputs[0]
    return _fits(signature, field, value[field.name])


def _without_repetition(signature: Signature, field: Field, value: Any) -> Any:
    """The value of an output, from within ``{"answer": {"answer": ...}}`` if it must be there.

    A text that is such an object as JSON was written twice.
    """
    inner = opened(value)
    if not isinstance(inner, dict) or inner.keys() != {field.name}:
        return value
    is_text = isinstance(value, str) and isinstance(inner[field.name], str)
    return inner[field.name] if is_text or not _fits(signature, field, value) else value


def _only_value(signature: Signature, value: Any) -> Any:
    """The first of a value and the values within it, one by one, that fits the only output."""
    field, inner = signature.outputs[0], value
    for _ in range(_DEEPEST):
        if _fits(signature, field, inner):
            return inner
        if not isinstance(inner, (dict, list)) or len(inner) != 1:
            break
        inner = next(iter(inner.values())) if isinstance(inner, dict) else inner[0]
    return value


def _fits(signature: Signature, field: Field, value: Any) -> bool:
    try:
        signature.convert(field, read_json_value(value, field.type))
    except (ValueError, BadValue, RecursionError):
        return False
    return True


def _unwrapped(value: Any, depth: int = 0) -> Iterator[Any]:
    """The objects and lists within wrappers, from the outside in."""
    for inner in map(opened, _members_in_wrapper(value) if depth < _DEEPEST else ()):
        if isinstance(inner, (dict, list)):
            yield inner
            yield from _unwrapped(inner, depth + 1)


def _members_in_wrapper(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value if len(value) == 1 else []
    if not isinstance(value, dict) or _is_schema(value):
        return []
    if len(value) == 1:
        return [*value.values()]
    wrapped = [inner for name, inner in value.items() if name.lower() in _WRAPPERS]
    return wrapped or _only_object(value)


def _only_object(value: Mapping[str, Any]) -> list[Any]:
    """The only object or list among the members of an object."""
    inner = [member for member in value.values() if isinstance(member, (dict, list))]
    return inner if len(inner) == 1 else []


def _is_schema(value: Mapping[str, Any]) -> bool:
    """Tell whether an object is a JSON schema, such as the one that a model was asked to follow."""
    properties = value.get("properties")
    if not isinstance(properties, dict) or not properties:
        return False
    members = properties.values()
    return all(
        isinstance(m, dict) and m.keys() & {"type", "anyOf", "$ref", "enum"} for m in members
    )
