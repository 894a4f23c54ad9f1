"""MIPRO: instructions and demonstrations of all steps, searched jointly by a Bayesian model of the
scores.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError, near
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.library.checks import check_positive
from lmflow.optimizers.parts.allowance import within_calls
from lmflow.optimizers.parts.bootstrap import TeacherSource
from lmflow.optimizers.parts.checks import runs_on
from lmflow.optimizers.parts.fitting import fit_by, rollout_calls, rows_for
from lmflow.optimizers.parts.grounding import Grounding
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, conclude, score_version
from lmflow.optimizers.parts.space import SearchSpace, SpaceOptions, fill_space
from lmflow.optimizers.parts.tpe import Tpe, import_optuna
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record

PRESETS = {"light": (6, 100), "medium": (12, 300), "heavy": (18, 1000)}
"""For each preset the number of sets of demonstrations, and the most selection examples used."""

_FITTED_ROWS = 30  # the fewest selection examples of a search within a number of calls
_BOOTSTRAP_SHARE = 0.35  # of such a search's rollouts: the most that demonstrations are made by
_ALWAYS_WHOLE = 50  # selection data up to this size is used whole in each trial


@explains_options(OPTIMIZER_OPTIONS)
def mipro(  # noqa: PLR0913 - each is an option
    *, auto: str = "light", candidates: int | None = None, trials: int | None = None,
    select: int | None = None, max_bootstrapped: int = 4, max_labeled: int = 4, minibatch: int = 35,
    full_every: int = 5, threshold: float | None = None, teacher: TeacherSource = None,
    model: str = "", temperature: float = 1.0, max_tokens: int = 0, seed: int = 0,
    calls: int | None = None,
) -> PlanOptimizer:  # fmt: skip
    """Choose jointly an instruction and a set of demonstrations for each step.

    Sets of demonstrations are bootstrapped from the training data. Instructions are proposed from a
    summary of it, the program, each step's purpose, its good runs and a tip. Then a tree-structured
    Parzen estimator picks one of each, ``trials`` times, scored on a random minibatch of the
    selection data; every ``full_every`` trials the best on average is evaluated in full. The best
    full evaluation wins; ties go to the earlier, so to the start version.

    Needs the extra ``optuna``; with more than 50 selection examples ``select * (1 + ceil(trials /
    full_every)) + minibatch * trials`` rollouts, else ``select * (1 + trials)``, and those of the
    bootstraps; and ``1 + min(10, ceil(train / 10)) + 3 * steps * instructions`` proposals.
    Opsahl-Ong et al. 2024, arXiv 2406.11695; DSPy's MIPROv2.

    Args:
        auto: The preset ``light``, ``medium`` or ``heavy``: 6, 12 or 18 sets, and at most 100, 300
            or 1000 selection examples.
        candidates: The number of sets, instead of the preset's.
        trials: The number of trials, instead of one that grows with the space.
        select: The most selection examples, instead of the preset's.
        max_bootstrapped: The most successes of a bootstrap. If it and ``max_labeled`` are 0,
            instructions alone are searched.
        max_labeled: The most demonstrations a step, labelled ones included.
        minibatch: The number of selection examples of a trial.
        full_every: The number of trials between full evaluations.
        threshold: The score that counts as success; any score above 0 if ``None``.
        teacher: A version, a program or a model (``provider/model``) instead of the start version.
        model: The proposers' model, instead of the program's own.
        temperature: The temperature of the proposals.
        max_tokens: The most tokens of a proposal; not bounded if 0.
        seed: The seed of all random choices.
        calls: The most model calls. With it there are as many trials as they buy, on as many
            selection examples as suit that number, unless these are given.

    Returns:
        An optimizer that requires the data part ``select``.

    Raises:
        ProgramError: There is no preset of that name.
        ValueError: A count is not positive.
    """
    preset_sets, preset_select = _preset(auto)
    sizes = {"candidates": candidates, "trials": trials, "select": select}
    _check_counts(**sizes)
    options = {
        "auto": auto, "candidates": candidates, "trials": trials, "select": select,
        "max_bootstrapped": max_bootstrapped, "max_labeled": max_labeled, "minibatch": minibatch,
        "full_every": full_every, "threshold": threshold, "teacher": teacher, "model": model,
        "temperature": temperature, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    others = {name: value for name, value in options.items() if name not in sizes}
    if calls is not None:
        options["calls"] = calls
    sets = candidates or preset_sets
    zero_shot = max_bootstrapped == max_labeled == 0
    space_options = SpaceOptions(
        sets, sets if zero_shot else max(1, sets // 2), max_bootstrapped, max_labeled, threshold,
        teacher, Grounding(Proposers(model, max_tokens), temperature),
    )  # fmt: skip

    def schedule(program: Program, data: Data, metric: Any = None) -> Schedule:
        if calls is not None:
            rollouts = calls // rollout_calls(program, metric)
            size = min(
                select or rows_for(rollouts, data, least=min(_FITTED_ROWS, rollouts // 6)),
                len(data.select),
            )
            return Schedule(trials or max(1, rollouts), size, min(minibatch, size), full_every)
        variables = len(program.predictors) * (1 if zero_shot else 2)
        default_trials = int(max(2 * variables * math.log2(sets), 1.5 * sets))
        size = min(select or preset_select, len(data.select))
        return Schedule(trials or default_trials, size, min(minibatch, size), full_every)

    def plan(task: Task) -> Plan:
        rng = randomness(task.version, "mipro", seed)
        search = schedule(task.program, task.data, task.metric)
        own = space_options
        if calls is not None:
            rollouts = calls // rollout_calls(task.program, task.metric)
            own = attrs.evolve(own, examples=max(1, int(_BOOTSTRAP_SHARE * rollouts / sets)))
        space = yield from fill_space(task, own, rng)
        rows = search.selection(task.data, rng)
        best = yield from _search(space, rows, search, rng)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        most = schedule(program, data).bound + space_options.bound(program, data)
        return most.within(calls)

    def words(program: Program, data: Data, metric: Any) -> str:
        if calls is None:
            return ""
        own = schedule(program, data, metric)
        cost = rollout_calls(program, metric)
        proposing = space_options.bound(program, data).proposals
        left = max(0, round((1 - _BOOTSTRAP_SHARE) * calls) - proposing)
        trials_left = max(0, left // cost - own.select) // (own.select if own.whole else minibatch)
        return (
            f"buys {proposing} calls of proposers and about {trials_left} trials on"
            f" {own.select} rows"
        )

    requires = runs_on("select", "train", teacher=teacher, extra=import_optuna)
    return plan_optimizer(
        "mipro",
        options,
        plan if calls is None else lambda task: within_calls(plan(task), calls),
        bound,
        SELECT,
        requires=requires,
        fit=fit_by(mipro, others, {**sizes, "calls": calls}),
        words=words,
    )


def _preset(auto: str) -> tuple[int, int]:
    if auto not in PRESETS:
        msg = f"there is no preset {auto!r}; there are {', '.join(PRESETS)}.{near(auto, PRESETS)}"
        raise ProgramError(msg)
    return PRESETS[auto]


def _check_counts(**counts: int | None) -> None:
    for option, count in counts.items():
        if count is not None:
            _ = check_positive(option, count)


@attrs.frozen
class Schedule:
    """The length of a search: trials, selection examples, examples a minibatch, and trials between
    full evaluations.
    """

    trials: int
    select: int
    minibatch: int
    full_every: int

    @property
    def whole(self) -> bool:
        """True if each trial uses all selection examples."""
        return self.select <= _ALWAYS_WHOLE or self.minibatch >= self.select

    @property
    def bound(self) -> Bound:
        """The most rollouts of the search."""
        if self.whole:
            return Bound(self.select * (1 + self.trials))
        full_evaluations = 1 + math.ceil(self.trials / self.full_every)
        return Bound(self.select * full_evaluations + self.minibatch * self.trials)

    def selection(self, data: Data, rng: random.Random) -> list[Record]:
        """Choose the selection examples: all, or as many as are used at random."""
        rows = list(data.select)
        return rng.sample(rows, self.select) if self.select < len(rows) else rows

    def ends_round(self, turn: int) -> bool:
        """Return whether a full evaluation follows the trial of this number."""
        return (turn + 1) % self.full_every == 0 or turn + 1 == self.trials


def _search(
    space: SearchSpace, rows: Sequence[Record], schedule: Schedule, rng: random.Random
) -> Generator[Need, tuple[Trace, ...], Best]:
    """Score the trials, on minibatches unless the selection data is small; return the best full
    evaluation.
    """
    tpe, start = Tpe(space.sizes, seed=rng.randrange(2**32)), dict.fromkeys(space.sizes, 0)
    best = yield from _evaluate_in_full(
        space, start, rows, tpe, "full[0]", Best(space.task.version)
    )
    means: dict[tuple[int, ...], list[float]] = {}
    evaluated = {tuple(start.values())}
    for turn in range(schedule.trials):
        point = tpe.ask()
        batch = rows if schedule.whole else rng.sample(rows, schedule.minibatch)
        phase = f"trial {turn + 1} of {schedule.trials}"
        version = space.version(point)
        scores = yield from score_version(space.task, version, batch, f"trial[{turn}]", best, phase)
        tpe.tell(scores.mean)
        # A minibatch's mean never makes a version the best: the highest of many noisy means is
        # mostly luck, so the leader by its average is confirmed on all selection examples first.
        if schedule.whole:
            best = best.over(version, scores.mean)
            continue
        means.setdefault(tuple(point.values()), []).append(scores.mean)
        unevaluated = [key for key in means if key not in evaluated]
        if schedule.ends_round(turn) and unevaluated:
            top = max(unevaluated, key=lambda key: statistics.fmean(means[key]))
            evaluated.add(top)
            point = dict(zip(space.sizes, top, strict=True))
            label = f"full[{len(evaluated) - 1}]"
            best = yield from _evaluate_in_full(space, point, rows, tpe, label, best)
    return best


def _evaluate_in_full(  # noqa: PLR0913, PLR0917 - the state of a search
    space: SearchSpace,
    point: Mapping[str, int],
    rows: Sequence[Record],
    tpe: Tpe,
    label: str,
    best: Best,
) -> Generator[Need, tuple[Trace, ...], Best]:
    version = space.version(point)
    scores = yield from score_version(space.task, version, rows, label, best, "full evaluation")
    tpe.add(point, scores.mean)
    return best.over(version, scores.mean)
