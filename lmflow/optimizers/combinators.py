"""Optimizers made of optimizers: one after the other, on some paths only, the best of several,
guarded, bounded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError
from lmflow.evaluation.stats import paired_test
from lmflow.messages.requests import ToolRequest
from lmflow.optimizers.parts.plan import (
    HELD,
    SELECT,
    Bound,
    Need,
    Plan,
    PlannedRollout,
    PlanOptimizer,
    Task,
    check_optimizers,
    plan_optimizer,
    unanswered,
)
from lmflow.optimizers.parts.scoring import Best, Scores, concluded, scored, tried
from lmflow.programs.program import Program
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.diff import diff
from lmflow.versions.version import Version

_ASKS = (
    3  # a reply that can't be read is asked for once more, and an endpoint may refuse a schema once
)


def chain(*optimizers: PlanOptimizer) -> PlanOptimizer:
    """One after the other, each from the version that the one before gave."""
    check_optimizers(*optimizers)

    def plan(task: Task) -> Plan:
        start, origin = task.version, Record()
        for turn, optimizer in enumerate(optimizers):
            version = yield from relabelled(optimizer.plan(task), f"chain[{turn}]")
            origin |= version.origin
            task = attrs.evolve(task, version=version)
        return _kept(start, attrs.evolve(task.version, origin=origin), lambda _: True)

    options = {"optimizers": list(optimizers)}
    return plan_optimizer("chain", options, plan, lambda *it: _sum(optimizers, *it), _parts(optimizers))


def only(pattern: str, optimizer: PlanOptimizer) -> PlanOptimizer:
    """The optimizer, but of what it changes only the paths that fit the pattern (``answer.*``,
    ``*.demos``) are kept.

    It proposes and scores with all of its changes. ``ProgramError`` where no path of the program
    fits.
    """
    check_optimizers(optimizer)

    def plan(task: Task) -> Plan:
        if not any(fnmatchcase(path, pattern) for path in task.program.paths):
            msg = f"no path of {task.program} fits {pattern!r}; it has {', '.join(task.program.paths)}"
            raise ProgramError(msg)

        def kept(version: Version) -> Version:
            return _kept(task.version, version, lambda path: fnmatchcase(path, pattern))

        found = yield from mapped(
            optimizer.plan(task), lambda need: attrs.evolve(need, best=kept(need.best))
        )
        return kept(found)

    return plan_optimizer(
        "only", {"pattern": pattern, "optimizer": optimizer}, plan, optimizer.bound, optimizer.parts
    )


def first_best(*optimizers: PlanOptimizer) -> PlanOptimizer:
    """Each from the start version; the best of what they give and of the start version by the mean
    on the selection data, the earlier where they tie.
    """
    check_optimizers(*optimizers)

    def plan(task: Task) -> Plan:
        _, best = yield from tried(task, task.version, "start", Best(task.version))
        for turn, optimizer in enumerate(optimizers):
            found = yield from relabelled(
                _keeping(optimizer.plan(task), best), f"first_best[{turn}]"
            )
            _, best = yield from tried(task, found, f"first_best[{turn}]/result", best)
        return (yield from concluded(best))

    def bound(program: Program, data: Data) -> Bound:
        return _sum(optimizers, program, data) + Bound((len(optimizers) + 1) * len(data.select))

    return plan_optimizer(
        "first_best", {"optimizers": list(optimizers)}, plan, bound, SELECT | _parts(optimizers)
    )


def guard(optimizer: PlanOptimizer) -> PlanOptimizer:
    """Do no harm: the optimizer's version only where the paired comparison on the held-back data
    says that it is better (the interval of the difference lies above 0), the start version
    otherwise, also where it is stopped early.
    """
    check_optimizers(optimizer)

    def plan(task: Task) -> Plan:
        old = Best(task.version)
        found = yield from mapped(
            optimizer.plan(task), lambda need: attrs.evolve(need, best=task.version)
        )
        if found.tree == task.version.tree:
            return task.version
        before = yield from scored(task, task.version, task.data.held, "guard/before", old, "guard")
        after = yield from scored(task, found, task.data.held, "guard/after", old, "guard")
        return found if better(before, after) else task.version

    def bound(program: Program, data: Data) -> Bound:
        return optimizer.bound(program, data) + Bound(2 * len(data.held))

    return plan_optimizer("guard", {"optimizer": optimizer}, plan, bound, HELD | optimizer.parts)


def within(optimizer: PlanOptimizer, *, max_calls: int) -> PlanOptimizer:
    """The optimizer, stopped before its calls could be more than ``max_calls``: the best version so
    far then.

    What is counted is what is asked for, whether it was paid now or before: model calls of the
    program, of proposers and of judges. A need is asked for whole where each of its rollouts may
    take three calls a predictor, or as many as the dearest one of its program so far; where that
    could be too many, piece by piece, as long as what is left could do for all of it.
    """
    check_optimizers(optimizer)

    def plan(task: Task) -> Plan:
        inner, purse = optimizer.plan(task), _Purse(max_calls)
        answers: dict[str, Trace] = {}
        try:
            need = next(inner)
            while True:
                missing = unanswered(need, answers)
                while (room := purse.room(missing.rollouts)) < len(missing.rollouts):
                    if not room or not purse.hopes(missing.rollouts):
                        yield attrs.evolve(need, rollouts=(), labels=(), phase="done")
                        return need.best
                    piece = attrs.evolve(
                        need, rollouts=missing.rollouts[:room], labels=missing.labels[:room]
                    )
                    answers |= purse.paid(piece.rollouts, (yield piece))
                    missing = unanswered(need, answers)
                traces = yield need
                found = dict(zip((rollout.key for rollout in need.rollouts), traces, strict=True))
                answers |= (
                    purse.paid(
                        missing.rollouts, [found[rollout.key] for rollout in missing.rollouts]
                    )
                    | found
                )
                need = inner.send(traces)
        except StopIteration as stop:
            version: Version = stop.value
            return version

    return plan_optimizer(
        "within",
        {"optimizer": optimizer, "max_calls": max_calls},
        plan,
        optimizer.bound,
        optimizer.parts,
    )


def _parts(optimizers: Sequence[PlanOptimizer]) -> frozenset[str]:
    return frozenset[str]().union(*(optimizer.parts for optimizer in optimizers))


class _Purse:
    """Calls that are left, and how many a rollout of each program took at most and at least so far."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self._most: dict[str, int] = {}
        self._least: dict[str, int] = {}

    def room(self, rollouts: Sequence[PlannedRollout]) -> int:
        """How many of the rollouts, in order, can't take more than what is left."""
        worst = itertools.accumulate(_most(rollout.program, self._most) for rollout in rollouts)
        return sum(calls <= self.left for calls in worst)

    def hopes(self, rollouts: Sequence[PlannedRollout]) -> bool:
        """Whether all of them could be had for what is left, if each took no more than the cheapest
        so far.
        """
        return sum(self._least.get(rollout.program.key, 1) for rollout in rollouts) <= self.left

    def paid(self, rollouts: Sequence[PlannedRollout], traces: Sequence[Trace]) -> dict[str, Trace]:
        """Count what rollouts took; their traces by key."""
        for rollout, trace in zip(rollouts, traces, strict=True):
            calls, key = count_model_calls(trace), rollout.program.key
            self.left -= calls
            self._most[key] = max(calls, self._most.get(key, 1))
            self._least[key] = min(calls, self._least.get(key, calls))
        return {rollout.key: trace for rollout, trace in zip(rollouts, traces, strict=True)}


