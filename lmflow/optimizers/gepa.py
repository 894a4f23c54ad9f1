"""GEPA: instructions rewritten from reports of their runs, from parents that each lead on some
examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError, near
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.library.checks import check_positive
from lmflow.library.proposers import reflector
from lmflow.optimizers.parts.checks import check_proposer, runs_on
from lmflow.optimizers.parts.fitting import fit_by, fitted_plan, rollout_calls, rows_for
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.limits import Bound
from lmflow.optimizers.parts.plan import SELECT, Plan, PlanOptimizer, Task, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.reflection import training_batches
from lmflow.optimizers.parts.scoring import Best, conclude, score_version
from lmflow.optimizers.pools.candidates import (
    MERGE_EXAMPLES,
    Candidate,
    Pool,
    by_example,
    evolve_pool,
)
from lmflow.programs.program import Predict, Program

PRESETS = {"light": 6, "medium": 12, "heavy": 18}
"""For each preset the number of children that are kept, roughly."""

_ITERATIONS = 20
_TRIALS_A_CHILD = 3


@explains_options(OPTIMIZER_OPTIONS)
def gepa(  # noqa: PLR0913 - each is an option
    *, iterations: int | None = None, minibatch: int = 3, merges: int = 5, perfect: float = 1.0,
    proposer: Predict | None = None, model: str = "", max_tokens: int = 0, seed: int = 0,
    breadth: int = 1, calls: int | None = None, auto: str = "",
) -> PlanOptimizer:  # fmt: skip
    """Rewrite instructions by a proposer that reads what a step did in a few runs, and the verdicts
    on them.

    Each iteration picks a candidate that leads on some selection examples, the likelier the more
    they are; runs it on the next minibatch of training examples; has one step's instruction
    rewritten (the steps take turns); and keeps the child, with a full evaluation, if it does
    strictly better on those examples. After such a success two candidates with a common ancestor
    are merged instead: each step takes the instruction that changed since the ancestor. The best
    mean on the selection data wins; ties go to the earlier, so to the start version.

    A metric that returns ``Score(value, feedback, steps={step: words})`` says what was wrong, and
    where: the proposer of a step reads the words on that step, and those on the whole run. Labels
    are shown beside them, and failures if a reply could not be read. Needs at most ``select +
    iterations * (max(2 * minibatch, 5) + select)`` rollouts, and ``iterations`` proposals.
    Agrawal et al. 2025, arXiv 2507.19457, section 3; DSPy's GEPA, which goes beyond its budget.

    Args:
        iterations: The number of candidates that are tried, 20 by default.
        minibatch: The number of training examples that a proposer reads the runs of.
        merges: The most merged candidates that are kept.
        perfect: The score from which a run has nothing to teach; a minibatch on which every score
            reaches it is skipped, and a mean that reaches it ends the search.
        proposer: The program that writes instructions, instead of the shipped one.
        model: The proposer's model, instead of the program's own.
        max_tokens: The most tokens of a proposal; not bounded if 0.
        seed: The seed of all random choices.
        breadth: The number of candidates that are tried side by side, each from a parent of the
            same front: so many times fewer turns, at the same number of calls.
        calls: The most model calls, instead of ``iterations``; candidates are evaluated in full on
            as many selection examples as suit that number.
        auto: A number of calls by name, instead of ``calls``: ``light``, ``medium`` or ``heavy``
            buy about 6, 12 or 18 children that are kept.

    Returns:
        An optimizer that requires the data part ``select``.

    Raises:
        ProgramError: There is no preset of that name.
        ValueError: A count is not positive, or several sizes are given.
    """
    sizes = {"iterations": iterations, "calls": calls, "auto": auto or None}
    _check_sizes(sizes)
    writer, proposers = proposer or reflector(), Proposers(model, max_tokens)
    check_proposer("gepa", writer, "task", "present", "runs")
    others = {
        "minibatch": check_positive("minibatch", minibatch), "merges": merges, "perfect": perfect,
        "proposer": writer, "model": model, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    changed: dict[str, Any] = {"calls": calls} if calls is not None else {}
    changed |= {"auto": auto} if auto else {}
    changed |= {"breadth": check_positive("breadth", breadth)} if breadth != 1 else {}
    fit = fit_by(gepa, {**others, "breadth": breadth}, sizes)
    size = _Size(iterations, calls, auto, minibatch)

    def search(task: Task) -> Plan:
        rng = randomness(task.version, "gepa", seed)
        batches = training_batches(task, "gepa", minibatch, seed)
        start = yield from score_version(
            task, task.version, task.data.select, "start", Best(task.version), "start"
        )
        root = Candidate(task.version, scores=by_example(start))
        pool = Pool(task, writer, proposers, perfect, rng, [root])
        if start.values and task.data.train:
            turns = size.turns(task.program, task.data, task.metric)
            yield from evolve_pool(pool, batches, turns, merges, breadth)
        return (yield from conclude(pool.best))

    def plan(task: Task) -> Plan:
        most = size.most_calls(task.program, task.data, task.metric)
        if most is None:
            return search(task)
        rows = rows_for(most // rollout_calls(task.program, task.metric), task.data)
        return fitted_plan(search, lambda _: rows, most, seed)(task)

    def bound(program: Program, data: Data) -> Bound:
        turn = max(2 * minibatch, MERGE_EXAMPLES) + len(data.select)
        turns = size.turns(program, data, None)
        most = Bound(len(data.select) + turns * turn, turns)
        return most.within(size.most_calls(program, data, None))

    options = {"iterations": size.recorded, **others, **changed}
    requires = runs_on("select", "train")
    return plan_optimizer(
        "gepa", options, plan, bound, SELECT, requires=requires, fit=fit, words=size.words
    )


def _check_sizes(sizes: Mapping[str, Any]) -> None:
    """Raise an error if more than one size is given, or one is not positive or unknown."""
    chosen = {name: size for name, size in sizes.items() if size is not None}
    if len(chosen) > 1:
        msg = f"gepa takes one of iterations, calls and auto, found {', '.join(chosen)}"
        raise ValueError(msg)
    for name, size in chosen.items():
        if name != "auto":
            check_positive(name, size)
        elif size not in PRESETS:
            names = ", ".join(PRESETS)
            msg = f"there is no preset {size!r}; there are {names}.{near(size, PRESETS)}"
            raise ProgramError(msg)


@attrs.frozen
class _Size:
    """The length of a search: a number of turns, of calls, or the name of one."""

    iterations: int | None
    calls: int | None
    auto: str
    minibatch: int

    @property
    def recorded(self) -> int | None:
        """The number of turns as a run records it; ``None`` if calls decide."""
        return None if self.calls is not None or self.auto else self.iterations or _ITERATIONS

    def most_calls(self, program: Program, data: Data, metric: Any) -> int | None:
        """Return the most calls, ``None`` if nothing limits them."""
        if not self.auto:
            return self.calls
        # About one child in three is kept (arXiv 2507.19457): each costs three rewritings, their
        # runs on minibatches, and one evaluation in full.
        children, rows = PRESETS[self.auto], max(1, len(data.select))
        runs = rows + children * (rows + _TRIALS_A_CHILD * 2 * self.minibatch)
        return runs * rollout_calls(program, metric) + children * _TRIALS_A_CHILD

    def turns(self, program: Program, data: Data, metric: Any) -> int:
        """Return the most candidates that are tried."""
        most = self.most_calls(program, data, metric)
        return most if most is not None else self.iterations or _ITERATIONS

    def words(self, program: Program, data: Data, metric: Any) -> str:
        """Say what a number of calls buys."""
        most = self.most_calls(program, data, metric)
        if most is None:
            return ""
        cost = rollout_calls(program, metric)
        rows = rows_for(most // cost, data)
        child = (rows + _TRIALS_A_CHILD * 2 * self.minibatch) * cost + _TRIALS_A_CHILD
        children = max(0, most - rows * cost) // child
        tried = children * _TRIALS_A_CHILD
        text = f"buys {most:,} calls: about {tried} proposals, of which a third is evaluated on"
        return f"{text} {rows} rows"
