"""Steps put to models: their messages, their outputs read from the reply, one retry that names the
mistake.

An adapter says in which form outputs are asked for; the rest is the same for all. The instruction
and the form are the system message, demonstrations and histories are turns, inputs stand under
field markers (``[[question]]``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from lmflow.adapters.base import Adapter, Unreadable, thought, turn_of
from lmflow.adapters.conversation import earlier
from lmflow.adapters.registry import ADAPTER, NO_CHOICES, adapter_of
from lmflow.adapters.structured import JSON
from lmflow.adapters.truncation import Cut
from lmflow.errors import NoLogprobs, ParseFailure
from lmflow.interpreter.nearest import nearest
from lmflow.interpreter.similarity import similar
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict, Tool
from lmflow.signatures.fields import Confidence, Field, Reasoning, beside, nullable, peeled
from lmflow.signatures.signature import Signature
from lmflow.values.record import EMPTY, Record

__all__ = ["ADAPTER", "Unreadable", "ask", "parse", "render", "use"]


def render(
    step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Message, ...]:
    """The exact messages that the step would send: instruction and form, demonstrations as turns,
    earlier turns, the inputs.
    """
    adapter = chosen(step, params)
    return (*_head(step, params, inputs), *_put(adapter, step, inputs))


def parse(signature: Signature, text: str, adapter: str = "", *, whole: bool = True) -> Record:
    """The outputs that a reply holds, of the types that the signature says.

    ``whole`` is false for a reply that was cut at the token limit: what is missing of it is not
    made up. ``Unreadable`` says what is missing or wrong.
    """
    read = adapter_of(adapter).read(signature.asked, text, whole)
    return read if signature.asked is signature else _joined(signature, read, ChatReply(text))


def chosen(step: Predict, params: Env | Mapping[str, Any]) -> Adapter:
    """The adapter of a step: what its parameter says (by default what the step says), else what is
    said for the model that it asks, else chat.
    """
    said: str = params[f"{step.name}.adapter"]
    choices = params.adapters if isinstance(params, Env) else NO_CHOICES
    return adapter_of(said or choices.of(params[f"{step.name}.model"]))


async def ask(step: Predict, env: Env, inputs: Record) -> Record:
    """Render, call, parse; one retry that tells the model what was wrong and asks only for the
    outputs that couldn't be read, in a form that holds it to their types, then ``ParseFailure``
    with both replies.
    """
    asking = (
        _asking(step, env, inputs)
        if step.nearest
        else env.once(step, lambda: _asking(step, env, inputs))
    )
    adapter, signature = asking.adapter, step.signature.asked
    messages, schema = (*asking.head, *_put(adapter, step, inputs)), asking.schema
    wanted = signature
    known: Mapping[str, Any] = EMPTY
    problems: list[str] = []
    replies: list[str] = []
    for _ in range(2):
        reply = await Call(asking.request(messages, schema), timeout=step.timeout, wanted=wanted)
        whole = reply.finish != "length"
        try:
            read = _together(signature, known, adapter.read(wanted, reply.text, whole), reply.text)
            return read if signature is step.signature else _filled(step, read, reply)
        except Unreadable as problem:
            problems.append(_told(str(problem), reply.finish))
            replies.append(reply.text)
            if whole and problem.found:
                known, wanted = problem.found, signature.without(problem.found)
            adapter = _mending(adapter, wanted)
            schema = adapter.schema(wanted)
            mend = _mend(adapter, wanted, problems[-1])
            messages = (*messages, Message("assistant", reply.text), Message("user", mend))
    raise ParseFailure(step.name, _expected(signature), tuple(problems), tuple(replies))


def _together(signature: Signature, known: Mapping[str, Any], read: Record, text: str) -> Record:
    """What was read now with what was known before, in the order of the signature. ``Unreadable``
    where the one output that was asked for is empty in a reply that isn't: that says again what
    is known.
    """
    if not known:
        return read
    if text.strip() and [*read.values()] == [""]:
        msg = f"{next(iter(read))}: it is missing"
        raise Unreadable(msg)
    whole = {**known, **read}
    return Record({field.name: whole[field.name] for field in signature.outputs})


async def use(tool: Tool, inputs: Record) -> Record:
    """One call of the tool's function; its result as a record of the tool's outputs."""
    request = ToolRequest(tool.name, tool.function.identity, inputs, mode=tool.mode)
    reply = await Call(request, tool.function.call, tool.timeout)
    return tool.signature.outcome(tool.name, reply.value)


@attrs.frozen(eq=False)
class _Asking:
    """What the calls of a step have in common under the same parameters."""

    adapter: Adapter
    head: tuple[Message, ...]
    model: str
    options: Record
    schema: Record | None

    def request(self, messages: tuple[Message, ...], schema: Record | None) -> ChatRequest:
        return ChatRequest(messages, self.model, options=self.options, schema=schema)


def _asking(step: Predict, env: Env, inputs: Mapping[str, Any]) -> _Asking:
    adapter, model, options = (
        chosen(step, env),
        env[f"{step.name}.model"],
        env[f"{step.name}.options"],
    )
    return _Asking(
        adapter, _head(step, env, inputs), model, options, adapter.schema(step.signature.asked)
    )


def _head(
    step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Message, ...]:
    """The messages before the inputs, which they depend on only where the nearest demonstrations
    are shown.
    """
    adapter = chosen(step, params)
    instruction, demos = params[f"{step.name}.instruction"], _demos(step, params, inputs)
    signature = step.signature.asked
    turns = (
        turn for demo in _ordered(signature, demos) for turn in _turns(adapter, signature, demo)
    )
    system = "\n\n".join(part for part in (instruction, adapter.form(signature)) if part)
    return (*((Message("system", system),) if system else ()), *turns)


def _put(adapter: Adapter, step: Predict, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
    """What is asked of the step now, with the adapter's cue a line below it."""
    cue = adapter.cue(step.signature.asked)
    return _asked(adapter, step.signature.asked, inputs, step.cuts, tail=f"\n{cue}" if cue else "")


