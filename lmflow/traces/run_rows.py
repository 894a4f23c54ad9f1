"""Runs as rows of a list: what ``lmflow runs ls`` and the view ``v_runs`` show of a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lmflow.traces.totals import Totals
from lmflow.traces.trace import Run
from lmflow.views.amounts import dollars, mean_scores
from lmflow.views.columns import Column, column_table
from lmflow.views.page import Page, Table

LIST_TITLE = "The latest runs of the store"

RUN_COLUMNS = (
    Column("id", whole=True, narrow=lambda text: str(text)[-8:]),
    Column("started", rank=1, narrow=lambda text: str(text)[5:16]),
    Column("kind"),
    Column("name", enough=8),
    Column("status"),
    Column("traces", rank=4),
    Column("calls", rank=2),
    Column("failed", rank=5),
    Column("orphans", rank=7),
    Column("tok_in", rank=6),
    Column("tok_out", rank=6),
    Column("seconds", rank=4),
    Column("cost", rank=3),
    Column("score", rank=3, enough=12),
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
        "usd": sums.usd,
        "unpriced": sums.unpriced,
        "failed": sums.failed,
        "orphans": sums.orphans,
        "of": run.of,
    }


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for people: seconds of a run that is open are unknown, money is in dollars."""
    seconds = "" if row["status"] == "open" else f"{row['seconds']:.2f}"
    cost = dollars(row["usd"], row["unpriced"])
    return {**row, "seconds": seconds, "cost": cost, "score": mean_scores(row.get("scores", {}))}


@attrs.frozen
class RunList:
    """Rows of runs, newest first: as text what ``lmflow runs ls`` prints.

    Args:
        title: The words above the table in a notebook.
        rows: The rows.
        total: The number of runs that there are, by default those in ``rows``.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    total: int | None = None

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int | None = None) -> str:
        """Return the list as text that fits a width, if there is one."""
        if not self.rows:
            return "No runs yet."
        rows, elsewhere = map(shown_row, self.rows), "str() and a wider terminal show them"
        return column_table(rows, RUN_COLUMNS, width=width, elsewhere=elsewhere)

    def page(self) -> Page:
        """Return the list as a notebook shows it."""
        rows = list(map(shown_row, self.rows))
        names = tuple(column.name for column in RUN_COLUMNS)
        table = Table(rows, total=self.total, noun="run", columns=names)
        return Page((self.title,), (table,))


def _utc(at: int) -> str:
    return dt.datetime.fromtimestamp(at // 10**9, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
