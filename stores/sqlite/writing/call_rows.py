"""Derives what rows of calls hold from events."""

from __future__ import annotations

from collections.abc import Iterable

from lmflow.messages.replies import ChatReply, EmbedReply, Outcome
from lmflow.messages.requests import ToolRequest
from lmflow.traces.events import CallEnded, CallStarted, Event
from lmflow.traces.trace import CallAttempt

EventPlace = tuple[str, str, int]
"""Trace, address and attempt of a call."""


def ends_of(events: Iterable[Event]) -> dict[EventPlace, CallAttempt]:
    """Return the ends of calls that start in the same events."""
    starts = {place_of(event) for event in events if type(event) is CallStarted}
    ends = [event for event in events if type(event) is CallEnded]
    return {place: event.call for event in ends if (place := place_of(event)) in starts}


def place_of(event: CallStarted | CallEnded) -> EventPlace:
    """Return trace, address and attempt of the call of an event."""
    return event.trace, event.call.address, event.call.attempt


def model_or_tool(call: CallAttempt) -> str:
    """Return the name of the model or tool that a call asks."""
    return call.request.tool if isinstance(call.request, ToolRequest) else call.request.model


def tokens_of(outcome: Outcome | None) -> tuple[int | None, int | None, int | None]:
    """Return the prompt's, the completion's and the cached tokens."""
    if isinstance(outcome, (ChatReply, EmbedReply)):
        return outcome.usage.prompt, outcome.usage.completion, outcome.usage.cached
    return None, None, None
