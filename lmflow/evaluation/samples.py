"""Rows of a run with samples, grouped by example, and means of their costs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lmflow.evaluation.rescoring import scores_from
from lmflow.evaluation.rows import Row
from lmflow.metrics import Metric
from lmflow.traces.trace import Run
from lmflow.values.functions import Function, function_of

_SAMPLE = re.compile(r"/n\[\d+\]\Z")

VoteKey = str | Callable[[Mapping[str, Any]], Any]
"""The part of the outputs by which samples agree: an output's name, or a function of the outputs;
an empty name stands for all outputs.
"""


def rows_by_example(
    run: Run, examples: Iterable[Mapping[str, Any]], metric: Metric
) -> dict[str, list[Row]]:
    """Score a run and group its rows by the label of their example."""
    groups: dict[str, list[Row]] = {}
    for row in scores_from(run, examples, metric).rows:
        groups.setdefault(_SAMPLE.sub("", row.label), []).append(row)
    return groups


def vote_function(key: VoteKey) -> str | Function:
    """Prepare the key of a vote for ``vote_of``."""
    return key if isinstance(key, str) else function_of(key)


def total_if_known(parts: Iterable[float | None]) -> float | None:
    """Return the sum, ``None`` if a part is unknown."""
    numbers: list[float] = []
    for part in parts:
        if part is None:
            return None
        numbers.append(part)
    return math.fsum(numbers)


def mean_if_known(parts: Sequence[float | None]) -> float | None:
    """Return the mean, ``None`` if a part is unknown or there are none."""
    total = total_if_known(parts)
    return None if total is None or not parts else total / len(parts)


def cost_text(value: float | None) -> str:
    """Write a mean number of tokens or calls for a table."""
    return "?" if value is None else f"{value:,.1f}"
