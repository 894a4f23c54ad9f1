"""MIPRO: instructions and demonstrations of all steps, searched jointly by a Bayesian model of the
scores.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Generator, Mapping, Sequence

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError, near
from lmflow.library.search.samples import positive
from lmflow.optimizers.few_shot import Who, taught
from lmflow.optimizers.parts.demos import (
    Bootstrap,
    DemoSet,
    bootstrapped,
    filled,
    labelled,
    sampled,
)
from lmflow.optimizers.parts.grounding import Grounded, grounded
from lmflow.optimizers.parts.instructions import Proposal, Proposers, assembled
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
from lmflow.optimizers.parts.tpe import Tpe
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

PRESETS = {"light": (6, 100), "medium": (12, 300), "heavy": (18, 1000)}
"""Per preset the sets of demonstrations, and the most selection examples that are used."""

_FROM_MINIBATCH = 50  # selection data up to this size is always used whole
_GROUND = 3  # good runs that ground the proposals of a zero-shot search


@attrs.frozen
class Shape:
    """The size of a search: sets of demonstrations, instructions a step, trials, selection
    examples, minibatch.
    """

    sets: int
    instructions: int
    trials: int
    select: int
    batch: int

    @property
    def whole(self) -> bool:
        """Whether each trial uses all selection examples."""
        return self.select <= _FROM_MINIBATCH or self.batch >= self.select


@attrs.frozen(eq=False)
class Space:
    """What is searched: per step instructions and sets of demonstrations, and the examples that
    they are scored on.

    A point maps ``step.instruction`` and ``step.demos`` to positions; the origin is the start
    version.
    """

    task: Task
    pools: Mapping[str, Sequence[Proposal]]
    sets: Sequence[DemoSet]
    rows: Sequence[Record]
    zero_shot: bool

    @property
    def sizes(self) -> dict[str, int]:
        """How many choices there are of each."""
        sizes = {f"{step}.instruction": len(pool) for step, pool in self.pools.items()}
        return (
            sizes
            if self.zero_shot
            else sizes | {f"{step}.demos": len(self.sets) for step in self.pools}
        )

    def version(self, point: Mapping[str, int]) -> Version:
        """The version at a point, a child of the start version."""
        texts = {step: pool[point[f"{step}.instruction"]] for step, pool in self.pools.items()}
        places = {step: point.get(f"{step}.demos", 0) for step in self.pools}
        demos = {step: self.sets[at].get(step, ()) for step, at in places.items() if at}
        return assembled(
            self.task.version, texts, demos, "instructions and demonstrations chosen together"
        )


def mipro(  # noqa: PLR0913 - each is an option
    *, auto: str = "light", candidates: int | None = None, trials: int | None = None, select: int | None = None,
    max_bootstrapped: int = 4, max_labeled: int = 4, minibatch: int = 35, full_every: int = 5,
    threshold: float | None = None, teacher: Who = None, model: str = "", temperature: float = 1.0,
    max_tokens: int = 0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """The joint choice of an instruction and a set of demonstrations for each step that scores
    best.

    Sets of demonstrations are bootstrapped from the training data; instructions are proposed from a
    summary of it, the program, each step's purpose, what went well and a tip; then a
    tree-structured Parzen estimator picks one of each, ``trials`` times, scored on a random
    minibatch of the selection data, with a full evaluation of the best on average every
    ``full_every`` trials. The best full evaluation wins; ties go to the earlier, so to the start
    version.

    ``auto`` is light, medium or heavy (6, 12, 18 sets; 100, 300, 1000 selection examples);
    ``candidates``, ``trials`` and ``select`` override it. With ``max_bootstrapped`` and
    ``max_labeled`` 0 it searches instructions alone. ``model`` is the proposers', who write at most
    ``max_tokens`` each where that is above 0. Needs the extra ``optuna``. Asks for ``select * (1 +
    ceil(trials / full_every)) + minibatch * trials`` rollouts and those of the bootstraps, where
    the selection data is more than 50 examples, else ``select * (1 + trials)``; and for ``2 +
    min(9, ceil(train / 10) - 1) + 3 * steps * instructions`` proposals.

    Opsahl-Ong et al. 2024, arXiv 2406.11695; DSPy's MIPROv2.
    """
    if auto not in PRESETS:
        msg = f"there is no preset {auto!r}; there are {', '.join(PRESETS)}.{near(auto, PRESETS)}"
        raise ProgramError(msg)
    for option, count in (("candidates", candidates), ("trials", trials), ("select", select)):
        if count is not None:
            _ = positive(option, count)
    zero_shot = max_bootstrapped == max_labeled == 0
    options = {
        "auto": auto, "candidates": candidates, "trials": trials, "select": select,
        "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "minibatch": minibatch,
        "full_every": full_every, "threshold": threshold, "teacher": teacher, "model": model,
        "temperature": temperature, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip

    def shape(program: Program, data: Data) -> Shape:
        sets, most = PRESETS[auto]
        sets = candidates or sets
        variables = len(program.predictors) * (1 if zero_shot else 2)
        count = trials or int(max(2 * variables * math.log2(sets), 1.5 * sets))
        size = min(select or most, len(data.select))
        return Shape(
            sets, sets if zero_shot else max(1, sets // 2), count, size, min(minibatch, size)
        )

    def plan(task: Task) -> Plan:
        size, rng = shape(task.program, task.data), randomness(task.version, "mipro", seed)
        how = Sets(size.sets, max_bootstrapped, max_labeled, threshold, teacher)
        sets = yield from demo_sets(task, how, rng)
        grounding = Grounded(Proposers(model, max_tokens), temperature)
        pools = yield from grounded(task, sets, size.instructions, grounding, rng)
        rows = list(task.data.select)
        rows = rows if size.select == len(rows) else rng.sample(rows, size.select)
        space = Space(task, pools, sets, rows, zero_shot)
        return (
            yield from _searched(
                space, size, full_every, Tpe(space.sizes, seed=rng.randrange(2**32)), rng
            )
        )

    def bound(program: Program, data: Data) -> Bound:
        size, steps = shape(program, data), len(program.predictors)
        fulls = 1 + math.ceil(size.trials / full_every)
        runs = (
            size.select * (1 + size.trials)
            if size.whole
            else size.select * fulls + size.batch * size.trials
        )
        boots = max(0, size.sets - 1) * len(data.train)
        notes = 2 + min(9, math.ceil(len(data.train) / 10) - 1)
        return Bound(runs + boots, notes + 3 * steps * size.instructions)

    return plan_optimizer("mipro", options, plan, bound, SELECT)


@attrs.frozen
class Sets:
    """Which sets of demonstrations are made."""

    count: int
    max_bootstrapped: int
    max_labeled: int
    threshold: float | None
    teacher: Who


def demo_sets(
    task: Task, how: Sets, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], list[DemoSet]]:
    """The start version's own, labelled ones, a bootstrap of the data as it is, and bootstraps of
    it shuffled.
    """
    zero_shot = how.max_bootstrapped == how.max_labeled == 0
    most, labels = (_GROUND, 0) if zero_shot else (how.max_bootstrapped, how.max_labeled)
    pool, best = labelled(task.program, task.data.train), Best(task.version)
    sets: list[DemoSet] = [{}]
    if labels and how.count > 1:
        sets.append(sampled(rng, pool, labels))
    plain = True
    while len(sets) < how.count:
        train, want = list(task.data.train), most
        if not plain:
            rng.shuffle(train)
            want = rng.randint(1, max(1, most))
        plain = False
        teach = taught(task.program, task.version, how.teacher, sampled(rng, pool, labels))
        label = f"bootstrap[{len(sets)}]"
        boot = yield from bootstrapped(
            task, teach, train, Bootstrap(want, 1, how.threshold), label, best, rng
        )
        sets.append(filled(boot, pool, labels, rng))
    return sets


def _searched(
    space: Space, size: Shape, full_every: int, tpe: Tpe, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], Version]:
    """Trials on minibatches, the best on average evaluated in full now and then; the best full
    evaluation wins.
    """
    point = dict.fromkeys(space.sizes, 0)
    best = yield from _in_full(space, point, tpe, "full[0]", Best(space.task.version))
    means: dict[tuple[int, ...], list[float]] = {}
    done = {tuple(point.values())}
    for turn in range(size.trials):
        point = tpe.ask()
        rows = space.rows if size.whole else rng.sample(space.rows, size.batch)
        phase = f"trial {turn + 1} of {size.trials}"
        version = space.version(point)
        found = yield from scored(space.task, version, rows, f"trial[{turn}]", best, phase)
        tpe.tell(found.mean)
        if size.whole:
            best = best.over(version, found.mean)
            continue
        means.setdefault(tuple(point.values()), []).append(found.mean)
        if (turn + 1) % full_every == 0 or turn + 1 == size.trials:
            open_ = [key for key in means if key not in done]
            if open_:
                top = max(open_, key=lambda key: statistics.fmean(means[key]))
                done.add(top)
                point = dict(zip(space.sizes, top, strict=True))
                best = yield from _in_full(space, point, tpe, f"full[{len(done) - 1}]", best)
    return (yield from concluded(best))


def _in_full(
    space: Space, point: Mapping[str, int], tpe: Tpe, label: str, best: Best
) -> Generator[Need, tuple[Trace, ...], Best]:
    version = space.version(point)
    found = yield from scored(space.task, version, space.rows, label, best, "full evaluation")
    tpe.add(point, found.mean)
    return best.over(version, found.mean)
