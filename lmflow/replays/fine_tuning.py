"""Writes recorded steps as chats and examples, the forms that models are fine-tuned on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from lmflow.interpreter.act import Act
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.openai_content import content_of
from lmflow.programs.program import Program
from lmflow.replays.steps import RecordedStep, completed_steps
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record


@attrs.frozen
class Chat:
    """The messages of a step's last call, its reply, and the functions the model could call."""

    step: str
    messages: tuple[Message, ...]
    reply: ChatReply
    tools: tuple[Record, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the chat as a line of a file for fine-tuning, in the form of OpenAI's chats."""
        answer = Message("assistant", self.reply.text, self.reply.calls)
        line: dict[str, Any] = {"messages": [_turn(each) for each in (*self.messages, answer)]}
        if self.tools:
            line["tools"] = [{"type": "function", "function": tool} for tool in self.tools]
        return line | {"step": self.step}


def chats(trace: Trace, program: Program, step: str = "") -> Iterator[Chat]:
    """Yield the chats of the steps that gave outputs, or of one step; none of a failed execution.

    If the first reply couldn't be read, the chat has the mistake and its correction in it. A step
    of an agent whose reply couldn't be read has no chat.

    Raises ``ReplayDiverged`` if the program isn't the one that was recorded.
    """
    if trace.failure is not None or trace.outputs is None:
        return
    for recorded in completed_steps(trace, program):
        is_act = isinstance(program.steps[recorded.step], Act)
        if step not in {"", recorded.step} or (is_act and recorded.outputs.problem):
            continue
        call = _last_call(trace, recorded)
        if (
            call is not None
            and isinstance(call.request, ChatRequest)
            and isinstance(call.outcome, ChatReply)
        ):
            yield Chat(recorded.step, call.request.messages, call.outcome, call.request.tools)


def step_examples(trace: Trace, program: Program, step: str) -> Iterator[Record]:
    """Yield the inputs and outputs of a step as examples."""
    for recorded in completed_steps(trace, program):
        if recorded.step == step:
            yield recorded.inputs | recorded.outputs


def _last_call(trace: Trace, step: RecordedStep) -> CallAttempt | None:
    own = (
        call
        for address, call in trace.answers.items()
        if address.rpartition("/")[0] == step.address
    )
    return max(own, key=lambda call: _ordinal(call.address), default=None)


def _ordinal(address: str) -> int:
    return int(address.rpartition("[")[2].removesuffix("]"))


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
