"""Spans as values, and the ids that they get."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import attrs

SpanKind = Literal["internal", "client"]


@attrs.frozen
class SpanEvent:
    """Something that happened at one time within a span; ``at`` in nanoseconds."""

    name: str
    at: int
    attributes: Mapping[str, Any]


@attrs.frozen
class Span:
    """One span, as OpenTelemetry has it.

    Args:
        trace: The trace's id, 32 hex digits.
        id: The span's id, 16 hex digits.
        parent: The id of the span above; empty for a root.
        name: The name.
        kind: ``client`` for a call of a model, else ``internal``.
        started: The start, in nanoseconds since the epoch.
        ended: The end, in nanoseconds since the epoch.
        attributes: Texts, numbers, booleans, and lists of them, by name.
        events: What happened within the span.
        error: The words of the failure; empty if there is none.
        links: The ids of trace and span of related spans.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: SpanKind
    started: int
    ended: int
    attributes: Mapping[str, Any]
    events: tuple[SpanEvent, ...] = ()
    error: str = ""
    links: tuple[tuple[str, str], ...] = ()


def trace_id(store: str, run: str, label: str) -> str:
    """Return the id of the trace of an execution: the same each time, so that sending it twice is
    harmless.

    Args:
        store: The unique id of the store.
        run: The run's id.
        label: The execution's label in the run; empty for the run itself.
    """
    return _hash(16, "trace", store, run, label)


def span_id(trace: str, *parts: str) -> str:
    """Return the id of the span of a part of a trace, such as the address of a call."""
    return _hash(8, "span", trace, *parts)


def _hash(size: int, *parts: str) -> str:
    # Lengths separate the parts, so that no two lists of parts have the same bytes.
    texts = [part.encode("utf-8", "surrogatepass") for part in parts]
    framed = b"".join(len(text).to_bytes(8, "big") + text for text in texts)
    return hashlib.blake2b(framed, digest_size=size).hexdigest()
