"""SIMBA: demonstrations and advice from the runs of one example that went better or worse."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.library.checks import check_positive
from lmflow.library.proposers import adviser
from lmflow.optimizers.parts.checks import check_proposer, runs_on
from lmflow.optimizers.parts.fitting import fit_by, fitted_plan, rollout_calls
from lmflow.optimizers.parts.instructions import (
    Proposers,
)
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.reflection import training_batches
from lmflow.optimizers.parts.scoring import (
    Best,
    conclude,
    score_candidate,
)
from lmflow.optimizers.pools.population import Population
from lmflow.programs.program import Predict, Program

_WINNERS_SHARE = 0.3  # of the rollouts of a search within a number of calls: to choose a winner
_CANDIDATES_FROM = ((2000, 6), (600, 4), (0, 3))  # runs an example, by the rollouts there are


@explains_options(OPTIMIZER_OPTIONS)
def simba(  # noqa: PLR0913 - each is an option
    *, steps: int | None = None, batch: int | None = None, candidates: int | None = None,
    max_demos: int = 4, temperature: float = 0.2, proposer: Predict | None = None, model: str = "",
    max_tokens: int = 0, seed: int = 0, calls: int | None = None,
) -> PlanOptimizer:  # fmt: skip
    """Make demonstrations and advice from the examples whose outcome varies most.

    Each of ``steps`` takes the next ``batch`` of training examples and runs each ``candidates``
    times at temperature 1, under versions picked by their mean so far. From the examples whose runs
    differ most, at most ``candidates + 1`` children are made, each of a version picked like that:
    either with the steps of the best run as demonstrations, or with advice below the instruction of
    the step at which the best and the worst run part, which a proposer writes from both. The best
    child on the batch is the step's winner. At last at most ``candidates + 1`` of the winners, the
    start among them, are scored on the selection data; the best mean wins, ties go to the earlier,
    so to the start version.

    Needs at most ``steps * batch * (2 * candidates + 1) + (candidates + 1) * select`` rollouts and
    ``steps * (candidates + 1)`` proposals. DSPy's ``SIMBA``, of which there is no paper, without
    its defects: it chooses by the examples that it learnt from, scores children on examples that
    they show and children that change nothing, and never scores its start.

    Args:
        steps: The number of batches, 8 by default.
        batch: The number of training examples of a batch, 32 by default.
        candidates: The number of runs an example, and one less than the most children of a step; 6
            by default.
        max_demos: The most demonstrations a step; older ones are dropped at random.
        temperature: The temperature of the softmax by which versions are picked.
        proposer: The program that writes advice, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        max_tokens: The most tokens of a piece of advice; not bounded if 0.
        seed: The seed of all random choices.
        calls: The most model calls. With it steps, batches and candidates suit that number, unless
            they are given, and so do the selection examples.

    Returns:
        An optimizer that requires the data part ``select``.

    Raises:
        ValueError: ``steps``, ``batch`` or ``candidates`` is not positive.
    """
    writer, proposers = proposer or adviser(), Proposers(model, max_tokens)

    check_proposer("simba", writer, "task", "present", "better", "worse")

    sizes = {"steps": steps, "batch": batch, "candidates": candidates}
    chosen = {
        name: check_positive(name, value) for name, value in sizes.items() if value is not None
    }
    others = {
        "max_demos": max_demos, "temperature": temperature, "proposer": writer, "model": model,
        "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    fit = fit_by(simba, others, {**sizes, "calls": calls})

    def size(program: Program, metric: Any) -> _Size:
        fitted = _Size() if calls is None else _size_for(calls // rollout_calls(program, metric))
        return attrs.evolve(fitted, **chosen)

    def search(task: Task) -> Plan:
        own = size(task.program, task.metric)
        rng = randomness(task.version, "simba", seed)
        population = Population(
            task, writer, proposers, rng, own.candidates, max_demos, temperature
        )
        turns = range(own.steps if task.data.train else 0)
        batches = training_batches(task, "simba", own.batch, seed)
        for turn, rows in zip(turns, batches, strict=False):
            yield from population.step(rows, turn, f"step {turn + 1} of {own.steps}")
        best, last = population.leader, len(population.winners) - 1
        for at in sorted({round(k * last / own.candidates) for k in range(own.candidates + 1)}):
            winner = population.winners[at].version
            _, best = yield from score_candidate(
                task, winner, f"winner[{at}]", best, "choose a winner"
            )
        return (yield from conclude(Best(task.version) if best.score is None else best))

    def plan(task: Task) -> Plan:
        if calls is None:
            return search(task)
        rollouts = calls // rollout_calls(task.program, task.metric)
        winners = size(task.program, task.metric).candidates + 1
        rows = max(1, min(len(task.data.select), round(_WINNERS_SHARE * rollouts / winners)))
        return fitted_plan(search, lambda _: rows, calls, seed)(task)

    def bound(program: Program, data: Data) -> Bound:
        own = size(program, None)
        rollouts = own.steps * min(own.batch, len(data.train)) * (2 * own.candidates + 1)
        judged = (own.candidates + 1) * len(data.select)
        return Bound(rollouts + judged, own.steps * (own.candidates + 1)).within(calls)

    def words(program: Program, data: Data, metric: Any) -> str:
        del data
        own = size(program, metric)
        text = f"buys {own.steps} steps, each of {own.batch} examples run {own.candidates} times"
        return "" if calls is None else text

    recorded = sizes if calls is not None else attrs.asdict(attrs.evolve(_Size(), **chosen))
    options = {**recorded, **others}
    if calls is not None:
        options["calls"] = calls
    requires = runs_on("select", "train")
    return plan_optimizer(
        "simba", options, plan, bound, SELECT, requires=requires, fit=fit, words=words
    )


@attrs.frozen
class _Size:
    """The size of a search: its steps, the examples of a batch, and the runs of each."""

    steps: int = 8
    batch: int = 32
    candidates: int = 6


def _size_for(rollouts: int) -> _Size:
    """Return the size of a search of so many rollouts: most of them in its steps, of which it needs
    a few to build on one another.
    """
    candidates = next(count for least, count in _CANDIDATES_FROM if rollouts >= least)
    batch = min(32, max(4, rollouts // 40))
    a_step = batch * (2 * candidates + 1)
    return _Size(max(1, int((1 - _WINNERS_SHARE) * rollouts / a_step)), batch, candidates)
