"""What a model and a tool tell each other: the tool's description and schema, the calls, what came
of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
import toolz

from lmflow.adapters.base import shown
from lmflow.errors import BadSignature, BadValue, DuplicateStep, near
from lmflow.programs.factories import tool
from lmflow.programs.program import Flow, Predict, Program, Tool
from lmflow.signatures.description import members, optional
from lmflow.signatures.json_schema import schema_of
from lmflow.signatures.parsing import loosened
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, freeze, plain, pretty, record

Kind = Literal["result", "failed", "unknown_tool", "bad_arguments", "too_many"]
Form = Literal["native", "chat", "json"]


@attrs.frozen
class ToolUse:
    """One call that a model asks for. ``problem`` says why its arguments couldn't be read, where
    they couldn't.
    """

    name: str
    arguments: Mapping[str, Any] = attrs.field(factory=Record, converter=record)
    problem: str = ""


@attrs.frozen
class Observation:
    """What came of one call: ``value`` where it is a result, else ``text``, the problem in words.

    ``kind`` is result; failed (the tool raised, or took too long), unknown_tool, bad_arguments, or
    too_many (it wasn't run: the reply asked for more calls than may run side by side).
    """

    tool: str
    kind: Kind
    value: Any = attrs.field(default=None, converter=freeze)
    text: str = ""

    def __str__(self) -> str:
        return (
            shown(self.value)
            if self.kind == "result"
            else f"Error ({self.kind.replace('_', ' ')}): {self.text}"
        )


@attrs.frozen
class Turn:
    """One step of an agent: what the model thought, the calls it asked for, and what came of each,
    in their order.

    ``form`` is how it was asked: ``native`` function calling, or in the text of a ``chat`` or
    ``json`` reply. ``problem`` says why the reply couldn't be read; ``thought`` is then the reply.
    """

    thought: str
    calls: tuple[ToolUse, ...] = ()
    observations: tuple[Observation, ...] = ()
    form: Form = "native"
    problem: str = ""

    @property
    def last(self) -> bool:
        """Whether the model has come to its end: it asks for no call."""
        return not self.calls and not self.problem


@attrs.frozen
class Told:
    """A tool as a model is told of it: name, description, the JSON schema of its arguments, and
    their sketch.
    """

    name: str
    description: str
    parameters: Record
    sketch: str

    def entry(self, description: str) -> Record:
        """What a request says of it, under another description than its own."""
        return Record(name=self.name, description=description, parameters=self.parameters)

    def line(self, description: str) -> str:
        """What a text says of it."""
        return f"- {self.name}: {description or 'no description'}\n  arguments: {self.sketch}"


def as_tools(tools: Iterable[Program | Callable[..., Any]]) -> tuple[Program, ...]:
    """Programs that a model may call: typed functions become tools, a program needs a name of its
    own.

    ``BadSignature`` where there is none or one has no name, ``DuplicateStep`` where two have one
    name.
    """
    found = tuple(given if isinstance(given, Program) else tool(given) for given in tools)
    if not found:
        raise BadSignature("tools=[]", "there is no tool to call", "Give some, or use lf.predict.")
    for program in found:
        if not program.frame:
            raise BadSignature(
                str(program), "a tool needs a name", 'Give it one: program.named("look_up").'
            )
    names = [program.frame for program in found]
    if not toolz.isdistinct(names):
        raise DuplicateStep(next(name for name in names if names.count(name) > 1))
    return found


def told(program: Program) -> Told:
    """What a model is told of a program that it may call."""
    own = program.parameters if isinstance(program, Tool) else None
    inputs = program.signature.inputs
    return Told(program.frame, description_of(program), own or schema_of(inputs), members(inputs))


def description_of(program: Program) -> str:
    """A tool's description, a flow's docstring, a predictor's default instruction; empty for
    others.
    """
    if isinstance(program, Tool):
        return program.description
    if isinstance(program, Predict):
        return program.instruction
    return (
        inspect.cleandoc(program.function.call.__doc__ or "") if isinstance(program, Flow) else ""
    )


def arguments_of(signature: Signature, given: Mapping[str, Any]) -> Record:
    """The inputs that a model's arguments are, each read as laxly as a reply and then checked; null
    means the default.

    ``ValueError`` names every argument that is unknown, missing or doesn't fit.
    """
    known = {field.name: field for field in signature.inputs}
    strange = (name[:80] for name in given if name not in known)
    problems = [
        f"there is no argument {name!r}.{near(name, known)}".removesuffix(".") for name in strange
    ]
    found: dict[str, Any] = {}
    for field in known.values():
        value = given.get(field.name)
        if value is None and (optional(field) or field.name not in given):
            problems += [f"{field.name} is missing"] if field.required else []
            continue
        try:
            found[field.name] = signature.taken(field, loosened(plain(value), field.type))
        except (ValueError, BadValue, RecursionError) as problem:
            problems.append(f"{field.name}: {problem}")
    if problems:
        raise ValueError("; ".join(problems))
    return Record(found)


def story(turns: Iterable[Turn], keep: int | None, longest: int) -> str:
    """Turns as a text: the last ``keep``, each observation cut to ``longest`` characters."""
    found = tuple(turns)
    kept = last(found, keep)
    before = len(found) - len(kept)
    lines = [left_out(before)] if before else []
    for number, turn in enumerate(kept, before + 1):
        lines += [f"Step {number}: {turn.thought}".rstrip(), *_said(turn, longest)]
    return "\n".join(lines)


def last(turns: tuple[Turn, ...], keep: int | None) -> tuple[Turn, ...]:
    """The turns that are shown: the last ``keep``, all without it."""
    return turns if keep is None else turns[-keep:]


def left_out(count: int) -> str:
    """What is said in place of turns that are not shown."""
    return f"({count} earlier step{'s' if count > 1 else ''} left out)"


def cut(observation: Observation, longest: int) -> str:
    """An observation as a model reads it, cut to so many characters with a note of how many are
    missing.
    """
    text = str(observation)
    over = len(text) - longest
    return f"{text[:longest]}\n({over} more characters left out)" if over > 0 else text


def _said(turn: Turn, longest: int) -> list[str]:
    if turn.problem:
        return [f"That could not be read: {turn.problem}"]
    lines = []
    for use, seen in zip(turn.calls, turn.observations, strict=True):
        lines += [f"{use.name} {pretty(use.arguments)}", f"-> {cut(seen, longest)}"]
    return lines


def is_call(value: Any, names: Iterable[str]) -> bool:
    """Whether a JSON value is a call of one of the tools, in the shape that models write in texts."""
    return (
        isinstance(value, dict)
        and value.get("name") in set(names)
        and isinstance(_given(value), dict)
    )


def call_in(value: Mapping[str, Any]) -> ToolUse:
    """The call that such a value is."""
    return ToolUse(str(value["name"]), _given(value) or {})


def _given(value: Mapping[str, Any]) -> Any:
    return value.get("arguments", value.get("parameters", {}))
