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
from lmflow.optimizers.parts.additive import AdditiveModel, Choices
from lmflow.optimizers.parts.bootstrap import TeacherSource
from lmflow.optimizers.parts.checks import runs_on
from lmflow.optimizers.parts.grounding import Grounding
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, conclude, score_version
from lmflow.optimizers.parts.space import SearchSpace, SpaceOptions, fill_space
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

_DRAWS = 20  # draws until one is found that has unscored examples left


def racing(  # noqa: PLR0913 - each is an option
    *, sets: int = 6, instructions: int = 3, trials: int = 30, block: int = 10, finalists: int = 5,
    headroom: float = 0.02, max_bootstrapped: int = 4, max_labeled: int = 4,
    threshold: float | None = None, teacher: TeacherSource = None, model: str = "",
    temperature: float = 1.0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Choose jointly an instruction and a set of demonstrations for each step, found on small
    blocks of examples and confirmed by a race.

    Sets and instructions are made as ``mipro`` makes them. Then, ``trials`` times, Thompson
    sampling from an additive Bayesian model picks a choice, which is scored on the next ``block``
    of examples that it was not scored on. All choices meet the examples in one order, so that they
    are compared on the same ones. At last the ``finalists`` that promise most and the start version
    race over the selection data, block by block: a version that is worse than the leader by the
    95 % interval of the paired difference drops out. The best mean of the remaining versions wins,
    ties go to the start version.

    Needs at most ``2 * block + block * trials + (finalists + 1) * select`` rollouts, those of the
    bootstraps, and as many proposals as ``mipro``. Of our own making: additive effects as in arXiv
    2604.14585, which finds that steps hardly interact; racing on nested blocks as in CAPO (Zehle et
    al. 2025, arXiv 2504.16005, section 3).

    Args:
        sets: The number of sets of demonstrations.
        instructions: The number of instructions a step.
        trials: The number of blocks that are scored before the race.
        block: The number of examples of a block.
        finalists: The number of versions that race with the start version.
        headroom: The improvement that some choice must promise after half of the trials; else the
            start version is returned.
        max_bootstrapped: The most successes of a bootstrap. If it and ``max_labeled`` are 0,
            instructions alone are searched.
        max_labeled: The most demonstrations a step, labelled ones included.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        model: The proposers' model, instead of the program's own.
        temperature: The temperature of the proposals.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires the data part ``select``.
    """
    options = {
        "sets": sets, "instructions": instructions, "trials": trials, "block": block,
        "finalists": finalists, "headroom": headroom, "max_bootstrapped": max_bootstrapped,
        "max_labeled": max_labeled, "threshold": threshold, "teacher": teacher, "model": model,
        "temperature": temperature, "seed": seed,
    }  # fmt: skip
    space_options = SpaceOptions(
        sets, instructions, max_bootstrapped, max_labeled, threshold, teacher,
        Grounding(Proposers(model), temperature),
    )  # fmt: skip

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "racing", seed)
        # One order of the examples for all choices: so all comparisons are paired.
        order = rng.sample(list(task.data.select), len(task.data.select))
        start = yield from score_version(
            task, task.version, order[: 2 * block], "start", Best(task.version), "start"
        )
        if start.mean >= 1.0:
            return task.version
        space = yield from fill_space(task, space_options, rng)
        best = Best(task.version, start.mean)
        race = Race(space, order, block, best, AdditiveModel(list(space.sizes.values())))
        race.record(race.start, 2, start.values)
        if (yield from _explore(race, trials, headroom, rng)):
            best = yield from _final_race(race, finalists)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        rollouts = block * (2 + trials) + (finalists + 1) * len(data.select)
        return Bound(rollouts) + space_options.bound(program, data)

    requires = runs_on("select", "train", teacher=teacher)
    return plan_optimizer("racing", options, plan, bound, SELECT, requires=requires)


@attrs.frozen(eq=False)
class Race:
    """The state of a race: the space, the examples in their order, the size of a block, the start
    version with its mean, the model of the scores, and the scores and number of blocks so far of
    each choice.
    """

    space: SearchSpace
    rows: Sequence[Record]
    block: int
    best: Best
    model: AdditiveModel
    scores: dict[Choices, dict[str, float]] = attrs.field(factory=dict)
    blocks: dict[Choices, int] = attrs.field(factory=dict)

    @property
    def start(self) -> Choices:
        """The choices of the start version."""
        return (0,) * len(self.space.sizes)

    @property
    def most_blocks(self) -> int:
        """The number of blocks that the examples make."""
        return math.ceil(len(self.rows) / self.block)

    def version(self, choices: Choices) -> Version:
        """Make the version of some choices."""
        return self.space.version(dict(zip(self.space.sizes, choices, strict=True)))

    def mean(self, choices: Choices) -> float:
        """Return the mean score of some choices, minus infinity if they have none."""
        scores = self.scores[choices]
        return math.fsum(scores.values()) / len(scores) if scores else float("-inf")

    def promise(self, choices: Choices) -> float:
        """Return how much better than the start version the model expects some choices to be."""
        return self.model.value(choices) - self.model.value(self.start)

    def promises_more_than(self, headroom: float) -> bool:
        """Return whether some choices that were scored promise more than ``headroom``."""
        return max(map(self.promise, self.scores)) > headroom

    def record(self, choices: Choices, blocks: int, scores: Mapping[str, float]) -> None:
        """Add the scores of some choices on their next blocks."""
        self.scores.setdefault(choices, {}).update(scores)
        self.blocks[choices] = min(self.most_blocks, self.blocks.get(choices, 0) + blocks)
        self.model.tell(choices, scores)

    def score_next_block(
        self, choices: Choices, label: str, phase: str
    ) -> Generator[Need, tuple[Trace, ...], None]:
        """Score some choices on the first block that they were not scored on."""
        begin = self.blocks.get(choices, 0) * self.block
        rows = self.rows[begin : begin + self.block]
        scores = yield from score_version(
            self.space.task, self.version(choices), rows, label, self.best, phase
        )
        self.record(choices, 1, scores.values)


def _explore(
    race: Race, trials: int, headroom: float, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], bool]:
    """Spend the trials on the choices that the model draws; return whether any choice promises more
    than the start version.
    """
    for turn in range(trials):
        draws = (race.model.draw(rng) for _ in range(_DRAWS))
        unfinished = (draw for draw in draws if race.blocks.get(draw, 0) < race.most_blocks)
        choices = next(unfinished, None)
        if choices is None:
            break
        yield from race.score_next_block(choices, f"trial[{turn}]", f"trial {turn + 1} of {trials}")
        if turn + 1 == trials // 2 and not race.promises_more_than(headroom):
            return False
    return race.promises_more_than(0.0)


def _final_race(race: Race, finalists: int) -> Generator[Need, tuple[Trace, ...], Best]:
    """Score the choices that promise most and the start version block by block, without those that
    are clearly behind the leader; return the best.
    """
    ranked = sorted(race.scores, key=lambda choices: (-race.model.value(choices), choices))
    challengers = [choices for choices in ranked if choices != race.start]
    racers = [race.start, *challengers[:finalists]]
    for turn in range(race.most_blocks):
        phase = f"race, block {turn + 1} of {race.most_blocks}"
        for at, choices in enumerate(racers):
            if race.blocks.get(choices, 0) <= turn:
                yield from race.score_next_block(choices, f"race[{turn}]/cand[{at}]", phase)
        leader = max(racers, key=race.mean)
        racers = [
            choices
            for choices in racers
            if choices == leader or not _is_worse(race.scores[choices], race.scores[leader])
        ]
    winner = max(racers, key=race.mean)
    return Best(race.version(winner), race.mean(winner))


def _is_worse(scores: Mapping[str, float], leader: Mapping[str, float]) -> bool:
    """Return whether the 95 % interval of the paired difference to the leader is above 0."""
    gaps = [leader[name] - score for name, score in scores.items() if name in leader]
    low = paired_test(gaps).difference.low if gaps else None
    return low is not None and low > 0
