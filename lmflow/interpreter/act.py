"""The step of an agent that asks a model what to call next: by native function calling, or in the
text of a reply.

Its parameter ``adapter`` says which: ``native``, ``chat``, ``json``; empty is native and, where the
endpoint refuses functions, chat from there on. The refused attempt is on record, and each turn says
in which form it was asked.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs

from lmflow.adapters.base import Adapter, Unreadable, sections, spoken, turn_of
from lmflow.adapters.conversation import earlier
from lmflow.adapters.registry import adapter_of
from lmflow.errors import NO_TOOLS, ModelFailed
from lmflow.interpreter.tools import (
    Form,
    Told,
    ToolUse,
    Turn,
    call_in,
    cut,
    is_call,
    last,
    left_out,
    story,
)
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict
from lmflow.signatures.signature import Field, Signature
from lmflow.values.json_text import candidates, load
from lmflow.values.record import Record, pretty

NATIVE: Form = "native"
TEXT: Form = "chat"
TRAJECTORY = "trajectory"
_CUT_OFF = "it was cut off at the token limit"

Params = Env | Mapping[str, Any]


@attrs.frozen
class Wanted:
    """A call as a reply writes it."""

    name: str
    arguments: dict[str, Any] = attrs.field(factory=dict)


_ASKED = (
    Field(
        name="thought", description="what you know by now and what to do next, briefly", default=""
    ),
    Field(
        name="calls",
        type=list[Wanted],
        default=(),
        description="the tools to call now, side by side; [] once you know enough",
    ),
)
_GIVES = (
    Field(name="thought"),
    Field(name="calls", type=tuple[ToolUse, ...]),
    Field(name="form", type=Form),
    Field(name="problem"),
)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Act(Predict):
    """A predictor that is told of tools and gives the calls to make next, none once it has come to
    its end.

    It reads the task's inputs and the ``trajectory``, of which it is shown the last ``keep`` turns,
    with observations cut to ``longest`` characters. What it is told of each tool is a parameter
    too, ``tools``: name -> description.
    """

    toolset: tuple[Told, ...] = ()
    keep: int | None = None
    longest: int = 0

    @property
    def identity(self) -> Any:
        """Name, the task's inputs, the tools with their schemas, and what is shown of the
        trajectory.
        """
        inputs, _ = Signature(self.task, _ASKED).identity
        tools = [[tool.name, tool.parameters] for tool in self.toolset]
        return ["Act", self.name, inputs, tools, self.keep, self.longest]

    @property
    def slots(self) -> Mapping[str, Any]:
        """A predictor's, and the descriptions of the tools."""
        own = {
            name: getattr(self, name)
            for name in ("instruction", "demos", "options", "model", "adapter")
        }
        return {**own, "tools": Record({tool.name: tool.description for tool in self.toolset})}

    @functools.cached_property
    def asking(self) -> Signature:
        """What is put to a model in a text: the task's inputs and the trajectory, a thought and
        calls.
        """
        return Signature(self.signature.inputs, _ASKED)

    @property
    def task(self) -> tuple[Field, ...]:
        """The task's inputs."""
        return tuple(field for field in self.signature.inputs if field.name != TRAJECTORY)


def act_of(  # noqa: PLR0913 - what it is made of
    name: str,
    inputs: tuple[Field, ...],
    instruction: str,
    toolset: tuple[Told, ...],
    *,
    keep: int | None,
    longest: int,
    **defaults: Any,
) -> Act:
    """The step for a task with these inputs; ``defaults`` are a predictor's (options, model,
    adapter, timeout).
    """
    trajectory = Field(name=TRAJECTORY, type=tuple[Turn, ...], default=())
    signature = Signature(
        (trajectory, *inputs), _GIVES
    )  # the task last, nearest to what is asked for
    if (adapter := defaults.get("adapter")) and adapter != NATIVE:
        _ = _adapter(adapter)
    return Act(
        name=name,
        signature=signature,
        instruction=instruction,
        toolset=toolset,
        keep=keep,
        longest=longest,
        **defaults,
    )


