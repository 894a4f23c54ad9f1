"""Steps that ask a model: their messages, the reading of the reply, one retry.

An adapter says in which form outputs are asked for; the rest is the same for all. The instruction
and the form are the system message, demonstrations and histories are turns, inputs stand under
field markers (``[[question]]``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import Unreadable, in_class_order, user_message
from lmflow.adapters.conversation import history_messages
from lmflow.adapters.registry import ADAPTER, NO_ADAPTER_RULES, AnyAdapter, adapter_of
from lmflow.adapters.thinking import thinking_of
from lmflow.adapters.truncation import Cut
from lmflow.errors import NoLogprobs
from lmflow.interpreter.asking import Asking, ask_and_read, ask_freely, extraction_of, read_by
from lmflow.interpreter.choices import Decision, decision_of
from lmflow.interpreter.described import described_signature
from lmflow.interpreter.nearest import nearest_by_words
from lmflow.interpreter.similarity import nearest_by_vectors
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ToolRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict
from lmflow.programs.tool import Tool
from lmflow.signatures.fields import (
    Confidence,
    Field,
    Reasoning,
    metadata_kind,
    nullable,
)
from lmflow.signatures.signature import Signature
from lmflow.values.record import EMPTY, Record

__all__ = ["ADAPTER", "Unreadable", "predict_messages", "read_outputs", "run_predict", "run_tool"]


def predict_messages(
    step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Message, ...]:
    """Write the exact messages of a step: system, demonstrations, earlier turns, inputs."""
    adapter = step_adapter(step, params)
    signature = described_signature(step, params)
    return (
        *_leading_messages(step, params, inputs),
        *_input_messages(adapter, step, signature, inputs),
    )


def read_outputs(
    signature: Signature, text: str, adapter: AnyAdapter = "", *, whole: bool = True
) -> Record:
    """Read the outputs of a signature from the text of a reply.

    ``whole`` is false for a reply that was cut at the token limit, of which nothing missing is made
    up. ``Unreadable`` says what is missing or wrong.
    """
    outputs = read_by(adapter_of(adapter), signature.for_model, text, whole=whole)
    if signature.for_model is signature:
        return outputs
    return _with_metadata(signature, outputs, ChatReply(text))


def step_adapter(step: Predict, params: Env | Mapping[str, Any]) -> Adapter:
    """Choose a step's adapter: its parameter, else the rule for the step's model, else chat."""
    name: AnyAdapter = params[f"{step.name}.adapter"]
    rules = params.adapters if isinstance(params, Env) else NO_ADAPTER_RULES
    known = (*step.own_adapters, *rules.known)
    return adapter_of(name or rules.of(params[f"{step.name}.model"]), known=known)


async def run_predict(step: Predict, env: Env, inputs: Record) -> Record:
    """Ask the model for the outputs of a step, with one retry if they can't be read.

    The retry tells the model what was wrong and asks only for the outputs that couldn't be read, in
    a form that holds it to their types. Then ``ParseFailure`` is raised, with both replies. An
    adapter of two steps asks for a free answer first, from which the outputs are then asked for.
    """
    shared = (
        _shared_parts(step, env, inputs)
        if step.nearest
        else env.once(step, lambda: _shared_parts(step, env, inputs))
    )
    asking, signature = shared.asking, step.signature.for_model
    messages = (*shared.head, *_messages_of_inputs(shared, step, inputs))
    extraction = asking.adapter.extraction
    if extraction is None:
        outputs, replies = await ask_and_read(asking, messages)
        reply = replies[-1]
    else:
        reply = await ask_freely(asking, messages)
        outputs, replies = await ask_and_read(*extraction_of(asking, extraction, reply))
    if shared.decision is not None:
        outputs = shared.decision.outputs(step.name, outputs, replies)
    return outputs if signature is step.signature else _fill_metadata(step, outputs, reply)


async def run_tool(tool: Tool, inputs: Record) -> Record:
    """Call a tool's function once, and convert its result to a record of the tool's outputs."""
    request = ToolRequest(tool.name, tool.function.identity, inputs, mode=tool.mode)
    reply = await Call(request, tool.function.call, tool.timeout, price=tool.price)
    return tool.signature.outcome(tool.name, reply.value)


@attrs.frozen(eq=False)
class _SharedParts:
    """The parts that all calls of a step share under the same parameters."""

    head: tuple[Message, ...]
    asking: Asking
    decision: Decision | None
    tail: str


def _shared_parts(step: Predict, env: Env, inputs: Mapping[str, Any]) -> _SharedParts:
    adapter, signature = step_adapter(step, env), described_signature(step, env)
    model, options = env[f"{step.name}.model"], env[f"{step.name}.options"]
    asking = Asking(step, adapter, signature, model, options, adapter.schema(signature))
    head, tail = _leading_messages(step, env, inputs), _tail(adapter, signature)
    return _SharedParts(head, asking, decision_of(step, env), tail)


def _messages_of_inputs(
    shared: _SharedParts, step: Predict, inputs: Mapping[str, Any]
) -> tuple[Message, ...]:
    """Write the earlier turns and the inputs of one call; most steps have inputs alone."""
    signature, marks = shared.asking.signature, shared.asking.adapter.marks
    if signature.histories or step.cuts:
        return _input_messages(shared.asking.adapter, step, signature, inputs)
    return (user_message(signature.marked_inputs, inputs, tail=shared.tail, marks=marks),)


def _leading_messages(
    step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Message, ...]:
    """Write the messages before the inputs: the system message and the demonstrations.

    They depend on the inputs only if the step shows the nearest demonstrations of a pool.
    """
    adapter, signature = step_adapter(step, params), described_signature(step, params)
    instruction, demos = params[f"{step.name}.instruction"], _demos(step, params, inputs)
    system = "\n\n".join(part for part in (instruction, adapter.form(signature)) if part)
    messages = [Message("system", system)] if system else []
    for demo in _usable_demos(signature, demos):
        messages += _demo_messages(adapter, signature, in_class_order(signature, demo))
    return tuple(messages)


def _input_messages(
    adapter: Adapter, step: Predict, signature: Signature, inputs: Mapping[str, Any]
) -> tuple[Message, ...]:
    """Write the earlier turns and the inputs, with the adapter's cue a line below them."""
    tail = _tail(adapter, signature)
    return _history_and_inputs(adapter, signature, inputs, step.cuts, tail=tail)


