"""Runs of one example that ended differently: how much they teach, and at which step they part."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.parts.scoring import ScoredRollout
from lmflow.programs.program import Program
from lmflow.replays.steps import RecordedStep, all_steps


@attrs.frozen
class ExampleRuns:
    """The scored runs of one example, the best first."""

    runs: tuple[ScoredRollout, ...]

    @property
    def best(self) -> ScoredRollout:
        """The run with the highest score, the earliest of equals."""
        return self.runs[0]

    @property
    def worst(self) -> ScoredRollout:
        """The run with the lowest score, the latest of equals."""
        return self.runs[-1]

    @property
    def values(self) -> list[float]:
        """The scores, the highest first."""
        return [run.value or 0.0 for run in self.runs]

    @property
    def rank(self) -> tuple[float, float, float]:
        """The order by which buckets teach: the gap between best and worst, the best score, and how
        far the best is above the mean.
        """
        values = self.values
        return values[0] - values[-1], values[0], values[0] - statistics.fmean(values)


def make_buckets(runs: Iterable[ScoredRollout]) -> list[ExampleRuns]:
    """Group the runs that have a score by example; the buckets that teach most come first."""
    by_example: dict[str, list[ScoredRollout]] = {}
    for run in runs:
        if run.value is not None:
            by_example.setdefault(example_id(run.rollout.example), []).append(run)
    buckets = [
        ExampleRuns(tuple(sorted(same, key=lambda run: -(run.value or 0.0))))
        for same in by_example.values()
    ]
    return sorted(buckets, key=lambda bucket: bucket.rank, reverse=True)


def outer_scores(buckets: Sequence[ExampleRuns], share: float = 0.1) -> tuple[float, float]:
    """Return the score that a ``share`` of all runs does not exceed, and the one that a ``share``
    reaches.
    """
    values = sorted(value for bucket in buckets for value in bucket.values)
    if not values:
        return 0.0, 0.0
    last = len(values) - 1
    return values[math.floor(share * last)], values[math.ceil((1 - share) * last)]


def first_difference(
    better: ScoredRollout, worse: ScoredRollout, program: Program
) -> tuple[RecordedStep, RecordedStep] | None:
    """Return the first step that both runs took and that came out differently; ``None`` if there is
    no common step with different results.
    """
    steps = program.predictors
    calls = zip(all_steps(better.trace, program), all_steps(worse.trace, program), strict=False)
    for good, bad in calls:
        if good.step != bad.step:
            return None
        if good.step in steps and (good.outputs, good.failure) != (bad.outputs, bad.failure):
            return good, bad
    return None
