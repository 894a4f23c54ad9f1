"""Rows of an evaluation: one example with its outputs, its score or the reason why it has none, and
what it cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.data.dataset import example_id
from lmflow.errors import short
from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.messages.requests import ToolRequest
from lmflow.metrics import Counts, Metric, Score, score_of
from lmflow.traces.trace import CallAttempt, Failed, Trace, failed
from lmflow.values.record import Record


@attrs.frozen
class Row:
    """An example under evaluation.

    Attributes:
        label: The place of its trace in the run.
        example: The example.
        outputs: The program's outputs, ``None`` if it failed.
        score: The score, ``None`` if there is none.
        failure: The program's failure if there are no outputs, else the metric's.
        cost: The price paid, in nano-dollars; ``None`` if the price of some call is unknown.
        tokens: The tokens read and written; ``None`` if the count of some call is unknown.
        latency: The seconds that it took; ``None`` if a reused call makes them meaningless.
        trace: The trace's id.
    """

    label: str
    example: Record
    outputs: Record | None = None
    score: Score | None = None
    failure: Failed | None = None
    cost: int | None = None
    tokens: int | None = None
    latency: float | None = None
    trace: str = ""

    @property
    def id(self) -> str:
        """The example's id. Rows of one example are samples of it."""
        return example_id(self.example)


def row_of(label: str, example: Record, trace: Trace, result: Score | Failed | None = None) -> Row:
    """Make the row of a trace and its score, or the failure of scoring it. A failure of the trace
    itself takes precedence.
    """
    model_calls = [call for call in trace.calls if not isinstance(call.request, ToolRequest)]
    reused = any(call.source for call in trace.calls)
    score = result if isinstance(result, Score) and trace.outputs is not None else None
    return Row(
        label,
        example,
        trace.outputs,
        score=score,
        failure=trace.failure or (result if isinstance(result, Failed) else None),
        cost=sum_if_known(map(_price_paid, model_calls)),
        tokens=sum_if_known(map(_tokens_used, model_calls)),
        latency=None if reused else (trace.ended - trace.started) / 1e9,
        trace=trace.id,
    )


def value_or(row: Row, default: float) -> float:
    """Return a row's score; the default if it has none."""
    return default if row.score is None else row.score.value


def score_or_failure(metric: Metric, example: Record, trace: Trace) -> Score | Failed | None:
    """Return the score of a trace, the metric's failure on it, or ``None`` if the trace has no
    outputs.
    """
    if trace.outputs is None:
        return None
    try:
        return score_of(metric, example, trace.outputs, trace)
    except Exception as error:  # noqa: BLE001 - a metric's failure is recorded with its row
        return failed(error)


def row_from_json(data: Mapping[str, Any]) -> Row:
    """Make a row from its JSON values."""
    outputs, failure = data["outputs"], data["failure"]
    return Row(
        **{
            **data,
            "example": Record(data["example"]),
            "outputs": None if outputs is None else Record(outputs),
            "score": _score_from_json(data["score"]),
            "failure": Failed(**failure) if failure else None,
        }
    )


def row_cells(row: Row) -> dict[str, Any]:
    """Return the cells of a row in a table for people: id, score, feedback, outputs, failure."""
    score, failure = row.score, row.failure
    return {
        "id": short(row.id),
        "score": None if score is None else score.value,
        "feedback": "" if score is None else score.feedback,
        **(row.outputs or {}),
        "failure": "" if failure is None else f"{failure.kind}: {failure.text}",
    }


def sum_if_known(parts: Iterable[int | None]) -> int | None:
    """Return the sum, ``None`` if a part is unknown."""
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return total


def _score_from_json(data: Mapping[str, Any] | None) -> Score | None:
    if not data:
        return None
    counts = Counts(**data["counts"]) if data["counts"] else None
    return Score(**{**data, "counts": counts})


def _price_paid(call: CallAttempt) -> int | None:
    return 0 if call.source else call.cost


def _tokens_used(call: CallAttempt) -> int | None:
    if call.outcome is None:
        return None
    if not isinstance(call.outcome, (ChatReply, EmbedReply)):
        return 0
    usage = call.outcome.usage
    return None if usage.prompt is None else usage.prompt + (usage.completion or 0)
