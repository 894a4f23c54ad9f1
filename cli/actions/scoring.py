"""Scores recorded executions by a metric, or by a judge, which calls a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.cli.loading.metrics import score_trace
from lmflow.cli.loading.recorded_data import recorded_datasets, recorded_example
from lmflow.data.conditions import Condition
from lmflow.evaluation.judges import Judge
from lmflow.evaluation.judging import is_judgement
from lmflow.execution.budget import Budget
from lmflow.execution.executor import Executor
from lmflow.metrics import Metric, Score, metric_key
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record


@attrs.frozen
class Scorable:
    """A recorded execution and its example; the inputs alone if its run has no data set."""

    example: Mapping[str, Any]
    trace: Trace


@attrs.frozen
class Chosen:
    """The executions to score, and how many others failed or never ended."""

    items: tuple[Scorable, ...]
    without_outputs: int


def chosen_executions(
    reader: Reader, names: Sequence[str], conditions: Sequence[Condition]
) -> Chosen:
    """Return the executions of runs, or of all, that fulfil conditions; judgements are left out.

    Args:
        reader: The store.
        names: What the runs or executions are called; none if ``conditions`` choose among all.
        conditions: The conditions on executions.
    """
    wanted: dict[str, set[str] | None] = {}
    for name in names:
        place = reader.place(name)
        before = wanted.get(place.run, set())
        whole = not place.trace or before is None
        wanted[place.run] = None if whole else {*(before or ()), place.trace}
    if conditions:
        wanted = _fulfilling(reader, conditions, wanted)
    items: list[Scorable] = []
    without_outputs = 0
    for run_id, traces in wanted.items():
        run = reader.run(run_id)
        executions = [
            (label, trace)
            for label, trace in run.items
            if not is_judgement(label) and (traces is None or trace.id in traces)
        ]
        items += _with_examples(reader, run, executions)
        without_outputs += sum(1 for _, trace in executions if trace.outputs is None)
    return Chosen(tuple(items), without_outputs)


def _fulfilling(
    reader: Reader, conditions: Sequence[Condition], wanted: Mapping[str, set[str] | None]
) -> dict[str, set[str] | None]:
    """Return the traces by run that fulfil the conditions and are among the wanted, if any are."""
    chosen: dict[str, set[str] | None] = {}
    for listed in reader.listing.traces(conditions):
        among = wanted.get(listed.run)
        if wanted and listed.run not in wanted:
            continue
        if among is None or listed.trace in among:
            chosen[listed.run] = {*(chosen.get(listed.run) or ()), listed.trace}
    return chosen


def _with_examples(
    reader: Reader, run: Run, executions: Iterable[tuple[str, Trace]]
) -> list[Scorable]:
    datasets = recorded_datasets(run, reader)
    items = []
    for label, trace in executions:
        if trace.outputs is not None:
            example = recorded_example(run, label, trace, datasets)
            items.append(Scorable(trace.inputs if example is None else example, trace))
    return items


def scores_by_metric(items: Iterable[Scorable], metric: Metric, name: str) -> list[ScoreRecorded]:
    """Return the scores of executions by a metric, which sends nothing."""
    key = metric_key(metric)
    return [
        _event(item, name, key, score_trace(metric, item.example, item.trace)) for item in items
    ]


def scores_by_judge(
    executor: Executor, items: Sequence[Scorable], judge: Judge, name: str, budget: Budget | None
) -> list[ScoreRecorded]:
    """Let a judge score executions in a run of its own, and return the scores.

    An execution that the judge failed on has no score.
    """
    rows = [judge.inputs(Record(item.example), item.trace.outputs or Record()) for item in items]

    async def go() -> Run:
        async with executor as ex:
            return await ex.map(judge.program, rows, version=judge.under, budget=budget)

    verdicts = asyncio.run(go())
    return [
        _event(item, name, judge.key, judge.score(verdict.outputs))
        for item, verdict in zip(items, verdicts.traces, strict=True)
        if verdict.outputs is not None
    ]


def _event(item: Scorable, name: str, key: str, score: Score) -> ScoreRecorded:
    now = time.time_ns()
    return ScoreRecorded(item.trace.id, name, score.value, score.feedback, key, "", now)
