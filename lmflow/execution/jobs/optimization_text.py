"""An optimization's scores, spending and learning curve as text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import toolz

from lmflow.evaluation.evaluation import Evaluation
from lmflow.execution.budget import Spent
from lmflow.execution.costs import spent_on
from lmflow.traces.trace import Run, Trace

Points = Sequence[tuple[int, float]]
"""Pairs of a number of calls and the best score after that many."""

SPENDING_COLUMNS = ("phase", "rollouts", "calls", "reused", "tokens", "usd")
_BARS = "▁▂▃▄▅▆▇█"


def scored(evaluation: Evaluation) -> str:
    """Return an evaluation's mean with its interval, and how many rows failed."""
    if evaluation.mean is None:
        score = "nothing was scored"
    else:
        score = f"{evaluation.mean}, n {evaluation.mean.n}"
    failed = f"; {len(evaluation.failed)} failed" if evaluation.failed else ""
    return f"{evaluation.metric_name} {score}{failed}"


def spending(run: Run) -> list[dict[str, Any]]:
    """Return a mapping per phase, in order: rollouts, sent and reused calls, tokens, dollars
    (``None`` if unknown).
    """
    phases: dict[str, list[tuple[str, Trace]]] = toolz.groupby(
        lambda item: phase_of(item[0]), run.items
    )
    rows = []
    for phase, items in phases.items():
        traces = [trace for _, trace in items]
        rows.append({"phase": phase, **_spent(traces)})
    return rows


def phase_of(label: str) -> str:
    """Return the phase of a rollout's label: its place in the run tree, without numbers."""
    place = label.partition("/ex[")[0].partition("ex[")[0]
    return re.sub(r"\[[^\]]*\]", "", place) or "rollouts"


def curve_text(points: Points, width: int = 60) -> str:
    """Return a learning curve as bars on one line between its lowest and highest score."""
    if not points:
        return "no scores"
    last = points[-1][0]
    low, high = min(score for _, score in points), max(score for _, score in points)
    bars = ""
    for column in range(width):
        score = _best_after(points, last * (column + 1) / width)
        bars += " " if score is None else _BARS[_height(score, low, high)]
    return f"{low:.3f} {bars} {high:.3f}  after {last:,} calls"


def steps(points: Points) -> list[tuple[float, float]]:
    """Return the corners of a curve whose score stays until a better one is reached."""
    corners: list[tuple[float, float]] = list(points[:1])
    for (_, score), point in itertools.pairwise(points):
        corners += [(point[0], score), point]
    return corners


def _best_after(points: Points, calls: float) -> float | None:
    """Return the best score after so many calls, ``None`` before the first."""
    return next((score for after, score in reversed(points) if after <= calls), None)


def _height(score: float, low: float, high: float) -> int:
    return 0 if high == low else round((score - low) / (high - low) * (len(_BARS) - 1))


def _spent(traces: Sequence[Trace]) -> dict[str, Any]:
    calls = [call for trace in traces for call in trace.calls]
    paid: Spent = spent_on(calls)
    unknown = paid.unknown and paid.cost == 0
    return {
        "rollouts": len(traces),
        "calls": paid.calls,
        "reused": sum(1 for call in calls if call.source),
        "tokens": paid.tokens,
        "usd": None if unknown else f"{paid.cost / 1e9:.4f}",
    }
