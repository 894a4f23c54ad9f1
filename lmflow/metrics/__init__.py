"""Metrics, which score an example's outputs: their form, and the shipped ones, which are factories
over field names. Judges, which ask a model, live in ``lmflow.evaluation``.
"""

from __future__ import annotations

from lmflow.metrics.base import (
    Counts,
    FunctionMetric,
    Metric,
    Score,
    as_score,
    metric,
    metric_key,
    name_of,
    score_of,
)
from lmflow.metrics.numbers import numeric
from lmflow.metrics.ranking import mrr, recall_at_k
from lmflow.metrics.sets import citation_precision, citation_recall, set_f1, slot_f1
from lmflow.metrics.text import (
    contains,
    exact_match,
    f1,
    hotpot_em,
    hotpot_f1,
    passage_match,
    squad_em,
    squad_f1,
)

__all__ = [
    "Counts",
    "FunctionMetric",
    "Metric",
    "Score",
    "as_score",
    "citation_precision",
    "citation_recall",
    "contains",
    "exact_match",
    "f1",
    "hotpot_em",
    "hotpot_f1",
    "metric",
    "metric_key",
    "mrr",
    "name_of",
    "numeric",
    "passage_match",
    "recall_at_k",
    "score_of",
    "set_f1",
    "slot_f1",
    "squad_em",
    "squad_f1",
]
