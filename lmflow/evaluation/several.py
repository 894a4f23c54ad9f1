"""Several metrics in one evaluation: their names, and the evaluations by each joined into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import listed, near
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.metric_kinds import check_metric_kind, checked_key
from lmflow.evaluation.rows import Row
from lmflow.metrics import name_of
from lmflow.values.record import Record


def named_metrics(metrics: Any, primary: str = "") -> dict[str, Any]:
    """Return metrics by name, the primary one first.

    Args:
        metrics: A metric or judge, or several, as a mapping by name or in an order.
        primary: The name of the primary metric, by default the first.

    Returns:
        The metrics. One that has no name of its own choice is called as ``name_of`` says.

    Raises:
        ValueError: There is none, two have one name or are the same, or none is called ``primary``.
        TypeError: They are a set, which has no first, or one is a text.
    """
    by_name = _by_name(metrics)
    _check_distinct(by_name)
    if not primary:
        return by_name
    if primary not in by_name:
        hint = near(primary, by_name)
        msg = f"primary={primary!r} is none of the metrics {listed(by_name)}.{hint}"
        raise ValueError(msg)
    return {primary: by_name[primary], **by_name}


def check_one_metric(metric: Any) -> None:
    """Raise ``TypeError`` if several metrics stand where one is taken: what an optimizer
    maximizes.
    """
    metrics = _by_name(metric)
    if len(metrics) != 1 or metric not in metrics.values():
        msg = (
            f"an optimizer maximizes one metric, found {type(metric).__name__} of {len(metrics)}. "
            "Give the one that counts; ex.evaluate takes several."
        )
        raise TypeError(msg)


def joined(evaluations: Mapping[str, Evaluation]) -> Evaluation:
    """Join the evaluations of the same run by several metrics into one; the first is primary."""
    (name, first), *rest = evaluations.items()
    if not rest:
        return attrs.evolve(first, metric_name=name)
    rows = tuple(
        _joined_row(row, dict(zip(evaluations, others, strict=True)))
        for row, *others in zip(
            first.rows, *(each.rows for each in evaluations.values()), strict=True
        )
    )
    keys = Record({name: each.metric for name, each in rest})
    return attrs.evolve(first, metric_name=name, rows=rows, others=keys)


def _by_name(metrics: Any) -> dict[str, Any]:
    if isinstance(metrics, (set, frozenset)):
        msg = "a set of metrics has no first one, which is primary. Give a list: [a, b]"
        raise TypeError(msg)
    if isinstance(metrics, Mapping):
        for metric in metrics.values():
            check_metric_kind(metric)
        return dict(metrics)
    if callable(metrics) or not isinstance(metrics, Iterable) or isinstance(metrics, str):
        check_metric_kind(metrics)
        return {name_of(metrics): metrics}
    several = list(metrics)
    for metric in several:
        check_metric_kind(metric)
    names = [name_of(metric) for metric in several]
    for name, count in Counter(names).items():
        if count > 1:
            line = f'{{"{name}": {name}(...), "{name}_2": {name}(...)}}'
            msg = f"{count} metrics are called {name}. Name them: {line}"
            raise ValueError(msg)
    return dict(zip(names, several, strict=True))


def _check_distinct(metrics: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` without a metric, or if one occurs twice."""
    if not metrics:
        msg = 'found no metric. Give one, lf.exact_match("answer"), or several, [a, b].'
        raise ValueError(msg)
    names: dict[str, str] = {}
    for name, metric in metrics.items():
        key = checked_key(metric)
        if key in names:
            msg = f"the metrics {names[key]} and {name} are the same. Leave one out."
            raise ValueError(msg)
        names[key] = name


def _joined_row(row: Row, rows: Mapping[str, Row]) -> Row:
    """Give a row the scores and failures of the other metrics; ``rows`` are by metric, the primary
    one first.
    """
    others = list(rows.items())[1:]
    scores = {name: each.score for name, each in others if each.score is not None}
    failures = {}
    if row.outputs is not None:
        failures = {name: each.failure for name, each in others if each.failure is not None}
    return attrs.evolve(row, scores=Record(scores), failures=Record(failures))
