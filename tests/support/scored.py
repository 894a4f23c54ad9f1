"""Runs and evaluations made by hand, without an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

import lmflow as lf
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.rows import Row
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.metrics import Score
from lmflow.traces.trace import CallAttempt, Failed, Run, Trace
from lmflow.values.record import Record

STEP = lf.predict("answer", "question -> answer", "Answer.")
VERSION = lf.init(STEP)
USAGE = Usage(prompt=10, completion=2)


def call(
    cost: int | None = 5, usage: Usage = USAGE, source: str = "", text: str = "x"
) -> CallAttempt:
    """One recorded call of a model."""
    request = ChatRequest((Message("user", "?"),), "m", "scripted")
    return CallAttempt(
        "answer[0]/call[0]",
        request,
        request.key,
        0,
        ChatReply(text, usage=usage),
        0,
        10,
        cost,
        source,
    )


def trace(name: str, answer: Any, *calls: CallAttempt, seconds: float = 0.5) -> Trace:
    """An execution that gave an answer; an exception's name and words for one that failed."""
    failed = isinstance(answer, Failed)
    return Trace(
        name, STEP.key, "answer", VERSION, Record(question="?"), Record(models={}), calls=calls,
        outputs=None if failed else Record(answer=answer), failure=answer if failed else None,
        started=10**18, ended=10**18 + int(seconds * 1e9),
    )  # fmt: skip


def run(answers: Mapping[str, Any], *, cost: int | None = 5) -> Run:
    """A run with one trace an example, by the examples' ids."""
    items = tuple(
        (f"ex[{name}]", trace(f"t-{name}", answer, call(cost))) for name, answer in answers.items()
    )
    return Run("r1", "map", "answer", items, status="done")


def evaluation(
    scores: Mapping[str, float | None], name: str = "answer", **fields: Any
) -> Evaluation:
    """An evaluation with these scores by id; ``None`` is a row that failed."""
    rows = [_row(key, value, {}) for key, value in scores.items()]
    return Evaluation(name, tuple(rows), metric="m", metric_name="exact_match", **fields)


def grouped(scores: Sequence[tuple[str, str, float]], **fields: Any) -> Evaluation:
    """An evaluation with a row for each (id, document, score)."""
    rows = [_row(key, value, {"document": document}) for key, document, value in scores]
    return Evaluation("answer", tuple(rows), metric="m", metric_name="f1", **fields)


def _row(name: str, value: float | None, more: Mapping[str, Any]) -> Row:
    example = Record(id=name, question=f"{name}?", **more)
    row = Row(
        f"ex[{name}]",
        example,
        Record(answer=f"of {name}"),
        cost=7,
        tokens=12,
        latency=0.25,
        trace=f"t-{name}",
    )
    if value is None:
        return attrs.evolve(row, outputs=None, failure=Failed("ParseFailure", "no answer in it"))
    return attrs.evolve(row, score=Score(value))
