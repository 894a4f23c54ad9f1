"""Optimizers made of optimizers: one after the other, on some paths only, the best of several,
guarded, or within a number of calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from fnmatch import fnmatchcase

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError
from lmflow.evaluation.stats import paired_test
from lmflow.messages.requests import ToolRequest
from lmflow.optimizers.parts.needs import Need, PlannedRollout, unanswered
from lmflow.optimizers.parts.plan import (
    HELD,
    SELECT,
    Bound,
    Plan,
    PlanOptimizer,
    Task,
    advance_plan,
    check_optimizers,
    plan_optimizer,
)
from lmflow.optimizers.parts.scoring import (
    Best,
    VersionScores,
    conclude,
    score_candidate,
    score_version,
)
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

# A reply that cannot be read is asked for once more, and an endpoint may refuse a schema once.
_CALLS_A_PREDICTOR = 3


def chain(*optimizers: PlanOptimizer) -> PlanOptimizer:
    """Run optimizers one after the other, each from the version that the one before returned.

    Args:
        *optimizers: The optimizers, in order.

    Returns:
        An optimizer that needs and requires what all of them do.

    Raises:
        TypeError: An argument is not an optimizer.
    """
    check_optimizers(*optimizers)

    def plan(task: Task) -> Plan:
        start, origin = task.version, Record()
        for turn, optimizer in enumerate(optimizers):
            version = yield from prefix_labels(optimizer.plan(task), f"chain[{turn}]")
            origin |= version.origin
            task = attrs.evolve(task, version=version)
        result = attrs.evolve(task.version, origin=origin)
        return _restrict(start, result, lambda _: True)

    def bound(program: Program, data: Data) -> Bound:
        return _total_bound(optimizers, program, data)

    options = {"optimizers": list(optimizers)}
    return plan_optimizer("chain", options, plan, bound, _required_parts(optimizers))


def only(pattern: str, optimizer: PlanOptimizer) -> PlanOptimizer:
    """Keep only an optimizer's changes of some paths. It proposes and scores with all of its
    changes.

    Args:
        pattern: The paths, as a shell pattern: ``answer.*``, ``*.demos``.
        optimizer: The optimizer.

    Returns:
        An optimizer that needs and requires what ``optimizer`` does; its plan raises
        ``ProgramError`` if no path of the program fits the pattern.

    Raises:
        TypeError: ``optimizer`` is not an optimizer.
    """
    check_optimizers(optimizer)

    def plan(task: Task) -> Plan:
        paths = task.program.paths
        if not any(fnmatchcase(path, pattern) for path in paths):
            msg = f"no path of {task.program} fits {pattern!r}; it has {', '.join(paths)}"
            raise ProgramError(msg)

        def restrict(version: Version) -> Version:
            return _restrict(task.version, version, lambda path: fnmatchcase(path, pattern))

        version = yield from map_needs(
            optimizer.plan(task), lambda need: attrs.evolve(need, best=restrict(need.best))
        )
        return restrict(version)

    options = {"pattern": pattern, "optimizer": optimizer}
    return plan_optimizer("only", options, plan, optimizer.bound, optimizer.parts)


def first_best(*optimizers: PlanOptimizer) -> PlanOptimizer:
    """Run optimizers each from the start version, and choose the best of their versions and of the
    start version by the mean on the selection data; ties go to the earlier.

    Args:
        *optimizers: The optimizers, in order.

    Returns:
        An optimizer that needs what all of them need and ``(1 + optimizers) * select`` rollouts,
        and requires the data part ``select`` too.

    Raises:
        TypeError: An argument is not an optimizer.
    """
    check_optimizers(*optimizers)

    def plan(task: Task) -> Plan:
        _, best = yield from score_candidate(task, task.version, "start", Best(task.version))
        for turn, optimizer in enumerate(optimizers):
            label = f"first_best[{turn}]"
            version = yield from prefix_labels(_with_best(optimizer.plan(task), best), label)
            _, best = yield from score_candidate(task, version, f"{label}/result", best)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        scoring = Bound((len(optimizers) + 1) * len(data.select))
        return _total_bound(optimizers, program, data) + scoring

    options = {"optimizers": list(optimizers)}
    parts = SELECT | _required_parts(optimizers)
    return plan_optimizer("first_best", options, plan, bound, parts)


def guard(optimizer: PlanOptimizer) -> PlanOptimizer:
    """Do no harm: return an optimizer's version only if the held-back data shows that it is better,
    that is if the 95 % interval of the paired difference lies above 0.

    Otherwise the start version is returned, also if the optimization is stopped early.

    Args:
        optimizer: The optimizer.

    Returns:
        An optimizer that needs ``2 * held`` more rollouts, and requires the data part ``held`` too.

    Raises:
        TypeError: ``optimizer`` is not an optimizer.
    """
    check_optimizers(optimizer)

    def plan(task: Task) -> Plan:
        start = Best(task.version)
        version = yield from map_needs(
            optimizer.plan(task), lambda need: attrs.evolve(need, best=task.version)
        )
        if version.tree == task.version.tree:
            return task.version
        before = yield from score_version(
            task, task.version, task.data.held, "guard/before", start, "guard"
        )
        after = yield from score_version(
            task, version, task.data.held, "guard/after", start, "guard"
        )
        return version if is_better(before, after) else task.version

    def bound(program: Program, data: Data) -> Bound:
        return optimizer.bound(program, data) + Bound(2 * len(data.held))

    options = {"optimizer": optimizer}
    return plan_optimizer("guard", options, plan, bound, HELD | optimizer.parts)


def within(optimizer: PlanOptimizer, *, max_calls: int) -> PlanOptimizer:
    """Stop an optimizer before its model calls could exceed a number; its best version so far is
    the result.

    All calls of the program, of proposers and of judges count, also those that are answered from
    the record. A need is passed on whole if each of its rollouts may take three calls a predictor,
    or as many as the dearest rollout of its program so far; otherwise it is passed on piece by
    piece, as long as the remaining calls could do for all of it.

    Args:
        optimizer: The optimizer.
        max_calls: The most model calls.

    Returns:
        An optimizer that requires what ``optimizer`` does.

    Raises:
        TypeError: ``optimizer`` is not an optimizer.
        ValueError: ``max_calls`` is negative.
    """
    check_optimizers(optimizer)

    def plan(task: Task) -> Plan:
        inner, allowance = optimizer.plan(task), _Allowance(max_calls)
        answers: dict[str, Trace] = {}
        state = advance_plan(inner)
        while isinstance(state, Need):
            affordable = yield from _buy_pieces(state, allowance, answers)
            if not affordable:
                yield attrs.evolve(state, rollouts=(), labels=(), phase="done")
                return state.best
            traces = yield state
            _count_new(state, traces, allowance, answers)
            state = advance_plan(inner, traces)
        return state

    options = {"optimizer": optimizer, "max_calls": max_calls}
    return plan_optimizer("within", options, plan, optimizer.bound, optimizer.parts)


class _Allowance:
    """The remaining calls, and the most and the fewest that a rollout of each program took.

    Rollouts of a need run side by side, so their calls are known only when all are spent. A need is
    therefore admitted by the most that it could take: admitted by a mean it could exceed the limit.
    """

    def __init__(self, calls: int) -> None:
        self.remaining = calls
        self._most: dict[str, int] = {}
        self._fewest: dict[str, int] = {}

    def affordable(self, rollouts: Sequence[PlannedRollout]) -> int:
        """Return how many of the rollouts, in order, cannot take more than the remaining calls."""
        worst_cases = itertools.accumulate(map(self._worst_case, rollouts))
        return sum(calls <= self.remaining for calls in worst_cases)

    def may_suffice(self, rollouts: Sequence[PlannedRollout]) -> bool:
        """Return whether the remaining calls could do for all rollouts, if each took no more than
        the cheapest of its program so far.
        """
        best_case = sum(self._fewest.get(rollout.program.key, 1) for rollout in rollouts)
        return best_case <= self.remaining

    def spend(self, rollouts: Sequence[PlannedRollout], traces: Sequence[Trace]) -> None:
        """Subtract the calls of rollouts."""
        for rollout, trace in zip(rollouts, traces, strict=True):
            calls, key = count_model_calls(trace), rollout.program.key
            self.remaining -= calls
            self._most[key] = max(calls, self._most.get(key, 1))
            self._fewest[key] = min(calls, self._fewest.get(key, calls))

    def _worst_case(self, rollout: PlannedRollout) -> int:
        predictors = len(rollout.program.predictors)
        return max(_CALLS_A_PREDICTOR * predictors, self._most.get(rollout.program.key, 1))


def _buy_pieces(
    need: Need, allowance: _Allowance, answers: dict[str, Trace]
) -> Generator[Need, tuple[Trace, ...], bool]:
    """Run a need piece by piece until the rest of it is affordable as a whole; return whether it
    is.
    """
    missing = unanswered(need, answers)
    while (count := allowance.affordable(missing.rollouts)) < len(missing.rollouts):
        if not count or not allowance.may_suffice(missing.rollouts):
            return False
        piece = attrs.evolve(need, rollouts=missing.rollouts[:count], labels=missing.labels[:count])
        traces = yield piece
        _count_new(piece, traces, allowance, answers)
        missing = unanswered(need, answers)
    return True


def _count_new(
    need: Need, traces: Sequence[Trace], allowance: _Allowance, answers: dict[str, Trace]
) -> None:
    """Spend the calls of the rollouts that had no answer, and add the answers of all."""
    trace_of = {rollout.key: trace for rollout, trace in zip(need.rollouts, traces, strict=True)}
    new = unanswered(need, answers).rollouts
    allowance.spend(new, [trace_of[rollout.key] for rollout in new])
    answers |= trace_of


def is_better(before: VersionScores, after: VersionScores) -> bool:
    """Return whether the 95 % interval of the paired difference on the same examples lies above
    0.
    """
    old, new = before.values, after.values
    differences = [new[label] - old[label] for label in old if label in new]
    low = paired_test(differences).difference.low if differences else None
    return low is not None and low > 0


def count_model_calls(trace: Trace) -> int:
    """Count the model calls of an execution, retries included."""
    return sum(not isinstance(call.request, ToolRequest) for call in trace.calls)


def map_needs(plan: Plan, change: Callable[[Need], Need]) -> Plan:
    """Run a plan with each of its needs changed."""
    state = advance_plan(plan)
    while isinstance(state, Need):
        traces = yield change(state)
        state = advance_plan(plan, traces)
    return state


def prefix_labels(plan: Plan, prefix: str) -> Plan:
    """Run a plan with its labels under a prefix."""

    def relabel(need: Need) -> Need:
        return attrs.evolve(need, labels=tuple(f"{prefix}/{label}" for label in need.labels))

    return map_needs(plan, relabel)


def _with_best(plan: Plan, best: Best) -> Plan:
    return map_needs(plan, lambda need: attrs.evolve(need, best=best.version, score=best.score))


def _restrict(start: Version, version: Version, fits: Callable[[str], bool]) -> Version:
    """Make a child of the start version with a version's changes of the paths that fit."""
    changes = {change.path: change.after for change in diff(start, version) if fits(change.path)}
    if not changes:
        return start
    origin = {path: version.origin[path] for path in changes if path in version.origin}
    return start.put(changes, note=version.note, origin=origin)


def _required_parts(optimizers: Sequence[PlanOptimizer]) -> frozenset[str]:
    return frozenset[str]().union(*(optimizer.parts for optimizer in optimizers))


def _total_bound(optimizers: Sequence[PlanOptimizer], program: Program, data: Data) -> Bound:
    return sum((optimizer.bound(program, data) for optimizer in optimizers), Bound(0))
