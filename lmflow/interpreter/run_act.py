"""Runs an agent's step: asks the model, and reads the thought and calls from its reply."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import Unreadable
from lmflow.adapters.thinking import without_thinking
from lmflow.errors import NO_TOOLS, ModelFailed
from lmflow.interpreter.act import NATIVE, TEXT, TRAJECTORY, Act, text_adapter
from lmflow.interpreter.act_messages import act_messages, described_tools
from lmflow.interpreter.asking import read_by
from lmflow.interpreter.tools import (
    CallForm,
    ToolUse,
    Turn,
    call_in,
    is_call,
)
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.values.json_text import candidates, load_unambiguous, repeated_member
from lmflow.values.record import Record

_BROKEN = "the call in it is no strict JSON, so it wasn't run"
_CUT_OFF = "it was cut off at the token limit; no call in it was run"


async def run_act(step: Act, env: Env, inputs: Record) -> Record:
    """Ask the model once for its thought and next calls.

    The outputs also hold the form of calls, and the problem of a reply that can't be read. If the
    endpoint refuses functions and no form is chosen, the model is asked once more, in chat.
    """
    chosen: CallForm | None = env[f"{step.name}.adapter"] or None
    turns: tuple[Turn, ...] = inputs[TRAJECTORY]
    form = chosen or (turns[-1].form if turns else NATIVE)
    if form == NATIVE:
        try:
            return await _ask(step, env, inputs, form)
        except ModelFailed as failure:
            if chosen or failure.kind != NO_TOOLS:
                raise
        form = _text_form(step, env)
    return await _ask(step, env, inputs, form)


def _text_form(step: Act, env: Env) -> CallForm:
    """The form of calls in text: that of the executor's rules for the model, else chat.

    Calls are written in the forms of chat and json alone.
    """
    rule = env.adapters.of(env[f"{step.name}.model"])
    return "json" if rule == "json" else TEXT


async def _ask(step: Act, env: Env, inputs: Record, form: CallForm) -> Record:
    tools = (
        tuple(tool.entry(text) for tool, text in described_tools(step, env))
        if form == NATIVE
        else ()
    )
    adapter = None if form == NATIVE else text_adapter(form)
    request = ChatRequest(
        act_messages(step, env, inputs, form),
        env[f"{step.name}.model"],
        options=env[f"{step.name}.options"],
        tools=tools,
        schema=adapter.schema(step.reply_signature) if adapter else None,
    )
    reply = await Call(request, timeout=step.timeout)
    try:
        thought, calls = _read(step, adapter, reply)
    except Unreadable as problem:
        return Record(thought=reply.text, calls=(), form=form, problem=str(problem))
    return Record(thought=thought, calls=calls, form=form, problem="")


def _read(step: Act, adapter: Adapter | None, reply: ChatReply) -> tuple[str, tuple[ToolUse, ...]]:
    """Read the thought and calls of a reply; a reply of words alone ends the agent.

    Calls in the text count too, since models write them there though they were asked for natively
    or in another shape. ``Unreadable`` says what is wrong with the reply.
    """
    # What is missing of a cut reply may be half of a statement or further calls, and a mended call
    # isn't what the model asked for. A tool may not undo it, so nothing is run on a guess: no call
    # of a cut reply, in whatever form, and no arguments but strict JSON with each member once.
    if reply.finish == "length":
        raise Unreadable(_CUT_OFF)
    text = without_thinking(reply.text).strip()
    if reply.calls:
        return text, tuple(map(_read_native_call, reply.calls))
    outputs, problem = _try_adapter(step, adapter, text)
    if outputs is not None and outputs.calls:
        _check_unambiguous(text)
        return outputs.thought, tuple(ToolUse(call.name, call.arguments) for call in outputs.calls)
    if outputs is not None and _states_calls(step, adapter, text):
        return outputs.thought, ()
    names = [tool.name for tool in step.toolset]
    if calls := _calls_in_text(text, names):
        _check_unambiguous(text)
        return re.split(r"[\[{<`]", text, maxsplit=1)[0].strip(), calls
    if problem is not None and ("{" in text or "[[" in text):
        raise problem
    if _holds_broken_call(text, names):
        raise Unreadable(_BROKEN)
    thought = outputs.thought if outputs is not None else ""
    return thought or text or reply.refusal, ()


def _check_unambiguous(text: str) -> None:
    if (name := repeated_member(text)) is not None:
        msg = f"it has the member {name[:80]!r} twice, with different values; no call in it was run"
        raise Unreadable(msg)


def _try_adapter(
    step: Act, adapter: Adapter | None, text: str
) -> tuple[Record | None, Unreadable | None]:
    """Read a text by an adapter without mending it: the outputs, or the problem of the text."""
    if adapter is None:
        return None, None
    try:
        return read_by(adapter, step.reply_signature, text, whole=False), None
    except Unreadable as problem:
        return None, problem


def _states_calls(step: Act, adapter: Adapter | None, text: str) -> bool:
    """Tell whether a text states its calls in the form that was asked for: a call elsewhere in it,
    as in a code fence, is then an example.
    """
    if adapter is None:
        return False
    try:
        read_by(adapter, step.stated_signature, text, whole=False)
    except Unreadable:
        return False
    return True


def _read_native_call(call: ToolCall) -> ToolUse:
    try:
        arguments = load_unambiguous(call.arguments or "{}")
    except ValueError as problem:
        return ToolUse(call.name, problem=str(problem), state=call.state)
    if isinstance(arguments, dict):
        return ToolUse(call.name, arguments, state=call.state)
    return ToolUse(call.name, problem=f"{call.arguments[:80]!r} is no JSON object")


def _calls_in_text(text: str, names: Collection[str], *, mend: bool = False) -> tuple[ToolUse, ...]:
    """Find the calls of known tools that a text holds as JSON, each once."""
    items = _items_in_text(text, mend=mend)
    return tuple(dict.fromkeys(call_in(item) for item in items if is_call(item, names)))


def _holds_broken_call(text: str, names: Collection[str]) -> bool:
    """Tell whether a text seems to hold a call, in broken JSON or with arguments of no object."""
    if _calls_in_text(text, names, mend=True):
        return True
    items = [item for item in _items_in_text(text, mend=True) if isinstance(item, dict)]
    return any(item.get("name") in names and "arguments" in item for item in items)


def _items_in_text(text: str, *, mend: bool) -> list[Any]:
    """The values in a text that may be calls: in the open, in lists, under ``calls``."""
    items: list[Any] = []
    with contextlib.suppress(ValueError):
        for value in candidates(text, whole=mend):
            inner = value.get("calls") if isinstance(value, dict) else value
            items += inner if isinstance(inner, list) else [value]
    return items
