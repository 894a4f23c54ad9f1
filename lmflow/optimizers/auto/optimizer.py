"""The search that plans for its budget, from its first row to its answer."""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import BadData
from lmflow.errors.options import OPTIMIZER_OPTIONS, explains_options
from lmflow.metrics import name_of
from lmflow.optimizers.auto.arms import (
    DEMOS,
    DESCRIPTIONS,
    FORMAT,
    INSTRUCTION,
    REFLECTION,
    make_arms,
)
from lmflow.optimizers.auto.blocks import answered, score_blocks
from lmflow.optimizers.auto.decision import decide
from lmflow.optimizers.auto.exploring import Exploration, explore
from lmflow.optimizers.auto.material import free_bundles, new_demos, open_bundle
from lmflow.optimizers.auto.model import Scales, ScoreModel
from lmflow.optimizers.auto.prior import learn_from_prior
from lmflow.optimizers.auto.proposing import Writer, propose_arms
from lmflow.optimizers.auto.purse import Purse
from lmflow.optimizers.auto.racing import OWN, race
from lmflow.optimizers.auto.scales import FittedModel
from lmflow.optimizers.auto.schedule import Schedule, plan_schedule
from lmflow.optimizers.auto.search import Planned, Search
from lmflow.optimizers.parts.allowance import within_calls
from lmflow.optimizers.parts.checks import check_examples
from lmflow.optimizers.parts.fitting import rollout_calls
from lmflow.optimizers.parts.instructions import Proposers
from lmflow.optimizers.parts.limits import Bound, Limits
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import Plan, PlanOptimizer, Task, Traces, plan_optimizer
from lmflow.optimizers.parts.randomness import randomness
from lmflow.optimizers.parts.scoring import Best, score_version
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record

CALLS_A_STEP = 300
"""The calls a model step that a search without a budget may take."""

MOST_CALLS_A_STEP = 10_000
"""The calls a model step that a search within a budget of tokens or dollars may take."""

THETA, SAFE_THETA = 0.8, 1.28
"""Standard deviations by which a version must be better than the start, and if safety counts."""

_UNPRICED = (
    "scores the start version on some rows, then plans for as many calls as the rest of the limit"
    " buys at what these took"
)
_EFFECT_SD = 0.14  # prior standard deviation of what one step's choices add to its part
_FIRST_DEMOS = 2  # sets of demonstrations a step that exploration begins with
_LARGE = 200  # rollouts with which good runs need not be looked for
_OWN_SD = 0.03  # that of what arms do together beyond what each does apart


