"""Optimizes live: runs the rollouts that a plan needs, until it returns a version or the budget
ends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Never

import attrs

from lmflow.data.dataset import Data, Dataset
from lmflow.errors import BudgetExceeded, check_kind
from lmflow.errors.options import JOB_OPTIONS, explains_options
from lmflow.evaluation.fields import check_fields
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.evaluation.metric_kinds import warn_of_dspy
from lmflow.evaluation.several import check_one_metric, named_metrics
from lmflow.execution.budget import NOTHING, Budget, Spent
from lmflow.execution.call_order import check_order
from lmflow.execution.jobs.fitting import fit_to_budget
from lmflow.execution.jobs.front import front_of
from lmflow.execution.jobs.judging import Judging, judged_rows
from lmflow.execution.jobs.optimization import Optimization, Stage
from lmflow.execution.jobs.run_config import begin_job
from lmflow.execution.logs import log_budget_stop
from lmflow.execution.open_run import OpenRun, open_run
from lmflow.execution.progress import best_of, tracked
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import BUDGET_FIX, EMPTY, HasSession, Session
from lmflow.metrics import Metric
from lmflow.optimizers.parts.checks import checked_version
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.needs import Need, PlannedRollout, traces_of_examples, unanswered
from lmflow.optimizers.parts.plan import (
    PlanOptimizer,
    Traces,
    advance_plan,
    check_optimizers,
)
from lmflow.programs.parameters import init
from lmflow.programs.program import Program, pending_of
from lmflow.programs.tool import check_tools
from lmflow.progress.display import Progress, chosen
from lmflow.progress.tracker import Tracker
from lmflow.traces.counts import count_model_calls
from lmflow.traces.events import RefMoved
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version, check_ref

JUDGING_START = "judging the start"
JUDGING_NEW = "judging the new version"


@attrs.frozen(eq=False)
class OptimizationTask:
    """An optimization to run: the optimizer, the program, the inputs of the search, the metric."""

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
        """The settings that identify the optimization, as its run keeps them."""
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


@explains_options(JOB_OPTIONS)
async def optimize(  # noqa: PLR0913 - the parts of an optimization
    self: HasSession,
    optimizer: PlanOptimizer,
    program: Program,
    data: Data,
    metric: Metric | Judge,
    *extra: Never,
    version: Version | str | None = None,
    ref: str = "",
    reuse: bool = True,
    prior: Iterable[Trace] = (),
    budget: Budget | None = None,
    spent: Spent = NOTHING,
    config: Mapping[str, Any] = EMPTY,
    of: str = "",
    judge_rows: int | None = None,
    fit: bool = True,
    progress: Progress | None = None,
) -> Optimization:
    """Run what an optimizer needs until it comes to a version; if the budget ends it, the
    version is the best so far.

    The version is stored. The start is scored on the held-back data before the search and the new
    version after it, within the same budget: what the start's judging took is reserved for the
    new version. Begun again with ``reuse`` it pays for nothing twice and comes to the same version
    id. Cancelled, it leaves the best version so far in the store, as the ``result`` of its run.

    Args:
        optimizer: The optimizer, such as ``lf.mipro()``.
        program: The program.
        data: The examples in parts, ``lf.Data(train=..., select=..., held=...)``.
        metric: The metric or judge.
        *extra: Nothing; a version is given by keyword.
        version: The version to start from, or its name in the store; the defaults if ``None``.
        ref: The ref to move to the new version. It stays, and ``not_moved`` says why, if the start
            version is kept, if the held-back data says that the new version is worse, or if the
            judging failed.
        reuse: Whether recorded calls answer requests that are the same.
        prior: Recorded traces, such as ``store.run(ID)``; optimizers see those of the program
            on examples in ``data.train``.
        budget: The most that everything may spend, the judging included.
        spent: What counts as spent of the budget from the start.
        config: Settings to store on the run beside optimizer, data, metric and start.
        of: The run that this one begins again.
        judge_rows: The most held-back examples to judge on: all if ``None``, 0 judges nothing.
        fit: Whether an optimizer of which no size is given plans for what the budget leaves.
        progress: Shows the progress: ``lf.bar``, ``lf.silent`` or a function of a
            ``ProgressUpdate``; a bar on a terminal and in a notebook if ``None``.

    Returns:
        The version, with scores of both versions if data is held back.

    Raises:
        TypeError: ``optimizer`` is not an optimizer, there are several metrics, or a version is
            given by position.
        BadScore: The metric reads a field that no example or output has.
        BadData: A part of the data that the optimizer needs is empty, or an example lacks an input.
        BudgetTooSmall: The budget does not cover the judging.
        ModelUnavailable: A model or an extra that the optimizer or the judge needs is missing.
    """
    check_order("optimize", extra, data)
    check_optimizers(optimizer)
    check_one_metric(metric)
    warn_of_dspy([metric])
    if budget is not None:
        check_kind("a budget", budget, Budget, BUDGET_FIX)
    progress = chosen(progress)
    if ref:
        check_ref(ref)
    if fit:
        optimizer = fit_to_budget(optimizer, program, data, metric, budget, judge_rows)
    session = self._session.within(budget, spent)
    start = session.version(version) or init(program)
    traces = Traces(start, data)
    traces = attrs.evolve(traces, prior=prior_traces(program, data, prior))
    optimizer.check(program, traces)
    check_fields(named_metrics(metric), program, (*data.train, *data.select, *data.held))
    _look_up_models(self._session, optimizer, program, start, metric)
    task = OptimizationTask(optimizer, program, traces, metric)
    parts = data.train, data.select, data.held
    settings = task.config | (
        config or await begin_job(self._session, program, parts, metric, budget, ref, judge_rows)
    )
    run = open_run(session, "optimize", f"{optimizer.name} {program}", settings, of, reuse=reuse)
    return await run_optimization(run, task, progress, judge_rows=judge_rows, ref=ref)


def _look_up_models(
    session: Session,
    optimizer: PlanOptimizer,
    program: Program,
    start: Version,
    metric: Metric | Judge,
) -> None:
    """Raise ``ModelUnavailable`` now if a proposer, teacher or judge names a model that can't be
    used, not when the rollouts before its first call are paid. The same holds for tools of the
    program and the judge, which a recording of the executor answers, if it has one.
    """
    for helper, version in optimizer.helpers(program, start):
        session.model_places(helper)(version)
    if isinstance(metric, Judge):
        session.model_places(metric.program)(metric.under)
    if session.connections.answers is None:
        check_tools(program)
        if isinstance(metric, Judge):
            check_tools(metric.program)


# The ref moves last, and only if the comparison lets it: whoever serves a ref must never be given a
# version that is worse, or that nobody could judge although data was held back for it.
async def run_optimization(
    run: OpenRun,
    task: OptimizationTask,
    progress: Progress,
    *,
    judge_rows: int | None = None,
    ref: str = "",
) -> Optimization:
    """Open a run, judge the start, run the task, judge its version, and move the ref."""
    rows = judged_rows(task.traces.data.held, judge_rows)
    judging = Judging(run, task.program, task.start, rows, task.metric)
    judging.check()
    total = most_rollouts(task, len(rows)) or None
    async with run:
        await run.save(task.start)
        with tracked(run.session, progress, run.run.name, total) as tracker:
            tracker.begin_phase(JUDGING_START if len(rows) else "")
            await judging.judge_start(tracker.step)
            plan_run = PlanRun(run, task, tracker, judging)
            version = await plan_run.run()
            await run.save(version)
            tracker.begin_phase(JUDGING_NEW if len(rows) else tracker.now().phase)
            await judging.judge(version, tracker.step)
        closed_run = await run.close("stopped" if plan_run.stopped else "done", version.id)
    optimization = Optimization(
        version,
        task.start,
        task.optimizer,
        closed_run,
        tuple(plan_run.stages),
        plan_run.stopped,
        run.spent,
        judging.before,
        judging.after,
        judging.spent,
        judging.problem,
        _reason_to_skip(task.traces.data.held, rows),
        reason=plan_run.reason,
        front=front_of(plan_run.evidence, task.program, closed_run.traces, version),
    )
    if not ref:
        return optimization
    not_moved = optimization.reason_to_keep(ref)
    if not not_moved:
        await run.record(RefMoved(ref, version.id, version.note, time.time_ns()))
    return attrs.evolve(optimization, not_moved=not_moved)


def most_rollouts(task: OptimizationTask, judged_rows: int) -> int:
    """Return the most executions of an optimization, those that judge both versions included; 0 if
    nobody knows.
    """
    bound = task.optimizer.bound_for(task.program, task.traces.data, task.metric)
    executions = bound.rollouts + bound.proposals + bound.judgements
    executions = executions if bound.calls is None else min(executions, bound.calls)
    judges = 2 if isinstance(task.metric, Judge) else 1
    return executions and executions + 2 * judged_rows * judges


def _reason_to_skip(examples: Dataset, judged: Dataset) -> str:
    """Return why nothing is judged; empty if something is."""
    if len(judged):
        return ""
    if len(examples):
        return "not judged on the held-back data, as asked, so nothing says whether it is better"
    return "no data was held back, so nothing says whether it is better: lf.Data(..., held=rows)"


def prior_traces(program: Program, data: Data, traces: Iterable[Trace]) -> tuple[Trace, ...]:
    """Return the traces of the program on examples of the training data."""
    return tuple(trace for _, trace in traces_of_examples(program, data.train, traces))


class PlanRun:
    """Runs an optimizer's plan in an open run, and keeps what it has come to."""

    def __init__(
        self, run: OpenRun, task: OptimizationTask, tracker: Tracker, judging: Judging
    ) -> None:
        self._run, self._task, self._tracker = run, task, tracker
        self._session, self._reserved = judging.search_session(), judging.reserved
        self._answers: dict[str, Trace] = {}
        self._calls = 0
        self._best = task.start
        self.reason, self.evidence = "", Evidence()
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
        plan = task.optimizer.begin(task.program, task.traces, task.metric, self.evidence)
        try:
            state = advance_plan(plan)
            while isinstance(state, Need):
                self._best, self.reason = state.best, state.reason
                state = advance_plan(plan, await self._answer(state))
            return task.with_provenance(state)
        except BudgetExceeded as refusal:
            self.stopped = self._words(refusal)
            log_budget_stop(self._run.run, refusal)
            return task.with_provenance(self._best)
        except BaseException:
            self._run.save_unawaited(task.with_provenance(self._best))
            raise
        finally:
            plan.close()

    async def _answer(self, need: Need) -> tuple[Trace, ...]:
        """Run the rollouts of a need that are not known yet, and return the traces of all."""
        fresh = unanswered(need, self._answers)
        self._tracker.begin_phase(need.phase, best_of(need))
        rollouts = [
            executable(rollout, label)
            for rollout, label in zip(fresh.rollouts, fresh.labels, strict=True)
        ]
        traces: Sequence[Trace] = ()
        try:
            traces = await self._run.add(rollouts, self._tracker.step, session=self._session)
        finally:
            self._calls += sum(count_model_calls(trace, sent_only=True) for trace in traces)
            self._add_stage(need, len(traces))
        for rollout, trace in zip(fresh.rollouts, traces, strict=True):
            self._answers[rollout.key] = trace
        return tuple(self._answers[rollout.key] for rollout in need.rollouts)

    def _words(self, refusal: BudgetExceeded) -> str:
        if self._reserved == NOTHING or refusal.budget != self._session.account.ledger.budget:
            return str(refusal)
        return f"{refusal} {self._reserved} more are reserved for judging the new version."

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
