"""Errors of examples, scores and comparisons."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


class EvaluationError(LmflowError):
    """Examples, scores or comparisons can't work."""


@attrs.frozen(eq=False)
class BadData(EvaluationError):
    """Rows can't be read as examples, or can't be split as requested. ``where`` is a file and line,
    or a data set.
    """

    where: str
    problem: str
    fix: str

    template = "{where}: {problem}. {fix}"


@attrs.frozen(eq=False)
class BadScore(EvaluationError):
    """A metric returned, or was given, something that makes no score."""

    metric: str
    problem: str
    fix: str = "A metric returns a finite number, a bool or lf.Score(value, feedback)."

    template = "metric {metric}: {problem}. {fix}"


@attrs.frozen(eq=False)
class TrainingFailed(LmflowError):
    """A training job failed, so there are no weights: the version stays, and what was trained so
    far is kept for the next try.
    """

    trainer: str
    text: str

    template = "training by {trainer} failed: {text}"


@attrs.frozen(eq=False)
class MetricFailed(EvaluationError):
    """A metric raised on every example: the metric is wrong, so no output gets a score of 0.

    ``kind`` and ``text`` are the class name and the message of the first exception.
    """

    metric: str
    kind: str
    text: str

    template = (
        "metric {metric} failed on every example; the first time with {kind}: {text:flat} "
        "(The outputs are on record: lf.scores_from(ex.runs[-1], rows, metric), or `lmflow score`, "
        "scores them anew at no call.)"
    )


@attrs.frozen(eq=False)
class NotComparable(EvaluationError):
    """Two evaluations can't be paired."""

    a: str
    b: str
    problem: str
    fix: str

    template = "{a} and {b} can't be compared: {problem}. {fix}"


@attrs.frozen(eq=False)
class NotSteerable(LmflowError):
    """A search can't be steered so: it has ended, or the act is not one that it takes."""

    what: str
    problem: str
    fix: str

    template = "{what} {problem}. {fix}"


@attrs.frozen(eq=False)
class BadCondition(LmflowError):
    """A condition on executions can't be read."""

    text: str
    problem: str
    hint: str = ""

    template = (
        "condition {text!r}: {problem}.{hint} Write FIELD OPERATOR LITERAL: "
        '"score>0.8", "input.lang = en", "output.answer ~ Paris".'
    )


@attrs.frozen(eq=False)
class NotShards(EvaluationError):
    """Runs aren't all the shards of one run."""

    problem: str
    fix: str

    template = "these runs aren't the shards of one: {problem}. {fix}"
