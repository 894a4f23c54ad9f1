"""Traces and runs as words: how a trace ended, its row in the table of a run, a run's headline."""

from __future__ import annotations

from typing import Any

from lmflow.errors import short
from lmflow.traces.call_text import duration
from lmflow.traces.totals import totals
from lmflow.values.printing import clean, printable
from lmflow.views.amounts import dollars
from lmflow.views.lines import LINE_WIDTH


def result_text(trace: Any) -> str:
    """Return how an execution ended, on one line."""
    if trace.outputs is not None:
        return f"out  {printable(trace.outputs, LINE_WIDTH)}"
    if trace.failure is not None:
        return f"failed  {printable(trace.failure.kind)}: {printable(trace.failure.text, 160)}"
    orphans = f"{len(trace.orphans)} of {len(trace.calls)} calls are orphans (maybe billed)"
    return f"never ended; {orphans}"


def run_line(run: Any, total: int) -> str:
    """Return the line above a run's traces; if it has only some of ``total``, they are counted,
    since the root is that of all.
    """
    # No hash covers these: a file from elsewhere may have any text in them.
    head = clean(f"run {run.id}  {run.kind} of {printable(run.name)}  {run.status}")
    is_part = len(run) < total
    which = f"{len(run):,} of {total:,} traces" if is_part else f"root {short(run.root)}"
    return f"{head}  {duration(run.started, run.ended)}  {which}"


def trace_cells(label: str, trace: Any) -> dict[str, Any]:
    """Return the row of a trace in the table of its run."""
    sums = totals(trace.calls)
    return {
        "label": label,
        "trace": trace.id,
        "inputs": trace.inputs,
        "outputs": trace.outputs,
        "failure": None if trace.outputs is not None else trace.result_text,
        "calls": sums.calls,
        "tokens": sums.tokens or None,
        "cost": dollars(sums.usd) if sums.cost else None,
        "took": duration(trace.started, trace.ended),
    }
