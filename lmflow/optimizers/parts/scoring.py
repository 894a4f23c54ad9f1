"""Scores inside a plan: the one way from rollouts to numbers, by a function or by a judge."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Generator, Iterable, Mapping, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.evaluation.judges import Judge
from lmflow.metrics import Metric, Score, name_of, score_of
from lmflow.optimizers.parts.needs import Need, PlannedRollout, need_rollouts
from lmflow.optimizers.plans.task import Plan, Task
from lmflow.traces.trace import Failed, Trace, failed
from lmflow.values.record import Record
from lmflow.versions.version import Version

VETOED = "Vetoed"
"""The kind of failure of a rollout that was not run because a person vetoed its version."""

ENVIRONMENT_FAILURES = frozenset({"ModelFailed", "ToolFailed", "StepTimeout", VETOED})
"""Kinds of failure that say nothing about a version: its environment failed, not its prompt."""


@attrs.frozen
class ScoredRollout:
    """A rollout with its trace, and its score or the reason why it has none."""

    rollout: PlannedRollout
    trace: Trace
    score: Score | None = None
    failure: Failed | None = None

    @property
    def value(self) -> float | None:
        """The score; 0 if the version is at fault (its reply cannot be read); ``None`` if the
        environment or the metric failed.
        """
        if self.score is not None:
            return self.score.value
        failure = self.trace.failure
        at_fault = failure is not None and failure.kind not in ENVIRONMENT_FAILURES
        return 0.0 if at_fault else None


@attrs.frozen
class VersionScores:
    """A version's scores on examples. Rollouts that the environment failed are left out, so that an
    endpoint that is down decides nothing.
    """

    version: Version
    rows: tuple[ScoredRollout, ...]

    @property
    def values(self) -> dict[str, float]:
        """The scores by example and sample."""
        return {
            f"{example_id(row.rollout.example)}#{row.rollout.sample}": row.value
            for row in self.rows
            if row.value is not None
        }

    @property
    def mean(self) -> float:
        """The mean score; minus infinity if there is no score."""
        values = self.values
        return statistics.fmean(values.values()) if values else float("-inf")


@attrs.frozen
class Best:
    """The best version so far and its mean score, minus infinity before there is one."""

    version: Version
    mean: float = float("-inf")

    @property
    def score(self) -> float | None:
        """The mean score, ``None`` before there is one."""
        return None if self.mean == float("-inf") else self.mean

    def over(self, version: Version, mean: float) -> Best:
        """Return the better of both: the new version only if its mean is strictly higher."""
        return Best(version, mean) if mean > self.mean else self


def conclude(best: Best) -> Plan:
    """End a search with its best version. A last, empty need reports the final mean, which no later
    need would report.
    """
    yield Need((), (), best.version, best.score, "done")
    return best.version


def score_candidate(
    task: Task, version: Version, label: str, best: Best, phase: str = ""
) -> Generator[Need, tuple[Trace, ...], tuple[float, Best]]:
    """Score a version on the selection data; return its mean, and the better of it and ``best``."""
    scores = yield from score_version(task, version, task.data.select, label, best, phase)
    return scores.mean, best.over(version, scores.mean)


def score_side_by_side(
    task: Task, batch: Sequence[tuple[str, Version, Sequence[Record]]], best: Best, phase: str = ""
) -> Generator[Need, tuple[Trace, ...], list[VersionScores]]:
    """Score versions, each under its label on its own examples, within one need; add the scores to
    the task's evidence.
    """
    rollouts: list[PlannedRollout] = []
    labels: list[str] = []
    for label, version, examples in batch:
        own = [PlannedRollout(task.program, version, example) for example in examples]
        rollouts += own
        labels += need_rollouts(label, own, version).labels
    traces = yield Need(tuple(rollouts), tuple(labels), best.version, best.score, phase)
    pairs = list(zip(rollouts, traces, strict=True))
    rows = yield from score_traces(task, pairs, batch[0][0] if batch else phase, best, phase)
    remaining, results = iter(rows), []
    for _, version, examples in batch:
        own_rows = tuple(itertools.islice(remaining, len(examples)))
        add_evidence(task, version, own_rows)
        results.append(VersionScores(version, own_rows))
    return results


def score_version(  # noqa: PLR0913, PLR0917 - the state of a search
    task: Task,
    version: Version,
    examples: Sequence[Record],
    label: str,
    best: Best,
    phase: str = "",
) -> Generator[Need, tuple[Trace, ...], VersionScores]:
    """Run a version of the task's program on examples, score each, and add the scores to the
    task's evidence.
    """
    rollouts = [PlannedRollout(task.program, version, example) for example in examples]
    rows = yield from score_rollouts(task, rollouts, label, best, phase)
    add_evidence(task, version, rows)
    return VersionScores(version, rows)


def add_evidence(task: Task, version: Version, rows: Iterable[ScoredRollout]) -> None:
    """Add the rows that have a value to the task's evidence on a version."""
    for row in rows:
        if row.value is not None:
            example = example_id(row.rollout.example)
            task.evidence.add(version, row.rollout.key, example, row.value)


