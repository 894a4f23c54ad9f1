"""The calls of a trace as lines of text: a tree of frames, with durations, tokens and outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.traces.calls import CallAttempt
from lmflow.values.printing import clean, printable
from lmflow.values.record import pretty
from lmflow.views.lines import took


def call_lines(calls: Iterable[CallAttempt], *, messages: bool) -> Iterator[str]:
    """Yield the calls under their frames, each frame at the time of its first call."""
    yield from _frames(_nested(calls), 0, messages=messages)


def duration(started: int, ended: int) -> str:
    """Return the time between two times in nanoseconds, or that it never ended."""
    return took(ended - started) if ended else "never ended"


def call_line(call: CallAttempt, leaf: str) -> str:
    """Return a call on one line: step, model or tool, duration, tokens, outcome."""
    attempt = f" attempt {call.attempt + 1}" if call.attempt else ""
    time = took(call.ended - call.started) if call.outcome else "never ended (maybe billed)"
    parts = (
        f"{printable(leaf)}{attempt}",
        printable(call.target),
        time,
        tokens(call),
        outcome_line(call),
    )
    return "  ".join(part for part in parts if part)


def tokens(call: CallAttempt) -> str:
    """Return the tokens of a call, empty if the provider did not count them."""
    if not isinstance(call.outcome, (ChatReply, EmbedReply)) or call.outcome.usage.prompt is None:
        return ""
    usage = call.outcome.usage
    cached = f" ({usage.cached} cached)" if usage.cached else ""
    thinking = f" ({usage.reasoning} reasoning)" if usage.reasoning else ""
    tier = f" by {call.outcome.tier}" if call.outcome.tier else ""
    return f"{usage.prompt}{cached} + {usage.completion or 0}{thinking} tokens{tier}"


def outcome_line(call: CallAttempt) -> str:
    """Return the reply or failure of a call, shortened; empty for a call that never ended."""
    match call.outcome:
        case ChatReply() as reply:
            return f"→ {printable(reply.readable, 60)}"
        case ToolReply(value=value):
            return f"→ {printable(value, 60)}"
        case EmbedReply(vectors=vectors):
            return f"→ {len(vectors)} vectors"
        case Failure():
            return f"✗ {printable(str(call.outcome.error()), 90)}"
    return ""


def exchange(call: CallAttempt) -> Iterator[str]:
    """Yield the exact messages of a call, the reasoning that its provider shows, and the reply."""
    for text in clean(str(call.request)).splitlines():
        yield f"> {text}"
    match call.outcome:
        case ChatReply() as reply:
            yield from (f"~ {text}" for text in clean(reply.reasoning).splitlines())
            yield from (f"< {text}" for text in clean(reply.readable).splitlines())
        case ToolReply(value=value):
            yield f"< {clean(pretty(value))}"


def _nested(calls: Iterable[CallAttempt]) -> dict[str, Any]:
    """Group calls by their frames, each frame at the time of its first call."""
    tree: dict[str, Any] = {}
    for call in sorted(calls, key=lambda call: (call.started, call.address, call.attempt)):
        *frames, leaf = call.address.split("/")
        inner = tree
        for name in frames:
            inner = inner.setdefault(name, {})
        inner.setdefault(leaf, []).append(call)
    return tree


def _frames(tree: Mapping[str, Any], depth: int, *, messages: bool) -> Iterator[str]:
    indent = "  " * depth
    for name, inner in tree.items():
        if isinstance(inner, dict):
            yield f"{indent}{printable(name)}"
            yield from _frames(inner, depth + 1, messages=messages)
            continue
        for call in inner:
            yield f"{indent}{call_line(call, name)}"
            if messages:
                yield from (f"{indent}   {text}" for text in exchange(call))
