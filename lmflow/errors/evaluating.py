"""Errors of examples, scores and comparisons."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


class EvaluationError(LmflowError):
    """Examples, scores or comparisons that can't work."""


@attrs.frozen(eq=False)
class BadData(EvaluationError):
    """Rows that can't be read as examples, or can't be parted as asked. ``where`` is a file and
    line, or a data set.
    """

    where: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class BadScore(EvaluationError):
    """What a metric gave, or was given, makes no score."""

    metric: str
    problem: str
    fix: str = "A metric returns a finite number, a bool or lf.Score(value, feedback)."

    def __str__(self) -> str:
        return f"metric {self.metric}: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class MetricFailed(EvaluationError):
    """A metric failed on everything that it was given: that is a mistake in it, and no score of 0.

    ``kind`` and ``text`` are those of its first failure.
    """

    metric: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"metric {self.metric} failed on every example; the first time with {self.kind}: {self.text}"


@attrs.frozen(eq=False)
class NotComparable(EvaluationError):
    """Two evaluations that can't be paired."""

    a: str
    b: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.a} and {self.b} can't be compared: {self.problem}. {self.fix}"


@attrs.frozen(eq=False)
class BadCondition(LmflowError):
    """A condition on executions that can't be read."""

    text: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        fix = (
            'Write FIELD OPERATOR LITERAL: "score>0.8", "input.lang = en", "output.answer ~ Paris".'
        )
        return f"condition {self.text!r}: {self.problem}.{self.hint} {fix}"
