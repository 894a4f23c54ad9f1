"""Calls as they are recorded, as values."""

from __future__ import annotations

from typing import Literal

import attrs

from lmflow.messages.replies import Failure, Outcome
from lmflow.messages.requests import EmbedRequest, Request, ToolRequest
from lmflow.values.printing import printable

CallKind = Literal["chat", "embed", "tool"]
CallStatus = Literal["started", "ok", "failed"]


@attrs.frozen(repr=False)
class CallAttempt:
    """One attempt of one call, as it is recorded.

    Args:
        address: The call's address in its trace.
        request: The request that was sent.
        key: The request's key; in a redacted trace a keyed hash of that key.
        attempt: The number of the attempt at this address, from 0.
        outcome: The reply or failure; ``None`` if the call started and never ended.
        started: The time of the start, in nanoseconds since the epoch.
        ended: The time of the end, in nanoseconds since the epoch; 0 if it never ended.
        cost: The price in nano-dollars; ``None`` if no price is known.
        source: The id of the trace whose reply was reused; empty if the call was sent and paid.
    """

    address: str
    request: Request
    key: str
    attempt: int = 0
    outcome: Outcome | None = None
    started: int = 0
    ended: int = 0
    cost: int | None = None
    source: str = ""

    @property
    def kind(self) -> CallKind:
        """The kind of the request."""
        if isinstance(self.request, ToolRequest):
            return "tool"
        return "embed" if isinstance(self.request, EmbedRequest) else "chat"

    @property
    def status(self) -> CallStatus:
        """The state of the attempt: started, ok or failed."""
        if self.outcome is None:
            return "started"
        return "failed" if isinstance(self.outcome, Failure) else "ok"

    @property
    def target(self) -> str:
        """The model or the tool that is called."""
        if isinstance(self.request, ToolRequest):
            return f"tool {self.request.tool}"
        return self.request.model

    def __repr__(self) -> str:
        attempt = f" attempt {self.attempt + 1}" if self.attempt else ""
        took = f", {(self.ended - self.started) / 1e6:.0f} ms" if self.outcome else ""
        status = "never ended" if self.outcome is None else self.status
        words = f"{self.address}{attempt}: {status}, {self.target}{took}"
        return f"<Call {printable(words)}>"
