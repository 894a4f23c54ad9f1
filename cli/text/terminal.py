"""Values, traces and runs as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmflow.errors import short
from lmflow.messages.replies import ChatReply, EmbedReply, Failure, ToolReply
from lmflow.messages.requests import ToolRequest
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.values.printing import clean, printable
from lmflow.values.record import pretty

LINE_WIDTH = 100
CELL_WIDTH = 48


def line(value: Any, width: int = LINE_WIDTH) -> str:
    """Return a value on one line of at most ``width`` characters."""
    return printable(value, width)


def table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """Return rows as aligned columns under their names."""
    names = list(columns)
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_aligned(row, widths) for row in cells)


def _cell(value: Any) -> str:
    return line("" if value is None else value, CELL_WIDTH)


def _aligned(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def run_tree(run: Run, *, messages: bool = False) -> str:
    """Return a run as a tree: traces, calls with latency and tokens, results."""
    head = f"run {run.id}  {run.kind} of {run.name}  {run.status}"
    lines = [f"{head}  {duration(run)}  root {short(run.root)}"]
    for label, trace in run.items:
        lines += trace_tree(trace, label, messages=messages)
    return "\n".join(lines)


def trace_tree(trace: Trace, label: str = "", *, messages: bool = False) -> Iterator[str]:
    """Yield the lines of a trace: inputs, the calls under their frames, the result."""
    yield f"{label or 'trace'} {trace.id}  version {short(trace.version.id)}  {duration(trace)}"
    yield f"│  in   {line(trace.inputs)}"
    yield from (f"│  {text}" for text in _frames(_nested(trace.calls), 0, messages=messages))
    yield f"└─ {result_line(trace)}"


def call_line(call: CallAttempt, leaf: str) -> str:
    """Return a call on one line: step, model or tool, duration, tokens, outcome."""
    if isinstance(call.request, ToolRequest):
        name = f"tool {call.request.tool}"
    else:
        name = call.request.model
    attempt = f" attempt {call.attempt + 1}" if call.attempt else ""
    if call.outcome:
        took = f"{(call.ended - call.started) / 1e6:.0f} ms"
    else:
        took = "never ended (maybe billed)"
    parts = (f"{leaf}{attempt}", name, took, tokens(call), outcome_line(call))
    return "  ".join(part for part in parts if part)


def tokens(call: CallAttempt) -> str:
    """Return the tokens of a call, empty if the provider did not count them."""
    if not isinstance(call.outcome, (ChatReply, EmbedReply)) or call.outcome.usage.prompt is None:
        return ""
    usage = call.outcome.usage
    cached = f" ({usage.cached} cached)" if usage.cached else ""
    thinking = f" ({usage.reasoning} reasoning)" if usage.reasoning else ""
    return f"{usage.prompt}{cached} + {usage.completion or 0}{thinking} tokens"


def outcome_line(call: CallAttempt) -> str:
    """Return the reply or failure of a call, shortened; empty for a call that never ended."""
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
    """Yield the exact messages of a call, the reasoning that its provider shows, and the reply."""
    for text in clean(str(call.request)).splitlines():
        yield f"> {text}"
    match call.outcome:
        case ChatReply() as reply:
            yield from (f"~ {text}" for text in clean(reply.reasoning).splitlines())
            yield from (f"< {text}" for text in clean(reply.readable).splitlines())
        case ToolReply(value=value):
            yield f"< {clean(pretty(value))}"


def result_line(trace: Trace) -> str:
    """Return how a trace ended: its outputs, its failure, or that it never ended."""
    if trace.outputs is not None:
        return f"out  {line(trace.outputs)}"
    if trace.failure is not None:
        return f"failed  {trace.failure.kind}: {line(trace.failure.text, 160)}"
    return (
        f"never ended; {len(trace.orphans)} of {len(trace.calls)} calls are orphans (maybe billed)"
    )


def result_data(trace: Trace) -> dict[str, Any]:
    """Return a trace's id, result and root as JSON values."""
    return {
        "trace": trace.id,
        "outputs": trace.outputs,
        "failure": trace.failure,
        "root": trace.root,
    }


def duration(timed: Run | Trace) -> str:
    """Return how long a run or trace took, or that it never ended."""
    return f"{(timed.ended - timed.started) / 1e9:.2f} s" if timed.ended else "never ended"


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
            yield f"{indent}{name}"
            yield from _frames(inner, depth + 1, messages=messages)
            continue
        for call in inner:
            yield f"{indent}{call_line(call, name)}"
            if messages:
                yield from (f"{indent}   {text}" for text in exchange(call))
