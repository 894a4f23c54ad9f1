"""Plans that people steer: the acts of a person change what a plan runs, and what it answers."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

import attrs

from lmflow.data.dataset import example_id
from lmflow.errors import short
from lmflow.evaluation.stats import paired_test
from lmflow.optimizers.parts.needs import Need, PlannedRollout
from lmflow.optimizers.parts.scoring import VETOED, Best, score_side_by_side
from lmflow.optimizers.plans.acts import Acts, SearchAct
from lmflow.optimizers.plans.task import Plan, Task, advance_plan
from lmflow.programs.program import pending_of
from lmflow.traces.trace import Failed, Trace
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import Version

SteeredPlan = Generator[Need, "tuple[Trace, ...] | Acts", Version]
"""A plan that may be sent acts at a need in place of its traces. It then yields that need anew, as
the acts changed it, or returns if they stop it.
"""


def steer_plan(plan: SteeredPlan, acts: Iterable[SearchAct]) -> Need | Version:
    """Send acts to a plan that waits at a need.

    Args:
        plan: The plan.
        acts: The acts, in the order in which people did them.

    Returns:
        The need as it is now, or the version that the plan returned since it was stopped.
    """
    try:
        return plan.send(Acts(tuple(acts)))
    except StopIteration as stop:
        version: Version = stop.value
        return version


def steered(plan: Plan, task: Task) -> SteeredPlan:
    """Make a plan that may be steered of any plan.

    A veto holds for whatever plan: the version's rollouts are not run any more, the plan gets
    executions without a score in their place, and the version is never the answer. A pinned version
    is the answer unless the plan's own is better on the examples on which both were scored; for
    that both are scored on all examples that versions are chosen by. Without acts it is the plan.

    Args:
        plan: The plan of the task, not yet begun.
        task: The inputs of the plan.

    Returns:
        The plan.
    """
    steering = Steering(task)
    running = _with_pins(plan, steering)
    try:
        state = advance_plan(running)
        while isinstance(state, Need):
            open_need = steering.changed(state)
            answer = yield open_need
            while isinstance(answer, Acts):
                steering.take(answer.acts)
                open_need = steering.changed(state)
                if steering.stopped:
                    return open_need.best
                answer = yield open_need
            state = advance_plan(running, tuple(steering.filled(state, answer)))
        return state
    finally:
        running.close()


@attrs.define(eq=False)
class Steering:
    """What people did to a plan so far. It belongs to one plan, as the plan's evidence does."""

    task: Task
    pins: dict[str, Version] = attrs.field(factory=dict, init=False)
    stopped: bool = attrs.field(default=False, init=False)
    _raced: set[tuple[str, str]] = attrs.field(factory=set, init=False)

    @property
    def vetoed(self) -> set[str]:
        """The trees of the versions that are vetoed."""
        return self.task.evidence.vetoed

    def take(self, acts: Iterable[SearchAct]) -> None:
        """Take acts; the last one about a version counts. The start version can't be vetoed."""
        for act in acts:
            self.stopped = self.stopped or act.kind == "stop"
            if act.version is not None:
                self._mark(act.kind, act.version)

    def _mark(self, kind: str, version: Version) -> None:
        self.vetoed.discard(version.tree)
        self.pins.pop(version.tree, None)
        if kind == "pin":
            self.pins[version.tree] = version
        elif kind == "veto" and version.tree != self.task.version.tree:
            self.vetoed.add(version.tree)

    def changed(self, need: Need) -> Need:
        """Return a need without the rollouts of vetoed versions, and with the answer that the acts
        leave; the need itself if they change nothing.
        """
        best, reason = self.answer(need.best)
        if best is not need.best:
            estimate = self.task.evidence.estimate(best)
            score = None if estimate is None else estimate.value
            need = attrs.evolve(need, best=best, reason=reason, estimate=estimate, score=score)
        if not any(map(self._is_vetoed, need.rollouts)):
            return need
        pairs = zip(need.rollouts, need.labels, strict=True)
        kept = [(rollout, label) for rollout, label in pairs if not self._is_vetoed(rollout)]
        rollouts = tuple(rollout for rollout, _ in kept)
        return attrs.evolve(need, rollouts=rollouts, labels=tuple(label for _, label in kept))

    def filled(self, need: Need, traces: Sequence[Trace]) -> Iterator[Trace]:
        """Yield the traces of a whole need: those of the rollouts that were run, and executions
        without a score for those of vetoed versions.
        """
        ran = iter(traces)
        for rollout in need.rollouts:
            if self._is_vetoed(rollout):
                yield _not_run(rollout)
            else:
                yield next(ran)

    def answer(self, version: Version) -> tuple[Version, str]:
        """Return the answer if a plan's own is a version, and the reason; the reason is empty if
        the acts change nothing.
        """
        evidence = self.task.evidence
        own = evidence.allowed(version, self.task.version)
        reason = "" if own is version else f"version {short(version.id)} was vetoed"
        pinned = self._best_pin() if self.pins else None
        if pinned is None:
            return own, reason
        if pinned.tree == own.tree:
            return own, f"version {short(own.id)} is pinned"
        differences = evidence.differences(pinned, own)
        test = paired_test(differences) if differences else None
        low = None if test is None else test.difference.low
        words = f"{test.difference} on {len(differences)} examples" if test else "none to compare"
        if low is not None and low > 0:
            best = f"version {short(own.id)} is better than the pinned {short(pinned.id)}"
            return own, f"{best}: {words}"
        return pinned, f"version {short(pinned.id)} is pinned, and none is proved better: {words}"

    def racers(self, answer: Version) -> list[tuple[Version, list[Record]]]:
        """Return the pinned versions and the plan's own, each with the examples that it must still
        be scored on so that they can be compared; each example is tried once.
        """
        own = self.task.evidence.allowed(answer, self.task.version)
        versions = {own.tree: own, **self.pins}
        if len(versions) == 1:
            return []
        rows = list(self.task.data.select) or list(self.task.data.train)
        lacking = [
            (version, [row for row in rows if self._is_open(version, row)])
            for version in versions.values()
        ]
        self._raced |= {(version.tree, example_id(row)) for version, own in lacking for row in own}
        return [(version, own) for version, own in lacking if own]

    def _is_open(self, version: Version, row: Record) -> bool:
        example = example_id(row)
        tried = (version.tree, example) in self._raced
        return not tried and not self.task.evidence.has_score(version, example)

    def _best_pin(self) -> Version | None:
        """Return the pinned version with the highest expected score, the one pinned first of
        equals; ``None`` before any of them has a score.
        """
        expected = {version.tree: score for version, score, _ in self.task.evidence.expectations()}
        scored = [version for tree, version in self.pins.items() if tree in expected]
        return max(scored, key=lambda version: expected[version.tree], default=None)

    def _is_vetoed(self, rollout: PlannedRollout) -> bool:
        own = rollout.program.key == self.task.program.key
        return own and rollout.version.tree in self.vetoed


