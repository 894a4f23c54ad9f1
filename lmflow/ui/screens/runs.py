"""The screen Runs: the latest runs of the store, or those that fulfil conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.errors import short
from lmflow.evaluation.stats import mean
from lmflow.ui.pages import FIRST, Asked, Screen, Shown, command_line

_COUNTED_SCORES = 5_000  # scores of one page whose intervals are derived while it loads


def load_runs(asked: Asked) -> Shown:
    """Read a page of runs, newest first."""
    limit, before = asked.number("limit", FIRST), asked.text("before")
    conditions, where = asked.conditions(), asked.texts("where")
    rows = asked.reader.summaries(limit + 1, before, conditions)
    more = len(rows) > limit
    rows = rows[:limit]
    refs = _refs_by_version(asked.reader)
    budget = _COUNTED_SCORES
    shown = []
    for row in rows:
        budget -= row["traces"] if row["scores"] else 0
        shown.append(_row(asked, row, refs, with_interval=budget >= 0))
    total = asked.reader.listing.count(conditions)
    data = {
        "where": "; ".join(where),
        "rows": shown,
        "total": total,
        "limit": limit,
        "before": before,
        "next": rows[-1]["id"] if more else "",
    }
    options = {"where": where, "before": before}
    return Shown("Runs", command_line("runs", "ls", limit=limit, **options), data, live="*")


RUNS = Screen("/", "runs.html", load_runs, "Runs")


def _row(
    asked: Asked, row: Mapping[str, Any], refs: Mapping[str, list[str]], *, with_interval: bool
) -> dict[str, Any]:
    version = asked.outlines.version(row["id"])
    values = asked.outlines.scores(row["id"]) if row["scores"] and with_interval else {}
    return {
        **row,
        "version": version,
        "refs": refs.get(version, []),
        "sent": row["calls"] - row["reused"],
        "intervals": intervals(values) if values else _bare(row["scores"]),
        "identical": _identical(asked, row),
    }


def intervals(values: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """Return the mean of each score with its 95 % interval, as evaluations derive it."""
    estimates = {name: mean(numbers) for name, numbers in values.items()}
    return [
        {
            "name": name,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "n": estimate.n,
        }
        for name, estimate in estimates.items()
    ]


def _bare(scores: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {"name": name, "value": value, "low": None, "high": None, "n": None}
        for name, value in scores.items()
    ]


def _identical(asked: Asked, row: Mapping[str, Any]) -> bool:
    """Tell whether a run repeats another one and came to the same root."""
    if not row["of"] or not row["root"]:
        return False
    return bool(short(asked.outlines.root(row["of"])) == row["root"])


def _refs_by_version(reader: Any) -> dict[str, list[str]]:
    refs: dict[str, list[str]] = {}
    pairs: Iterable[tuple[str, str]] = reader.refs().items()
    for name, version in pairs:
        refs.setdefault(version, []).append(name)
    return refs
