"""Optimizes live: runs the rollouts that a plan needs, until it returns a version or the budget
ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from lmflow.errors import BudgetExceeded
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.execution.open_run import OpenRun
from lmflow.execution.optimization import Stage
from lmflow.execution.rollout import Rollout
from lmflow.messages.requests import ToolRequest
from lmflow.metrics import Metric
from lmflow.optimizers.parts.plan import (
    Need,
    PlannedRollout,
    PlanOptimizer,
    Traces,
    advance_plan,
    checked_version,
    unanswered,
)
from lmflow.programs.program import Program, apply
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version

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


class PlanRun:
    """Runs an optimizer's plan in an open run, and keeps what it has come to."""

    def __init__(self, open_run: OpenRun, task: OptimizationTask, on_need: OnNeed) -> None:
        self._open_run, self._task, self._on_need = open_run, task, on_need
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
            self._open_run.save_unawaited(task.with_provenance(self._best))
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
            traces = await self._open_run.add(rollouts)
        finally:
            self._calls += sum(map(count_sent_calls, traces))
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
    pending = apply(planned.program, planned.example)
    if planned.sample:
        pending = pending.sampled(planned.sample)
    return Rollout(pending, planned.version, label)


def count_sent_calls(trace: Trace) -> int:
    """Count the model calls of a trace that were sent, not reused; retries count."""
    return sum(
        1 for call in trace.calls if not call.source and not isinstance(call.request, ToolRequest)
    )
