"""Finds recorded executions that a run can refer to instead of recording them anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import attrs

from lmflow.execution.logs import log_reuse
from lmflow.execution.prepared_rollout import PreparedRollout
from lmflow.execution.rollout import Rollout
from lmflow.execution.session import Session
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.replays.reuse import NO_ANSWERS, Reuse
from lmflow.replays.simulate import ReplayCase
from lmflow.replays.throughout import is_same_throughout
from lmflow.traces.reused import as_reused
from lmflow.traces.store import ExecutionQuery, Recorder
from lmflow.traces.trace import Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class Candidate:
    """A rollout with the recorded execution of the same program, parameters, inputs and sample, and
    the calls of it that may be used; ``trace`` is ``None`` if there is none.
    """

    rollout: Rollout
    trace: Trace | None = None
    reuse: Reuse = NO_ANSWERS

    @property
    def reusing(self) -> Rollout:
        """The rollout, answered by the recorded calls where its requests are the same."""
        if self.trace is None:
            return self.rollout
        return attrs.evolve(self.rollout, reuse=self.reuse)


class Recordings:
    """The recorded executions of a store, as the rollouts of one run may use them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._places: dict[Program, Callable[[Version], Record]] = {}
        self._may_refer = session.connections.redactor is None
        self._same_worlds: tuple[object, object] = None, None

    # A store that another process writes for long keeps its readers waiting, but not the loop.
    async def candidates(self, rollouts: Sequence[Rollout]) -> list[Candidate]:
        """Return the rollouts with what the store has of each."""
        traces = await asyncio.to_thread(matching_traces, self._session.recorder, rollouts)
        return [
            self._candidate(rollout, trace) for rollout, trace in zip(rollouts, traces, strict=True)
        ]

    def reference(self, candidate: Candidate, prepared: PreparedRollout) -> Trace | None:
        """Return the recorded execution as one to refer to, if the program does just the same now,
        answered by its calls alone; ``None`` if something would be sent, or come out otherwise.
        """
        rollout, trace = candidate.rollout, candidate.trace
        if trace is None or not self._may_refer or not trace.done:
            return None
        if trace.version.id != rollout.version.id or not self._is_world(
            trace.world, prepared.world
        ):
            return None
        env, sample = prepared.env, rollout.pending.sample or 0
        pending = Pending(prepared.program, rollout.pending.inputs)
        env = attrs.evolve(env, sample=sample) if sample else env
        if not is_same_throughout(trace, pending, env, candidate.reuse):
            return None
        for call in trace.answers.values():
            log_reuse(trace.id, call, trace.id)
        return as_reused(trace, prepared.program)

    # The executions of a run share their world, and a reader returns one object for all of them.
    def _is_world(self, recorded: Mapping[str, object], now: Record) -> bool:
        if self._same_worlds[0] is not recorded or self._same_worlds[1] is not now:
            if not _is_world(recorded, now):
                return False
            self._same_worlds = recorded, now
        return True

    # A redacted trace holds hashes in place of requests, so nothing in it can answer a request.
    def _candidate(self, rollout: Rollout, trace: Trace | None) -> Candidate:
        if trace is None or trace.world.get("redacted"):
            return Candidate(rollout)
        program = rollout.program
        if program not in self._places:
            self._places[program] = self._session.model_places(program)
        places = self._places[program](rollout.version)
        case = ReplayCase(trace, program, rollout.version, places)
        return Candidate(rollout, trace, case.cached_answers)


def matching_traces(store: Recorder, rollouts: Sequence[Rollout]) -> Sequence[Trace | None]:
    """Return the newest recorded execution of each rollout, ``None`` if there is none."""
    queries = [
        ExecutionQuery(
            rollout.program.key,
            rollout.version.tree,
            rollout.pending.inputs,
            rollout.pending.sample or 0,
        )
        for rollout in rollouts
    ]
    return store.recorded(queries)


# The world of a trace may name more models: those that parts of the program named themselves.
def _is_world(recorded: Mapping[str, object], now: Record) -> bool:
    """Tell whether an execution was recorded in the world that it would have now."""
    if recorded.keys() != now.keys():
        return False
    models = recorded["models"]
    assert isinstance(models, Mapping)  # noqa: S101 - as each world has it
    same = all(recorded[name] == now[name] for name in now if name != "models")
    return same and all(models.get(name) == place for name, place in now["models"].items())