async def acted(step: Act, env: Env, inputs: Record) -> Record:
    """One call of the model; what it thought and asks for, in which form, and the problem of a
    reply that can't be read. Where functions are refused and no form was chosen it asks once
    more, in chat.
    """
    chosen: Form | None = env[f"{step.name}.adapter"] or None
    turns: tuple[Turn, ...] = inputs[TRAJECTORY]
    form = chosen or (turns[-1].form if turns else NATIVE)
    if form == NATIVE:
        try:
            return await _asked(step, env, inputs, form)
        except ModelFailed as failure:
            if chosen or failure.kind != NO_TOOLS:
                raise
    return await _asked(step, env, inputs, _text_form(step, env) if form == NATIVE else form)


def _text_form(step: Act, env: Env) -> Form:
    """The form of calls in a text: what the executor says for the model, else chat."""
    said: Any = env.adapters.of(env[f"{step.name}.model"])
    form: Form = said or TEXT
    return form


def messages_of(
    step: Act, params: Params, inputs: Mapping[str, Any], form: str = ""
) -> tuple[Message, ...]:
    """The exact messages that the step would send in its own form, or in another."""
    if (form or params[f"{step.name}.adapter"] or NATIVE) == NATIVE:
        return tuple(_native(step, params, inputs))
    return tuple(_textual(step, params, inputs, _adapter(form or params[f"{step.name}.adapter"])))


async def _asked(step: Act, env: Env, inputs: Record, form: Form) -> Record:
    tools = tuple(tool.entry(text) for tool, text in _told(step, env)) if form == NATIVE else ()
    adapter = None if form == NATIVE else _adapter(form)
    request = ChatRequest(
        messages_of(step, env, inputs, form),
        env[f"{step.name}.model"],
        options=env[f"{step.name}.options"],
        tools=tools,
        schema=adapter.schema(step.asking) if adapter else None,
    )
    reply = await Call(request, timeout=step.timeout)
    try:
        thought, calls = _read(step, adapter, reply)
    except Unreadable as problem:
        return Record(thought=reply.text, calls=(), form=form, problem=str(problem))
    return Record(thought=thought, calls=calls, form=form, problem="")


def _adapter(name: str) -> Adapter:
    """The adapter of a form in text. ``UnknownAdapter`` where there is none, native besides."""
    return adapter_of(name, (NATIVE,))


def _told(step: Act, params: Params) -> Iterator[tuple[Told, str]]:
    """Each tool with its description under these parameters."""
    texts = params[f"{step.name}.tools"]
    for tool in step.toolset:
        yield tool, texts.get(tool.name, tool.description)


def _native(step: Act, params: Params, inputs: Mapping[str, Any]) -> Iterator[Message]:
    """The turns of a chat, with calls and what answers them. Examples stand in the system message,
    since a turn with calls must be answered.
    """
    examples = (_example(step, demo) for demo in _demos(step, params))
    system = "\n\n".join(part for part in (params[f"{step.name}.instruction"], *examples) if part)
    turns = inputs.get(TRAJECTORY, ())
    kept = last(turns, step.keep)
    note = [left_out(len(turns) - len(kept))] if len(kept) < len(turns) else []
    yield from [Message("system", system)] if system else []
    said, gone = earlier(adapter_of(TEXT), step.signature, inputs, step.cuts)
    yield from said
    fields = tuple(field for field in step.signature.sectioned if field.name != TRAJECTORY)
    yield turn_of(fields, inputs, gone, "\n".join(note))
    for turn in kept:
        calls = tuple(
            ToolCall(use.name, pretty(use.arguments), f"call_{n}")
            for n, use in enumerate(turn.calls)
        )
        yield from [Message("assistant", turn.thought, calls)] if turn.thought or calls else []
        for n, seen in enumerate(turn.observations):
            yield Message("tool", cut(seen, step.longest), answers=f"call_{n}")
        if turn.problem:
            yield Message("user", f"That could not be read: {turn.problem}")


