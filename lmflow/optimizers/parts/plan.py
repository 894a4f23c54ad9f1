"""Optimization as a pure function: an optimizer's inputs, what it needs run, and how a plan becomes
an optimizer.

An optimizer is called with (program, traces, metric) and returns a version, or the rollouts that
must run before it can go on. Its caller runs them and calls again, so an optimization can be
stopped anywhere, resumed, and replayed offline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import attrs

from lmflow.data.dataset import SPLIT_FIX, Data
from lmflow.errors import BadData, check_kind
from lmflow.evaluation.judges import Judge
from lmflow.metrics import Metric, name_of
from lmflow.optimizers.parts.checks import Requirement, check_option, checked_version
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.helpers import helper_executions
from lmflow.optimizers.parts.limits import Bound, Limits
from lmflow.optimizers.parts.needs import Need, unanswered
from lmflow.optimizers.parts.not_compiled import NotCompiled
from lmflow.optimizers.plans.acts import SearchAct
from lmflow.optimizers.plans.steered import SteeredPlan, steer_plan, steered
from lmflow.optimizers.plans.task import Plan, Task, advance_plan
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

__all__ = [
    "HELD",
    "PRIOR",
    "SELECT",
    "TRAIN",
    "Helpers",
    "Optimizer",
    "Plan",
    "PlanOptimizer",
    "Task",
    "Traces",
    "advance_plan",
    "check_optimizers",
    "drive_plan",
    "plan_optimizer",
    "with_best_so_far",
]

TRAIN, SELECT, HELD, PRIOR = (frozenset({part}) for part in ("train", "select", "held", "prior"))
"""The inputs that an optimizer may require: a part of the data, or traces recorded earlier."""

_USES = {"train": "learns from", "select": "chooses by", "held": "judges by"}

Helpers = Callable[[Program, Version], Iterable[tuple[Program, Version]]]
"""The programs that a plan runs beside a program, each with its version, for a start version."""


def _nothing_more(program: Program, traces: Traces) -> None:
    del program, traces


def _no_words(program: Program, data: Data, metric: Any) -> str:
    del program, data, metric
    return ""


def _check_data(_traces: object, _field: object, data: Data) -> None:
    check_kind("lf.Data", data, Data, SPLIT_FIX)


def _read_only(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(values))


@attrs.frozen(eq=False)
class Traces:
    """The inputs of an optimizer beside the program and the metric.

    Attributes:
        version: The version to start from.
        data: The examples, in the parts ``train``, ``select`` and ``held``.
        prior: Traces recorded before this optimization began.
        answers: The traces of the rollouts that the optimizer needed so far, by their keys.
        acts: What people did to the search, by the number of the need at which it took them.
    """

    version: Version
    data: Data = attrs.field(validator=_check_data)
    prior: tuple[Trace, ...] = ()
    answers: Mapping[str, Trace] = attrs.field(factory=dict, converter=_read_only)
    acts: Mapping[int, tuple[SearchAct, ...]] = attrs.field(factory=dict, converter=_read_only)

    def with_answers(self, answers: Mapping[str, Trace]) -> Traces:
        """Add answers.

        Args:
            answers: Traces by the keys of their rollouts.

        Returns:
            A copy that holds these answers too.
        """
        return attrs.evolve(self, answers={**self.answers, **answers})


class Optimizer(Protocol):
    """A pure function from (program, traces, metric) to a version, or to what must run first."""

    def __call__(self, program: Program, traces: Traces, metric: Metric) -> Version | Need:
        """Return the version, or the rollouts that must run before there is one."""
        ...


@attrs.frozen
class PlanOptimizer(NotCompiled):
    """An optimizer that is written as a plan: a generator that yields needs, is sent their traces
    and returns a version.

    Attributes:
        name: The optimizer's name; with ``options`` it identifies the optimizer.
        options: The options as JSON values; programs and versions by their key or id.
        plan: Begins the generator for a task.
        bound: The most that ``plan`` needs for a program and its data.
        parts: The inputs that the optimizer requires: parts of the data, or ``prior`` traces.
        requires: Raises an error if anything else that the plan needs is missing.
        inner: The optimizers that it is made of.
        own_helpers: The proposers and teachers that the plan runs, each with its version.
        fit: Makes the optimizer with its schedule fitted to limits; ``None`` if its options set a
            size already.
        words: Says in words what the schedule buys; empty if it is said by the bound alone.
    """

    name: str
    options: Record
    plan: Callable[[Task], Plan] = attrs.field(eq=False, repr=False)
    bound: Callable[[Program, Data], Bound] = attrs.field(eq=False, repr=False)
    parts: frozenset[str] = attrs.field(default=frozenset(), eq=False, repr=False)
    requires: Requirement = attrs.field(default=_nothing_more, eq=False, repr=False)
    inner: tuple[PlanOptimizer, ...] = attrs.field(default=(), eq=False, repr=False)
    own_helpers: Helpers = attrs.field(default=lambda *_: (), eq=False, repr=False)
    fit: Callable[[Limits], PlanOptimizer] | None = attrs.field(default=None, eq=False, repr=False)
    words: Callable[[Program, Data, Any], str] = attrs.field(
        default=_no_words, eq=False, repr=False
    )

    def __call__(self, program: Program, traces: Traces, metric: Metric) -> Version | Need:
        """Run the plan over the answers so far.

        Args:
            program: The program to optimize.
            traces: The start version, the data and the answers so far.
            metric: Scores the program's outputs.

        Returns:
            The version, or the first need that the answers do not cover, without the rollouts that
            they do cover.

        Raises:
            BadData: A required part of the data is empty, or required prior traces are missing.
            ForeignPaths: The program does not have a path of the version.
        """

        def recorded(need: Need) -> tuple[Trace, ...] | None:
            if unanswered(need, traces.answers).rollouts:
                return None
            return tuple(traces.answers[rollout.key] for rollout in need.rollouts)

        state = drive_plan(self.begin(program, traces, metric), recorded, traces.acts)
        if isinstance(state, Need):
            return unanswered(state, traces.answers)
        return checked_version(program, state)

    def begin(
        self, program: Program, traces: Traces, metric: Any, evidence: Evidence | None = None
    ) -> SteeredPlan:
        """Begin the plan. It is given the prior traces but never the answers, so that it takes the
        same way live and resumed. ``evidence`` gets the scores that it sees. It may be sent acts.
        """
        self.check(program, traces)
        scores = Evidence() if evidence is None else evidence
        task = Task(program, traces.version, traces.data, traces.prior, metric, scores)
        return steered(self.plan(task), task)

    # Everything is looked for here, of the optimizers inside too: the plan of a chain would miss
    # what its last optimizer needs only when all rollouts before it are paid.
    def check(self, program: Program, traces: Traces) -> None:
        """Look for everything that the plan needs, before anything runs.

        Args:
            program: The program to optimize.
            traces: The start version, the data and the prior traces.

        Raises:
            BadData: A required part of the data is empty, required prior traces are missing, or an
                example lacks an input.
            ForeignPaths: The program does not have a path of the start version or the teacher's.
            ModelUnavailable: An extra is not installed.
            ProgramError: The program lacks a step that the optimizer works on.
        """
        for optimizer in self.inner:
            optimizer.check(program, traces)
        complete_params(program, traces.version)
        self._check_parts(traces)
        self.requires(program, traces)

    def bound_for(self, program: Program, data: Data, metric: Any) -> Bound:
        """Return the most rollouts, proposals and judgements of an optimization. A metric runs
        nothing; a judge's program runs once for each rollout of the program that it scores.
        """
        bound = self.bound(program, data)
        judged = bound.rollouts + bound.judgements if isinstance(metric, Judge) else 0
        return attrs.evolve(bound, judgements=judged)

    def helpers(self, program: Program, start: Version) -> list[tuple[Program, Version]]:
        """Return what the plan runs beside the program: proposers and teachers, each with its
        version, also of the optimizers inside.
        """
        own = list(self.own_helpers(program, start))
        return own + [pair for inner in self.inner for pair in inner.helpers(program, start)]

    def _check_parts(self, traces: Traces) -> None:
        for part, use in _USES.items():
            if part in self.parts and not len(getattr(traces.data, part)):
                problem = f"{self.name} {use} the examples in `{part}`, which has none"
                fix = f"Give it some: lf.Data(..., {part}=rows), --{part} FILE or --split .5,.3,.2."
                raise BadData("the data", problem, fix)
        if self.parts >= PRIOR and not traces.prior:
            problem = (
                f"{self.name} was given no recorded traces of the program on the examples in"
                " `train`"
            )
            fix = "Give it a run that has: prior=store.run(ID), or --prior RUN."
            raise BadData("the data", problem, fix)


def drive_plan(
    plan: SteeredPlan,
    traces_of: Callable[[Need], tuple[Trace, ...] | None],
    acts: Mapping[int, tuple[SearchAct, ...]] = MappingProxyType({}),
) -> Need | Version:
    """Run a plan to its end, or to the first need that cannot be met, and close it.

    Args:
        plan: The plan, not yet begun.
        traces_of: Gives the traces of a need, in order; ``None`` stops there.
        acts: What people did to the search, by the number of the need at which it took them.

    Returns:
        The version that the plan returned, or the need at which it was stopped.
    """
    try:
        state, number = advance_plan(plan), 0
        while isinstance(state, Need):
            if number in acts:
                state = steer_plan(plan, acts[number])
            traces = traces_of(state) if isinstance(state, Need) else None
            if traces is None:
                return state
            state, number = advance_plan(plan, traces), number + 1
        return state
    finally:
        plan.close()


def check_optimizers(*optimizers: object) -> None:
    """Raise ``TypeError`` if an argument is not an optimizer but, say, the function that makes
    one.
    """
    for optimizer in optimizers:
        check_kind("an optimizer", optimizer, PlanOptimizer, "It is made by a call: lf.mipro().")


def plan_optimizer(  # noqa: PLR0913 - the fields of an optimizer
    name: str,
    options: Mapping[str, Any],
    plan: Callable[[Task], Plan],
    bound: Callable[[Program, Data], Bound] | None = None,
    parts: frozenset[str] = frozenset(),
    *,
    requires: Requirement = _nothing_more,
    inner: tuple[PlanOptimizer, ...] = (),
    names_best: bool = False,
    fit: Callable[[Limits], PlanOptimizer] | None = None,
    words: Callable[[Program, Data, Any], str] = _no_words,
) -> PlanOptimizer:
    """Make the optimizer of a plan.

    An option that is not a JSON value is recorded by its key, id or name. Without ``bound`` the
    plan needs no rollouts. A plan that is not made of others names in each need the version that
    its evidence speaks for, unless it ``names_best`` itself. Raises ``ValueError`` or ``TypeError``
    if an option cannot be used.
    """
    for option, value in options.items():
        check_option(name, option, value)
    recorded = Record({option: _option_as_json(value) for option, value in options.items()})
    parts = parts.union(*(optimizer.parts for optimizer in inner))
    anytime = plan if inner or names_best else with_best_so_far(plan)
    helpers = functools.partial(helper_executions, options)
    return PlanOptimizer(
        name, recorded, anytime, bound or _no_rollouts, parts, requires, inner, helpers, fit, words
    )


def with_best_so_far(plan: Callable[[Task], Plan]) -> Callable[[Task], Plan]:
    """Make a plan name in each of its needs the version that the evidence speaks for."""

    def anytime(task: Task) -> Plan:
        running = plan(task)
        state = advance_plan(running)
        while isinstance(state, Need):
            traces = yield task.evidence.with_best(state, task.version)
            state = advance_plan(running, traces)
        task.evidence.check_metric(name_of(task.metric))
        return task.evidence.allowed(state, task.version)

    return anytime


def _no_rollouts(program: Program, data: Data) -> Bound:
    del program, data
    return Bound(0)


def _option_as_json(value: Any) -> Any:
    if isinstance(value, Program):
        return value.key
    if isinstance(value, Version):
        return value.id
    if isinstance(value, PlanOptimizer):
        return [value.name, value.options]
    if isinstance(value, (list, tuple)):
        return [_option_as_json(item) for item in value]
    return value
