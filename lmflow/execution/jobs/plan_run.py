"""A plan in an open run: what it needs is run until it returns a version or the budget ends it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from lmflow.errors import BudgetExceeded
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.execution.budget import NOTHING
from lmflow.execution.jobs.judging import Judging
from lmflow.execution.jobs.optimization import Stage
from lmflow.execution.jobs.steering import ActReader
from lmflow.execution.logs import log_budget_stop
from lmflow.execution.open_run import OpenRun
from lmflow.execution.progress import best_of
from lmflow.execution.rollout import Rollout
from lmflow.metrics import Metric
from lmflow.optimizers.parts.checks import checked_version
from lmflow.optimizers.parts.evidence import Evidence
from lmflow.optimizers.parts.needs import Need, PlannedRollout, unanswered
from lmflow.optimizers.parts.plan import (
    PlanOptimizer,
    Traces,
    advance_plan,
)
from lmflow.optimizers.plans.steered import SteeredPlan, steer_plan
from lmflow.programs.program import Program, pending_of
from lmflow.progress.tracker import Tracker
from lmflow.traces.counts import count_model_calls
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


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


class PlanRun:
    """Runs an optimizer's plan in an open run, and keeps what it has come to."""

    def __init__(
        self, run: OpenRun, task: OptimizationTask, tracker: Tracker, judging: Judging
    ) -> None:
        self._run, self._task, self._tracker = run, task, tracker
        self._session, self._reserved = judging.search_session(), judging.reserved
        self._acts = ActReader(run, task.program, task.start, tracker)
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
            await self._acts.begin()
            state, number = advance_plan(plan), 0
            while isinstance(state, Need):
                self._note(state)
                state = await self._steered(plan, state, number)
                if isinstance(state, Need):
                    state = advance_plan(plan, await self._answer(state))
                number += 1
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

    async def _steered(self, plan: SteeredPlan, need: Need, number: int) -> Need | Version:
        """Hand the plan what people did meanwhile; return its need as it is then, or its answer if
        they stopped it.
        """
        acts = await self._acts.acts_at(number, lambda: self._is_new(need))
        if not acts:
            return need
        state = steer_plan(plan, acts)
        if isinstance(state, Need):
            self._note(state)
        else:
            self.stopped = next(str(act) for act in acts if act.kind == "stop")
        return state

    def _is_new(self, need: Need) -> bool:
        """Tell whether a need has executions that no run has recorded to their end."""
        fresh = unanswered(need, self._answers)
        pairs = zip(fresh.rollouts, fresh.labels, strict=True)
        return not self._run.are_ended([executable(*pair) for pair in pairs])

    def _note(self, need: Need) -> None:
        self._best, self.reason = need.best, need.reason

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
