"""Calls as they are recorded, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from lmflow.messages.json_form import (
    outcome_of_json,
    outcome_to_json,
    request_of_json,
    request_to_json,
)
from lmflow.messages.replies import Failure, Outcome
from lmflow.messages.requests import EmbedRequest, Request, ToolRequest
from lmflow.traces.json_form import read_json
from lmflow.values.canonical_text import KEYED
from lmflow.values.json_fields import JsonFields
from lmflow.values.printing import printable
from lmflow.views.lines import took

CallKind = Literal["chat", "embed", "tool"]
CallStatus = Literal["started", "ok", "failed"]


@attrs.frozen(repr=False)
class CallAttempt(JsonFields):
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

    json_fields = (
        *("address", "request", "key", "attempt", "outcome", "started", "ended", "cost"),
        "source",
    )

    address: str
    request: Request
    key: str
    attempt: int = 0
    outcome: Outcome | None = None
    started: int = 0
    ended: int = 0
    cost: int | None = None
    source: str = ""

    def __getitem__(self, name: str) -> Any:
        if name == "request":
            return request_to_json(self.request)
        if name == "outcome":
            return outcome_to_json(self.outcome)
        return JsonFields.__getitem__(self, name)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CallAttempt:
        """Make the call from the JSON values of ``to_dict``. ``ForeignFile`` if they are not."""
        return read_json("call", data, lambda fields: cls(**_call_fields(fields)))

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
        time = f", {took(self.ended - self.started)}" if self.outcome else ""
        status = "never ended" if self.outcome is None else self.status
        words = f"{self.address}{attempt}: {status}, {self.target}{time}"
        return f"<Call {printable(words)}>"


def _call_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    request, outcome = request_of_json(fields["request"]), outcome_of_json(fields["outcome"])
    if not fields["key"].startswith(KEYED) and fields["key"] != request.key:
        raise ValueError(f"the key of {fields['address']} doesn't match its request")
    return {**fields, "request": request, "outcome": outcome}
