"""Replays a recorded optimization offline, to the version that it comes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.errors import NotRecorded
from lmflow.evaluation.judges import Judge
from lmflow.execution.jobs.plan_run import OptimizationTask
from lmflow.metrics import Metric
from lmflow.optimizers.parts.needs import Need, PlannedRollout
from lmflow.optimizers.parts.plan import PlanOptimizer, Traces, drive_plan
from lmflow.optimizers.plans.acts import acts_by_need
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program, pending_of
from lmflow.replays.exact import replay
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version


def replay_optimization(  # noqa: PLR0913 - the inputs of an optimization
    run: Run,
    optimizer: PlanOptimizer,
    program: Program,
    traces: Traces,
    metric: Metric | Judge,
    *,
    adapters: Iterable[Adapter] = (),
) -> Version:
    """Return the version that a recorded optimization comes to: every execution is replayed
    exactly, nothing is sent. The plan takes what people did to the search at the same needs.

    A run that was stopped ends where it was stopped. Raises ``ReplayDiverged`` if an execution
    differs, and ``NotRecorded`` if the plan needs something that a finished run does not hold.
    ``adapters`` are those of one's own that the executor chose by model.
    """
    task = OptimizationTask(optimizer, program, traces, metric)
    recorded = _RecordedExecutions(run, tuple(adapters))
    plan = optimizer.begin(program, traces, metric)
    state = drive_plan(plan, recorded.traces_of, acts_by_need(run.items))
    if isinstance(state, Need):
        if run.status == "done":
            raise recorded.missing(state)
        state = state.best
    return task.with_provenance(state)


class _RecordedExecutions:
    """The traces of a run by what was executed, each replayed once."""

    def __init__(self, run: Run, adapters: tuple[Adapter, ...]) -> None:
        self._run, self._adapters = run, adapters
        self._trace_by_execution: dict[str, dict[tuple[str, str, int], Trace]] = {}
        self._replayed: dict[str, Trace] = {}

    def traces_of(self, need: Need) -> tuple[Trace, ...] | None:
        """Replay the traces of a need; ``None`` if the run lacks one."""
        traces = [self._trace(rollout) for rollout in need.rollouts]
        finished = tuple(trace for trace in traces if trace is not None)
        return finished if len(finished) == len(traces) else None

    def missing(self, need: Need) -> NotRecorded:
        """Return the error that names the first rollout of a need that the run lacks."""
        label = next(
            label
            for rollout, label in zip(need.rollouts, need.labels, strict=True)
            if self._trace(rollout) is None
        )
        labels = tuple(recorded_label for recorded_label, _ in self._run.items)
        return NotRecorded(f"run {self._run.id}", label, labels)

    def _trace(self, rollout: PlannedRollout) -> Trace | None:
        if rollout.key not in self._replayed:
            inputs = pending_of(rollout.program, rollout.example).inputs
            execution = _execution_key(rollout.program, rollout.version, inputs, rollout.sample)
            recorded = self._executions_of(rollout.program).get(execution)
            if recorded is None:
                return None
            self._replayed[rollout.key] = replay(recorded, rollout.program, adapters=self._adapters)
        return self._replayed[rollout.key]

    def _executions_of(self, program: Program) -> Mapping[tuple[str, str, int], Trace]:
        if program.key not in self._trace_by_execution:
            finished = [
                trace for trace in self._run.traces if trace.program == program.key and trace.done
            ]
            self._trace_by_execution[program.key] = {
                _execution_key(program, trace.version, trace.inputs, trace.sample): trace
                for trace in finished
            }
        return self._trace_by_execution[program.key]


def _execution_key(
    program: Program, version: Version, inputs: Any, sample: int
) -> tuple[str, str, int]:
    return complete_params(program, version).digest, inputs.digest, sample
