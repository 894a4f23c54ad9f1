"""The screen Compare: two to five evaluations on the same examples, and where each row parts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.conditions import condition
from lmflow.errors import NotComparable
from lmflow.evaluation.comparison import compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.pairing import rows_by_id
from lmflow.traces.trace import Run, Trace
from lmflow.ui.pages import Asked, BadQuery, Screen, Shown, command_line
from lmflow.values.record import plain

MOST_RUNS = 5
PART = 200
"""The examples that one request gets."""

_OFFERED = 30


@attrs.frozen(eq=False)
class _Side:
    """An evaluation beside the run that recorded it."""

    run: Run
    evaluation: Evaluation
    rows: Mapping[str, Sequence[Any]]
    traces: Mapping[str, Trace]


def load_comparison(asked: Asked) -> Shown:
    """Compare evaluations with the first of them, example by example."""
    names = asked.texts("run")
    if len(names) > MOST_RUNS:
        raise BadQuery("run", f"{len(names)} runs", f"2 to {MOST_RUNS} runs")
    runs = [asked.reader.place(name, "run").run for name in names]
    sides = [_side(asked, run) for run in dict.fromkeys(runs)]
    start = asked.number("start", 0, most=10**6)
    examples = list(dict.fromkeys(id_ for side in sides for id_ in side.rows))
    part = examples[start : start + PART]
    metric = asked.text("metric")
    rows = [_row(id_, sides, metric) for id_ in part]
    data = {
        "sides": [_head(side, sides[0], metric) for side in sides],
        "metric": metric or (sides[0].evaluation.metric_name if sides else ""),
        "metrics": list(sides[0].evaluation.metrics) if sides else [],
        "rows": rows,
        "start": start,
        "shown": start + len(part),
        "total": len(examples),
        "offered": _offered(asked, runs),
        "most": MOST_RUNS,
    }
    ids = [side.run.id for side in sides]
    command = command_line("compare", *ids[:2], metric=metric) if len(ids) > 1 else ""
    return Shown("Compare", command or "lmflow compare RUN OTHER", data)


COMPARE = Screen("/compare", "compare.html", load_comparison, "Compare")


def _side(asked: Asked, run_id: str) -> _Side:
    run = asked.reader.run(run_id)
    if run.kind != "evaluate":
        raise BadQuery("run", run_id, f"an evaluation: that run is of kind {run.kind}")
    evaluation = asked.sources.evaluation(asked.reader, run)
    traces = {trace.id: trace for trace in run}
    return _Side(run, evaluation, rows_by_id(evaluation), traces)


def _head(side: _Side, first: _Side, metric: str) -> dict[str, Any]:
    """Return the summary of an evaluation, and its difference from the first one."""
    by = side.evaluation.by(metric) if metric else side.evaluation
    estimate = by.mean
    known = None if estimate is None else attrs.asdict(estimate)
    return {
        "run": side.run.id,
        "name": side.run.name,
        "version": side.evaluation.version,
        "mean": known,
        "failed": len(by.failed),
        "cost": side.evaluation.cost,
        "tokens": side.evaluation.tokens,
        "latency": side.evaluation.latency,
        "comparison": None if side is first else _comparison(first, side, metric),
    }


def _comparison(first: _Side, side: _Side, metric: str) -> dict[str, Any]:
    try:
        result = compare(first.evaluation, side.evaluation, metric=metric)
    except NotComparable as error:
        return {"problem": str(error)}
    return {
        "problem": "",
        "verdict": result.verdict,
        "better": result.better,
        "difference": attrs.asdict(result.difference),
        "p": result.p,
        "wins": len(result.wins),
        "losses": len(result.losses),
        "ties": len(result.ties),
        "cost": _minus(side.evaluation.cost, first.evaluation.cost),
        "slower": _slower(first.rows, side.rows),
    }


def _minus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


def _slower(first: Mapping[str, Sequence[Any]], other: Mapping[str, Sequence[Any]]) -> float | None:
    """Return by how many seconds an execution of the second evaluation took longer, as the median
    of the differences on the same examples; ``None`` if reused replies leave no time to compare.
    """
    before, after = _seconds(first), _seconds(other)
    differences = [after[id_] - seconds for id_, seconds in before.items() if id_ in after]
    return statistics.median(differences) if differences else None


def _seconds(rows: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Return the mean seconds of each example that no reused reply was part of."""
    measured = {id_: [row.latency for row in each] for id_, each in rows.items()}
    return {id_: statistics.fmean(each) for id_, each in measured.items() if None not in each}


def _row(id_: str, sides: Sequence[_Side], metric: str) -> dict[str, Any]:
    cells = [_cell(side, id_, metric) for side in sides]
    example = next(side.rows[id_][0].example for side in sides if id_ in side.rows)
    first = cells[0]
    for side, cell in zip(sides[1:], cells[1:], strict=True):
        cell["verdict"] = _verdict(first["score"], cell["score"])
        cell["parts_at"] = _first_difference(sides[0].traces, side.traces, first, cell)
    return {"id": id_, "example": plain(example), "cells": cells, "alike": _alike(cells)}


def _alike(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the outputs that are the same on every side that has outputs."""
    outputs = [cell["outputs"] for cell in cells if cell["outputs"] is not None]
    if len(outputs) < 2:  # noqa: PLR2004 - nothing to compare with
        return []
    return [
        name for name in outputs[0] if all(outputs[0][name] == each.get(name) for each in outputs)
    ]


def _cell(side: _Side, id_: str, metric: str) -> dict[str, Any]:
    rows = side.rows.get(id_, ())
    if metric and metric != side.evaluation.metric_name:
        rows = [row.by(metric) for row in rows]
    scores = [row.score.value for row in rows if row.score is not None]
    failure = next((row.failure for row in rows if row.failure is not None), None)
    return {
        "score": statistics.fmean(scores) if scores else None,
        "samples": len(rows),
        "outputs": plain(rows[0].outputs) if rows else None,
        "failure": None if failure is None else failure.kind,
        "traces": [row.trace for row in rows],
        "verdict": "",
        "parts_at": "",
    }


def _verdict(first: float | None, other: float | None) -> str:
    if first is None or other is None:
        return "none"
    if first == other:
        return "tie"
    return "win" if other > first else "loss"


def _first_difference(
    first: Mapping[str, Trace],
    other: Mapping[str, Trace],
    a: Mapping[str, Any],
    b: Mapping[str, Any],
) -> str:
    """Return the address of the first call that asks something else; empty if none does."""
    if not a["traces"] or not b["traces"]:
        return ""
    one, two = first.get(a["traces"][0]), other.get(b["traces"][0])
    if one is None or two is None:
        return ""
    mine, theirs = _keys(one), _keys(two)
    calls = (*one.answers.values(), *two.answers.values())
    differing = [call for call in calls if mine.get(call.address) != theirs.get(call.address)]
    return min(differing, key=lambda call: call.started).address if differing else ""


def _keys(trace: Trace) -> dict[str, str]:
    return {address: call.key for address, call in trace.answers.items()}


def _offered(asked: Asked, chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Return the latest evaluations, which the form offers."""
    rows = asked.reader.summaries(_OFFERED, "", [condition("kind=evaluate")])
    return [
        {"id": row["id"], "name": row["name"], "started": row["started"], "scores": row["scores"]}
        for row in rows
        if row["id"] not in chosen
    ]