def _tail(adapter: Adapter, signature: Signature) -> str:
    cue = adapter.cue(signature)
    return f"\n{cue}" if cue else ""


def _history_and_inputs(  # noqa: PLR0913, PLR0917 - each is a part of its own
    adapter: Adapter,
    signature: Signature,
    inputs: Mapping[str, Any],
    cuts: Mapping[str, Cut] = EMPTY,
    head: str = "",
    tail: str = "",
) -> tuple[Message, ...]:
    """Write the earlier turns, then the other inputs between a head and a tail, all cut to size."""
    turns, note = history_messages(adapter, signature, inputs, cuts)
    if cuts:
        cut = {name: cuts[name].value(inputs[name]) for name in cuts if name in inputs}
        inputs = {**inputs, **cut}
    head = f"{note}\n{head}" if note and head else note or head
    return (*turns, user_message(signature.marked_inputs, inputs, head, tail, adapter.marks))


def _demos(
    step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """The step's demonstrations, then those of its pool that are nearest to the inputs."""
    demos: tuple[Mapping[str, Any], ...] = params[f"{step.name}.demos"]
    if not step.nearest:
        return demos
    names, pool = tuple(field.name for field in step.signature.inputs), params[f"{step.name}.pool"]
    if not step.similar:
        return (*demos, *nearest_by_words(pool, inputs, names, step.nearest))
    vectors, near = params[f"{step.name}.vectors"], params[f"{step.name}.near"]
    return (
        *demos,
        *nearest_by_vectors(step.name, pool, vectors, near, inputs, names, step.nearest),
    )


def _usable_demos(
    signature: Signature, demos: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The demonstrations with an input and an output, those that lack fields first."""
    sides = (signature.inputs, signature.outputs)
    usable = [demo for demo in demos if all(_has_some(side, demo) for side in sides)]
    return sorted(usable, key=lambda demo: _is_complete(signature, demo))


def _has_some(fields: tuple[Field, ...], demo: Mapping[str, Any]) -> bool:
    return any(field.name in demo for field in fields)


def _is_complete(signature: Signature, demo: Mapping[str, Any]) -> bool:
    return all(
        field.name in demo for field in (*signature.inputs, *signature.outputs) if field.required
    )


def _demo_messages(
    adapter: Adapter, signature: Signature, demo: Mapping[str, Any]
) -> tuple[Message, ...]:
    is_complete = _is_complete(signature, demo)
    head = "" if is_complete else "(An example with some fields left out.)"
    turns = _history_and_inputs(adapter, signature, demo, head=head)
    outputs = {field.name: demo[field.name] for field in signature.outputs if field.name in demo}
    return (*turns, Message("assistant", adapter.answer(signature, outputs)))


def _fill_metadata(step: Predict, read: Record, reply: ChatReply) -> Record:
    """Add the outputs filled from the reply's metadata.

    ``NoLogprobs`` if a confidence is required and the reply has no logprobs.
    """
    outputs = _with_metadata(step.signature, read, reply)
    for field in step.signature.outputs:
        is_required = metadata_kind(field.type) is Confidence and not nullable(field.type)
        if is_required and outputs[field.name] is None:
            raise NoLogprobs(step.name, field.name, reply.model or "the model")
    return outputs


def _with_metadata(signature: Signature, read: Record, reply: ChatReply) -> Record:
    """All outputs in the signature's order, reasoning and confidence from the reply's metadata."""
    thinking = reply.reasoning or thinking_of(reply.text)
    outputs: dict[str, Any] = {}
    for field in signature.outputs:
        kind = metadata_kind(field.type)
        if kind is Reasoning:
            outputs[field.name] = thinking or (None if nullable(field.type) else "")
        elif kind is Confidence:
            outputs[field.name] = reply.confidence
        else:
            outputs[field.name] = read[field.name]
    return Record(outputs)
