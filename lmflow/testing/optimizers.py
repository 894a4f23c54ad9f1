"""The laws of optimizers, over a task that needs no model."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.execution.executor import Executor
from lmflow.messages.requests import ChatRequest
from lmflow.metrics import exact_match
from lmflow.models.scripted import scripted
from lmflow.optimizers.parts.needs import PlannedRollout
from lmflow.optimizers.parts.plan import Optimizer, PlanOptimizer, Traces
from lmflow.programs.decisions import known_paths
from lmflow.programs.factories import predict
from lmflow.programs.parameters import init
from lmflow.programs.program import Program
from lmflow.testing.laws import LawBroken, check_laws, holds, laws, same
from lmflow.testing.simulated import Answer, Seen, asked_again, by_hash, kept_going, ran
from lmflow.traces.trace import Trace
from lmflow.values.record import Record

_WORDS = {
    "Think": "well hm",
    "Decide": "yes no maybe",
    "You write": "Try Think Decide Ponder",
    "You make up": '{"question":"is-99-so?","thought":"hm","answer":"yes"}',
}
THINK = predict("think", "question -> thought", "Think of it.")
DECIDE = predict("decide", "question, thought -> answer", "Decide it.")


def rows(start: int, count: int) -> list[Record]:
    """Questions with answers that the simulated model sometimes gives."""
    return [
        Record(id=f"e{n}", question=f"is {n} odd?", answer=("yes", "no")[n % 2])
        for n in range(start, start + count)
    ]


@attrs.frozen(eq=False)
class OptimizerCase:
    """An optimizer and the task that it is tried on.

    Args:
        optimizer: The optimizer.
        program: The program to optimize, by default one of two steps.
        data: Its examples.
        metric: Scores its outputs.
        answer: The simulated model: a function of the request.
        prior: Traces recorded before.
    """

    optimizer: Optimizer
    program: Program = THINK >> DECIDE
    data: Data = attrs.field(factory=lambda: Data(rows(0, 12), rows(20, 9), rows(40, 8)))
    metric: Any = attrs.field(factory=lambda: exact_match("answer"))
    answer: Answer = attrs.field(factory=lambda: by_hash(_WORDS))
    prior: tuple[Trace, ...] | None = None

    @property
    def traces(self) -> Traces:
        """What the optimizer is given."""
        return Traces(init(self.program), self.data, self._recorded)

    @functools.cached_property
    def _recorded(self) -> tuple[Trace, ...]:
        if self.prior is not None:
            return self.prior
        start = init(self.program)
        return tuple(
            ran(PlannedRollout(self.program, start, row), self.answer) for row in self.data.train
        )

    @functools.cached_property
    def whole(self) -> Seen:
        """The optimization, run to its end by asking again and again."""
        return asked_again(self.optimizer, self.program, self.traces, self.metric, self.answer)


def check_optimizer(optimizer: Optimizer, **task: Any) -> None:
    """Check the laws of an optimizer. No model is called.

    Args:
        optimizer: The optimizer: what the factory returns, with options that make it quick.
        **task: ``program``, ``data``, ``metric``, ``answer`` or ``prior`` of an ``OptimizerCase``,
            if it works only on programs or data of a kind.

    Raises:
        TypeError: ``optimizer`` can't be called as one; it is the function that makes it, say.
        LawBroken: The optimizer breaks a law; the message has the law and what was found.

    Example:
        >>> check_optimizer(lf.labeled_few_shot(k=3))
    """
    try:
        inspect.signature(optimizer).bind(None, None, None)
    except TypeError:
        name = getattr(optimizer, "__name__", repr(optimizer))
        msg = f"{name} is no optimizer. One is made by a call: check_optimizer({name}())."
        raise TypeError(msg) from None
    check_laws(OPTIMIZER_LAWS, lambda: OptimizerCase(optimizer, **task))


def _it_is_pure(case: OptimizerCase) -> None:
    """Asked twice in one state it answers the same, and changes nothing that it is given."""
    traces = case.traces
    before = (traces.version.id, traces.data.digest, dict(traces.answers))
    one, other = (case.optimizer(case.program, traces, case.metric) for _ in range(2))
    same(one, other, "the second answer to the same arguments")
    after = (traces.version.id, traces.data.digest, dict(traces.answers))
    same(before, after, "the version, data and answers that it was given")


def _equal_optimizations_have_equal_ends(case: OptimizerCase) -> None:
    """Run twice it comes to the same version by the same rollouts: nothing depends on time,
    chance without a seed, or state.
    """
    again = asked_again(case.optimizer, case.program, case.traces, case.metric, case.answer)
    same(case.whole.version.id, again.version.id, "the version of the second optimization")
    same(sorted(case.whole.answers), sorted(again.answers), "the rollouts of the second one")


def _keeping_the_plan_makes_no_difference(case: OptimizerCase) -> None:
    """Whether its plan is kept between needs or begun anew, version and rollouts are the same."""
    if not isinstance(case.optimizer, PlanOptimizer):
        return
    kept = kept_going(case.optimizer, case.program, case.traces, case.metric, case.answer)
    same(case.whole.version.id, kept.version.id, "the version if the plan is kept")
    same(sorted(case.whole.answers), sorted(kept.answers), "the rollouts if the plan is kept")


def _any_part_of_the_answers_resumes(case: OptimizerCase) -> None:
    """From any part of the answers it goes on to the same version, and asks for none of them."""
    keys = sorted(case.whole.answers)
    for part in (keys[::2], keys[1::3], keys[: len(keys) // 2], keys):
        had = {key: case.whole.answers[key] for key in part}
        traces = case.traces.with_answers(had)
        resumed = asked_again(case.optimizer, case.program, traces, case.metric, case.answer)
        what = f"the version resumed from {len(part)} of {len(keys)} answers"
        same(case.whole.version.id, resumed.version.id, what)
        again = sorted({rollout.key for rollout in resumed.asked} & set(part))
        same([], again, "the answered rollouts that it asked for again")


def _what_it_returns_fits_and_descends(case: OptimizerCase) -> None:
    """The version has paths of the program alone, and is the start version or a child of it."""
    version, start = case.whole.version, case.traces.version
    foreign = sorted(set(version.params) - set(known_paths(case.program)))
    same([], foreign, "the paths that the program lacks")
    is_child = version.id == start.id or version.parents == (start.id,)
    holds(is_child, f"the parents of the version are {version.parents}, expected {start.id}")


def _each_need_could_be_the_last(case: OptimizerCase) -> None:
    """Each need names a version that fits, to be returned if the search is stopped there, and a
    label for each rollout.
    """
    for need in case.whole.needs:
        foreign = sorted(set(need.best.params) - set(known_paths(case.program)))
        same([], foreign, "the paths that the program lacks")
        same(len(need.rollouts), len(need.labels), "the number of labels of a need")


def _it_keeps_its_bound(case: OptimizerCase) -> None:
    """It asks for no more rollouts of the program, and of proposers, than its bound says."""
    if not isinstance(case.optimizer, PlanOptimizer):
        return
    bound = case.optimizer.bound_for(case.program, case.data, case.metric)
    asked = case.whole.asked
    own = sum(rollout.program == case.program for rollout in asked)
    holds(own <= bound.rollouts, f"{own} rollouts of the program, the bound is {bound.rollouts}")
    others = len(asked) - own
    holds(others <= bound.proposals, f"{others} proposals, the bound is {bound.proposals}")


def _held_back_examples_are_not_run(case: OptimizerCase) -> None:
    """No example of ``held`` is run, unless the optimizer says that it needs them."""
    if "held" in getattr(case.optimizer, "parts", frozenset()):
        return
    held = {row.get("question") for row in case.data.held} - {None}
    used = sorted(held & {str(rollout.example.get("question")) for rollout in case.whole.asked})
    same([], used, "the held-back examples that were run")


def _demonstrations_are_no_selection_data(case: OptimizerCase) -> None:
    """No example of ``select`` or ``held`` is shown in the version: it would be judged by what it
    was shown.
    """
    version = case.whole.version
    lists = [value for path, value in version.params.items() if path.endswith((".demos", ".pool"))]
    shown = {demo.get("question") for demos in lists for demo in demos}
    judged = {row.get("question") for row in (*case.data.select, *case.data.held)}
    same([], sorted((shown & judged) - {None}), "the examples for selection that are shown")


def _a_metric_that_fails_ends_no_search(case: OptimizerCase) -> None:
    """An example that the metric can't score has no score; the search goes on to its end."""

    def partial(example: Record, outputs: Record) -> float:
        if sum(map(ord, str(example.get("question")))) % 3 == 0:
            raise ValueError(str(example.get("question")))
        return float(example.get("answer") == outputs.get("answer"))

    try:
        seen = asked_again(case.optimizer, case.program, case.traces, partial, case.answer)
    except ValueError as problem:
        msg = f"the metric's error ended the search: {problem}"
        raise LawBroken(msg) from problem
    foreign = sorted(set(seen.version.params) - set(known_paths(case.program)))
    same([], foreign, "the paths that the program lacks")


