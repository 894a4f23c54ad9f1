"""Programs driven by hand: each call is answered by a function, and its address is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lmflow.errors import CallError
from lmflow.interpreter.driver import drive_pure
from lmflow.messages.replies import ChatReply, ToolReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.programs.effects import Call, Pending
from lmflow.programs.environment import Env
from lmflow.values.record import Record, plain

Answer = Callable[[str], str | CallError]


def last(request: Any) -> str:
    """The last message of a chat request."""
    assert isinstance(request, ChatRequest)
    return request.messages[-1].content


def drive(
    pending: Pending, answer: Answer = lambda text: text, seen: list[tuple[str, Call]] | None = None
) -> Record:
    """The outputs: tools run their function, models answer the last message by ``answer``; ``seen``
    gets every call.
    """

    def recall(call: Call, address: str) -> Any:
        if seen is not None:
            seen.append((address, call))
        if isinstance(call.request, ToolRequest):
            assert call.function is not None
            return ToolReply(plain(call.function(**call.request.inputs)))
        reply = answer(last(call.request))
        if isinstance(reply, CallError):
            raise reply
        return ChatReply(reply)

    return drive_pure(pending, Env(pending.program.defaults), recall)


def addresses(pending: Pending, answer: Answer = lambda text: text) -> list[str]:
    """Where the calls of a drive stand, in their order."""
    seen: list[tuple[str, Call]] = []
    drive(pending, answer, seen)
    return [address for address, _ in seen]
