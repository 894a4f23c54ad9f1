"""What Python leaves on the runs of evaluations and optimizations, so that they are found again by
name and content.
"""

from __future__ import annotations

from lmflow.data.dataset import Dataset
from lmflow.evaluation.judges import Judge
from lmflow.execution.budget import Budget
from lmflow.metrics import FunctionMetric, Metric
from lmflow.programs.program import Program
from lmflow.traces.store import DataKeeper, Recorder
from lmflow.values.functions import place_of
from lmflow.values.record import Record


def run_config(
    program: Program,
    data: tuple[Dataset, ...],
    metric: Metric | Judge,
    budget: Budget | None,
    ref: str = "",
) -> Record:
    """Where program and metric are held (``module:name``, empty where no module has them by name),
    the program's key, a shipped metric's options, the budget's limits, the ref that is to be
    moved, and the fields of the examples in the order that proposers read them in, which their
    content doesn't tell.
    """
    options = metric.options if isinstance(metric, FunctionMetric) else Record()
    return Record(
        python={
            "program": {"name": place_of(program), "key": program.key},
            "metric": {"name": place_of(metric) or getattr(metric, "name", ""), "options": options},
            "fields": [
                *dict.fromkeys(name for part in data for example in part for name in example)
            ],
            "ref": ref,
            "budget": {} if budget is None else _limits(budget),
        }
    )


def _limits(budget: Budget) -> dict[str, float]:
    held = {
        "calls": budget.calls,
        "tokens": budget.tokens,
        "usd": None if budget.usd is None else float(budget.usd),
    }
    return {name: limit for name, limit in held.items() if limit is not None}


def keep_data(store: Recorder, data: tuple[Dataset, ...]) -> None:
    """Keep the examples in a store that keeps data sets, by their content alone."""
    if isinstance(store, DataKeeper):
        for part in data:
            if len(part):
                store.keep_dataset(part)
