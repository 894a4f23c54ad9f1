"""Metrics over rankings of ids, best first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.errors import BadScore
from lmflow.metrics.base import FunctionMetric, Score
from lmflow.metrics.fields import golds, pick, shipped, text_of

_Row = Mapping[str, Any]


def recall_at_k(k: int, field: str = "ids", gold: str = "gold_ids") -> FunctionMetric:
    """The share of the relevant ids that are among the first ``k`` (Manning, Raghavan, Schütze
    2008, section 8.4).

    Args:
        k: How many ids of the ranking count.
        field: The output's field, a list of ids, best first.
        gold: The example's field, the relevant ids.

    Raises:
        BadScore: When it scores an example without a relevant id: its recall is undefined, not 0.
    """
    return shipped(_recall_at_k, relevant, golds, text_of, k=k, field=field, gold=gold)


def mrr(field: str = "ids", gold: str = "gold_ids", *, k: int = 0) -> FunctionMetric:
    """One over the rank of the first relevant id, 0 if none is among the first ``k``. The mean over
    examples is the mean reciprocal rank (Voorhees 1999, section 3).

    Args:
        field: The output's field, a list of ids, best first.
        gold: The example's field, the relevant ids.
        k: How many ids of the ranking count; 0 counts all.

    Raises:
        BadScore: When it scores an example without a relevant id.
    """
    return shipped(_mrr, relevant, golds, text_of, k=k, field=field, gold=gold)


def relevant(example: _Row, gold: str) -> frozenset[str]:
    """The ids that an example calls relevant, at least one."""
    found = frozenset(golds(pick(example, gold)))
    if not found:
        raise BadScore(
            "over a ranking",
            f"the example's {gold!r} is empty",
            "Leave out examples without relevant ids.",
        )
    return found


def _recall_at_k(example: _Row, outputs: _Row, *, k: int, field: str, gold: str) -> Score:
    wanted, first = relevant(example, gold), frozenset(golds(pick(outputs, field))[:k])
    missing = sorted(wanted - first)
    return Score(
        len(wanted & first) / len(wanted), f"not found: {', '.join(missing)}" if missing else ""
    )


def _mrr(example: _Row, outputs: _Row, *, k: int, field: str, gold: str) -> Score:
    wanted, ranked = relevant(example, gold), golds(pick(outputs, field))
    ranked = ranked[:k] if k else ranked
    rank = next((place for place, name in enumerate(ranked, 1) if name in wanted), None)
    return Score(
        1 / rank if rank else 0.0, "" if rank == 1 else f"wanted first: {', '.join(sorted(wanted))}"
    )
