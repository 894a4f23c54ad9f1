"""What an adapter is, and what all of them share: how values are shown, and outputs gathered from
what was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import BadValue
from lmflow.messages.messages import Attached, Message
from lmflow.signatures.fields import Field, holds_media, nullable, peeled
from lmflow.signatures.signature import Signature
from lmflow.values.media import Media, is_media, media_of
from lmflow.values.record import EMPTY, Record, plain, pretty

_LINE = "\n"
_THINKING = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


class Unreadable(ValueError):
    """A reply that doesn't hold the outputs; says what is missing or wrong. ``found`` are those
    that could be read.
    """

    def __init__(self, problem: str, found: Mapping[str, Any] = EMPTY) -> None:
        super().__init__(problem)
        self.found = found


@attrs.frozen(eq=False)
class Adapter:
    """One way to ask for outputs.

    ``form`` tells the model what to reply with, ``cue`` says it in short below the inputs, where
    small models heed it (empty for none), ``answer`` writes a demonstration's outputs in that form,
    ``read`` takes a reply and whether it is whole (not cut at the token limit) and raises nothing
    but ``Unreadable``, ``schema`` is what an endpoint may hold the reply to.
    """

    name: str
    form: Callable[[Signature], str]
    cue: Callable[[Signature], str]
    answer: Callable[[Signature, Mapping[str, Any]], str]
    read: Callable[[Signature, str, bool], Record]
    schema: Callable[[Signature], Record | None]


def sections(fields: tuple[Field, ...], values: Mapping[str, Any]) -> str:
    """Values under their field markers; those that are absent are left out."""
    return "\n".join(f"[[{f.name}]]\n{shown(values[f.name])}" for f in fields if f.name in values)


def placed(
    fields: tuple[Field, ...], values: Mapping[str, Any], head: str = ""
) -> tuple[str, tuple[Attached, ...]]:
    """Values under their field markers, below a head: the text, and the pictures, sounds and files
    that stand in it.

    Of several in a list each has its number before it, as texts in a list have.
    """
    text, attached = head, []
    for field in fields:
        if field.name not in values:
            continue
        value = values[field.name]
        text += f"{_LINE * bool(text)}[[{field.name}]]\n"
        for part in _parts(value) if holds_media(field.type) else (shown(value),):
            if isinstance(part, Media):
                attached.append(Attached(len(text), part))
            else:
                text += part
    return text, tuple(attached)


def turn_of(
    fields: tuple[Field, ...], values: Mapping[str, Any], head: str = "", tail: str = ""
) -> Message:
    """The user's turn that gives inputs, between a head and a tail; "Go." where there is nothing to
    give.
    """
    if any(map(_attaches, values.values())):
        text, attached = placed(fields, values, head)
    else:
        text, attached = sections(fields, values) or "Go.", ()
        text = f"{head}{_LINE}{text}" if head else text
    return Message("user", f"{text}{_LINE}{tail}" if tail else text, attached=attached)


def shown(value: Any) -> str:
    """A value as a model reads it, the same for a typed value and for the JSON that is stored of
    it.

    A picture, sound or file is here what stands for it.
    """
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


def thought(text: str) -> str:
    """The thinking that a reasoning model put before its reply, empty where it put none."""
    found = _THINKING.match(text)
    return (
        found[0].strip().removeprefix("<think>").removesuffix("</think>").strip() if found else ""
    )


def gathered(
    signature: Signature, found: Mapping[str, Any], meant: Callable[[Any, Any], Any]
) -> Record:
    """The outputs from what was found of each; ``meant(found, type)`` reads one. ``Unreadable``
    names every problem.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for field in signature.outputs:
        try:
            values[field.name] = _value(signature, field, found, meant)
        except (ValueError, BadValue) as problem:
            problems.append(f"{field.name}: {problem}")
        except RecursionError:
            problems.append(f"{field.name}: it is nested too deeply")
    if problems:
        raise Unreadable("; ".join(problems), values)
    return Record(values)


def _value(
    signature: Signature, field: Field, found: Mapping[str, Any], meant: Callable[[Any, Any], Any]
) -> Any:
    if field.name in found:
        return signature.taken(field, meant(found[field.name], field.type))
    if not field.required:
        return signature.default(field)
    if nullable(field.type) and peeled(field.type)[0] is not Any:
        return None
    msg = "it is missing"
    raise Unreadable(msg)


def _attaches(value: Any) -> bool:
    """Whether there is something to attach, where a field says that it holds media."""
    if type(value) is str:
        return False
    if isinstance(value, (list, tuple)):
        return any(map(_attaches, value))
    return isinstance(value, Media) or is_media(value)


def _parts(value: Any) -> Iterator[str | Media]:
    """A value of a type that holds media: each of a list is numbered, on a line of its own."""
    if isinstance(value, Media) or is_media(value):
        yield value if isinstance(value, Media) else media_of(value)
    elif isinstance(value, (list, tuple)) and value:
        for number, item in enumerate(value, 1):
            yield f"{_LINE * (number > 1)}[{number}] "
            yield from _parts(item)
    else:
        yield shown(value)


def _is_line(item: Any) -> bool:
    return isinstance(item, str) and item == item.strip() and len(item.splitlines()) == 1
