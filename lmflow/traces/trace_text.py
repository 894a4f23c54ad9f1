"""Traces and runs as words: how a trace ended, its row in the table of a run, a run's headline."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.errors import short
from lmflow.traces.call_text import duration
from lmflow.traces.totals import totals
from lmflow.values.printing import clean, printable
from lmflow.views.amounts import dollars
from lmflow.views.lines import LINE_WIDTH, counted
from lmflow.views.page import ROWS_SHOWN, Page, Table, Text

_NAME = 60  # the characters of a name that a headline shows


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


def run_headline(run: Any) -> str:
    """Return a run on one line: its name, id and state, and what its calls come to."""
    facts: list[str] = [run.kind, run.status]
    if run.items:
        sums, failures = run.sums
        facts += [counted(len(run), "trace")]
        facts += [f"{failures:,} failed"] if failures else []
        facts += [sums.words]
    return clean(f"{printable(run.name, _NAME)} {run.id}: {', '.join(facts)}")


def run_page(run: Any, *, messages: bool) -> Page:
    """Return a run as a notebook shows it; with ``messages`` those of the first traces in full."""
    lines = (f"Run {run_headline(run)}",)
    if messages:
        first = attrs.evolve(run, items=run.items[:ROWS_SHOWN])
        hidden = len(run) - len(first)
        more = f"\n… {counted(hidden, 'more trace')}" if hidden else ""
        return Page(lines, (Text(f"{first.text(messages=True)}{more}", most=None),))
    if len(run) == 1:
        return Page(lines, (Text(run.text()),))
    rows = [trace_cells(label, trace) for label, trace in run.items[:ROWS_SHOWN]]
    return Page(lines, (Table(rows, "Traces", total=len(run), noun="trace"),))