@explains_options(OPTIMIZER_OPTIONS)
def auto(  # noqa: PLR0913 - each is an option
    *, calls: int | None = None, tokens: int | None = None, usd: float | None = None,
    safe: bool = False, theta: float | None = None, model: str = "", temperature: float = 1.0,
    max_tokens: int = 0, reserved: int = 0, seed: int = 0,
) -> PlanOptimizer:  # fmt: skip
    """Choose demonstrations and instructions of all steps as well as a budget allows, and keep the
    start version unless the scores say that another is better.

    What costs no proposal is compared first, on the same rows: labelled demonstrations, those of
    good runs, another form of the outputs, a shorter instruction. Then instructions are proposed
    and rewritten from runs, as far as they promise more than what there is. Scores are explained
    by a Gaussian model in which each choice adds its own effect and each row has its difficulty;
    draws from its posterior say what is scored next (Thompson sampling). At last the best few race
    with the start. Stopped anywhere, it answers by the same rule with what it knows.

    `train` and `select` are both scored on, each candidate on rows that it neither shows nor was
    written from; so `select` may be empty. Demonstrations come from `train` alone.

    Of our own making; additive effects as in arXiv 2604.14585, proposals as in Opsahl-Ong et al.
    2024 (arXiv 2406.11695), reflection as in Agrawal et al. 2025 (arXiv 2507.19457).

    Args:
        calls: The most model calls, those of proposers and judges included. Without a limit the
            budget of the run is planned for; without that 300 calls a model step.
        tokens: The most tokens.
        usd: The most dollars.
        safe: Whether a version must be better by more of its uncertainty: fewer gains, and half as
            many answers that are truly worse than the start.
        theta: The standard deviations by which a version must be better; 0.8, or 1.28 if `safe`.
        model: The proposers' model, instead of the program's own.
        temperature: The temperature of the proposals.
        max_tokens: The most tokens of a proposal; not bounded if 0.
        reserved: The rollouts for which a limit of tokens or dollars leaves room, for the judging.
        seed: The seed of all random choices.

    Returns:
        An optimizer that requires examples in `train` or in `select`.

    Raises:
        ValueError: A limit is negative.

    Example:
        >>> import lmflow as lf
        >>> step = lf.predict("answer", "question -> answer")
        >>> rows = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(100)]
        >>> print(lf.auto(calls=50).words(step, lf.Data(rows), lf.exact_match("answer")))
        buys 15 rows of the start version, 2 candidates at no proposal and about 3 comparisons of \
10 rows; fewer than 3 proposals is no search, so it will only choose demonstrations
    """
    if usd is not None and usd < 0:
        msg = f"auto(usd=...) must be 0 or more, found {usd}"
        raise ValueError(msg)
    limits = Limits(calls, tokens, usd, reserved)
    options = {
        "calls": calls, "tokens": tokens, "usd": usd, "safe": safe, "theta": theta, "model": model,
        "temperature": temperature, "max_tokens": max_tokens, "reserved": reserved, "seed": seed,
    }  # fmt: skip
    standard = SAFE_THETA if safe else THETA
    threshold = standard if theta is None else theta

    def plan(task: Task) -> Plan:
        most = _limits_for(limits, task.program)
        search = _begin(task, most, threshold, randomness(task.version, "auto", seed))
        writer = Writer(Proposers(model, max_tokens), temperature)
        return within_calls(answered(search, _search(search, writer)), most.calls or 0)

    def bound(program: Program, data: Data) -> Bound:
        calls = _limits_for(limits, program).calls or 0
        schedule = _schedule(calls, program, data, None)
        return Bound(calls, schedule.written, calls=calls)

    def fitted(budget: Limits) -> PlanOptimizer:
        return auto(**(options | attrs.asdict(budget)))

    def words(program: Program, data: Data, metric: Any) -> str:
        if limits.limited and limits.calls is None:
            return _UNPRICED
        return str(_schedule(_limits_for(limits, program).calls or 0, program, data, metric))

    return plan_optimizer(
        "auto",
        options,
        plan,
        bound,
        requires=_requires,
        names_best=True,
        fit=None if limits.limited else fitted,
        words=words,
    )


def _limits_for(limits: Limits, program: Program) -> Limits:
    """Limit the calls too, if only tokens or dollars are limited, or nothing."""
    if limits.calls is not None:
        return limits
    a_step = MOST_CALLS_A_STEP if limits.limited else CALLS_A_STEP
    return attrs.evolve(limits, calls=a_step * max(1, len(program.predictors)))


def _requires(program: Program, traces: Traces) -> None:
    data = traces.data
    if not len(data.train) and not len(data.select):
        problem = "auto scores versions on the examples in `train` and `select`, which have none"
        fix = "Give it some: lf.Data(train=rows), or --train FILE."
        raise BadData("the data", problem, fix)
    for part in ("train", "select"):
        check_examples(program, getattr(data, part), part)


def _schedule(calls: int, program: Program, data: Data, metric: Any) -> Schedule:
    steps, rollouts = len(program.predictors), calls // rollout_calls(program, metric)
    rows = len(data.select) + len(data.train)
    harvests = _harvests(program, data, rollouts)
    return plan_schedule(calls, rollouts, steps, rows, harvests=harvests)


def _harvests(program: Program, data: Data, rollouts: int) -> bool:
    """Return whether the start version runs on training examples for their demonstrations alone.

    The labels of one step's examples are demonstrations already. Several steps need good runs; they
    come by themselves as training examples are scored on, but in a small budget too late.
    """
    is_small = rollouts < _LARGE
    return is_small and len(program.predictors) > 1 and len(data.select) > 0


def _ordered_rows(task: Task, rollouts: int, rng: random.Random) -> list[Record]:
    """Return all examples in the one order in which versions meet them: at random, or those first
    of which no demonstration is made, if good runs are harvested from the others.
    """
    select, train = list(task.data.select), list(task.data.train)
    if not _harvests(task.program, task.data, rollouts):
        return rng.sample([*select, *train], len(select) + len(train))
    return [*rng.sample(select, len(select)), *rng.sample(train, len(train))]


