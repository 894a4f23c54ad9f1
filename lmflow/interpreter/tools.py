"""Tools that models call: descriptions and schemas, calls, observations, turns of a trajectory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs
import toolz

from lmflow.adapters.base import text_for_model
from lmflow.errors import BadSignature, BadValue, DuplicateStep, near
from lmflow.programs.factories import tool
from lmflow.programs.flow import Flow
from lmflow.programs.program import Predict, Program
from lmflow.programs.tool import Tool
from lmflow.signatures.description import null_means_default, object_sketch
from lmflow.signatures.json_schema import schema_of
from lmflow.signatures.parsing import coerce
from lmflow.signatures.signature import Signature
from lmflow.values.attributes import LEAN
from lmflow.values.record import Record, freeze, plain, pretty, record

ObservationKind = Literal["result", "failed", "unknown_tool", "bad_arguments", "too_many"]
CallForm = Literal["native", "chat", "json"]


@attrs.frozen
class ToolUse:
    """One call that a model asks for; ``problem`` says why its arguments couldn't be read.

    ``state`` is opaque data that the provider wants back with the call, such as a signature.
    """

    name: str
    arguments: Mapping[str, Any] = attrs.field(factory=Record, converter=record)
    problem: str = ""
    state: Any = attrs.field(default=None, converter=freeze, metadata=LEAN)


@attrs.frozen
class Observation:
    """The outcome of one call: ``value`` if it is a result, else ``text``, the problem in words.

    ``kind`` is result; failed (the tool raised an error, or took too long), unknown_tool,
    bad_arguments, or too_many (the reply asked for more calls than may run side by side, so this
    one didn't).
    """

    tool: str
    kind: ObservationKind
    value: Any = attrs.field(default=None, converter=freeze)
    text: str = ""

    def __str__(self) -> str:
        if self.kind == "result":
            return text_for_model(self.value)
        return f"Error ({self.kind.replace('_', ' ')}): {self.text}"


@attrs.frozen
class Turn:
    """One turn of an agent: the model's thought, its calls, and the observation of each, in order.

    ``form`` is how calls were asked for: by ``native`` function calling, or in the text of a
    ``chat`` or ``json`` reply. ``problem`` says why the reply couldn't be read; ``thought`` is then
    the reply.
    """

    thought: str
    calls: tuple[ToolUse, ...] = ()
    observations: tuple[Observation, ...] = ()
    form: CallForm = "native"
    problem: str = ""

    @property
    def last(self) -> bool:
        """Tell whether the agent has ended: the model asks for no call."""
        return not self.calls and not self.problem


@attrs.frozen
class ToolDescription:
    """A tool as a model sees it: name, description, JSON schema and sketch of its arguments."""

    name: str
    description: str
    parameters: Record
    sketch: str

    def entry(self, description: str) -> Record:
        """The tool in a request, with a description from the parameters."""
        return Record(name=self.name, description=description, parameters=self.parameters)

    def line(self, description: str) -> str:
        """The tool in the text of a prompt, with a description from the parameters."""
        return f"- {self.name}: {description or 'no description'}\n  arguments: {self.sketch}"


def as_tools(tools: Iterable[Program | Callable[..., Any]]) -> tuple[Program, ...]:
    """Make programs that a model may call; typed functions become tools.

    ``BadSignature`` if there is none or one has no name, ``DuplicateStep`` if two have one name.
    """
    programs = tuple(map(_as_tool, tools))
    if not programs:
        raise BadSignature("tools=[]", "there is no tool to call", "Give some, or use lf.predict.")
    for program in programs:
        if not program.frame:
            fix = 'Give it one: program.named("look_up").'
            raise BadSignature(str(program), "a tool needs a name", fix)
    names = [program.frame for program in programs]
    if not toolz.isdistinct(names):
        raise DuplicateStep(next(name for name in names if names.count(name) > 1))
    return programs


def _as_tool(source: Program | Callable[..., Any]) -> Program:
    return source if isinstance(source, Program) else tool(source)


def describe_tool(program: Program) -> ToolDescription:
    """Describe a program that a model may call."""
    inputs = program.signature.inputs
    own_schema = program.parameters if isinstance(program, Tool) else None
    schema = own_schema or schema_of(inputs)
    return ToolDescription(program.frame, description_of(program), schema, object_sketch(inputs))


def description_of(program: Program) -> str:
    """A tool's description, a flow's docstring or a predictor's instruction; else empty."""
    if isinstance(program, Tool):
        return program.description
    if isinstance(program, Predict):
        return program.instruction
    if isinstance(program, Flow):
        return inspect.cleandoc(program.function.call.__doc__ or "")
    return ""


def arguments_of(signature: Signature, values: Mapping[str, Any]) -> Record:
    """Convert a model's arguments to inputs, as laxly as a reply is read; null means the default.

    ``ValueError`` names every argument that is unknown, missing or doesn't fit.
    """
    names = [field.name for field in signature.inputs]
    unknown = (name[:80] for name in values if name not in names)
    problems = [
        f"there is no argument {name!r}.{near(name, names)}".removesuffix(".") for name in unknown
    ]
    inputs: dict[str, Any] = {}
    for field in signature.inputs:
        value = values.get(field.name)
        if value is None and (null_means_default(field) or field.name not in values):
            if field.required:
                problems.append(f"{field.name} is missing")
            continue
        try:
            inputs[field.name] = signature.convert(field, coerce(plain(value), field.type))
        except (ValueError, BadValue, RecursionError) as problem:
            problems.append(f"{field.name}: {problem}")
    if problems:
        raise ValueError("; ".join(problems))
    return Record(inputs)


def trajectory_text(turns: Iterable[Turn], keep: int | None, longest: int) -> str:
    """Write the last ``keep`` turns as text, each observation cut to ``longest`` characters."""
    all_turns = tuple(turns)
    shown = last_turns(all_turns, keep)
    omitted = len(all_turns) - len(shown)
    lines = [omitted_steps_note(omitted)] if omitted else []
    for number, turn in enumerate(shown, omitted + 1):
        lines += [f"Step {number}: {turn.thought}".rstrip(), *_turn_lines(turn, longest)]
    return "\n".join(lines)


def last_turns(turns: tuple[Turn, ...], keep: int | None) -> tuple[Turn, ...]:
    """The last ``keep`` turns, all if it is ``None``."""
    return turns if keep is None else turns[-keep:]


def omitted_steps_note(count: int) -> str:
    """The note in place of turns that are not shown."""
    return f"({count} earlier step{'s' if count > 1 else ''} left out)"


def clip_observation(observation: Observation, longest: int) -> str:
    """Write an observation for a model, cut to ``longest`` characters with a note of the rest."""
    text = str(observation)
    over = len(text) - longest
    return f"{text[:longest]}\n({over} more characters left out)" if over > 0 else text


def _turn_lines(turn: Turn, longest: int) -> list[str]:
    if turn.problem:
        return [f"That could not be read: {turn.problem}"]
    lines = []
    for call, observation in zip(turn.calls, turn.observations, strict=True):
        outcome = clip_observation(observation, longest)
        lines += [f"{call.name} {pretty(call.arguments)}", f"-> {outcome}"]
    return lines


def is_call(value: Any, names: Iterable[str]) -> bool:
    """Tell whether a JSON value has the shape in which models write a call of one of the tools."""
    if not isinstance(value, dict) or value.get("name") not in set(names):
        return False
    return isinstance(_arguments(value), dict)


def call_in(value: Mapping[str, Any]) -> ToolUse:
    """Read the call from a value of that shape."""
    return ToolUse(str(value["name"]), _arguments(value) or {})


def _arguments(value: Mapping[str, Any]) -> Any:
    return value.get("arguments", value.get("parameters", {}))
