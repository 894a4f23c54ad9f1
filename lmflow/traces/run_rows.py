"""Runs as rows of a list: what ``lmflow runs ls`` and the view ``v_runs`` show of a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from lmflow.traces.totals import Totals
from lmflow.traces.trace import Run

RUN_COLUMNS = (
    "id",
    "started",
    "kind",
    "name",
    "status",
    "traces",
    "calls",
    "failed",
    "orphans",
    "tok_in",
    "tok_out",
    "seconds",
)


def run_row(run: Run, traces: int, sums: Totals) -> dict[str, Any]:
    """Return a run's row as SQL makes it, but for its root and its scores.

    Args:
        run: The run; its traces aren't looked at.
        traces: The number of its traces.
        sums: The sums over their calls.
    """
    return {
        "id": run.id,
        "kind": run.kind,
        "name": run.name,
        "target": run.target,
        "status": run.status,
        "started": _utc(run.started),
        "seconds": round(max(run.ended - run.started, 0) / 1e9, 3),
        "traces": traces,
        "calls": sums.calls,
        "reused": sums.reused,
        "tok_in": sums.read,
        "tok_out": sums.written,
        "usd": None if sums.cost is None else sums.cost / 1e9,
        "unpriced": sums.unpriced,
        "failed": sums.failed,
        "orphans": sums.orphans,
        "of": run.of,
    }


def row_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for people: the seconds of a run that is open are unknown."""
    seconds = "" if row["status"] == "open" else f"{row['seconds']:.2f}"
    return {**row, "seconds": seconds}


def _utc(at: int) -> str:
    return dt.datetime.fromtimestamp(at // 10**9, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