async def _an_executor_runs_it(case: OptimizerCase) -> None:
    """An executor optimizes with it, and counts what the model was asked."""
    optimizer = case.optimizer
    if not isinstance(optimizer, PlanOptimizer):
        problem = f"found a {type(optimizer).__name__}: write a generator under @lf.staged()"
        raise LawBroken(problem)
    requests: list[ChatRequest] = []

    def answer(request: ChatRequest) -> Any:
        requests.append(request)
        return case.answer(request)

    traces = case.traces
    async with Executor(scripted(answer)) as ex:
        result = await ex.optimize(
            optimizer, case.program, traces.data, case.metric, prior=traces.prior
        )
    same(len(requests), result.spent.calls, "the calls that the optimization counts")
    foreign = sorted(set(result.version.params) - set(known_paths(case.program)))
    same([], foreign, "the paths that the program lacks")


OPTIMIZER_LAWS = laws(
    _it_is_pure,
    _equal_optimizations_have_equal_ends,
    _keeping_the_plan_makes_no_difference,
    _any_part_of_the_answers_resumes,
    _what_it_returns_fits_and_descends,
    _each_need_could_be_the_last,
    _it_keeps_its_bound,
    _held_back_examples_are_not_run,
    _demonstrations_are_no_selection_data,
    _a_metric_that_fails_ends_no_search,
    _an_executor_runs_it,
)
"""The laws of an optimizer, each of an ``OptimizerCase``; the last is awaited."""
