"""Evaluations from recorded runs: their traces are scored again, which needs no call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmflow.data.dataset import Dataset
from lmflow.errors import BadData, MetricFailed, near
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.metric_kinds import warn_of_dspy
from lmflow.evaluation.rows import Row, row_of, score_or_failure
from lmflow.evaluation.several import joined, named_metrics
from lmflow.metrics import Metric, metric_key, name_of
from lmflow.traces.addresses import unescape_label
from lmflow.traces.trace import Failed, Run
from lmflow.values.record import Record

_EXAMPLE = re.compile(r"(?:^|/)ex\[(.*?)\](?:/n\[\d+\])?$", re.DOTALL)


def scores_from(
    run: Run,
    examples: Iterable[Mapping[str, Any]],
    metric: Metric | Sequence[Metric] | Mapping[str, Metric],
    *,
    primary: str = "",
) -> Evaluation:
    """Score a recorded run's traces again, without a call.

    Args:
        run: The run: a map or an evaluation.
        examples: The examples that were run, in any order.
        metric: Scores an example's outputs; or several metrics, as a list or a mapping by name.
        primary: The name of the primary metric, by default the first.

    Returns:
        The evaluation of the run by the metric.

    Raises:
        BadData: The example of a trace is not among ``examples``, or the run holds several
            programs or versions.
        MetricFailed: A metric fails on all outputs.
        ValueError: Two metrics have one name, or none is called ``primary``.
    """
    metrics = named_metrics(metric, primary)
    warn_of_dspy(metrics.values())
    data = examples
    if not isinstance(data, Dataset):
        data = Dataset(run.name, tuple(map(Record, examples)))
    return joined({name: scored_by(run, data, each) for name, each in metrics.items()})


def scored_by(run: Run, data: Dataset, metric: Metric) -> Evaluation:
    """Score a recorded run's traces by one metric; see ``scores_from``."""
    rows = [
        row_of(label, example, trace, score_or_failure(metric, example, trace))
        for (label, trace), example in zip(run.items, examples_of(run, data), strict=True)
    ]
    return make_evaluation(run, data, rows, metric_key(metric), name_of(metric))


def make_evaluation(
    run: Run, data: Dataset, rows: Iterable[Row], metric: str, metric_name: str
) -> Evaluation:
    """Make the evaluation of a run's rows, under the metric's key and name.

    Raises ``MetricFailed`` if the metric failed on all outputs, ``BadData`` if the run holds
    several programs or versions.
    """
    all_rows = tuple(rows)
    with_outputs = [row for row in all_rows if row.outputs is not None]
    if with_outputs and all(row.score is None for row in with_outputs):
        cause = with_outputs[0].failure or Failed("unknown", "it gave no score")
        raise MetricFailed(metric_name, cause.kind, cause.text)
    executed = {(trace.program, trace.version.id) for trace in run}
    if len(executed) > 1:
        fix = "Take the traces of one: attrs.evolve(run, items=...)."
        raise BadData(f"run {run.id}", f"it holds {len(executed)} programs or versions", fix)
    program, version = next(iter(executed), ("", ""))
    return Evaluation(
        run.name, all_rows, program, version, metric, metric_name, data.digest, run.id, run.root
    )


def examples_of(run: Run, examples: Dataset) -> list[Record]:
    """Find the example of each trace of a run by the ``ex[...]`` of its label: an id, or a position
    for examples without ids. Raises ``BadData`` if an example is missing.
    """
    by_name = dict(zip(examples.ids, examples, strict=True))
    by_name |= {
        str(at): example for at, example in enumerate(examples) if example.get("id") is None
    }
    return [_example(label, by_name, run) for label, _ in run.items]


def _example(label: str, by_name: Mapping[str, Record], run: Run) -> Record:
    match = _EXAMPLE.search(label)
    name = match[1] if match else label
    example = by_name.get(name) or by_name.get(unescape_label(name))
    if example is None:
        problem = f"the example of {label!r} isn't among those given"
        fix = f"Give the data set that was run.{near(name, by_name)}"
        raise BadData(f"run {run.id}", problem, fix)
    return example
