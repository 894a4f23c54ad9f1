"""Optimizes live: runs the rollouts that a plan needs, until it returns a version or the budget
ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from lmflow.data.dataset import Data
from lmflow.errors import BudgetExceeded
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.execution.budget import NOTHING, Budget, Spent
from lmflow.execution.jobs.evaluate import evaluate_on
from lmflow.execution.jobs.optimization import Optimization, Stage
from lmflow.execution.jobs.run_config import begin_job
from lmflow.execution.open_run import OpenRun, open_run
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import EMPTY, HasSession, Session
from lmflow.metrics import Metric
from lmflow.optimizers.parts.needs import Need, PlannedRollout, traces_of_examples, unanswered
from lmflow.optimizers.parts.plan import (
    PlanOptimizer,
    Traces,
    advance_plan,
    check_optimizers,
    checked_version,
)
from lmflow.programs.parameters import init
from lmflow.programs.program import Program, pending_of
from lmflow.traces.counts import count_model_calls
from lmflow.traces.events import RefMoved
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version, check_ref

OnNeed = Callable[[Need, int], None]
"""Is called with each need and the number of its rollouts that are not known yet, before they
run.
"""


def ignore_need(need: Need, fresh: int) -> None:
    """Do nothing with a need."""
    del need, fresh


@attrs.frozen(eq=False)
class OptimizationTask:
    """What is optimized, how, from where, and by which metric."""

    optimizer: PlanOptimizer
    program: Program
    traces: Traces
    metric: Metric | Judge

    @property
    def start(self) -> Version:
        """The version to start from."""
        return self.traces.version

    @property
    def config(self) -> Record:
        """What the optimization is of, as its run keeps it."""
        data, prior = self.traces.data, self.traces.prior
        config = {
            "optimizer": {"name": self.optimizer.name, "options": self.optimizer.options},
            "data": {part: getattr(data, part).digest for part in ("train", "select", "held")},
            "metric": scorer_key(self.metric),
            "version": self.start.id,
        }
        if prior:
            config["prior"] = [trace.id for trace in prior]
        return Record(config)

    def with_provenance(self, version: Version) -> Version:
        """Add optimizer, data, metric and program to a version's origin and name the optimizer in
        its note. The start version is returned as it is. Raises ``ForeignPaths`` if the program
        does not have the version's paths.
        """
        if checked_version(self.program, version).id == self.start.id:
            return version
        provenance = {
            "optimizer": {"name": self.optimizer.name, "options": self.optimizer.options},
            "data": self.traces.data.digest,
            "metric": scorer_key(self.metric),
            "program": self.program.key,
        }
        note = f"{self.optimizer.name}: {version.note}"
        return attrs.evolve(version, note=note, origin=version.origin | provenance)


async def optimize(  # noqa: PLR0913, PLR0917 - the parts of an optimization
    self: HasSession,
    optimizer: PlanOptimizer,
    program: Program,
    version: Version | str | None,
    data: Data,
    metric: Metric | Judge,
    *,
    ref: str = "",
    reuse: bool = True,
    prior: Iterable[Trace] = (),
    budget: Budget | None = None,
    spent: Spent = NOTHING,
    config: Mapping[str, Any] = EMPTY,
    of: str = "",
    tell: OnNeed = ignore_need,
) -> Optimization:
    """Run what an optimizer needs until it comes to a version; if the budget ends it, the
    version is the best so far.

    The version is stored. In the end it and the start are scored on the held-back data, at the
    expense of the executor's own budget alone. Begun again with ``reuse`` it pays for nothing
    twice and comes to the same version id. Cancelled, it leaves the best version so far in the
    store, as the ``result`` of its run.

    Args:
        optimizer: The optimizer, such as ``lf.mipro()``.
        program: The program.
        version: The version to start from, or its name in the store.
        data: The examples in parts, ``lf.Data(train=..., select=..., held=...)``.
        metric: The metric or judge.
        ref: The ref to move to the new version; it stays if the start version is kept.
        reuse: Whether recorded calls answer requests that are the same.
        prior: Recorded traces, such as ``store.run(ID)``; optimizers see those of the program
            on examples in ``data.train``.
        budget: The most that the search may spend.
        spent: What counts as spent of the budget from the start.
        config: Settings to store on the run beside optimizer, data, metric and start.
        of: The run that this one begins again.
        tell: Is called with each need and the number of its rollouts that were not run before.

    Returns:
        The version, with scores of both versions if data is held back.

    Raises:
        TypeError: ``optimizer`` is not an optimizer.
        BadData: A part of the data that the optimizer needs is empty, or an example lacks an input.
        ModelUnavailable: A model or an extra that the optimizer or the judge needs is missing.
    """
    check_optimizers(optimizer)
    start = self._session.version(version) or init(program)
    traces = Traces(start, data, prior_traces(program, data, prior))
    optimizer.check(program, traces)
    _look_up_models(self._session, optimizer, program, start, metric)
    task = OptimizationTask(optimizer, program, traces, metric)
    parts = data.train, data.select, data.held
    settings = task.config | (
        config or await begin_job(self._session, program, parts, metric, budget, ref)
    )
    session = self._session.within(budget, spent)
    run = open_run(session, "optimize", f"{optimizer.name} {program}", settings, of, reuse=reuse)
    return await run_optimization(run, task, tell, comparison_session=self._session, ref=ref)


def _look_up_models(
    session: Session,
    optimizer: PlanOptimizer,
    program: Program,
    start: Version,
    metric: Metric | Judge,
) -> None:
    """Raise ``ModelUnavailable`` now if a proposer, teacher or judge names a model that can't be
    used, not when the rollouts before its first call are paid.
    """
    for helper, version in optimizer.helpers(program, start):
        session.model_places(helper)(version)
    if isinstance(metric, Judge):
        session.model_places(metric.program)(metric.under)


async def run_optimization(
    run: OpenRun,
    task: OptimizationTask,
    on_need: OnNeed,
    *,
    comparison_session: Session,
    ref: str = "",
) -> Optimization:
    """Open a run, run a task in it, score its version against the start at the expense of
    ``comparison_session``, and move the ref.
    """
    plan_run = PlanRun(run, task, on_need)
    async with run:
        await run.save(task.start)
        version = await plan_run.run()
        await run.save(version)
        spent = run.spent
        before, after = await _compare_on_held(run, task, version, comparison_session)
        closed_run = await run.close("stopped" if plan_run.stopped else "done", version.id)
    if ref and version.id != task.start.id:
        await run.record(RefMoved(check_ref(ref), version.id, version.note, time.time_ns()))
    return Optimization(
        version,
        task.start,
        task.optimizer,
        closed_run,
        tuple(plan_run.stages),
        plan_run.stopped,
        spent,
        before,
        after,
    )


def prior_traces(program: Program, data: Data, traces: Iterable[Trace]) -> tuple[Trace, ...]:
    """Return the traces of the program on examples of the training data."""
    return tuple(trace for _, trace in traces_of_examples(program, data.train, traces))


async def _compare_on_held(
    run: OpenRun, task: OptimizationTask, version: Version, session: Session
) -> tuple[Evaluation | None, Evaluation | None]:
    """Score the start and the version on the held-back data, if there is some; once if they are the
    same.
    """
    held = task.traces.data.held
    if not len(held):
        return None, None
    before = await evaluate_on(
        run, task.program, task.start, held, task.metric, label="held/before", session=session
    )
    if version.id == task.start.id:
        return before, before
    after = await evaluate_on(
        run, task.program, version, held, task.metric, label="held/after", session=session
    )
    return before, after


class PlanRun:
    """Runs an optimizer's plan in an open run, and keeps what it has come to."""

    def __init__(self, run: OpenRun, task: OptimizationTask, on_need: OnNeed) -> None:
        self._run, self._task, self._on_need = run, task, on_need
        self._answers: dict[str, Trace] = {}
        self._calls = 0
        self._best = task.start
        self.stages: list[Stage] = []
        self.stopped = ""

    # The generator lives as long as the plan: a plan that were begun anew at each need would score
    # all earlier rollouts again. It is closed in the end, so that its `finally` blocks run here and
    # not in the garbage collector.
    async def run(self) -> Version:
        """Return the version that the plan comes to, or the best so far if a budget ends it; then
        ``stopped`` says why. If anything else ends it, a cancellation or an error, the best version
        so far is left in the store as the run's result.
        """
        task = self._task
        plan = task.optimizer.begin(task.program, task.traces, task.metric)
        try:
            state = advance_plan(plan)
            while isinstance(state, Need):
                self._best = state.best
                state = advance_plan(plan, await self._answer(state))
            return task.with_provenance(state)
        except BudgetExceeded as refusal:
            self.stopped = str(refusal)
            return task.with_provenance(self._best)
        except BaseException:
            self._run.save_unawaited(task.with_provenance(self._best))
            raise
        finally:
            plan.close()

    async def _answer(self, need: Need) -> tuple[Trace, ...]:
        """Run the rollouts of a need that are not known yet, and return the traces of all."""
        fresh = unanswered(need, self._answers)
        self._on_need(need, len(fresh.rollouts))
        rollouts = [
            executable(rollout, label)
            for rollout, label in zip(fresh.rollouts, fresh.labels, strict=True)
        ]
        traces: Sequence[Trace] = ()
        try:
            traces = await self._run.add(rollouts)
        finally:
            self._calls += sum(count_model_calls(trace, sent_only=True) for trace in traces)
            self._add_stage(need, len(traces))
        for rollout, trace in zip(fresh.rollouts, traces, strict=True):
            self._answers[rollout.key] = trace
        return tuple(self._answers[rollout.key] for rollout in need.rollouts)

    def _add_stage(self, need: Need, ran: int) -> None:
        label = need.labels[0] if need.labels else ""
        self.stages.append(
            Stage(need.phase, label, len(need.rollouts), ran, self._calls, need.score)
        )


def executable(planned: PlannedRollout, label: str) -> Rollout:
    """Make the rollout that an executor runs for one that a plan needs."""
    pending = pending_of(planned.program, planned.example)
    if planned.sample:
        pending = pending.sampled(planned.sample)
    return Rollout(pending, planned.version, label)
