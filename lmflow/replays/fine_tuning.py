"""Writes recorded steps as chats and examples, the forms that models are fine-tuned on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.adapters.chat import CHAT
from lmflow.adapters.thinking import without_thinking
from lmflow.interpreter.act import Act
from lmflow.interpreter.act_messages import act_reply
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.openai_content import content_of
from lmflow.programs.program import Predict, Program
from lmflow.replays.steps import RecordedStep, completed_steps
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record


@attrs.frozen
class Chat:
    """The prompt of a step, the reply to learn, and the functions that the model could call."""

    step: str
    messages: tuple[Message, ...]
    reply: Message
    tools: tuple[Record, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the chat as a line of a file for fine-tuning, in the form of OpenAI's chats."""
        line: dict[str, Any] = {"messages": [_turn(each) for each in (*self.messages, self.reply)]}
        if self.tools:
            line["tools"] = [{"type": "function", "function": tool} for tool in self.tools]
        return line | {"step": self.step}


def chats(trace: Trace, program: Program, step: str = "", *, raw: bool = False) -> Iterator[Chat]:
    """Yield a chat of each step that gave outputs; none of a failed execution.

    A chat is the prompt that the step is served with, and its outputs as the step's adapter writes
    them: a reply that had to be mended teaches neither the mistake nor the complaint. A step of an
    agent whose reply or arguments couldn't be read has no chat.

    Args:
        trace: The execution.
        program: The program that was recorded.
        step: Yield only the chats of this step.
        raw: Yield the messages of the step's last call and its reply as they were, with mistakes
            and their corrections.

    Raises:
        ReplayDiverged: The program isn't the one that was recorded.
    """
    if trace.failure is not None or trace.outputs is None:
        return
    calls_by_frame = _calls_by_frame(trace)
    for recorded in completed_steps(trace, program):
        predictor = program.steps[recorded.step]
        calls = calls_by_frame.get(recorded.address)
        if step not in {"", recorded.step} or not calls:
            continue
        if isinstance(predictor, Act) and not _is_readable(recorded, raw=raw):
            continue
        if raw:
            request, reply = calls[-1]
            message = Message("assistant", reply.text, reply.calls)
        else:
            # An agent's step has a second call only if the endpoint refused the form of the first.
            request, _ = calls[-1] if isinstance(predictor, Act) else calls[0]
            message = _clean_reply(predictor, recorded, calls[0][1])
        if message.content or message.calls:
            yield Chat(recorded.step, request.messages, message, request.tools)


def step_examples(trace: Trace, program: Program, step: str) -> Iterator[Record]:
    """Yield the inputs and outputs of a step as examples."""
    for recorded in completed_steps(trace, program):
        if recorded.step == step:
            yield recorded.inputs | recorded.outputs


def _clean_reply(predictor: Any, recorded: RecordedStep, first: ChatReply) -> Message:
    """Write a step's outputs as the reply that its prompt asks for.

    A free answer, from which the outputs were extracted, is the ``first`` reply itself.
    """
    if isinstance(predictor, Act):
        return act_reply(predictor, recorded.outputs.form, recorded.outputs)
    step: Predict = predictor
    adapter = recorded.adapter or CHAT
    if adapter.extraction is not None:
        return Message("assistant", without_thinking(first.text).strip())
    return Message("assistant", adapter.answer(step.signature.for_model, recorded.outputs))


def _is_readable(recorded: RecordedStep, *, raw: bool) -> bool:
    outputs = recorded.outputs
    return not outputs.problem and (raw or not any(use.problem for use in outputs.calls))


def _calls_by_frame(trace: Trace) -> Mapping[str, list[tuple[ChatRequest, ChatReply]]]:
    """Return the calls that a chat answered, in order, by the address of their step's frame."""
    calls: dict[str, list[tuple[ChatRequest, ChatReply]]] = defaultdict(list)
    for call in sorted(trace.answers.values(), key=_ordinal):
        if isinstance(call.request, ChatRequest) and isinstance(call.outcome, ChatReply):
            frame, _, _ = call.address.rpartition("/")
            calls[frame].append((call.request, call.outcome))
    return calls


def _ordinal(call: CallAttempt) -> int:
    return int(call.address.rpartition("[")[2].removesuffix("]"))


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": content_of(message)}
    if message.answers:
        turn["tool_call_id"] = message.answers
    if message.calls:
        turn["content"] = content_of(message) or None
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    return turn
