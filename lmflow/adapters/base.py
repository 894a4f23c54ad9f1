"""What an adapter is, and what all of them share: how values are shown, and outputs gathered from what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadValue
from lmflow.field import Field, nullable, peeled
from lmflow.signature import Signature
from lmflow.values import Record, plain, pretty

_THINKING = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


class Unreadable(ValueError):
    """A reply that doesn't hold what the signature promises; its text says what is wrong."""


@attrs.frozen(eq=False)
class Adapter:
    """One way to ask for outputs.

    ``form`` tells the model what to reply with, ``answer`` writes a demonstration's outputs in that form, ``read``
    takes a reply and whether it is whole (not cut at the token limit) and raises nothing but ``Unreadable``, ``schema``
    is what an endpoint may hold the reply to.
    """

    name: str
    form: Callable[[Signature], str]
    answer: Callable[[Signature, Mapping[str, Any]], str]
    read: Callable[[Signature, str, bool], Record]
    schema: Callable[[Signature], Record | None]


def sections(fields: tuple[Field, ...], values: Mapping[str, Any]) -> str:
    """Values under their field markers; those that are absent are left out."""
    return "\n".join(f"[[{f.name}]]\n{shown(values[f.name])}" for f in fields if f.name in values)


def shown(value: Any) -> str:
    """A value as a model reads it, the same for a typed value and for the JSON that is stored of it."""
    if type(value) is str:
        return value
    value = plain(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_line(item) for item in value):
        return "\n".join(f"[{number}] {item}" for number, item in enumerate(value, 1))
    return pretty(value)


def spoken(text: str) -> str:
    """The reply without the thinking that a reasoning model put before it."""
    return _THINKING.sub("", text, count=1) if text.lstrip().startswith("<think>") else text


def gathered(signature: Signature, found: Mapping[str, Any], meant: Callable[[Any, Any], Any]) -> Record:
    """The outputs from what was found of each; ``meant(found, type)`` reads one. ``Unreadable`` names every problem."""
    problems, values = [], {}
    for field in signature.outputs:
        try:
            values[field.name] = _value(signature, field, found, meant)
        except (ValueError, BadValue) as problem:
            problems.append(f"{field.name}: {problem}")
        except RecursionError:
            problems.append(f"{field.name}: it is nested too deeply")
    if problems:
        raise Unreadable("; ".join(problems))
    return Record(values)


def _value(signature: Signature, field: Field, found: Mapping[str, Any], meant: Callable[[Any, Any], Any]) -> Any:
    if field.name in found:
        return signature.taken(field, meant(found[field.name], field.type))
    if not field.required:
        return signature.default(field)
    if nullable(field.type) and peeled(field.type)[0] is not Any:
        return None
    msg = "it is missing"
    raise Unreadable(msg)


def _is_line(item: Any) -> bool:
    return isinstance(item, str) and item == item.strip() and len(item.splitlines()) == 1
