"""Asks a model for outputs and reads its replies: one retry, or a free answer and an extraction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter, Extraction
from lmflow.adapters.base import Unreadable, user_message
from lmflow.adapters.markers import marked_sections, text_before_markers
from lmflow.adapters.structured import JSON
from lmflow.adapters.thinking import without_thinking
from lmflow.errors import LmflowError, ParseFailure
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field, unwrap_annotated
from lmflow.signatures.signature import Signature
from lmflow.values.record import EMPTY, Record

Messages = tuple[Message, ...]


@attrs.frozen(eq=False)
class Asking:
    """The outputs that a model is asked for: in which form, which model, under which options."""

    step: Predict
    adapter: Adapter
    signature: Signature
    model: str
    options: Record
    schema: Record | None

    def call(
        self, messages: Messages, schema: Record | None, wanted: Signature, adapter: Adapter
    ) -> Call:
        """The call that sends messages."""
        request = ChatRequest(messages, self.model, options=self.options, schema=schema)
        return Call(request, timeout=self.step.timeout, wanted=wanted, adapter=adapter)


async def ask_and_read(asking: Asking, messages: Messages) -> tuple[Record, list[ChatReply]]:
    """Ask for outputs, with one retry if they can't be read.

    Returns the outputs and the replies that they were read from, oldest first. ``ParseFailure`` has
    both replies.
    """
    adapter, signature, schema = asking.adapter, asking.signature, asking.schema
    wanted, known = signature, EMPTY
    problems: list[str] = []
    replies: list[ChatReply] = []
    for _ in range(2):
        reply: ChatReply = await asking.call(messages, schema, wanted, adapter)
        replies.append(reply)
        whole = reply.finish != "length"
        try:
            text = _without_known(wanted, known, reply.text) if known else reply.text
            outputs = read_by(adapter, wanted, text, whole=whole)
            return (_merge(signature, known, outputs, reply.text) if known else outputs), replies
        except Unreadable as problem:
            problems.append(_with_cause(str(problem), reply.finish))
            if whole and problem.outputs:
                known = Record(problem.outputs)
                wanted = signature.without(known)
            adapter = _retry_adapter(adapter, wanted)
            schema = adapter.schema(wanted)
            complaint = _retry_message(adapter, wanted, problems[-1])
            messages = (*messages, Message("assistant", reply.text), Message("user", complaint))
    expected = _expected_outputs(signature)
    texts = tuple(reply.text for reply in replies)
    raise ParseFailure(asking.step.name, expected, tuple(problems), texts)


async def ask_freely(asking: Asking, messages: Messages) -> ChatReply:
    """Ask for a free answer, once more if the reply is empty without its thinking."""
    replies: list[str] = []
    problems: list[str] = []
    for _ in range(2):
        reply: ChatReply = await asking.call(messages, None, asking.signature, asking.adapter)
        if without_thinking(reply.text).strip():
            return reply
        problems.append(_with_cause("it has no answer", reply.finish))
        replies.append(reply.text)
        messages = (*messages, Message("assistant", reply.text), Message("user", "Answer."))
    raise ParseFailure(asking.step.name, "an answer", tuple(problems), tuple(replies))


def extraction_of(
    asking: Asking, extraction: Extraction, reply: ChatReply
) -> tuple[Asking, Messages]:
    """What is asked of the model that extracts the outputs from a free answer.

    Of the step's options another model gets the limit of tokens alone: it may refuse the others.
    """
    adapter = extraction.adapter
    signature = Signature((_ANSWER,), asking.signature.outputs)
    names = ", ".join(field.name.replace("_", " ") for field in signature.outputs)
    system = "\n\n".join(filter(None, (f"{_EXTRACT} {names}.", adapter.form(signature))))
    values = {_ANSWER.name: without_thinking(reply.text).strip()}
    tail = adapter.cue(signature)
    user = user_message(signature.inputs, values, tail=tail, marks=adapter.marks)
    extracting = attrs.evolve(
        asking,
        adapter=adapter,
        signature=signature,
        model=extraction.model or asking.model,
        options=token_limits(asking.options) if extraction.model else asking.options,
        schema=adapter.schema(signature),
    )
    return extracting, (Message("system", system), user)


def token_limits(options: Record) -> Record:
    """The limits of tokens among options."""
    return options.only("max_tokens", "max_completion_tokens")


_ANSWER = Field(name="text")
_EXTRACT = "Extract from the text, as the text states it:"


def _without_known(wanted: Signature, known: Mapping[str, Any], text: str) -> str:
    """Remove sections of known outputs from a retry that asks for one text.

    A step with one text output has no sections, so that its adapter takes all of a reply for the
    text; here the sections of the first request may come again.
    """
    if not wanted.is_free_text or "[[" not in text:
        return text
    name, reply = wanted.outputs[0].name, without_thinking(text)
    sections = marked_sections(reply, [name], known)
    return sections[name] if sections else text_before_markers(reply, known)


def _merge(signature: Signature, known: Mapping[str, Any], read: Record, text: str) -> Record:
    """Merge outputs from a retry with those from the first reply, in the signature's order.

    ``Unreadable`` if the only output asked for is empty in a reply that isn't: such a reply repeats
    what is known already.
    """
    if text.strip() and [*read.values()] == [""]:
        msg = f"{next(iter(read))}: it is missing"
        raise Unreadable(msg)
    outputs = {**known, **read}
    return Record({field.name: outputs[field.name] for field in signature.outputs})


def _expected_outputs(signature: Signature) -> str:
    pairs = zip(signature.outputs, signature.hints, strict=True)
    return ", ".join(f"`{field.name}` ({hint or 'text'})" for field, hint in pairs)


def _with_cause(problem: str, finish: str) -> str:
    return f"{problem} (it was cut off at the token limit)" if finish == "length" else problem


def _retry_adapter(adapter: Adapter, wanted: Signature) -> Adapter:
    """Choose a retry's adapter: JSON, whose schema binds the model, unless an output is text."""
    has_text = any(unwrap_annotated(field.type)[0] is str for field in wanted.outputs)
    return adapter if has_text else JSON


def _retry_message(adapter: Adapter, signature: Signature, problem: str) -> str:
    form = (
        adapter.form(signature)
        or f"Reply with only the {signature.outputs[0].name.replace('_', ' ')}."
    )
    return "\n".join(
        filter(None, (f"That could not be read: {problem}.", form, adapter.cue(signature)))
    )


def read_by(adapter: Adapter, signature: Signature, text: str, *, whole: bool) -> Record:
    """Read the outputs by an adapter; whatever one of the user's raises is a reply's mistake."""
    if adapter.shipped:
        return adapter.read(signature, text, whole)
    try:
        outputs: Any = adapter.read(signature, text, whole)
        if not isinstance(outputs, Mapping):
            msg = f"it read {type(outputs).__name__}, expected a record of outputs"
            raise Unreadable(msg)  # noqa: TRY301 - as what the adapter itself raises
        return Record(outputs)
    except (Unreadable, LmflowError):
        raise
    except Exception as error:  # noqa: BLE001 - the user's adapter may raise anything
        problem = f"the adapter {adapter.name!r} can't read it ({type(error).__name__}: {error})"
        raise Unreadable(problem) from None