def score_rollouts(
    task: Task,
    rollouts: Iterable[PlannedRollout],
    label: str,
    best: Best,
    phase: str = "",
) -> Generator[Need, tuple[Trace, ...], tuple[ScoredRollout, ...]]:
    """Run rollouts and score each by the task's metric. A judge's calls are rollouts of its own
    program, needed after those that it judges.

    Raises ``MetricFailed`` if the metric has failed on all outputs of the search.
    """
    batch = tuple(rollouts)
    traces = yield need_rollouts(label, batch, best.version, score=best.score, phase=phase)
    pairs = list(zip(batch, traces, strict=True))
    return (yield from score_traces(task, pairs, label, best, phase))


def score_traces(
    task: Task,
    pairs: Sequence[tuple[PlannedRollout, Trace]],
    label: str,
    best: Best,
    phase: str = "",
) -> Generator[Need, tuple[Trace, ...], tuple[ScoredRollout, ...]]:
    """Score the traces of rollouts; a judge's program runs on each trace that has outputs.

    Raises ``MetricFailed`` if the metric has failed on all outputs of the search.
    """
    metric = task.metric
    if not isinstance(metric, Judge):
        rows = tuple(score_trace(metric, rollout, trace) for rollout, trace in pairs)
        _note_metric(task, rows)
        return rows
    to_judge = [(rollout, trace) for rollout, trace in pairs if trace.outputs is not None]
    judgements = [judgement_rollout(metric, rollout, trace) for rollout, trace in to_judge]
    verdicts = yield need_rollouts(
        f"{label}/judge", judgements, best.version, score=best.score, phase=phase
    )
    verdict_of = {trace.id: verdict for (_, trace), verdict in zip(to_judge, verdicts, strict=True)}
    rows = tuple(_score_by_verdict(metric, rollout, trace, verdict_of) for rollout, trace in pairs)
    _note_metric(task, rows)
    return rows


def score_trace(metric: Metric, rollout: PlannedRollout, trace: Trace) -> ScoredRollout:
    """Score a trace by a function; without outputs or score, say which failure is the reason."""
    if trace.outputs is None:
        return ScoredRollout(rollout, trace, failure=trace.failure)
    try:
        score = score_of(metric, rollout.example, trace.outputs, trace)
    except Exception as error:  # noqa: BLE001 - a metric's failure is neither a score nor a zero
        return ScoredRollout(rollout, trace, failure=failed(error))
    return ScoredRollout(rollout, trace, score)


def judgement_rollout(judge: Judge, rollout: PlannedRollout, trace: Trace) -> PlannedRollout:
    """Plan the execution of a judge's program that scores a trace."""
    inputs = judge.inputs(rollout.example, trace.outputs or {})
    return PlannedRollout(judge.program, judge.under, inputs)


def _score_by_verdict(
    judge: Judge, rollout: PlannedRollout, trace: Trace, verdict_of: Mapping[str, Trace]
) -> ScoredRollout:
    verdict = verdict_of.get(trace.id)
    if verdict is None:
        return ScoredRollout(rollout, trace, failure=trace.failure)
    if verdict.outputs is None:
        return ScoredRollout(rollout, trace, failure=verdict.failure)
    return ScoredRollout(rollout, trace, judge.score(verdict.outputs))


def _note_metric(task: Task, rows: Iterable[ScoredRollout]) -> None:
    with_outputs = [row for row in rows if row.trace.outputs is not None]
    no_score = Failed("Unknown", "it gave no score")
    failures = [row.failure or no_score for row in with_outputs if row.score is None]
    works = len(failures) < len(with_outputs)
    task.evidence.note_metric(name_of(task.metric), failures, works=works)
