"""The type of adapters, and what they share: writing values into messages, collecting outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import BadValue
from lmflow.messages.messages import Attached, Message
from lmflow.signatures.fields import Field, holds_media, nullable, unwrap_annotated
from lmflow.signatures.signature import Signature
from lmflow.values.media import Media, is_media, media_of
from lmflow.values.record import EMPTY, Record, plain, pretty

_LINE = "\n"


class Unreadable(ValueError):
    """A reply lacks outputs or holds wrong ones; ``outputs`` are those that could be read."""

    def __init__(self, problem: str, outputs: Mapping[str, Any] = EMPTY) -> None:
        super().__init__(problem)
        self.outputs = outputs


@attrs.frozen(eq=False)
class Adapter:
    """One way to ask a model for outputs.

    ``form`` tells the model what to reply with. ``cue`` repeats that in short below the inputs,
    where small models heed it (empty for none). ``answer`` writes a demonstration's outputs in the
    form. ``read`` reads the outputs from a reply, told whether the reply is whole (not cut at the
    token limit), and raises nothing but ``Unreadable``. ``schema`` is the JSON schema that an
    endpoint may hold the reply to, ``None`` for none.
    """

    name: str
    form: Callable[[Signature], str]
    cue: Callable[[Signature], str]
    answer: Callable[[Signature, Mapping[str, Any]], str]
    read: Callable[[Signature, str, bool], Record]
    schema: Callable[[Signature], Record | None]


def sections(fields: tuple[Field, ...], values: Mapping[str, Any]) -> str:
    """Write values under their fields' markers; fields without a value are left out."""
    present = [field.name for field in fields if field.name in values]
    return "\n".join([f"[[{name}]]\n{text_for_model(values[name])}" for name in present])


def sections_with_media(
    fields: tuple[Field, ...], values: Mapping[str, Any], head: str = ""
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
        text += f"[[{field.name}]]\n"
        parts = _parts(value) if holds_media(field.type) else (text_for_model(value),)
        for part in parts:
            if isinstance(part, Media):
                attached.append(Attached(len(text), part))
            else:
                text += part
    return text, tuple(attached)


def user_message(
    fields: tuple[Field, ...], values: Mapping[str, Any], head: str = "", tail: str = ""
) -> Message:
    """Write the user's message with inputs, between a head and a tail; "Go." without inputs."""
    if any(map(_has_media, values.values())):
        text, attached = sections_with_media(fields, values, head)
    else:
        text, attached = sections(fields, values) or "Go.", ()
        text = f"{head}{_LINE}{text}" if head else text
    return Message("user", f"{text}{_LINE}{tail}" if tail else text, attached=attached)


def text_for_model(value: Any) -> str:
    """Write a value as a model reads it, the same for a typed value and for its stored JSON.

    A picture, sound or file is written as the JSON object that stands for it.
    """
    if type(value) is str:
        return value
    value = plain(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_line(item) for item in value):
        return "\n".join(f"[{number}] {item}" for number, item in enumerate(value, 1))
    return pretty(value)


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
