"""Scores inside a plan: the one way from rollouts to numbers, whether by a function or by a judge."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Iterable, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.errors import MetricFailed
from lmflow.evaluation.judges import Judge
from lmflow.metrics import Metric, Score, name_of, score_of
from lmflow.optimizers.parts.plan import Need, Plan, PlannedRollout, Task, need_rollouts
from lmflow.traces.trace import Failed, Trace, failed
from lmflow.values.record import Record
from lmflow.versions.version import Version

OUTSIDE = frozenset({"ModelFailed", "ToolFailed", "StepTimeout"})
"""Failures that say nothing about a version: the outside world's, not the prompt's."""


@attrs.frozen
class Scored:
    """One rollout: its trace, and its score or why there is none."""

    rollout: PlannedRollout
    trace: Trace
    score: Score | None = None
    failure: Failed | None = None

    @property
    def value(self) -> float | None:
        """What it counts: its score; 0 where the version is at fault (a reply that can't be read);
        ``None`` where the outside world or the metric failed.
        """
        if self.score is not None:
            return self.score.value
        at_fault = self.trace.failure is not None and self.trace.failure.kind not in OUTSIDE
        return 0.0 if at_fault else None


@attrs.frozen
class Scores:
    """A version's scores on examples. What the outside world failed to answer is left out, so that
    an endpoint that is down decides nothing.
    """

    version: Version
    rows: tuple[Scored, ...]

    @property
    def values(self) -> dict[str, float]:
        """Per example and sample that counts, its score."""
        found = {
            f"{example_id(row.rollout.example)}#{row.rollout.sample}": row.value
            for row in self.rows
        }
        return {label: value for label, value in found.items() if value is not None}

    @property
    def mean(self) -> float:
        """The mean of what counts; minus infinity where nothing does."""
        values = self.values
        return statistics.fmean(values.values()) if values else float("-inf")


@attrs.frozen
class Best:
    """The best version so far and its mean, minus infinity before there is one."""

    version: Version
    mean: float = float("-inf")

    @property
    def score(self) -> float | None:
        """The mean, ``None`` before there is one."""
        return None if self.mean == float("-inf") else self.mean

    def over(self, version: Version, mean: float) -> Best:
        """The version where its mean is strictly higher, else this one: ties go to the earlier."""
        return Best(version, mean) if mean > self.mean else self


def concluded(best: Best) -> Plan:
    """The end of a search: its best version, told with its mean once more, which no later need
    would tell.
    """
    yield Need((), (), best.version, best.score, "done")
    return best.version


def tried(
    task: Task, version: Version, label: str, best: Best, phase: str = ""
) -> Generator[Need, tuple[Trace, ...], tuple[float, Best]]:
    """A version's mean on the selection data, and the best with it among them."""
    found = yield from scored(task, version, task.data.select, label, best, phase)
    return found.mean, best.over(version, found.mean)


def scored(  # noqa: PLR0913, PLR0917 - the state of a search
    task: Task,
    version: Version,
    examples: Sequence[Record],
    label: str,
    best: Best,
    phase: str = "",
) -> Generator[Need, tuple[Trace, ...], Scores]:
    """Run a version of the task's program on examples and score each."""
    rollouts = [PlannedRollout(task.program, version, example) for example in examples]
    return Scores(version, (yield from measured(task.metric, rollouts, label, best, phase)))


def measured(
    metric: Metric | Judge,
    rollouts: Iterable[PlannedRollout],
    label: str,
    best: Best,
    phase: str = "",
) -> Generator[Need, tuple[Trace, ...], tuple[Scored, ...]]:
    """Run rollouts and score each. A judge's calls are rollouts of its own program, asked for
    afterwards.

    Raises ``MetricFailed`` where the metric fails on everything that it is given.
    """
    asked = tuple(rollouts)
    traces = yield need_rollouts(label, asked, best.version, score=best.score, phase=phase)
    pairs = list(zip(asked, traces, strict=True))
    if not isinstance(metric, Judge):
        return _checked(metric, tuple(by_function(metric, *pair) for pair in pairs))
    done = [(rollout, trace) for rollout, trace in pairs if trace.outputs is not None]
    questions = [
        PlannedRollout(metric.program, metric.under, metric.inputs(it.example, trace.outputs or {}))
        for it, trace in done
    ]
    verdicts = yield need_rollouts(f"{label}/judge", questions, best.version, score=best.score, phase=phase)
    said = {trace.id: verdict for (_, trace), verdict in zip(done, verdicts, strict=True)}
    return _checked(metric, tuple(_by_judge(metric, *pair, said) for pair in pairs))


def by_function(metric: Metric, rollout: PlannedRollout, trace: Trace) -> Scored:
    """A trace's score by a function; its failure, or the function's, where there is none."""
    if trace.outputs is None:
        return Scored(rollout, trace, failure=trace.failure)
    try:
        return Scored(rollout, trace, score_of(metric, rollout.example, trace.outputs, trace))
    except Exception as error:  # noqa: BLE001 - a metric's failure is no score, and no zero
        return Scored(rollout, trace, failure=failed(error))


def _by_judge(
    judge: Judge, rollout: PlannedRollout, trace: Trace, said: dict[str, Trace]
) -> Scored:
    verdict = said.get(trace.id)
    if verdict is None or verdict.outputs is None:
        return Scored(rollout, trace, failure=trace.failure if verdict is None else verdict.failure)
    return Scored(rollout, trace, judge.score(verdict.outputs))


def _checked(metric: Metric | Judge, rows: tuple[Scored, ...]) -> tuple[Scored, ...]:
    given = [row for row in rows if row.trace.outputs is not None]
    if given and all(row.score is None for row in given):
        cause = given[0].failure or Failed("Unknown", "it gave no score")
        raise MetricFailed(name_of(metric), cause.kind, cause.text)
    return rows
