"""Recorded steps as what providers and trainers fine-tune on: chats that end with the reply that
was right.
"""

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
from lmflow.replays.steps import Taken, completed_steps
from lmflow.traces.trace import CallAttempt, Trace
from lmflow.values.record import Record


@attrs.frozen
class Chat:
    """The exact messages of a step's last call, and its reply, which was read as the outputs that
    the step gave.

    ``tools`` are the functions that the model could call.
    """

    step: str
    messages: tuple[Message, ...]
    reply: ChatReply
    tools: tuple[Record, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """It as a line of a file for fine-tuning, in the form that OpenAI's and most trainers'
        chats have.
        """
        said = Message("assistant", self.reply.text, self.reply.calls)
        tools = (
            {"tools": [{"type": "function", "function": tool} for tool in self.tools]}
            if self.tools
            else {}
        )
        return {
            "messages": [_turn(message) for message in (*self.messages, said)],
            **tools,
            "step": self.step,
        }


def chats(trace: Trace, program: Program, step: str = "") -> Iterator[Chat]:
    """The chats of the steps that came to outputs, or of one step; none of an execution that
    failed.

    Where the first reply couldn't be read, the chat is the one that was: with the mistake and its
    correction in it. A step of an agent whose reply couldn't be read has none. ``ReplayDiverged``
    where the program isn't the one that was recorded.
    """
    if trace.failure is not None or trace.outputs is None:
        return
    for found in completed_steps(trace, program):
        if step in {"", found.step} and not (
            isinstance(program.steps[found.step], Act) and found.outputs.problem
        ):
            call = _last(trace, found)
            if (
                call is not None
                and isinstance(call.request, ChatRequest)
                and isinstance(call.outcome, ChatReply)
            ):
                yield Chat(found.step, call.request.messages, call.outcome, call.request.tools)


def step_examples(trace: Trace, program: Program, step: str) -> Iterator[Record]:
    """What a step was given and gave, as examples: its inputs with its outputs."""
    return (
        found.inputs | found.outputs
        for found in completed_steps(trace, program)
        if found.step == step
    )


def _last(trace: Trace, found: Taken) -> CallAttempt | None:
    own = (
        call
        for address, call in trace.answers.items()
        if address.rpartition("/")[0] == found.address
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
