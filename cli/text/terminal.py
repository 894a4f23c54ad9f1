"""Values as the words that a person reads in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.errors import short
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ToolRequest
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.printing import clean, printable
from lmflow.values.record import pretty

WIDEST = 100


def line(value: Any, width: int = WIDEST) -> str:
    """A value on one line of at most ``width`` characters."""
    return printable(value, width)


def table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Rows as aligned columns under their names."""
    names = list(columns)
    cells = [
        names,
        *([line(row[name] if row[name] is not None else "", 48) for name in names] for row in rows),
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def run_tree(run: Run, *, messages: bool = False) -> str:
    """A run as a tree: traces, calls with latency and tokens, results."""
    head = f"run {run.id}  {run.kind} of {run.name}  {run.status}  {duration(run)}  root {short(run.root)}"
    return "\n".join(
        [
            head,
            *(
                text
                for label, trace in run.items
                for text in trace_tree(trace, label, messages=messages)
            ),
        ]
    )


def trace_tree(trace: Trace, label: str = "", *, messages: bool = False) -> Iterator[str]:
    """A trace as lines: inputs, the calls under their frames, the result."""
    yield f"{label or 'trace'} {trace.id}  version {short(trace.version.id)}  {duration(trace)}"
    yield f"│  in   {line(trace.inputs)}"
    yield from (f"│  {text}" for text in _frames(_nested(trace.calls), 0, messages=messages))
    yield f"└─ {result_line(trace)}"


def call_line(call: CallAttempt, leaf: str) -> str:
    """One call on one line: what, how long, how many tokens, what came of it."""
    name = (
        f"tool {call.request.tool}" if isinstance(call.request, ToolRequest) else call.request.model
    )
    again = f" attempt {call.attempt + 1}" if call.attempt else ""
    took = (
        f"{(call.ended - call.started) / 1e6:.0f} ms"
        if call.outcome
        else "never ended (maybe billed)"
    )
    return "  ".join(
        part for part in (f"{leaf}{again}", name, took, tokens(call), outcome_line(call)) if part
    )


def tokens(call: CallAttempt) -> str:
    """The tokens of a call, where the provider counted them."""
    if not isinstance(call.outcome, (ChatReply, EmbedReply)) or call.outcome.usage.prompt is None:
        return ""
    usage = call.outcome.usage
    cached = f" ({usage.cached} cached)" if usage.cached else ""
    thinking = f" ({usage.reasoning} reasoning)" if usage.reasoning else ""
    return f"{usage.prompt}{cached} + {usage.completion or 0}{thinking} tokens"


def outcome_line(call: CallAttempt) -> str:
    """What came of a call, short."""
    match call.outcome:
        case ChatReply() as reply:
            return f"→ {line(reply.readable, 60)}"
        case ToolReply(value=value):
            return f"→ {line(value, 60)}"
        case EmbedReply(vectors=vectors):
            return f"→ {len(vectors)} vectors"
        case Failure():
            return f"✗ {line(str(call.outcome.error()), 90)}"
    return ""


def exchange(call: CallAttempt) -> Iterator[str]:
    """The exact messages of a call, what its provider shows of its thinking, and its reply."""
    for text in clean(str(call.request)).splitlines():
        yield f"> {text}"
    match call.outcome:
        case ChatReply() as reply:
            yield from (f"~ {text}" for text in clean(reply.reasoning).splitlines())
            yield from (f"< {text}" for text in clean(reply.readable).splitlines())
        case ToolReply(value=value):
            yield f"< {clean(pretty(value))}"


def result_line(trace: Trace) -> str:
    """How a trace ended."""
    if trace.outputs is not None:
        return f"out  {line(trace.outputs)}"
    if trace.failure is not None:
        return f"failed  {trace.failure.kind}: {line(trace.failure.text, 160)}"
    return (
        f"never ended; {len(trace.orphans)} of {len(trace.calls)} calls are orphans (maybe billed)"
    )


def duration(timed: Run | Trace) -> str:
    """How long it took, or that it never ended."""
    return f"{(timed.ended - timed.started) / 1e9:.2f} s" if timed.ended else "never ended"


def _nested(calls: Iterable[CallAttempt]) -> dict[str, Any]:
    """Calls under their frames, each where it was first seen in time."""
    tree: dict[str, Any] = {}
    for call in sorted(calls, key=lambda call: (call.started, call.address, call.attempt)):
        *frames, leaf = call.address.split("/")
        inner = tree
        for name in frames:
            inner = inner.setdefault(name, {})
        inner.setdefault(leaf, []).append(call)
    return tree


def _frames(tree: Mapping[str, Any], depth: int, *, messages: bool) -> Iterator[str]:
    for name, inner in tree.items():
        if isinstance(inner, dict):
            yield f"{'  ' * depth}{name}"
            yield from _frames(inner, depth + 1, messages=messages)
            continue
        for call in inner:
            yield f"{'  ' * depth}{call_line(call, name)}"
            if messages:
                yield from (f"{'  ' * depth}   {text}" for text in exchange(call))
