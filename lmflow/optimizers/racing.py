"""Additive racing: instructions and demonstrations of all steps by a model in which each adds its
own effect.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Mapping, Sequence

import attrs

from lmflow.data.dataset import Data
from lmflow.evaluation.stats import paired_test
from lmflow.optimizers.few_shot import Who
from lmflow.optimizers.mipro import Sets, Space, demo_sets
from lmflow.optimizers.parts.additive import Additive, Point
from lmflow.optimizers.parts.grounding import Grounded, grounded
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.plan import (
    SELECT,
    Bound,
    Need,
    Plan,
    PlanOptimizer,
    Task,
    randomness,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import Best, concluded, scored
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_TRIES = 20  # draws until one is found that has examples left


def racing(  # noqa: PLR0913 - each is an option
    *, sets: int = 6, instructions: int = 3, trials: int = 30, block: int = 10, finalists: int = 5,
    headroom: float = 0.02, max_bootstrapped: int = 4, max_labeled: int = 4, threshold: float | None = None,
    teacher: Who = None, model: str = "", temperature: float = 1.0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """The joint choice of an instruction and a set of demonstrations for each step, found on small
    blocks of examples and confirmed by a race.

    Sets and instructions are made as ``mipro`` makes them. Then, ``trials`` times, Thompson
    sampling from an additive Bayesian model picks a choice, which is scored on the next ``block``
    of examples that it wasn't scored on; all choices meet the examples in one order, so that they
    are compared on the same ones. After half of the trials the start version is returned where no
    choice promises ``headroom`` more than it. At last the ``finalists`` that promise most and the
    start version race over the selection data, block by block: who is worse than the leader by the
    95 % interval of the paired difference is out. The best mean of those that are left wins, ties
    to the start version.

    ``model`` is the proposers'. Asks for at most ``2 * block + block * trials + (finalists + 1) *
    select`` rollouts, those of the bootstraps, and proposals as ``mipro`` does.

    Of our own making: additive effects as in arXiv 2604.14585, which finds that steps hardly
    interact; racing on nested blocks as in CAPO (Zehle et al. 2025, arXiv 2504.16005, section 3).
    """
    options = {
        "sets": sets, "instructions": instructions, "trials": trials, "block": block, "finalists": finalists,
        "headroom": headroom, "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "threshold": threshold,
        "teacher": teacher, "model": model, "temperature": temperature, "seed": seed,
    }  # fmt: skip

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "racing", seed)
        order = rng.sample(list(task.data.select), len(task.data.select))
        first = yield from scored(
            task, task.version, order[: 2 * block], "start", Best(task.version), "start"
        )
        if first.mean >= 1.0:
            return task.version
        shows = yield from demo_sets(
            task, Sets(sets, max_bootstrapped, max_labeled, threshold, teacher), rng
        )
        pools = yield from grounded(
            task, shows, instructions, Grounded(Proposers(model), temperature), rng
        )
        space = Space(task, pools, shows, order, max_bootstrapped == max_labeled == 0)
        field = Field(
            space, block, Best(task.version, first.mean), Additive(list(space.sizes.values()))
        )
        field.note(field.start, 2, first.values)
        if not (yield from _explored(field, trials, headroom, rng)):
            return (yield from concluded(field.best))
        return (yield from _raced(field, finalists))

    def bound(program: Program, data: Data) -> Bound:
        steps, notes = (
            len(program.predictors),
            2 + max(0, min(9, math.ceil(len(data.train) / 10) - 1)),
        )
        runs = block * (2 + trials) + (finalists + 1) * len(data.select)
        return Bound(runs + max(0, sets - 1) * len(data.train), notes + 3 * steps * instructions)

    return plan_optimizer("racing", options, plan, bound, SELECT)


@attrs.frozen(eq=False)
class Field:
    """Who runs: the space, how many examples a block has, the model of the scores, and each point's
    scores so far.
    """

    space: Space
    block: int
    best: Best
    model: Additive
    scores: dict[Point, dict[str, float]] = attrs.field(factory=dict)
    blocks: dict[Point, int] = attrs.field(factory=dict)

    @property
    def start(self) -> Point:
        """The start version's point."""
        return (0,) * len(self.space.sizes)

    @property
    def most(self) -> int:
        """How many blocks there are."""
        return math.ceil(len(self.space.rows) / self.block)

    def note(self, point: Point, blocks: int, found: Mapping[str, float]) -> None:
        """Keep the scores of a point on its next blocks."""
        self.scores.setdefault(point, {}).update(found)
        self.blocks[point] = min(self.most, self.blocks.get(point, 0) + blocks)
        self.model.tell(point, found)

    def run(self, point: Point, label: str, phase: str) -> Generator[Need, tuple[Trace, ...], None]:
        """Score a point on its next block."""
        begin = self.blocks.get(point, 0) * self.block
        rows: Sequence[Record] = self.space.rows[begin : begin + self.block]
        version = self.space.version(dict(zip(self.space.sizes, point, strict=True)))
        found = yield from scored(self.space.task, version, rows, label, self.best, phase)
        self.note(point, 1, found.values)


def _explored(
    field: Field, trials: int, headroom: float, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], bool]:
    """Spend the trials where the model hopes most; whether anything promises more than the start
    version.
    """
    for turn in range(trials):
        drawn = (field.model.draw(rng) for _ in range(_TRIES))
        point = next((it for it in drawn if field.blocks.get(it, 0) < field.most), None)
        if point is None:
            break
        yield from field.run(point, f"trial[{turn}]", f"trial {turn + 1} of {trials}")
        if turn + 1 == trials // 2 and not _promises(field, headroom):
            return False
    return _promises(field, 0.0)


def _promises(field: Field, more: float) -> bool:
    top = max(field.model.value(point) for point in field.scores)
    return top - field.model.value(field.start) > more


def _raced(field: Field, finalists: int) -> Generator[Need, tuple[Trace, ...], Version]:
    """The points that promise most and the start, block by block, without those that are clearly
    behind.
    """
    ranked = sorted(field.scores, key=lambda point: (-field.model.value(point), point))
    racers = [field.start, *(point for point in ranked if point != field.start)][: 1 + finalists]
    for turn in range(field.most):
        for at, point in enumerate(racers):
            if field.blocks.get(point, 0) <= turn:
                yield from field.run(
                    point, f"race[{turn}]/cand[{at}]", f"race, block {turn + 1} of {field.most}"
                )
        leader = max(racers, key=lambda point: _mean(field.scores[point]))
        racers = [
            point
            for point in racers
            if point == leader or not _behind(field.scores[point], field.scores[leader])
        ]
    winner = max(racers, key=lambda point: _mean(field.scores[point]))
    version = field.space.version(dict(zip(field.space.sizes, winner, strict=True)))
    return (yield from concluded(Best(version, _mean(field.scores[winner]))))


def _behind(scores: Mapping[str, float], leader: Mapping[str, float]) -> bool:
    gaps = [leader[name] - score for name, score in scores.items() if name in leader]
    low = paired_test(gaps).difference.low if gaps else None
    return low is not None and low > 0


def _mean(scores: Mapping[str, float]) -> float:
    return math.fsum(scores.values()) / len(scores) if scores else float("-inf")
