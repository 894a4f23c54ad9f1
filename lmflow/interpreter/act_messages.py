"""The messages of an agent's step: a chat with native calls, or calls in text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import sections, user_message
from lmflow.adapters.conversation import history_messages
from lmflow.adapters.registry import adapter_of
from lmflow.interpreter.act import NATIVE, TEXT, TRAJECTORY, Act, text_adapter
from lmflow.interpreter.tools import (
    ToolDescription,
    ToolUse,
    Turn,
    clip_observation,
    last_turns,
    omitted_steps_note,
    trajectory_text,
)
from lmflow.messages.messages import Message, ToolCall
from lmflow.programs.environment import Env
from lmflow.values.record import Record, pretty

Params = Env | Mapping[str, Any]


def act_messages(
    step: Act, params: Params, inputs: Mapping[str, Any], form: str = ""
) -> tuple[Message, ...]:
    """Write the exact messages of the step in a form of calls, by default the step's own."""
    form = form or params[f"{step.name}.adapter"] or NATIVE
    if form == NATIVE:
        return tuple(_native_messages(step, params, inputs))
    return tuple(_text_messages(step, params, inputs, text_adapter(form)))


def act_reply(step: Act, form: str, outputs: Mapping[str, Any]) -> Message:
    """Write a thought and calls as the reply that the step asks for in a form of calls."""
    if form == NATIVE:
        return _native_reply(outputs.get("thought", ""), outputs.get("calls", ()))
    text = text_adapter(form).answer(step.reply_signature, _demo_outputs(outputs))
    return Message("assistant", text)


def described_tools(step: Act, params: Params) -> Iterator[tuple[ToolDescription, str]]:
    """Pair each tool with its description under these parameters."""
    texts = params[f"{step.name}.tools"]
    for tool in step.toolset:
        yield tool, texts.get(tool.name, tool.description)


def _native_messages(step: Act, params: Params, inputs: Mapping[str, Any]) -> Iterator[Message]:
    """Write a chat with native calls and their observations.

    Demonstrations stand in the system message, since a message with calls must be answered.
    """
    examples = (_demo_in_words(step, demo) for demo in _demos(step, params))
    system = "\n\n".join(part for part in (params[f"{step.name}.instruction"], *examples) if part)
    turns = inputs.get(TRAJECTORY, ())
    if system:
        yield Message("system", system)
    earlier, note = history_messages(adapter_of(TEXT), step.signature, inputs, step.cuts)
    yield from earlier
    fields = tuple(field for field in step.signature.marked_inputs if field.name != TRAJECTORY)
    shown = last_turns(turns, step.keep)
    omitted = len(turns) - len(shown)
    yield user_message(fields, inputs, note, omitted_steps_note(omitted) if omitted else "")
    for turn in shown:
        yield from _native_turn(turn, step.longest)


def _native_turn(turn: Turn, longest: int) -> Iterator[Message]:
    """Write a turn's thought and calls as one message, then a message per observation."""
    if turn.thought or turn.calls:
        yield _native_reply(turn.thought, turn.calls)
    for n, observation in enumerate(turn.observations):
        yield Message("tool", clip_observation(observation, longest), answers=f"call_{n}")
    if turn.problem:
        yield Message("user", f"That could not be read: {turn.problem}")


def _native_reply(thought: str, uses: Iterable[ToolUse]) -> Message:
    calls = tuple(
        ToolCall(use.name, pretty(use.arguments), f"call_{n}", use.state)
        for n, use in enumerate(uses)
    )
    return Message("assistant", thought, calls)


def _text_messages(
    step: Act, params: Params, inputs: Mapping[str, Any], adapter: Adapter
) -> Iterator[Message]:
    tools = "\n".join(
        ["Tools:", *(tool.line(text) for tool, text in described_tools(step, params))]
    )
    parts = (params[f"{step.name}.instruction"], tools, adapter.form(step.reply_signature))
    yield Message("system", "\n\n".join(part for part in parts if part))
    for demo in _demos(step, params):
        yield _input_message(step, demo)
        yield Message("assistant", adapter.answer(step.reply_signature, _demo_outputs(demo)))
    earlier, note = history_messages(adapter, step.signature, inputs, step.cuts)
    yield from earlier
    yield _input_message(step, inputs, note)


def _input_message(step: Act, inputs: Mapping[str, Any], head: str = "") -> Message:
    """Write the task's inputs, and the trajectory if it has turns, under their markers."""
    return user_message(step.signature.marked_inputs, _shown_inputs(step, inputs), head)


def _shown_inputs(step: Act, inputs: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in inputs.items() if name != TRAJECTORY}
    if turns := inputs.get(TRAJECTORY, ()):
        shown[TRAJECTORY] = trajectory_text(turns, step.keep, step.longest)
    return shown


def _demos(step: Act, params: Params) -> Iterator[Record]:
    """The demonstrations with a reply that could be read, as typed values."""
    for demo in params[f"{step.name}.demos"]:
        if ("thought" in demo or "calls" in demo) and not demo.get("problem"):
            yield step.signature.typed(demo)


def _demo_outputs(demo: Mapping[str, Any]) -> dict[str, Any]:
    calls = [{"name": use.name, "arguments": use.arguments} for use in demo.get("calls", ())]
    return {"thought": demo.get("thought", ""), "calls": calls}


def _demo_in_words(step: Act, demo: Mapping[str, Any]) -> str:
    """Write a demonstration in words, for a chat whose calls aren't text."""
    calls = [f"{call.name} {pretty(call.arguments)}" for call in demo.get("calls", ())]
    return "\n".join(
        [
            "An example of a step:",
            sections(step.signature.marked_inputs, _shown_inputs(step, demo)),
            f"Next: {demo.get('thought', '')}".rstrip(),
            *calls,
        ]
    )
