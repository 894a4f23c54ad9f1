"""What adapters share: writing values into messages, collecting outputs from replies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import BadValue
from lmflow.messages.messages import Attached, Message
from lmflow.signatures.fields import Field, holds_media, holds_objects, nullable, unwrap_annotated
from lmflow.signatures.signature import Signature
from lmflow.values.attributes import is_object, written_fields
from lmflow.values.media import Media, is_media, media_of
from lmflow.values.record import EMPTY, Record, plain, pretty

_LINE = "\n"


class Unreadable(ValueError):
    """A reply lacks outputs or holds wrong ones; ``outputs`` are those that could be read."""

    def __init__(self, problem: str, outputs: Mapping[str, Any] = EMPTY) -> None:
        super().__init__(problem)
        self.outputs = outputs


@attrs.frozen
class Marks:
    """What stands before and after a value in a message; ``{name}`` stands for its field's name."""

    before: str
    after: str = ""

    def around(self, name: str) -> tuple[str, str]:
        """The marks before and after a field's value."""
        return self.before.replace("{name}", name), self.after.replace("{name}", name)


BRACKETS = Marks("[[{name}]]\n")
"""The marks of the adapters ``chat`` and ``json``: the name in brackets, on a line of its own."""


def sections(fields: tuple[Field, ...], values: Mapping[str, Any], marks: Marks = BRACKETS) -> str:
    """Write values between their fields' marks; fields without a value are left out."""
    parts = []
    for field in fields:
        if field.name in values:
            before, after = marks.around(field.name)
            parts.append(f"{before}{text_for_model(values[field.name])}{after}")
    return _LINE.join(parts)


def sections_with_media(
    fields: tuple[Field, ...], values: Mapping[str, Any], head: str = "", marks: Marks = BRACKETS
) -> tuple[str, tuple[Attached, ...]]:
    """Write values under their fields' markers, below a head, and collect their media.

    Returns the text, and the pictures, sounds and files with their positions in it. In a list each
    medium has its number before it, as texts in a list have.
    """
    text, attached = head, []
    for field in fields:
        if field.name not in values:
            continue
        value = values[field.name]
        if text:
            text += _LINE
        before, after = marks.around(field.name)
        text += before
        parts = _parts(value) if holds_media(field.type) else (text_for_model(value),)
        for part in parts:
            if isinstance(part, Media):
                attached.append(Attached(len(text), part))
            else:
                text += part
        text += after
    return text, tuple(attached)


def user_message(
    fields: tuple[Field, ...], values: Mapping[str, Any], head: str = "", tail: str = "",
    marks: Marks = BRACKETS,
) -> Message:  # fmt: skip
    """Write the user's message with inputs, between a head and a tail; "Go." without inputs."""
    if any(map(_has_media, values.values())):
        text, attached = sections_with_media(fields, values, head, marks)
    else:
        text, attached = sections(fields, values, marks) or "Go.", ()
        text = f"{head}{_LINE}{text}" if head else text
    return Message("user", f"{text}{_LINE}{tail}" if tail else text, attached=attached)


def text_for_model(value: Any) -> str:
    """Write a value as a model reads it, the same for a typed value and for its stored JSON.

    A picture, sound or file is written as the JSON object that stands for it.
    """
    if type(value) is str:
        return value
    value = plain(in_order(value))
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_line(item) for item in value):
        return "\n".join(f"[{number}] {item}" for number, item in enumerate(value, 1))
    return pretty(value)


def in_order(value: Any) -> Any:
    """The value with the members of each mapping sorted by name; those of objects stay in order.

    A store keeps mappings sorted: in any other order a replay from it would ask in other words.
    """
    if type(value) is str:
        return value
    if isinstance(value, Mapping):
        return {name: in_order(value[name]) for name in sorted(value, key=str)}
    if is_object(value) and not isinstance(value, Media):
        return {name: in_order(item) for name, item in (written_fields(value) or {}).items()}
    return [in_order(item) for item in value] if isinstance(value, (list, tuple)) else value


def in_class_order(signature: Signature, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a step's fields with objects of their classes, whose members stand in order.

    Stored ones have their members sorted by name. A value that doesn't fit stays as it is.
    """
    typed = dict(values)
    for field in (*signature.inputs, *signature.outputs):
        if field.name in values and holds_objects(field.type):
            with contextlib.suppress(ValueError, BadValue):
                typed[field.name] = signature.convert(field, values[field.name])
    return typed


def output_names(signature: Signature) -> tuple[str, ...]:
    """The names of a signature's outputs, in their order."""
    return tuple(field.name for field in signature.outputs)


def check_answered(text: str, reply: str) -> None:
    """Raise ``Unreadable`` if a reply is empty once its thinking is removed from the text."""
    if text.strip() and not reply.strip():
        msg = "the reply is thinking alone, without an answer after it"
        raise Unreadable(msg)


def collect_outputs(
    signature: Signature, values: Mapping[str, Any], read: Callable[[Any, Any], Any]
) -> Record:
    """Convert the value found for each output; ``read(value, type)`` interprets one.

    ``Unreadable`` names every problem, and holds the outputs without one.
    """
    problems: list[str] = []
    outputs: dict[str, Any] = {}
    for field in signature.outputs:
        try:
            outputs[field.name] = _output(signature, field, values, read)
        except (ValueError, BadValue) as problem:
            problems.append(f"{field.name}: {problem}")
        except RecursionError:
            problems.append(f"{field.name}: it is nested too deeply")
    if problems:
        raise Unreadable("; ".join(problems), outputs)
    return Record(outputs)


def _output(
    signature: Signature, field: Field, values: Mapping[str, Any], read: Callable[[Any, Any], Any]
) -> Any:
    if field.name in values:
        return signature.convert(field, read(values[field.name], field.type))
    if not field.required:
        return signature.default(field)
    if nullable(field.type) and unwrap_annotated(field.type)[0] is not Any:
        return None
    msg = "it is missing"
    raise Unreadable(msg)


def _has_media(value: Any) -> bool:
    """Tell whether a value is a picture, sound or file, or a list with one."""
    if type(value) is str:
        return False
    if isinstance(value, (list, tuple)):
        return any(map(_has_media, value))
    return isinstance(value, Media) or is_media(value)


def _parts(value: Any) -> Iterator[str | Media]:
    """Split a value into texts and media; each item of a list has a number and its own line."""
    if isinstance(value, Media) or is_media(value):
        yield value if isinstance(value, Media) else media_of(value)
    elif isinstance(value, (list, tuple)) and value:
        for number, item in enumerate(value, 1):
            yield f"[{number}] " if number == 1 else f"{_LINE}[{number}] "
            yield from _parts(item)
    else:
        yield text_for_model(value)


def _is_line(item: Any) -> bool:
    return isinstance(item, str) and item == item.strip() and len(item.splitlines()) == 1
