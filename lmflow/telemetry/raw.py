"""Spans of others as they arrive, before anything is made of them."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.values.json_text import parse
from lmflow.values.unicode import well_formed

LARGEST = 4_000_000
"""The characters of the largest value of an attribute that is kept; longer ones are left out, and
their spans count as truncated.
"""

_DEEPEST = 60
_ID = 200


@attrs.frozen
class RawEvent:
    """An event of a span."""

    name: str
    at: int
    attributes: Mapping[str, Any]


@attrs.frozen
class RawSpan:
    """A span of another system, with its attributes under the names of the GenAI conventions.

    Args:
        trace: The trace's id, as its source writes it.
        id: The span's id.
        parent: The id of the span above; empty for a root.
        name: The name.
        started: The start, in nanoseconds since the epoch.
        ended: The end, in nanoseconds since the epoch.
        attributes: JSON values by name.
        events: What happened within the span.
        error: The words of the failure; empty if there is none.
        resource: The attributes of what sent the span.
        dropped: How many attributes its sender, or the reader, left out.
    """

    trace: str
    id: str
    parent: str = ""
    name: str = ""
    started: int = 0
    ended: int = 0
    attributes: Mapping[str, Any] = attrs.field(factory=dict)
    events: tuple[RawEvent, ...] = ()
    error: str = ""
    resource: Mapping[str, Any] = attrs.field(factory=dict)
    dropped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the span as JSON values."""
        # By hand, since attrs.asdict copies every value of every attribute.
        return {
            "trace": self.trace,
            "id": self.id,
            "parent": self.parent,
            "name": self.name,
            "started": self.started,
            "ended": self.ended,
            "attributes": self.attributes,
            "events": [
                {"name": event.name, "at": event.at, "attributes": event.attributes}
                for event in self.events
            ],
            "error": self.error,
            "resource": self.resource,
            "dropped": self.dropped,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RawSpan:
        """Make the span from the JSON values of ``to_json``."""
        events = tuple(RawEvent(**event) for event in data["events"])
        return cls(**{**data, "events": events})


def cleaned(span: RawSpan, redact: Callable[[str], str] | None = None) -> RawSpan:
    """Return a span that can be stored: valid Unicode, finite numbers, nothing too large or deep.

    Args:
        span: The span.
        redact: Cleans each text of it, but ids.

    Returns:
        The span; ``dropped`` counts what was left out.
    """
    cleaner = _Cleaner(redact)
    return RawSpan(
        trace=well_formed(span.trace)[:_ID],
        id=well_formed(span.id)[:_ID],
        parent=well_formed(span.parent)[:_ID],
        name=cleaner.text(span.name),
        started=max(0, min(span.started, 2**62)),
        ended=max(0, min(span.ended, 2**62)),
        attributes=cleaner.attributes(span.attributes),
        events=tuple(
            RawEvent(cleaner.text(event.name), event.at, cleaner.attributes(event.attributes))
            for event in span.events
        ),
        error=cleaner.text(span.error),
        resource=cleaner.attributes(span.resource),
        dropped=span.dropped + cleaner.dropped,
    )


class _Cleaner:
    """Cleans values, and counts what it leaves out."""

    def __init__(self, redact: Callable[[str], str] | None) -> None:
        self._redact = redact
        self.dropped = 0

    def text(self, text: str) -> str:
        if len(text) > LARGEST:
            self.dropped += 1
            return ""
        text = well_formed(text)
        return text if self._redact is None or not text else self._redacted(text, self._redact)

    def _redacted(self, text: str, redact: Callable[[str], str]) -> str:
        # Messages arrive as JSON in a text: what is redacted are the texts in it, not the JSON.
        if text[0] in "[{":
            with contextlib.suppress(ValueError):
                return json.dumps(self._value(parse(text), 0), ensure_ascii=False)
        redacted = redact(text)
        if not isinstance(redacted, str):
            msg = f"redact must give a text, found {type(redacted).__qualname__}"
            raise TypeError(msg)
        return redacted

    def attributes(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        return {well_formed(name): self._value(item, 0) for name, item in attributes.items()}

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if depth < _DEEPEST and isinstance(value, Mapping):
            return {
                well_formed(str(name)): self._value(item, depth + 1) for name, item in value.items()
            }
        if depth < _DEEPEST and isinstance(value, (list, tuple)):
            return [self._value(item, depth + 1) for item in value]
        self.dropped += 1
        return None
