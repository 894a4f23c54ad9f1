"""Metrics by name: the shipped ones, and functions or judges of the user's modules."""

from __future__ import annotations

import re
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lmflow import metrics
from lmflow.cli.errors import exception_text
from lmflow.cli.loading.factories import build, choose
from lmflow.cli.loading.programs import load_object
from lmflow.errors import LmflowError, near
from lmflow.evaluation.judges import Judge
from lmflow.metrics import Metric, Score, name_of, score_of
from lmflow.traces.trace import Trace
from lmflow.values.record import Record

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
METRICS_HELP = f"{METRIC_HELP} Repeat it for more; the first is primary."

_CALLED = re.compile(r"([\w-]+)=(.+)", re.DOTALL)  # NAME=METRIC; an option has a colon before


def load_metric(text: str) -> Metric | Judge:
    """Return the metric or judge that ``NAME``, ``NAME:FIELD,OPTION=VALUE`` or ``MODULE:NAME``
    names. Every command resolves its metric here.
    """
    name, colon, rest = text.partition(":")
    metric: Metric | Judge
    if name in METRICS:
        metric = build(f"--metric {name}", METRICS[name], rest.split(",") if rest else ())
    elif colon and not _is_misspelled(name):
        metric = load_object(text, "metric", _is_metric)
    else:
        metric = choose("metric", name, METRICS)
    return metric


def load_metrics(texts: Sequence[str]) -> dict[str, Metric | Judge]:
    """Return the metrics or judges that texts name, as ``load_metric`` does, by their names.

    ``NAME=METRIC`` gives a metric a name. Others have their own, or their text if two would have
    the same. An error if two are the same metric.
    """
    metrics: list[tuple[str, str, Metric | Judge]] = []
    for text in texts:
        called = _CALLED.fullmatch(text)
        metric = load_metric(called[2] if called else text)
        metrics.append((called[1] if called else name_of(metric), text, metric))
    counts = Counter(name for name, _, _ in metrics)
    by_name: dict[str, Metric | Judge] = {}
    for own, text, metric in metrics:
        name = own if counts[own] == 1 else text
        if name in by_name:
            raise click.ClickException(f"--metric {text} is given twice: leave one out.")
        by_name[name] = metric
    return by_name


def load_function_metric(text: str) -> Metric:
    """Return the metric of a text, as ``load_metric`` does; an error if it is a judge, which would
    have to call a model.
    """
    metric = load_metric(text)
    if isinstance(metric, Judge):
        raise click.ClickException(
            f"--metric {text} is a judge, which calls a model; name a metric that is a function."
        )
    return metric


def score_trace(metric: Metric, example: Mapping[str, Any], trace: Trace) -> Score:
    """Score the outputs of a trace; an exception of the metric becomes one line."""
    try:
        return score_of(metric, Record(example), trace.outputs or Record(), trace)
    except LmflowError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        fields = ", ".join(example)
        raise click.ClickException(
            f"metric {name_of(metric)} failed with {exception_text(error)}. "
            f"The example has the fields {fields}: does the metric read another one?"
        ) from None


def _is_misspelled(name: str) -> bool:
    """Return whether a name is near a shipped metric's and no file is a module of that name."""
    return bool(near(name, METRICS)) and not Path(*name.split(".")).with_suffix(".py").exists()


def _is_metric(value: object) -> bool:
    return isinstance(value, Judge) or callable(value)