def better(before: Scores, after: Scores) -> bool:
    """Whether the 95 % interval of the paired difference on the same examples lies above 0."""
    a, b = before.values, after.values
    differences = [b[label] - a[label] for label in a if label in b]
    low = paired_test(differences).difference.low if differences else None
    return low is not None and low > 0


def count_model_calls(trace: Trace) -> int:
    """How many times a model was asked in an execution, retries counted."""
    return sum(not isinstance(call.request, ToolRequest) for call in trace.calls)


def mapped(plan: Plan, change: Callable[[Need], Need]) -> Plan:
    """The plan with each of its needs changed."""
    try:
        need = next(plan)
        while True:
            need = plan.send((yield change(need)))
    except StopIteration as stop:
        version: Version = stop.value
        return version


def _keeping(plan: Plan, best: Best) -> Plan:
    return mapped(plan, lambda need: attrs.evolve(need, best=best.version, score=best.score))


def relabelled(plan: Plan, prefix: str) -> Plan:
    """The plan with its labels under a prefix."""
    return mapped(
        plan,
        lambda need: attrs.evolve(need, labels=tuple(f"{prefix}/{label}" for label in need.labels)),
    )


def _most(program: Program, dearest: dict[str, int]) -> int:
    """The most calls that a rollout is taken to need: three of each predictor, or what the dearest
    one took.
    """
    return max(_ASKS * len(program.predictors), dearest.get(program.key, 1))


def _kept(start: Version, found: Version, fits: Callable[[str], bool]) -> Version:
    changes = {change.path: change.after for change in diff(start, found) if fits(change.path)}
    origin = {path: found.origin[path] for path in changes if path in found.origin}
    return start.put(changes, note=found.note, origin=origin) if changes else start


def _sum(optimizers: tuple[PlanOptimizer, ...], program: Program, data: Data) -> Bound:
    return sum((optimizer.bound(program, data) for optimizer in optimizers), Bound(0))
