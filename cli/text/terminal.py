"""Values, traces and runs as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import printable
from lmflow.views.lines import LINE_WIDTH
from lmflow.views.tables import left_table as table

__all__ = ["line", "result_data", "result_line", "run_tree", "table", "trace_tree"]


def line(value: Any, width: int = LINE_WIDTH) -> str:
    """Return a value on one line of at most ``width`` characters."""
    return printable(value, width)


def run_tree(run: Run, *, messages: bool = False, total: int | None = None) -> str:
    """Return a run as a tree: traces, calls with latency and tokens, results; ``total`` is the
    number of traces of the whole run.
    """
    return run.text(messages=messages, total=total)


def trace_tree(trace: Trace, label: str = "", *, messages: bool = False) -> Iterator[str]:
    """Yield the lines of a trace: inputs, the calls under their frames, the result."""
    yield from trace.text(messages=messages, label=label).split("\n")


def result_line(trace: Trace) -> str:
    """Return how a trace ended: its outputs, its failure, or that it never ended."""
    return trace.result_text


def result_data(trace: Trace) -> dict[str, Any]:
    """Return a trace's id, result and root as JSON values."""
    return {
        "trace": trace.id,
        "outputs": trace.outputs,
        "failure": trace.failure,
        "root": trace.root,
    }
