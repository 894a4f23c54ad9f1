"""The chat adapter: renders a step's messages from its parameters, reads its outputs from the reply, retries once.

Inputs stand under field markers (``[[question]]``), demonstrations are turns. A step with one output answers with its
bare value; one with several answers in marked sections.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from lmflow.effects import Call
from lmflow.errors import BadValue, ParseFailure
from lmflow.messages import ChatRequest, Message, ToolRequest
from lmflow.params import Env
from lmflow.program import Predict, Tool
from lmflow.signature import Field, Signature
from lmflow.types import read, type_text
from lmflow.values import Record, pretty

ADAPTER = "chat/1"

_MARKER = re.compile(r"^[ \t]*\[\[[ \t#]*(\w+)[ \t#]*\]\][ \t]*:?[ \t]*", re.MULTILINE)


class Unreadable(ValueError):
    """A reply that doesn't hold what the signature promises; its text says what is wrong."""


def render(step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[Message, ...]:
    """The exact messages that the step would send: instruction and form, demonstrations as turns, the inputs."""
    instruction, demos = params[f"{step.name}.instruction"], params[f"{step.name}.demos"]
    turns = (message for demo in _ordered(step.signature, demos) for message in _turns(step.signature, demo))
    system = "\n\n".join(part for part in (instruction, _form(step.signature.outputs)) if part)
    return (Message("system", system), *turns, Message("user", _sections(step.signature.inputs, inputs) or "Go."))


def parse(signature: Signature, text: str) -> Record:
    """The outputs that a reply holds, of the types that the signature says. ``Unreadable`` says what is missing or
    wrong.
    """
    names = [field.name for field in signature.outputs]
    found = _found(text, names)
    if len(names) == 1 and not found:
        found = {names[0]: _MARKER.split(text)[0].strip()}
    problems, values = [], {}
    for field in signature.outputs:
        try:
            values[field.name] = _value(field, found)
        except (ValueError, BadValue) as problem:
            problems.append(f"{field.name}: {problem}")
    if problems:
        raise Unreadable("; ".join(problems))
    return Record(values)


async def ask(step: Predict, env: Env, inputs: Record) -> Record:
    """Render, call, parse; one retry that tells the model what was wrong, then ``ParseFailure`` with both replies."""
    messages, problems, replies = render(step, env, inputs), [], []
    for _ in range(2):
        reply = await Call(_request(step, env, messages), timeout=step.timeout)
        try:
            return parse(step.signature, reply.text)
        except Unreadable as problem:
            problems.append(str(problem))
            replies.append(reply.text)
            messages = (
                *messages,
                Message("assistant", reply.text),
                Message("user", _mend(step.signature, str(problem))),
            )
    raise ParseFailure(step.name, _expected(step.signature), tuple(problems), tuple(replies))


async def use(tool: Tool, inputs: Record) -> Record:
    """One call of the tool's function; its result as a record of the tool's outputs."""
    request = ToolRequest(tool.name, tool.function.identity, inputs)
    reply = await Call(request, tool.function.call, tool.timeout)
    return tool.signature.outcome(tool.name, reply.value)


def _request(step: Predict, env: Env, messages: tuple[Message, ...]) -> ChatRequest:
    return ChatRequest(messages, model=env[f"{step.name}.model"], options=env[f"{step.name}.options"])


def _ordered(signature: Signature, demos: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    usable = [demo for demo in demos if _some(signature.inputs, demo) and _some(signature.outputs, demo)]
    return sorted(usable, key=lambda demo: _whole(signature, demo))


def _some(fields: tuple[Field, ...], demo: Mapping[str, Any]) -> bool:
    return any(field.name in demo for field in fields)


def _whole(signature: Signature, demo: Mapping[str, Any]) -> bool:
    return all(field.name in demo for field in (*signature.inputs, *signature.outputs) if field.required)


def _turns(signature: Signature, demo: Mapping[str, Any]) -> tuple[Message, Message]:
    asked = _sections(signature.inputs, demo)
    if not _whole(signature, demo):
        asked = f"(An example with some fields left out.)\n{asked}"
    return Message("user", asked), Message("assistant", _answered(signature.outputs, demo))


def _answered(fields: tuple[Field, ...], values: Mapping[str, Any]) -> str:
    return _shown(values[fields[0].name]) if len(fields) == 1 else _sections(fields, values)


def _sections(fields: tuple[Field, ...], values: Mapping[str, Any]) -> str:
    return "\n".join(f"[[{f.name}]]\n{_shown(values[f.name])}" for f in fields if f.name in values)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
        return "\n".join(f"[{number}] {item}" for number, item in enumerate(value, 1))
    return pretty(value)


def _form(fields: tuple[Field, ...]) -> str:
    hints = [_hint(field) for field in fields]
    if len(fields) > 1:
        sections = (f"[[{field.name}]]\n{hint or '...'}" for field, hint in zip(fields, hints, strict=True))
        return "\n".join(["Reply in this form:", *sections])
    return f"Reply with only {hints[0]}." if hints[0] else ""


def _hint(field: Field) -> str:
    kind = "" if field.type is str else _kind(field.type)
    return f"{field.description} ({kind})" if field.description and kind else field.description or kind


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of: {', '.join(map(str, get_args(kind)))}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"one of: {', '.join(str(member.value) for member in kind)}"
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    return names.get(kind) or f"JSON, {type_text(kind)}"


def _expected(signature: Signature) -> str:
    return ", ".join(f"`{field.name}` ({_hint(field) or 'text'})" for field in signature.outputs)


def _mend(signature: Signature, problem: str) -> str:
    return f"That could not be read: {problem}.\n{_form(signature.outputs) or 'Reply with only the answer.'}"


def _found(text: str, names: list[str]) -> dict[str, str]:
    parts = _MARKER.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in names:
            found.setdefault(name, body.strip())
    return found


def _value(field: Field, found: Mapping[str, str]) -> Any:
    if field.name in found:
        if field.type is not str and not found[field.name]:
            msg = "it is empty"
            raise Unreadable(msg)
        return read(found[field.name], field.type)
    if field.required:
        msg = f"there is no [[{field.name}]] section"
        raise Unreadable(msg)
    return field.default
