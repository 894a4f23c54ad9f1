"""Optimizers made of optimizers: one after the other, on some paths only, the best of several,
guarded, or within a number of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import ProgramError
from lmflow.optimizers.parts.allowance import within_calls
from lmflow.optimizers.parts.checks import check_option, runs_on
from lmflow.optimizers.parts.limits import Bound, Limits
from lmflow.optimizers.parts.needs import Need
from lmflow.optimizers.parts.plan import (
    HELD,
    SELECT,
    Plan,
    PlanOptimizer,
    Task,
    Traces,
    advance_plan,
    check_optimizers,
    plan_optimizer,
    with_best_so_far,
)
from lmflow.optimizers.parts.scoring import (
    Best,
    conclude,
    score_candidate,
    score_version,
)
from lmflow.optimizers.parts.verdict import judge_differences
from lmflow.programs.decisions import known_paths
from lmflow.programs.program import Program
from lmflow.values.record import Record
from lmflow.versions.diff import diff
from lmflow.versions.version import Version


def chain(*optimizers: PlanOptimizer) -> PlanOptimizer:
    """Run optimizers one after the other, each from the version that the one before returned.

    Args:
        *optimizers: The optimizers, in order.

    Returns:
        An optimizer that needs and requires what all of them do.

    Raises:
        TypeError: An argument is not an optimizer.

    Example:
        >>> import lmflow as lf
        >>> rows = [{"question": "1 + 1?", "answer": "2"}]
        >>> both = lf.chain(lf.labeled_few_shot(k=1), lf.opro(steps=2, breadth=3))
        >>> both.bound(lf.predict("answer", "question -> answer"), lf.Data([], rows))
        Bound(rollouts=7, proposals=6, judgements=0)
    """
    check_optimizers(*optimizers)

    def plan(task: Task) -> Plan:
        start, origin = task.version, Record()

        def as_child(version: Version) -> Version:
            return _restrict(
                start, attrs.evolve(version, origin=origin | version.origin), _any_path
            )

        for turn, optimizer in enumerate(optimizers):
            labelled = prefix_labels(optimizer.plan(task), f"chain[{turn}]")
            version = yield from map_needs(
                labelled, lambda need: attrs.evolve(need, best=as_child(need.best))
            )
            origin |= version.origin
            task = attrs.evolve(task, version=version)
        return as_child(task.version)

    def bound(program: Program, data: Data) -> Bound:
        return _total_bound(optimizers, program, data)

    options = {"optimizers": list(optimizers)}
    return plan_optimizer("chain", options, plan, bound, inner=optimizers)


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
        def restrict(version: Version) -> Version:
            return _restrict(task.version, version, lambda path: fnmatchcase(path, pattern))

        version = yield from map_needs(
            optimizer.plan(task), lambda need: attrs.evolve(need, best=restrict(need.best))
        )
        return restrict(version)

    def requires(program: Program, traces: Traces) -> None:
        del traces
        if not any(fnmatchcase(path, pattern) for path in known_paths(program)):
            msg = f"no path of {program} fits {pattern!r}; it has {', '.join(program.paths)}"
            raise ProgramError(msg)

    options = {"pattern": pattern, "optimizer": optimizer}
    fit = optimizer.fit
    return plan_optimizer(
        "only",
        options,
        plan,
        optimizer.bound,
        requires=requires,
        inner=(optimizer,),
        fit=None if fit is None else lambda limits: only(pattern, fit(limits)),
        words=optimizer.words,
    )


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
            version = yield from prefix_labels(_with_score(optimizer.plan(task), best), label)
            _, best = yield from score_candidate(task, version, f"{label}/result", best)
        return (yield from conclude(best))

    def bound(program: Program, data: Data) -> Bound:
        scoring = Bound((len(optimizers) + 1) * len(data.select))
        return _total_bound(optimizers, program, data) + scoring

    options = {"optimizers": list(optimizers)}
    return plan_optimizer(
        "first_best",
        options,
        with_best_so_far(plan),
        bound,
        SELECT,
        requires=runs_on("select"),
        inner=optimizers,
    )


def guard(optimizer: PlanOptimizer) -> PlanOptimizer:
    """Do no harm: return an optimizer's version only if it is better on all examples on which it
    and the start were scored, by 1.28 standard deviations of a belief that is shrunk to the start,
    and not worse on the held-back ones.

    Otherwise the start version is returned, also if the optimization is stopped early. The reason
    says which difference so many examples could show.

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
        old, new = before.values, after.values
        held = [new[row] - score for row, score in old.items() if row in new]
        verdict = judge_differences(task.evidence.differences(task.version, version), held)
        answer = version if verdict.is_better else task.version
        yield Need((), (), answer, phase="done", reason=str(verdict))
        return answer

    def bound(program: Program, data: Data) -> Bound:
        rollouts = 2 * len(data.held)
        judging = Bound(rollouts, calls=rollouts * len(program.predictors))
        return optimizer.bound(program, data) + judging

    options = {"optimizer": optimizer}
    fit = optimizer.fit
    return plan_optimizer(
        "guard",
        options,
        plan,
        bound,
        HELD,
        requires=runs_on("held"),
        inner=(optimizer,),
        fit=None if fit is None else lambda limits: guard(fit(limits)),
        words=optimizer.words,
    )


def within(optimizer: PlanOptimizer, *, max_calls: int) -> PlanOptimizer:
    """Stop an optimizer before its model calls could exceed a number; its best version so far is
    the result. An optimizer that plans for a budget, and of which no size is given, plans for this
    number.

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
    check_option("within", "max_calls", max_calls)
    own = optimizer if optimizer.fit is None else optimizer.fit(Limits(calls=max_calls))

    def plan(task: Task) -> Plan:
        return within_calls(own.plan(task), max_calls)

    options = {"optimizer": optimizer, "max_calls": max_calls}
    return plan_optimizer("within", options, plan, own.bound, inner=(own,), words=own.words)


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


def _with_score(plan: Plan, best: Best) -> Plan:
    """Run a plan whose needs report the best mean of the search that it is part of."""

    def report(need: Need) -> Need:
        scores = [score for score in (best.score, need.score) if score is not None]
        return attrs.evolve(need, score=max(scores, default=None))

    return map_needs(plan, report)


def _restrict(start: Version, version: Version, fits: Callable[[str], bool]) -> Version:
    """Make a child of the start version with a version's changes of the paths that fit."""
    changes = {change.path: change.after for change in diff(start, version) if fits(change.path)}
    if not changes:
        return start
    origin = {path: version.origin[path] for path in changes if path in version.origin}
    return start.put(changes, note=version.note, origin=origin)


def _any_path(_: str) -> bool:
    return True


def _total_bound(optimizers: Sequence[PlanOptimizer], program: Program, data: Data) -> Bound:
    return sum((optimizer.bound(program, data) for optimizer in optimizers), Bound(0))