def _begin(task: Task, limits: Limits, theta: float, rng: random.Random) -> Search:
    """Make the state of a search: all rows in one order, and a model that knows nothing."""
    cost = rollout_calls(task.program, task.metric)
    rows = _ordered_rows(task, (limits.calls or 0) // cost, rng)
    steps = max(1, len(task.program.predictors))
    effect = _EFFECT_SD / (math.sqrt(2) * steps)
    kinds = (INSTRUCTION, DEMOS, REFLECTION)
    scales = Scales({**dict.fromkeys((*kinds, FORMAT, DESCRIPTIONS), effect), OWN: _OWN_SD})
    fitted = FittedModel(ScoreModel(kinds, _EFFECT_SD / steps), scales, effect, kinds)
    arms = make_arms(task.program, task.version)
    return Search(task, rows, arms, fitted, Purse(limits), theta, rng, cost)


def _search(search: Search, writer: Writer) -> Plan:
    """Run the stages in order; end with the decision and its reason."""
    yield from _stages(search, writer)
    # A last, empty need reports the final answer and its reason.
    yield Need((), (), search.task.version, phase="done")
    search.task.evidence.check_metric(name_of(search.task.metric))
    return search.arms.version(decide(search, exact=True).choice)


def _stages(search: Search, writer: Writer) -> Generator[Need, tuple[Trace, ...], None]:
    task, zero = search.task, search.arms.zero
    schedule = _schedule(search.purse.capacity, task.program, task.data, task.metric)
    yield from learn_from_prior(search)
    first = Planned("start", zero, tuple(search.open_rows(zero)[: schedule.start]))
    yield from score_blocks(search, [first], "start")
    _measure(search, schedule.start)
    summary = search.summaries.get(zero)
    if summary is None or summary.mean >= 1.0:
        return
    schedule = _schedule(search.purse.capacity, task.program, task.data, task.metric)
    yield from _harvest(search, schedule.tries)
    yield from _compare_free(search, schedule.free)
    yield from _open_first(search, writer, schedule)
    exploration = Exploration(search, writer, schedule, schedule.proposals - writer.turn)
    if (yield from explore(exploration)):
        yield from race(search, schedule)


def _measure(search: Search, rollouts: int) -> None:
    """Fit the limits to what the start version took."""
    purse = search.purse
    purse.set_aside(rollouts)
    limits = purse.limits
    is_free = limits.usd is not None and not purse.cost
    if is_free or (limits.tokens is not None and not purse.tokens):
        # A model that costs nothing, or counts no tokens, would never come to the end of the limit.
        calls = CALLS_A_STEP * max(1, len(search.task.program.predictors))
        purse.limits = attrs.evolve(limits, calls=calls)


def _harvest(search: Search, tries: int) -> Generator[Need, tuple[Trace, ...], None]:
    """Run the start version on some training examples, for demonstrations of all steps."""
    train = list(search.task.data.train)
    some = search.rng.sample(train, min(tries, len(train)))
    if some:
        start = search.task.version
        scores = yield from score_version(
            search.task, start, some, "harvest", Best(start), "harvest"
        )
        search.note_runs(start, scores.rows)
        search.learn(search.arms.zero, search.scores_by_row(search.arms.zero, scores.rows))


def _compare_free(search: Search, count: int) -> Generator[Need, tuple[Trace, ...], None]:
    """Score the candidates that cost no proposal, side by side on the start's first rows."""
    batch: list[Planned] = []
    for bundle in free_bundles(search):
        if len(batch) >= count:
            break
        choice = open_bundle(search, bundle)
        if choice != search.arms.zero:
            plan = search.plan_block(choice, f"free[{len(batch)}]", batch)
            batch += [plan] if plan.rows else []
    if batch:
        yield from score_blocks(search, batch, "free candidates")


def _open_first(
    search: Search, writer: Writer, schedule: Schedule
) -> Generator[Need, tuple[Trace, ...], None]:
    """Open an instruction a step, if instructions are proposed at all, and two sets of
    demonstrations.
    """
    coordinates = search.arms.coordinates
    for at, coordinate in enumerate(coordinates):
        while coordinate.kind == DEMOS and len(coordinate.arms) < 1 + _FIRST_DEMOS:
            if new_demos(search, at) is None:
                break
    instructions = [at for at, own in enumerate(coordinates) if own.kind == INSTRUCTION]
    if schedule.searches:
        yield from propose_arms(search, writer, instructions[: schedule.proposals], "propose")
