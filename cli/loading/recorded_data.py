"""Examples and scores of recorded runs, read from the store without the user's code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs

from lmflow.cli.loading.jobs import JobSpec, spec_of
from lmflow.data.dataset import Dataset
from lmflow.data.readers import dataset as read_dataset
from lmflow.errors import BadData, NotFound
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judging import is_judgement, recorded_verdicts
from lmflow.evaluation.rescoring import examples_of, make_evaluation
from lmflow.evaluation.rows import row_of
from lmflow.evaluation.several import joined
from lmflow.evaluation.spending import judging_of
from lmflow.metrics import Score
from lmflow.programs.program import Program
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.trace import Failed, Run, Trace
from lmflow.values.record import Record


def recorded_datasets(run: Run, reader: Reader, program: Program | None = None) -> list[Dataset]:
    """Return the data sets that a run was started with, as far as they still exist unchanged.

    They are read from the store by their digests, or from the files that a command named; a
    ``program`` types the fields of files as its signature says.
    """
    digests = run.config.get("data")
    if digests is None:
        return []
    parts = list(digests.values()) if isinstance(digests, Mapping) else [digests]
    spec = spec_of(run) if "command" in run.config else None
    datasets = []
    for digest in parts:
        examples = _stored(digest, reader)
        if examples is None:
            examples = _from_files(digest, spec, program)
        if examples is not None:
            datasets.append(examples)
    return datasets


def recorded_example(
    run: Run, label: str, trace: Trace, datasets: Iterable[Dataset]
) -> Mapping[str, Any] | None:
    """Return the example of a run's trace: all its fields, of which the inputs are a part.

    ``None`` if no data set of the run has it.
    """
    own = attrs.evolve(run, items=((label, trace),))
    for examples in datasets:
        try:
            (example,) = examples_of(own, examples)
        except BadData:
            continue
        return example
    return None


def recorded_evaluation(run: Run, reader: Reader, data: Dataset | None) -> Evaluation:
    """Return an evaluation as its run recorded it, from the recorded scores; nothing is scored
    again.

    Without ``data`` the examples are made of the recorded inputs and the ids in the labels. Raises
    ``BadData`` if the run was stopped before its outputs were scored.
    """
    own = attrs.evolve(run, items=tuple(_executions(run)))
    keys = dict(run.config.get("metrics", ())) or {"": run.config["metric"]}
    judges = tuple(run.config.get("judges", ())) or ("",)
    verdicts = recorded_verdicts(run, {name: name if len(judges) > 1 else "" for name in judges})
    evaluations = {}
    for name, key in keys.items():
        evaluation = _recorded_by(own, reader, data, key, verdicts.get(name, {}))
        evaluations[name or evaluation.metric_name] = evaluation
    traces = [trace for label, trace in run.items if is_judgement(label)]
    return attrs.evolve(joined(evaluations), judging=judging_of(traces))


def _recorded_by(
    run: Run, reader: Reader, data: Dataset | None, key: str, verdicts: Mapping[str, Trace]
) -> Evaluation:
    """Return the evaluation by one metric; ``verdicts`` are a judge's traces by label."""
    examples = _examples_of_labels(run) if data is None else examples_of(run, data)
    rows, name = [], "metric"
    for (label, trace), example in zip(run.items, examples, strict=True):
        score, metric_name = _recorded_score(trace, key, reader)
        name = metric_name or name
        failure = _failure(verdicts.get(label)) if score is None else None
        rows.append(row_of(label, example, trace, score or failure))
    if run.status in {"open", "stopped"} and all(row.score is None for row in rows):
        fix = f"Finish it: lmflow resume {run.id}"
        raise BadData(f"run {run.id}", "it was stopped before its outputs were scored", fix)
    dataset = Dataset(run.name, ()) if data is None else data
    return attrs.evolve(make_evaluation(run, dataset, rows, key, name), dataset=run.config["data"])


def _stored(digest: str, reader: Reader) -> Dataset | None:
    empty = Dataset("examples", ())
    if digest == empty.digest:
        return empty
    try:
        return reader.dataset(digest)
    except NotFound:
        return None


def _from_files(digest: str, spec: JobSpec | None, program: Program | None) -> Dataset | None:
    """Return the examples of the file that still has the digest, ``None`` if no file has it."""
    if spec is None:
        return None
    for _, source in spec.files:
        if source.digest != digest or not Path(source.path).is_file():
            continue
        try:
            examples = read_dataset(
                Path(source.path), signature=program, allow_files=spec.allow_files
            )
        except BadData:
            continue
        if examples.digest == digest:
            return examples
    return None


def _executions(run: Run) -> Iterable[tuple[str, Trace]]:
    return ((label, trace) for label, trace in run.items if not is_judgement(label))


def _examples_of_labels(run: Run) -> list[Record]:
    examples = []
    for label, trace in run.items:
        name = label.partition("ex[")[2].partition("]")[0]
        examples.append(trace.inputs | Record(id=unquote(name)))
    return examples


def _recorded_score(trace: Trace, key: str, reader: Reader) -> tuple[Score | None, str]:
    """Return the latest score of a trace by a metric, and the metric's name."""
    for recorded in reversed(reader.scores(trace.id)):
        if recorded.metric == key and recorded.value is not None:
            return Score(recorded.value, recorded.feedback), recorded.name
    return None, ""


def _failure(judgement: Trace | None) -> Failed:
    if judgement is not None and judgement.failure is not None:
        return judgement.failure
    return Failed("MetricFailed", "no score is recorded")
