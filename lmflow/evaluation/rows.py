"""Rows of an evaluation: one example with its outputs, its score or the reason why it has none, and
what it cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import toolz

from lmflow.data.dataset import example_id
from lmflow.errors import short
from lmflow.messages.replies import ChatReply, EmbedReply
from lmflow.messages.requests import ToolRequest
from lmflow.metrics import Counts, Metric, Score, score_of
from lmflow.traces.json_form import outputs_of_json, read_json, record_of_json
from lmflow.traces.paged import Paged
from lmflow.traces.trace import CallAttempt, Failed, Trace, failed
from lmflow.values.printing import printable
from lmflow.values.record import EMPTY, Record, pretty

_CELL_WIDTH = 40


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
        scores: The scores by the evaluation's other metrics, by name; empty if it has one metric.
        failures: The failures of the other metrics, by name.
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
    scores: Record = EMPTY
    failures: Record = EMPTY

    @property
    def id(self) -> str:
        """The example's id. Rows of one example are samples of it."""
        return example_id(self.example)

    def by(self, metric: str) -> Row:
        """Return the row as another metric of the evaluation scored it.

        Args:
            metric: The name of one of the other metrics.

        Returns:
            The row with that metric's score, or its failure.
        """
        failure = self.failure if self.outputs is None else self.failures.get(metric)
        score = self.scores.get(metric)
        return attrs.evolve(self, score=score, failure=failure, scores=EMPTY, failures=EMPTY)

    def by_primary(self) -> Row:
        """Return the row without what the other metrics say of it."""
        return attrs.evolve(self, scores=EMPTY, failures=EMPTY)


def each_row(rows: Sequence[Row], change: Callable[[Row], Row]) -> Sequence[Row]:
    """Return what a function makes of each row; of rows that are read later it is made then."""
    return rows.each(change) if isinstance(rows, Paged) else tuple(map(change, rows))


def rows_at(rows: Sequence[Row], places: Sequence[int]) -> Sequence[Row]:
    """Return the rows at positions; rows that are read later stay so."""
    return rows.at(places) if isinstance(rows, Paged) else tuple(rows[place] for place in places)


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
        cost=sum_if_known(map(price_paid, model_calls)),
        tokens=sum_if_known(map(tokens_used, model_calls)),
        latency=None if reused else (trace.ended - trace.started) / 1e9,
        trace=trace.id,
    )


# A score without reasons for single steps hashes as it did before there could be any.
def result_of(row: Row) -> list[Any]:
    """Return what a row adds to the root of its evaluation: its label, score and failure."""
    score = row.score
    if score is None:
        return [row.label, None, row.failure]
    if score.steps:
        return [row.label, score, None]
    fields = {"value": score.value, "feedback": score.feedback, "counts": score.counts}
    return [row.label, fields, None]


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


# No root is made of the cluster, so no hash says that the examples have the field.
def rows_from_json(data: Iterable[Mapping[str, Any]], cluster: str) -> tuple[Row, ...]:
    """Make the rows of an evaluation from their JSON values. ``ForeignFile`` if they are of none,
    ``ValueError`` if an example lacks the field of the cluster.
    """
    rows = tuple(map(row_from_json, data))
    if cluster and not all(cluster in row.example for row in rows):
        msg = f"not every example has the cluster's field {cluster!r:.80}"
        raise ValueError(msg)
    return rows


def row_from_json(data: Mapping[str, Any]) -> Row:
    """Make a row from its JSON values. ``ForeignFile`` if they are of none."""
    return read_json("row", data, lambda fields: Row(**_fields_from_json(fields)))


def _fields_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    failure = data["failure"]
    return {
        **data,
        "example": record_of_json(data["example"]),
        "outputs": outputs_of_json(data["outputs"]),
        "score": _score_from_json(data["score"]),
        "failure": _failure_from_json(failure) if failure else None,
        "scores": Record(toolz.valmap(_score_from_json, data.get("scores", {}))),
        "failures": Record(toolz.valmap(_failure_from_json, data.get("failures", {}))),
    }


def row_cells(row: Row, others: Iterable[str] = ()) -> dict[str, Any]:
    """Return the cells of a row in a table for people: id, score, feedback, the same of ``others``
    (the names of the other metrics), outputs, failure.
    """
    cells = {"id": short(row.id), **_score_cells(row.score)}
    for name in others:
        cells |= _score_cells(row.scores.get(name), f".{name}")
    cells |= {**(row.outputs or {}), "failure": failure_text(row.failure)}
    return cells | {f"failure.{name}": failure_text(row.failures[name]) for name in row.failures}


def short_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's cells with objects cut shorter than texts, which say more."""
    cells = dict(row)
    for name, value in row.items():
        if isinstance(value, Mapping):
            cells[name] = printable(pretty(value), _CELL_WIDTH)
    return cells


def _score_cells(score: Score | None, suffix: str = "") -> dict[str, Any]:
    return {
        f"score{suffix}": None if score is None else score.value,
        f"feedback{suffix}": "" if score is None else score.feedback,
    }


def failure_text(failure: Failed | None) -> str:
    """Return the class of a failure's error and its text; empty if there is none."""
    return "" if failure is None else f"{failure.kind}: {failure.text}"


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


def _failure_from_json(data: Mapping[str, Any]) -> Failed:
    return Failed.from_dict(data)


def price_paid(call: CallAttempt) -> int | None:
    """Return the price paid for a call, in nano-dollars; ``None`` if it is unknown."""
    return 0 if call.source else call.cost


def tokens_used(call: CallAttempt) -> int | None:
    """Return the tokens read and written by a call; ``None`` if the count is unknown."""
    if call.outcome is None:
        return None
    if not isinstance(call.outcome, (ChatReply, EmbedReply)):
        return 0
    usage = call.outcome.usage
    return None if usage.prompt is None else usage.prompt + (usage.completion or 0)
