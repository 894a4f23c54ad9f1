"""Evaluations by metrics and judges together: where the judges' traces are in the run."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from lmflow.data.dataset import Dataset
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, evaluation_by_judge
from lmflow.evaluation.rescoring import scored_by
from lmflow.evaluation.several import joined
from lmflow.evaluation.spending import judging_of
from lmflow.metrics import Metric
from lmflow.traces.addresses import escape_label
from lmflow.traces.trace import Run, Trace

_JUDGED = re.compile(r"/judge(\[[^\]]*\])?$")

Verdicts = Mapping[str, Mapping[str, Trace]]
"""A judge's traces, by the judge's name and the labels of the traces that they judge."""


def is_judgement(label: str) -> bool:
    """Return whether a label is that of a judge's trace."""
    return bool(_JUDGED.search(label))


def judgement_label(label: str, judge: str = "") -> str:
    """Return the label of the trace that judges the trace of a label. The judge's name is part of
    it if the evaluation has several judges.
    """
    return f"{label}/judge[{escape_label(judge)}]" if judge else f"{label}/judge"


def judges_of(metrics: Mapping[str, Metric | Judge]) -> dict[str, Judge]:
    """Return the judges among metrics, by their names."""
    return {name: metric for name, metric in metrics.items() if isinstance(metric, Judge)}


def judge_names(metrics: Mapping[str, Metric | Judge]) -> dict[str, str]:
    """Return the name that the labels of each judge's traces have: none if it is alone."""
    judges = judges_of(metrics)
    return {name: name if len(judges) > 1 else "" for name in judges}


def recorded_verdicts(run: Run, names: Mapping[str, str]) -> dict[str, dict[str, Trace]]:
    """Find the judges' traces in a recorded run. ``names`` are those that ``judge_names`` gives."""
    traces = dict(run.items)
    verdicts: dict[str, dict[str, Trace]] = {}
    for judge, name in names.items():
        labels = {label: judgement_label(label, name) for label in traces}
        verdicts[judge] = {label: traces[own] for label, own in labels.items() if own in traces}
    return verdicts


def evaluation_by(
    run: Run, examples: Dataset, metrics: Mapping[str, Metric | Judge], verdicts: Verdicts
) -> Evaluation:
    """Make the evaluation of a run by metrics and judges, the primary one first.

    Raises ``MetricFailed`` if one of them failed on all outputs.
    """
    evaluations = {}
    for name, metric in metrics.items():
        if isinstance(metric, Judge):
            evaluations[name] = evaluation_by_judge(run, examples, metric, verdicts[name])
        else:
            evaluations[name] = scored_by(run, examples, metric)
    traces = [trace for by_label in verdicts.values() for trace in by_label.values()]
    return attrs.evolve(joined(evaluations), judging=judging_of(traces))
