"""Metrics by name: the shipped ones, and functions or judges of the user's modules."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping

from lmflow import metrics
from lmflow.cli.loading.factories import build, choose
from lmflow.cli.loading.programs import load_object
from lmflow.evaluation.judges import Judge
from lmflow.metrics import Metric

_SHIPPED = (
    metrics.exact_match,
    metrics.f1,
    metrics.squad_em,
    metrics.squad_f1,
    metrics.hotpot_em,
    metrics.hotpot_f1,
    metrics.contains,
    metrics.passage_match,
    metrics.numeric,
    metrics.set_f1,
    metrics.slot_f1,
    metrics.citation_precision,
    metrics.citation_recall,
    metrics.recall_at_k,
    metrics.mrr,
)
METRICS: Mapping[str, Callable[..., Metric]] = types.MappingProxyType(
    {factory.__name__: factory for factory in _SHIPPED}
)
"""The shipped metrics: factories by name."""

METRIC_HELP = "NAME, NAME:FIELD,OPTION=VALUE (exact_match:answer) or MODULE:FUNCTION."


def load_metric(text: str) -> Metric | Judge:
    """Return the metric or judge that ``NAME``, ``NAME:FIELD,OPTION=VALUE`` or ``MODULE:NAME``
    names. Every command resolves its metric here.
    """
    name, colon, rest = text.partition(":")
    metric: Metric | Judge
    if name in METRICS:
        metric = build(f"--metric {name}", METRICS[name], rest.split(",") if rest else ())
    elif colon:
        metric = load_object(text, "metric", _is_metric)
    else:
        metric = choose("metric", name, METRICS)
    return metric


def _is_metric(value: object) -> bool:
    return isinstance(value, Judge) or callable(value)
