"""The search space of instructions and demonstrations, and how it is filled."""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence

import attrs

from lmflow.data.dataset import Data
from lmflow.optimizers.parts.bootstrap import (
    Bootstrap,
    TeacherSource,
    bootstrap_demos,
    make_teacher,
)
from lmflow.optimizers.parts.demos import (
    DemoSet,
    fill_with_labelled,
    labelled_demos,
    sample_demos,
)
from lmflow.optimizers.parts.grounding import Grounding, grounded_proposals, propose_grounded
from lmflow.optimizers.parts.instructions import Proposal, assemble
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import Task
from lmflow.optimizers.parts.scoring import Best
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

_ZERO_SHOT_SUCCESSES = 3  # good runs that ground the proposals of a search without demonstrations


@attrs.frozen(eq=False)
class SearchSpace:
    """The choices of a search: for each step its instructions and, unless ``zero_shot``, the sets
    of demonstrations.

    A point maps ``step.instruction`` and ``step.demos`` to positions. Position 0 of each is the
    start version's own, so the point of zeros is the start version.
    """

    task: Task
    instructions: Mapping[str, Sequence[Proposal]]
    demo_sets: Sequence[DemoSet]
    zero_shot: bool

    @property
    def sizes(self) -> dict[str, int]:
        """The number of choices of each kind."""
        sizes = {f"{step}.instruction": len(pool) for step, pool in self.instructions.items()}
        if not self.zero_shot:
            sizes |= {f"{step}.demos": len(self.demo_sets) for step in self.instructions}
        return sizes

    def version(self, point: Mapping[str, int]) -> Version:
        """Make the version at a point, a child of the start version."""
        texts = {
            step: pool[point[f"{step}.instruction"]] for step, pool in self.instructions.items()
        }
        positions = {step: point.get(f"{step}.demos", 0) for step in self.instructions}
        demos = {
            step: self.demo_sets[position].get(step, ())
            for step, position in positions.items()
            if position
        }
        note = "instructions and demonstrations chosen together"
        return assemble(self.task.version, texts, demos, note)


@attrs.frozen
class SpaceOptions:
    """The size of a search space and the source of its choices."""

    demo_sets: int
    instructions: int
    max_bootstrapped: int
    max_labeled: int
    threshold: float | None
    teacher: TeacherSource
    grounding: Grounding
    examples: int | None = None  # the most training examples that a bootstrap tries

    @property
    def zero_shot(self) -> bool:
        """True if instructions alone are searched."""
        return self.max_bootstrapped == self.max_labeled == 0

    def bound(self, program: Program, data: Data) -> Bound:
        """Return the most rollouts and proposals that filling the space needs."""
        bootstraps = max(0, self.demo_sets - 1) * len(data.train)
        return Bound(bootstraps, grounded_proposals(program, data, self.instructions))


def fill_space(
    task: Task, options: SpaceOptions, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], SearchSpace]:
    """Bootstrap the sets of demonstrations and have the instructions proposed."""
    sets = yield from _bootstrap_sets(task, options, rng)
    pools = yield from propose_grounded(task, sets, options.instructions, options.grounding, rng)
    return SearchSpace(task, pools, sets, options.zero_shot)


def _bootstrap_sets(
    task: Task, options: SpaceOptions, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], list[DemoSet]]:
    """Make the sets: the start version's own, labelled ones, a bootstrap of the training data in
    its order, and bootstraps of it shuffled.
    """
    most, labels = options.max_bootstrapped, options.max_labeled
    if options.zero_shot:
        most = _ZERO_SHOT_SUCCESSES
    pool, best = labelled_demos(task.program, task.data.train), Best(task.version)
    sets: list[DemoSet] = [{}]
    if labels and options.demo_sets > 1:
        sets.append(sample_demos(rng, pool, labels))
    first = len(sets)
    for at in range(first, options.demo_sets):
        train, count = list(task.data.train), most
        if at > first:
            rng.shuffle(train)
            count = rng.randint(1, max(1, most))
        shown = sample_demos(rng, pool, labels)
        teacher = make_teacher(task.program, task.version, options.teacher, shown)
        successes = yield from bootstrap_demos(
            task,
            teacher,
            train,
            Bootstrap(count, 1, options.threshold, options.examples),
            f"bootstrap[{at}]",
            best,
            rng,
        )
        sets.append(fill_with_labelled(successes, pool, labels, rng))
    return sets
