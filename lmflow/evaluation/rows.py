"""One example under evaluation: what came of it, its score or why there is none, what it took."""

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
    """One example under evaluation: its outputs and score, or why there are none.

    ``failure`` is the program's where there are no outputs, else the metric's. ``cost`` is what was
    paid, in nano-dollars, and ``tokens`` what was read and written; ``None`` where either isn't
    known of some call. ``latency`` is in seconds, ``None`` where a reused call makes it
    meaningless.
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
        """The example's id: rows of one example are samples of it."""
        return example_id(self.example)


def row_of(label: str, example: Record, trace: Trace, result: Score | Failed | None = None) -> Row:
    """The row of a trace and its score, or of how scoring it failed. Its own failure comes before
    either.
    """
    spent = [call for call in trace.calls if not isinstance(call.request, ToolRequest)]
    return Row(
        label, example, trace.outputs,
        score=result if isinstance(result, Score) and trace.outputs is not None else None,
        failure=trace.failure or (result if isinstance(result, Failed) else None),
        cost=sum_if_known(0 if call.source else call.cost for call in spent),
        tokens=sum_if_known(map(_used, spent)),
        latency=None if any(call.source for call in trace.calls) else (trace.ended - trace.started) / 1e9,
        trace=trace.id,
    )  # fmt: skip


def result_of(metric: Metric, example: Record, trace: Trace) -> Score | Failed | None:
    """The score of a trace, how the metric failed on it, or ``None`` where it has no outputs."""
    if trace.outputs is None:
        return None
    try:
        return score_of(metric, example, trace.outputs, trace)
    except Exception as error:  # noqa: BLE001 - a metric's failure is kept with its row
        return failed(error)


def row_from_json(data: Mapping[str, Any]) -> Row:
    """The row that was stored as JSON values."""
    score, failure = data["score"], data["failure"]
    counts = Counts(**score["counts"]) if score and score["counts"] else None
    return Row(**{
        **data,
        "example": Record(data["example"]),
        "outputs": None if data["outputs"] is None else Record(data["outputs"]),
        "score": Score(**{**score, "counts": counts}) if score else None,
        "failure": Failed(**failure) if failure else None,
    })  # fmt: skip


def cells(row: Row) -> dict[str, Any]:
    """The row as a person reads it: id, score, feedback, outputs, failure."""
    score = {
        "score": None if row.score is None else row.score.value,
        "feedback": row.score.feedback if row.score else "",
    }
    failure = {"failure": f"{row.failure.kind}: {row.failure.text}" if row.failure else ""}
    return {"id": short(row.id), **score, **(row.outputs or {}), **failure}


def sum_if_known(parts: Iterable[int | None]) -> int | None:
    """The sum; ``None`` where a part is unknown."""
    found = list(parts)
    return None if None in found else sum(part or 0 for part in found)


def _used(call: CallAttempt) -> int | None:
    if not isinstance(call.outcome, (ChatReply, EmbedReply)):
        return None if call.outcome is None else 0
    usage = call.outcome.usage
    return None if usage.prompt is None else usage.prompt + (usage.completion or 0)