def _textual(
    step: Act, params: Params, inputs: Mapping[str, Any], adapter: Adapter
) -> Iterator[Message]:
    tools = "\n".join(["Tools:", *(tool.line(text) for tool, text in _told(step, params))])
    parts = (params[f"{step.name}.instruction"], tools, adapter.form(step.asking))
    yield Message("system", "\n\n".join(part for part in parts if part))
    for demo in _demos(step, params):
        yield _asking(step, demo)
        yield Message("assistant", adapter.answer(step.asking, _answered(demo)))
    said, gone = earlier(adapter, step.signature, inputs, step.cuts)
    yield from said
    yield _asking(step, inputs, gone)


def _asking(step: Act, inputs: Mapping[str, Any], head: str = "") -> Message:
    """The task's inputs, and the trajectory where there is one, under their markers."""
    return turn_of(step.signature.sectioned, _so_far(step, inputs), head)


def _so_far(step: Act, inputs: Mapping[str, Any]) -> dict[str, Any]:
    turns = inputs.get(TRAJECTORY, ())
    told = {TRAJECTORY: story(turns, step.keep, step.longest)} if turns else {}
    return {**{name: value for name, value in inputs.items() if name != TRAJECTORY}, **told}


def _demos(step: Act, params: Params) -> Iterator[Record]:
    """The demonstrations, typed, that show a step which could be read."""
    for demo in params[f"{step.name}.demos"]:
        if ("thought" in demo or "calls" in demo) and not demo.get("problem"):
            yield step.signature.typed(demo)


def _answered(demo: Mapping[str, Any]) -> dict[str, Any]:
    calls = [{"name": use.name, "arguments": use.arguments} for use in demo.get("calls", ())]
    return {"thought": demo.get("thought", ""), "calls": calls}


def _example(step: Act, demo: Mapping[str, Any]) -> str:
    """A demonstration in words, for a chat whose calls aren't text."""
    calls = [f"{use.name} {pretty(use.arguments)}" for use in demo.get("calls", ())]
    return "\n".join(
        [
            "An example of a step:",
            sections(step.signature.sectioned, _so_far(step, demo)),
            f"Next: {demo.get('thought', '')}".rstrip(),
            *calls,
        ]
    )


def _read(step: Act, adapter: Adapter | None, reply: ChatReply) -> tuple[str, tuple[ToolUse, ...]]:
    """The thought and the calls of a reply; words alone are the end. ``Unreadable`` says what is
    wrong with it.

    Models write calls in a text too, where they were asked for natively or in another shape: those
    count.
    """
    text, whole = spoken(reply.text).strip(), reply.finish != "length"
    if reply.calls:
        return text, tuple(map(_native_call, reply.calls))
    said, problem = _said(step, adapter, text, whole=whole)
    if said is not None and said.calls:
        return said.thought, tuple(ToolUse(use.name, use.arguments) for use in said.calls)
    if loose := _calls_in(text, [tool.name for tool in step.toolset], whole=whole):
        return re.split(r"[\[{<`]", text, maxsplit=1)[0].strip(), loose
    if problem is not None and ("{" in text or "[[" in text):
        raise problem
    if not whole:
        raise Unreadable(_CUT_OFF)
    return (said.thought if said is not None and said.thought else text or reply.refusal), ()


def _said(
    step: Act, adapter: Adapter | None, text: str, *, whole: bool
) -> tuple[Record | None, Unreadable | None]:
    """What an adapter reads in a text, or why it can't."""
    try:
        return (None if adapter is None else adapter.read(step.asking, text, whole)), None
    except Unreadable as problem:
        return None, problem


def _native_call(call: ToolCall) -> ToolUse:
    try:
        given = load(call.arguments or "{}")
    except ValueError as problem:
        return ToolUse(call.name, problem=str(problem))
    if isinstance(given, dict):
        return ToolUse(call.name, given)
    return ToolUse(call.name, problem=f"{call.arguments[:80]!r} is no JSON object")


def _calls_in(text: str, names: Collection[str], *, whole: bool) -> tuple[ToolUse, ...]:
    """The calls of known tools that stand in a text as JSON, each once."""
    found: list[ToolUse] = []
    with contextlib.suppress(ValueError):
        for value in candidates(text, whole=whole):
            found += [
                call_in(item)
                for item in (value if isinstance(value, list) else [value])
                if is_call(item, names)
            ]
    return tuple(dict.fromkeys(found))