def _with_pins(plan: Plan, steering: Steering) -> Plan:
    """Run a plan, then score pinned versions and the plan's own on the same examples, and report
    the answer that the acts leave.
    """
    answer = yield from plan
    racers = steering.racers(answer)
    while True:
        while racers:
            jobs = [(f"pins/cand[{at}]", *racer) for at, racer in enumerate(racers)]
            best = Best(steering.answer(answer)[0])
            yield from score_side_by_side(steering.task, jobs, best, "race of pinned versions")
            racers = steering.racers(answer)
        best_version, reason = steering.answer(answer)
        if not reason:
            return answer
        # Acts may come at this need too: a version that is pinned now races as well.
        yield Need((), (), best_version, phase="done", reason=reason)
        racers = steering.racers(answer)
        if not racers:
            return steering.answer(answer)[0]


def _not_run(rollout: PlannedRollout) -> Trace:
    """Return an execution that stands in for a rollout of a vetoed version."""
    failure = Failed(VETOED, "a person vetoed the version")
    pending = pending_of(rollout.program, rollout.example)
    return Trace(
        f"vetoed-{rollout.key[-18:]}",
        rollout.program.key,
        str(rollout.program),
        rollout.version,
        pending.inputs,
        EMPTY,
        sample=rollout.sample,
        failure=failure,
    )
