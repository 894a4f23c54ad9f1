"""Tools to call, and models that call them: by chance, for ever, or not at all."""

from __future__ import annotations

import json
import random
from typing import Any

import lmflow as lf
from lmflow.errors import NO_TOOLS, ModelFailed
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, ToolRequest

Asked = tuple[str, dict[str, Any]]


@lf.tool
def look_up(query: str, k: int = 2) -> list[str]:
    """Find passages about something."""
    return [f"{query} is number {n}" for n in range(k)]


@lf.tool(mode="pure")
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


@lf.tool
def breaks(text: str) -> str:
    """Fail."""
    raise LookupError(f"nothing is known of {text}")


TOOLS = (look_up, add, breaks)
CALLS: tuple[Asked, ...] = (
    ("look_up", {"query": "tea"}),
    ("look_up", {"query": "tea", "k": "3"}),
    ("look_up", {"qery": "tea"}),
    ("add", {"a": 1, "b": 2}),
    ("breaks", {"text": "x"}),
    ("lok_up", {"query": "tea"}),
)


def native(*calls: Asked, text: str = "") -> ChatReply:
    """A reply that calls functions."""
    asked = tuple(
        ToolCall(name, json.dumps(given), f"call_{n}") for n, (name, given) in enumerate(calls)
    )
    return ChatReply(text, "tool_calls" if calls else "stop", calls=asked)


def textual(request: ChatRequest, *calls: Asked, text: str = "so") -> str:
    """A reply with calls in its text, in the form that is asked for."""
    found = [{"name": name, "arguments": given} for name, given in calls]
    if request.schema is not None:
        return json.dumps({"thought": text, "calls": found})
    return f"[[thought]]\n{text}\n[[calls]]\n{json.dumps(found)}"


def asks(request: ChatRequest) -> bool:
    """Whether the request is of an agent's step, and not of its answer."""
    return bool(request.tools) or "\nTools:\n" in request.messages[0].content


def calling(request: ChatRequest, *calls: Asked, text: str = "so") -> ChatReply | str:
    """A reply with calls, in whichever form is asked for."""
    return native(*calls, text=text) if request.tools else textual(request, *calls, text=text)


def by_chance(request: ChatRequest, dice: random.Random) -> ChatReply | str:
    """None to three calls, some of them wrong; now and then a reply that nobody can read."""
    if not asks(request):
        return str(dice.randint(1, 4))
    if dice.random() < 0.1:
        return "[[calls]]\n{" if not request.tools else ChatReply("So", "length")
    return calling(request, *dice.sample(CALLS, dice.choice([0, 1, 1, 2, 3])))


def for_ever(request: ChatRequest, dice: random.Random) -> ChatReply | str:
    """As many calls as there are, each time."""
    del dice
    return calling(request, *[CALLS[1]] * 9) if asks(request) else "4"


def at_once(request: ChatRequest, dice: random.Random) -> ChatReply | str:
    """No call at all."""
    del dice
    return calling(request, text="I know: 4") if asks(request) else "4"


def refusing(request: ChatRequest, dice: random.Random) -> ChatReply | str:
    """As by chance, at an endpoint without functions."""
    if request.tools:
        raise ModelFailed(NO_TOOLS, "this model does not support tools", 400)
    return by_chance(request, dice)


def counted(trace: lf.Trace) -> tuple[int, int]:
    """How many calls of models and of tools an execution made."""
    tools = sum(isinstance(call.request, ToolRequest) for call in trace.calls)
    return len(trace.calls) - tools, tools
