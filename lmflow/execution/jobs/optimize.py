"""Optimizes live: runs the rollouts that a plan needs, until it returns a version or the budget
ends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Never

import attrs

from lmflow.data.dataset import Data, Dataset
from lmflow.errors import check_kind
from lmflow.errors.options import JOB_OPTIONS, explains_options
from lmflow.evaluation.fields import check_fields
from lmflow.evaluation.judges import Judge
from lmflow.evaluation.metric_kinds import warn_of_dspy
from lmflow.evaluation.several import check_one_metric, named_metrics
from lmflow.execution.budget import NOTHING, Budget, Spent
from lmflow.execution.call_order import check_order
from lmflow.execution.costs import check_prices
from lmflow.execution.jobs.fitting import fit_to_budget
from lmflow.execution.jobs.front import front_of
from lmflow.execution.jobs.judging import Judging, judged_rows
from lmflow.execution.jobs.optimization import Optimization
from lmflow.execution.jobs.plan_run import OptimizationTask, PlanRun
from lmflow.execution.jobs.run_config import begin_job
from lmflow.execution.open_run import OpenRun, open_run
from lmflow.execution.progress import tracked
from lmflow.execution.session import BUDGET_FIX, EMPTY, HasSession, Session
from lmflow.metrics import Metric
from lmflow.optimizers.parts.needs import traces_of_examples
from lmflow.optimizers.parts.plan import (
    PlanOptimizer,
    Traces,
    check_optimizers,
)
from lmflow.programs.parameters import init
from lmflow.programs.program import Program
from lmflow.programs.tool import check_tools
from lmflow.progress.display import Progress, chosen
from lmflow.traces.events import RefMoved
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version, check_ref

JUDGING_START = "judging the start"
JUDGING_NEW = "judging the new version"


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
    _look_up_models(self._session, session, optimizer, program, start, metric)
    task = OptimizationTask(optimizer, program, traces, metric)
    parts = data.train, data.select, data.held
    settings = task.config | (
        config or await begin_job(self._session, program, parts, metric, budget, ref, judge_rows)
    )
    run = open_run(session, "optimize", f"{optimizer.name} {program}", settings, of, reuse=reuse)
    return await run_optimization(run, task, progress, judge_rows=judge_rows, ref=ref)


def _look_up_models(  # noqa: PLR0913, PLR0917 - the parts of an optimization
    session: Session,
    budgeted: Session,
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
        if session.connections.answers is None:
            check_tools(helper)
            check_prices(helper, priced=budgeted.account.priced)
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