def _asked(  # noqa: PLR0913, PLR0917 - each is a part of its own
    adapter: Adapter,
    signature: Signature,
    inputs: Mapping[str, Any],
    cuts: Mapping[str, Cut] = EMPTY,
    head: str = "",
    tail: str = "",
) -> tuple[Message, ...]:
    """The earlier turns, then the other inputs between a head and a tail; what is too long is cut
    as the step says.
    """
    turns, gone = earlier(adapter, signature, inputs, cuts)
    if cuts:
        inputs = {
            name: cuts[name].value(value) if name in cuts else value
            for name, value in inputs.items()
        }
    return (
        *turns,
        turn_of(
            signature.sectioned, inputs, "\n".join(part for part in (gone, head) if part), tail
        ),
    )


def _demos(
    step: Predict, params: Env | Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Mapping[str, Any], ...]:
    """The step's own demonstrations, then those of its pool that are nearest to the inputs."""
    demos: tuple[Mapping[str, Any], ...] = params[f"{step.name}.demos"]
    if not step.nearest:
        return demos
    names, pool = tuple(field.name for field in step.signature.inputs), params[f"{step.name}.pool"]
    if not step.similar:
        return (*demos, *nearest(pool, inputs, names, step.nearest))
    vectors, near = params[f"{step.name}.vectors"], params[f"{step.name}.near"]
    return (*demos, *similar(step.name, pool, vectors, near, inputs, names, step.nearest))


def _ordered(signature: Signature, demos: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    usable = [
        demo for demo in demos if _some(signature.inputs, demo) and _some(signature.outputs, demo)
    ]
    return sorted(usable, key=lambda demo: _whole(signature, demo))


def _some(fields: tuple[Field, ...], demo: Mapping[str, Any]) -> bool:
    return any(field.name in demo for field in fields)


def _whole(signature: Signature, demo: Mapping[str, Any]) -> bool:
    return all(
        field.name in demo for field in (*signature.inputs, *signature.outputs) if field.required
    )


def _turns(adapter: Adapter, signature: Signature, demo: Mapping[str, Any]) -> tuple[Message, ...]:
    head = "" if _whole(signature, demo) else "(An example with some fields left out.)"
    return (
        *_asked(adapter, signature, demo, head=head),
        Message("assistant", adapter.answer(signature, demo)),
    )


def _filled(step: Predict, read: Record, reply: ChatReply) -> Record:
    """The outputs with those that the reply carries beside its text. ``NoLogprobs`` where it lacks
    them.
    """
    found = _joined(step.signature, read, reply)
    for field in step.signature.outputs:
        if (
            found[field.name] is None
            and beside(field.type) is Confidence
            and not nullable(field.type)
        ):
            raise NoLogprobs(step.name, field.name, reply.model or "the model")
    return found


def _joined(signature: Signature, read: Record, reply: ChatReply) -> Record:
    """The outputs in the order of the signature, reasoning and confidence as the reply has them."""
    thinking = reply.reasoning or thought(reply.text)
    told: dict[Any, Callable[[Field], Any]] = {
        None: lambda field: read[field.name],
        Reasoning: lambda field: thinking or (None if nullable(field.type) else ""),
        Confidence: lambda _: reply.confidence,
    }
    return Record({field.name: told[beside(field.type)](field) for field in signature.outputs})


def _expected(signature: Signature) -> str:
    told = zip(signature.outputs, signature.hints, strict=True)
    return ", ".join(f"`{field.name}` ({hint or 'text'})" for field, hint in told)


def _told(problem: str, finish: str) -> str:
    return f"{problem} (it was cut off at the token limit)" if finish == "length" else problem


def _mending(adapter: Adapter, wanted: Signature) -> Adapter:
    """The adapter of a retry: JSON, to whose schema an endpoint holds a model, where none of the
    outputs is a text.
    """
    return adapter if any(peeled(field.type)[0] is str for field in wanted.outputs) else JSON


def _mend(adapter: Adapter, signature: Signature, problem: str) -> str:
    form = (
        adapter.form(signature)
        or f"Reply with only the {signature.outputs[0].name.replace('_', ' ')}."
    )
    return "\n".join(
        filter(None, (f"That could not be read: {problem}.", form, adapter.cue(signature)))
    )
