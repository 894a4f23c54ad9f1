"""Optimization live: a plan's needs are run as they come, until there is a version or the budget
ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import BudgetExceeded, NotRecorded, short
from lmflow.evaluation.comparison import Comparison, compare
from lmflow.evaluation.evaluation import Evaluation
from lmflow.evaluation.judges import Judge, scorer_key
from lmflow.execution.budget import NOTHING, Spent
from lmflow.execution.open_run import OpenRun
from lmflow.execution.rollout import Rollout
from lmflow.messages.requests import ToolRequest
from lmflow.metrics import Metric
from lmflow.optimizers.parts.needs import Need, PlannedRollout, unanswered
from lmflow.optimizers.parts.plan import (
    PlanOptimizer,
    Traces,
    advance_plan,
    checked_version,
    drive_plan,
)
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program, apply
from lmflow.replays.exact import replay
from lmflow.traces.trace import Run, Trace
from lmflow.values.printing import printable
from lmflow.values.record import Record
from lmflow.versions.version import Version

Tell = Callable[[Need, int], None]
"""Is told what is needed next, and how many of its rollouts weren't run before."""


def ignore(need: Need, fresh: int) -> None:
    """Tell nobody."""
    del need, fresh


@attrs.frozen
class Stage:
    """One need of an optimization: what went on, how many rollouts it asked for and how many were
    run, the calls that were sent by its end, and the best mean score before it.
    """

    phase: str
    label: str
    asked: int
    ran: int
    calls: int
    score: float | None


@attrs.frozen(eq=False, repr=False)
class Optimization:
    """An optimization that came to its end, or was ended by its budget (``stopped``): then
    ``version`` is the best so far.

    ``before`` and ``after`` score the start version and the version on the held-back data, where
    there is some. Printed it says what it came to, how sure that is, and what it took.
    """

    version: Version
    start: Version
    optimizer: PlanOptimizer
    run: Run
    stages: tuple[Stage, ...]
    stopped: str = ""
    spent: Spent = NOTHING
    before: Evaluation | None = None
    after: Evaluation | None = None

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """The learning curve: after how many calls which score was the best. A stage's score is
        what was known before it ran.
        """
        begun = (0, *(stage.calls for stage in self.stages))
        return tuple(
            (at, it.score)
            for at, it in zip(begun, self.stages, strict=False)
            if it.score is not None
        )

    @property
    def comparison(self) -> Comparison | None:
        """After against before on the held-back data; ``None`` where there is none, or the start
        version was kept.
        """
        if self.before is None or self.after is None or self.start.id == self.version.id:
            return None
        return compare(self.before, self.after)

    @property
    def outcome(self) -> str:
        """Which version it came to, and what that says of itself."""
        if self.start.id == self.version.id:
            return "the start version is kept"
        return f"version {short(self.version.id)}: {printable(self.version.note, 100)}"

    def __str__(self) -> str:
        return "\n".join(self._words())

    def __repr__(self) -> str:
        return f"<Optimization {self._headline()}>"

    def _headline(self) -> str:
        return printable(f"{self.run.name}: {self.outcome}", 400)

    def _words(self) -> Iterator[str]:
        yield self._headline()
        if self.stopped:
            yield printable(f"stopped early: {self.stopped}", 400)
        if self.before is None:
            yield "no data was held back, so nothing says whether it is better: lf.Data(..., held=rows)"
        else:
            yield printable(f"before {self.before.headline}", 400)
        if self.after is not None and (found := self.comparison):
            yield printable(f"after {self.after.headline}", 400)
            yield found.verdict
        yield f"spent {self.spent}"


async def run_plan(  # noqa: PLR0913, PLR0917 - what an optimization is of
    grown: OpenRun,
    optimizer: PlanOptimizer,
    program: Program,
    traces: Traces,
    metric: Metric | Judge,
    tell: Tell,
) -> tuple[Version, tuple[Stage, ...], str]:
    """The version that an optimizer comes to, its stages, and why it was stopped where a budget
    did.

    Whatever else stops it, a cancellation or an error, leaves the run with the best version so far.
    """
    plan = optimizer.begin(program, traces, metric)
    answers: dict[str, Trace] = {}
    stages: list[Stage] = []
    best, calls = traces.version, 0
    try:
        state = advance_plan(plan)
        while isinstance(state, Need):
            need, best = state, state.best
            fresh = unanswered(need, answers)
            tell(need, len(fresh.rollouts))
            todo = [
                executable(rollout, label)
                for rollout, label in zip(fresh.rollouts, fresh.labels, strict=True)
            ]
            stages.append(Stage(need.phase, _label(need), len(need.rollouts), 0, calls, need.score))
            made = await grown.add(todo)
            answers |= {
                rollout.key: trace for rollout, trace in zip(fresh.rollouts, made, strict=True)
            }
            calls += sum(map(sent, made))
            stages[-1] = attrs.evolve(stages[-1], ran=len(made), calls=calls)
            state = advance_plan(plan, tuple(answers[rollout.key] for rollout in need.rollouts))
        return with_provenance(optimizer, program, traces, metric, state), tuple(stages), ""
    except BudgetExceeded as refusal:
        version = with_provenance(optimizer, program, traces, metric, best)
        return version, tuple(stages), str(refusal)
    except BaseException:
        grown.leave(with_provenance(optimizer, program, traces, metric, best))
        raise
    finally:
        plan.close()


