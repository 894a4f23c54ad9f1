"""Metadata stored with evaluations and optimizations started from Python, so that the CLI can
resume or replay them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lmflow.data.dataset import Dataset, Examples
from lmflow.evaluation.judges import Judge, Scorers
from lmflow.evaluation.several import named_metrics
from lmflow.execution.budget import Budget
from lmflow.execution.session import Session
from lmflow.metrics import FunctionMetric, Metric, name_of
from lmflow.programs.program import Program
from lmflow.traces.store import DatasetStore, Recorder
from lmflow.values.functions import place_of, running_script
from lmflow.values.record import Record


# Redacted examples are not stored: the data set would hold what the traces were cleaned of.
async def begin_job(  # noqa: PLR0913, PLR0917 - what the settings are of
    session: Session,
    program: Program,
    data: tuple[Dataset, ...],
    metric: Scorers,
    budget: Budget | None,
    ref: str = "",
    judge_rows: int | None = None,
) -> Record:
    """Return the settings of a job that Python begins, and store its examples."""
    if session.connections.redactor is None:
        await asyncio.to_thread(keep_data, session.recorder, data)
    return run_config(program, data, metric, budget, ref, judge_rows)


def run_config(  # noqa: PLR0913, PLR0917 - what the settings are of
    program: Program,
    data: tuple[Examples, ...],
    metric: Scorers,
    budget: Budget | None,
    ref: str = "",
    judge_rows: int | None = None,
) -> Record:
    """Describe how to load the job again: the ``module:name`` of program and metric (empty if no
    module has them by name), the program's key, a shipped metric's options, the budget's limits,
    the ref to move, the order of the examples' fields, and the script among those modules.

    Proposers read the fields in that order; the digest of the data does not tell it. To import the
    script would run it again, so it is not loaded unless the user allows it.
    """
    metrics = named_metrics(metric)
    places = [place_of(program), *map(place_of, metrics.values())]
    modules = {place.partition(":")[0] for place in places}
    script = running_script()
    return Record(
        python={
            "program": {"name": places[0], "key": program.key},
            "metric": _description(*metrics.values()),
            **_named(metrics),
            "script": script if script in modules else "",
            "fields": _field_names(data),
            "ref": ref,
            **({} if judge_rows is None else {"judge_rows": judge_rows}),
            "budget": {} if budget is None else _limits(budget),
        }
    )


def _description(metric: Metric | Judge, *_: Metric | Judge) -> dict[str, Any]:
    """Describe how to load the first of several metrics."""
    options = metric.options if isinstance(metric, FunctionMetric) else Record()
    return {"name": place_of(metric) or getattr(metric, "name", ""), "options": options}


# A single metric under its own name is described as it always was, so that the settings of its run
# stay the same.
def _named(metrics: Mapping[str, Metric | Judge]) -> dict[str, Any]:
    """Describe metrics that have names of the caller's choice, or are several."""
    if all(name == name_of(metric) for name, metric in metrics.items()) and len(metrics) == 1:
        return {}
    return {"metrics": [{"as": name, **_description(each)} for name, each in metrics.items()]}


def keep_data(store: Recorder, data: tuple[Dataset, ...]) -> None:
    """Store the examples, by their content alone, if the store keeps data sets."""
    if isinstance(store, DatasetStore):
        for part in data:
            if len(part):
                store.keep_dataset(part)


def _field_names(data: tuple[Examples, ...]) -> list[str]:
    names: dict[str, None] = {}
    for part in data:
        for example in part:
            names.update(dict.fromkeys(example))
    return list(names)


def _limits(budget: Budget) -> dict[str, float]:
    limits = {
        "calls": budget.calls,
        "tokens": budget.tokens,
        "usd": None if budget.usd is None else float(budget.usd),
    }
    return {name: limit for name, limit in limits.items() if limit is not None}
