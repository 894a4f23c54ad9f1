"""Evaluations from recorded runs: their traces scored, at no cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from lmflow.data.dataset import Dataset
from lmflow.errors import BadData, MetricFailed, near
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rows import Row, result_of, row_of
from lmflow.metrics import Metric, metric_key, name_of
from lmflow.traces.trace import Failed, Run
from lmflow.values.record import Record

_EXAMPLE = re.compile(r"(?:^|/)ex\[(.*?)\](?:/n\[\d+\])?$", re.DOTALL)


def scores_from(run: Run, examples: Iterable[Mapping[str, Any]], metric: Metric) -> Evaluation:
    """The evaluation of a recorded run: its traces scored anew, at no cost.

    Raises ``MetricFailed`` where the metric fails on all outputs, ``BadData`` where a trace's
    example isn't among ``examples`` or the run holds several versions.
    """
    rows = (
        examples
        if isinstance(examples, Dataset)
        else Dataset(run.name, tuple(map(Record, examples)))
    )
    found = [
        row_of(label, example, trace, result_of(metric, example, trace))
        for (label, trace), example in zip(run.items, examples_of(run, rows), strict=True)
    ]
    return evaluated(run, rows, found, metric_key(metric), name_of(metric))


def evaluated(
    run: Run, data: Dataset, rows: Iterable[Row], metric: str, metric_name: str
) -> Evaluation:
    """The evaluation that rows of a run make, under the metric's key and name. ``MetricFailed``
    where it failed on all outputs.
    """
    kept = tuple(rows)
    given = [row for row in kept if row.outputs is not None]
    if given and all(row.score is None for row in given):
        cause = given[0].failure or Failed("unknown", "it gave no score")
        raise MetricFailed(metric_name, cause.kind, cause.text)
    ran = {(trace.program, trace.version.id) for trace in run}
    if len(ran) > 1:
        fix = "Take the traces of one: attrs.evolve(run, items=...)."
        raise BadData(f"run {run.id}", f"it holds {len(ran)} programs or versions", fix)
    program, version = next(iter(ran), ("", ""))
    return Evaluation(
        run.name, kept, program, version, metric, metric_name, data.digest, run.id, run.root
    )


def examples_of(run: Run, examples: Dataset) -> list[Record]:
    """The example of each trace of a run, by the ``ex[...]`` of its label: an id, or a position
    where examples have no ids. ``BadData`` where there is none.
    """
    known = dict(zip(examples.ids, examples, strict=True))
    known |= {str(at): example for at, example in enumerate(examples) if example.get("id") is None}
    return [_example(label, known, run) for label, _ in run.items]


def _example(label: str, known: Mapping[str, Record], run: Run) -> Record:
    match = _EXAMPLE.search(label)
    name = match[1] if match else label
    found = known.get(name) or known.get(unquote(name))
    if found is None:
        problem = f"the example of {label!r} isn't among those given"
        raise BadData(
            f"run {run.id}", problem, f"Give the data set that was run.{near(name, known)}"
        )
    return found