def replayed(
    run: Run, optimizer: PlanOptimizer, program: Program, traces: Traces, metric: Metric | Judge
) -> Version:
    """The version that a recorded optimization comes to, offline: every execution is replayed
    exactly.

    ``ReplayDiverged`` where one differs, ``NotRecorded`` where something is asked that a finished
    run doesn't hold; one that was stopped ends where it was.
    """
    known = _Known(run)
    unmet: list[Trace | None] = []

    def recorded(need: Need) -> tuple[Trace, ...] | None:
        unmet[:] = [known.trace(rollout) for rollout in need.rollouts]
        present = tuple(trace for trace in unmet if trace is not None)
        return present if len(present) == len(unmet) else None

    state = drive_plan(optimizer.begin(program, traces, metric), recorded)
    version = _cut(run, state, unmet) if isinstance(state, Need) else state
    return with_provenance(optimizer, program, traces, metric, version)


def with_provenance(
    optimizer: PlanOptimizer,
    program: Program,
    traces: Traces,
    metric: Metric | Judge,
    version: Version,
) -> Version:
    """The version with what it came from beside its paths' origins: optimizer, data, metric,
    program. The start version stays as it is. ``ForeignPaths`` where the program doesn't fit it.
    """
    if checked_version(program, version).id == traces.version.id:
        return version
    provenance = {
        "optimizer": {"name": optimizer.name, "options": optimizer.options},
        "data": traces.data.digest,
        "metric": scorer_key(metric),
        "program": program.key,
    }
    return attrs.evolve(
        version, note=f"{optimizer.name}: {version.note}", origin=version.origin | provenance
    )


def optimization_config(optimizer: PlanOptimizer, traces: Traces, metric: Metric | Judge) -> Record:
    """What an optimization is of, as its run keeps it."""
    prior = {"prior": [trace.id for trace in traces.prior]} if traces.prior else {}
    return Record(
        {
            "optimizer": {"name": optimizer.name, "options": optimizer.options},
            "data": {
                part: getattr(traces.data, part).digest for part in ("train", "select", "held")
            },
            "metric": scorer_key(metric),
            "version": traces.version.id,
            **prior,
        }
    )


def executable(it: PlannedRollout, label: str) -> Rollout:
    """A rollout as an executor takes it."""
    pending = apply(it.program, it.example)
    return Rollout(pending.sampled(it.sample) if it.sample else pending, it.version, label)


def _label(need: Need) -> str:
    return need.labels[0] if need.labels else ""


class _Known:
    """The traces of a run by what was executed, each replayed once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._found: dict[str, dict[tuple[str, str, int], Trace]] = {}
        self._replayed: dict[str, Trace] = {}

    def trace(self, it: PlannedRollout) -> Trace | None:
        """The trace of a rollout, replayed exactly; ``None`` where there is none that ended."""
        if it.key not in self._replayed:
            inputs = apply(it.program, it.example).inputs
            found = self._of(it.program).get(_what(it.program, it.version, inputs, it.sample))
            if found is None:
                return None
            self._replayed[it.key] = replay(found, it.program)
        return self._replayed[it.key]

    def _of(self, program: Program) -> Mapping[tuple[str, str, int], Trace]:
        if program.key not in self._found:
            own = [
                trace for trace in self._run.traces if trace.program == program.key and trace.done
            ]
            self._found[program.key] = {
                _what(program, trace.version, trace.inputs, trace.sample): trace for trace in own
            }
        return self._found[program.key]


def _what(program: Program, version: Version, inputs: Any, sample: int) -> tuple[str, str, int]:
    return complete_params(program, version).digest, inputs.digest, sample


def _cut(run: Run, need: Need, found: list[Trace | None]) -> Version:
    if run.status != "done":
        return need.best
    label = next(label for label, trace in zip(need.labels, found, strict=True) if trace is None)
    raise NotRecorded(f"run {run.id}", label, tuple(name for name, _ in run.items))


def sent(trace: Trace) -> int:
    """How many of an execution's model calls were sent, not reused; retries count."""
    return sum(
        not call.source and not isinstance(call.request, ToolRequest) for call in trace.calls
    )
