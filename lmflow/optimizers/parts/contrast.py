"""What runs of one example that ended differently teach: how much, and at which step they part."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.optimizers.parts.scoring import Scored
from lmflow.programs.program import Program
from lmflow.replays.steps import Taken, all_steps


@attrs.frozen
class Bucket:
    """The runs of one example that count, the best first."""

    rows: tuple[Scored, ...]

    @property
    def best(self) -> Scored:
        """The run with the highest score, the earliest of equals."""
        return self.rows[0]

    @property
    def worst(self) -> Scored:
        """The run with the lowest score, the latest of equals."""
        return self.rows[-1]

    @property
    def values(self) -> list[float]:
        """The scores."""
        return [row.value or 0.0 for row in self.rows]

    @property
    def rank(self) -> tuple[float, float, float]:
        """How much there is to learn: the gap, the best, how far that is above the mean."""
        values = self.values
        return values[0] - values[-1], values[0], values[0] - statistics.fmean(values)


def buckets(rows: Iterable[Scored]) -> list[Bucket]:
    """The runs by example, those that teach most first."""
    found: dict[str, list[Scored]] = {}
    for row in rows:
        if row.value is not None:
            found.setdefault(example_id(row.rollout.example), []).append(row)
    made = [
        Bucket(tuple(sorted(runs, key=lambda row: -(row.value or 0.0)))) for runs in found.values()
    ]
    return sorted(made, key=lambda it: it.rank, reverse=True)


def ends(made: Sequence[Bucket], share: float = 0.1) -> tuple[float, float]:
    """The scores that a share of all runs doesn't exceed, and that a share reaches."""
    values = sorted(value for it in made for value in it.values)
    if not values:
        return 0.0, 0.0
    last = len(values) - 1
    return values[math.floor(share * last)], values[math.ceil((1 - share) * last)]


def parting(better: Scored, worse: Scored, program: Program) -> tuple[Taken, Taken] | None:
    """The first step that two runs took both and that came out differently; ``None`` where there is
    none.
    """
    steps = program.predictors
    for one, other in zip(
        *(all_steps(row.trace, program) for row in (better, worse)), strict=False
    ):
        if one.step != other.step:
            return None
        if one.step in steps and (one.outputs, one.failure) != (other.outputs, other.failure):
            return one, other
    return None
