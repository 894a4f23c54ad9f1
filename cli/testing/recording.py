"""The recording of a test: what it asks of models and tools is recorded once and answered from the
record afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Never

import attrs

from lmflow.cli.testing.executions import (
    Execution,
    diverge_to,
    divergence_of,
    matches,
    nearest_to,
    nearness,
)
from lmflow.cli.testing.recorded_model import RecordedModel
from lmflow.cli.testing.recorded_runs import fully_answered, recorded_run, replayable
from lmflow.errors import Unrecorded
from lmflow.execution.executor import Executor
from lmflow.execution.rollout import Rollout
from lmflow.execution.sync.run import wait_for
from lmflow.models.base import Model
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.replays.differences import Divergence
from lmflow.replays.reuse import exact_answers
from lmflow.replays.simulate import ReplayCase
from lmflow.stores.memory import MemoryStore
from lmflow.stores.sqlite.recording import load, save
from lmflow.traces.events import Event, RunOpened
from lmflow.traces.store import ExecutionQuery, Recorder
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version
from lmflow.views.lines import counted


class Recording:
    """The recording of one test, in a file of its own.

    In mode ``none`` nothing is sent; in ``once`` everything is sent if there is no file, else
    nothing; in ``new`` what the file does not answer is sent; in ``all`` everything is sent, and
    the file is written anew. A call that is neither recorded nor sent raises ``ReplayDiverged``, or
    ``Unrecorded`` if no execution of that program with these inputs was recorded.

    Args:
        path: The file of the recording.
        test: The test's id.
        mode: ``none``, ``once``, ``new`` or ``all``.

    Raises:
        StoreError: If the file can't be read as a recording.
    """

    def __init__(self, path: Path, test: str, mode: str) -> None:
        self.path, self.test, self.mode = path, test, mode
        run = None if mode == "all" else load(path)
        self.traces: Sequence[Trace] = run.traces if run else ()
        self.replays = mode == "none" or (mode == "once" and run is not None)
        self.executions: list[Execution] = []
        self.outcome = ""
        self._store = MemoryStore()
        self._runs: list[str] = []

    def executor(
        self, model: str | Model | None = None, *, store: Recorder | None = None, **options: Any
    ) -> Executor:
        """Return an executor whose calls the recording answers or records.

        If the recording answers a call, no model is made, so no key is needed.

        Args:
            model: The model, as ``lf.Executor`` takes it.
            store: Where names of versions are looked up; nothing is recorded there.
            options: Further options of ``lf.Executor``.

        Returns:
            The executor, to be entered with ``async with``.
        """
        return Executor(model, _Tape(self, store), answers=_Answers(self, model), **options)

    def run(
        self,
        program: Program | Pending,
        /,
        *extra: Never,
        version: Version | str | None = None,
        model: str | Model | None = None,
        store: Recorder | None = None,
        **inputs: Any,
    ) -> Trace:
        """Run a program once, without ``await``, as ``lf.run`` does.

        Args:
            program: The program, or a call of it.
            version: The version or its name; by default the program's own parameters.
            model: The model, as ``lf.Executor`` takes it.
            store: Where names of versions are looked up.
            inputs: The inputs of the program.

        Returns:
            The trace of the execution.

        Raises:
            Unrecorded: If nothing may be sent and no execution with these inputs was recorded.
            ReplayDiverged: If nothing may be sent and the recorded execution lacks a call.
        """

        async def go() -> Trace:
            async with self.executor(model, store=store) as ex:
                return await ex.run(program, *extra, version=version, **inputs)

        return wait_for(go)

    def answered(self, rollout: Rollout) -> Rollout:
        """Give a rollout the recorded execution that answers it.

        Args:
            rollout: An execution that the test starts.

        Returns:
            The rollout with the answers of the first unused recorded execution of the same program
            and inputs, or unchanged if there is none.

        Raises:
            Unrecorded: If there is none and nothing may be sent.
        """
        recorded = self._recorded_execution(rollout)
        others = [] if recorded else self.traces
        self.executions.append(Execution(rollout, recorded, nearest_to(rollout, others)))
        if recorded is None:
            if self.replays:
                raise self._unrecorded(rollout)
            return rollout
        if self.replays:
            return attrs.evolve(rollout, reuse=exact_answers(recorded))
        case = ReplayCase(recorded, rollout.program, rollout.version)
        return attrs.evolve(rollout, reuse=case.all_answers)

    def append(self, *events: Event) -> Future[None]:
        """Record events until the test is over.

        Args:
            events: The events, in order.

        Returns:
            A future that is done once the events are recorded.
        """
        self._runs += [event.run.id for event in events if isinstance(event, RunOpened)]
        return self._store.append(*events)

    def version(self, name: str) -> Version:
        """Return a version that an execution of the test ran.

        Args:
            name: Its id or the beginning of the id.

        Returns:
            The version.

        Raises:
            UnknownVersion: If no execution ran it.
        """
        return self._store.version(name)

    def first(self, name: str) -> Version:
        """Return the root ancestor of a version, among those that executions of the test ran.

        Args:
            name: The version's id or the beginning of the id.

        Returns:
            The ancestor.

        Raises:
            UnknownVersion: If no execution ran the version.
        """
        return self._store.first(name)

    def recorded(self, wishes: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return earlier executions of the test itself that match wishes.

        Args:
            wishes: The executions looked for.

        Returns:
            For each wish a trace, or ``None``.
        """
        return self._store.recorded(wishes)

    def finish(self, *, failed: bool) -> None:
        """Write the recording, once the test is over.

        The recording of a failed test is written only if every call was answered: then the test
        fails the same way from the record.

        Args:
            failed: Whether the test failed.

        Raises:
            ReplayDiverged: If an execution can't be replayed; nothing is written.
        """
        if self.replays or not self._runs:
            return
        traces = [trace for run in self._runs for trace in self._store.run(run)]
        if failed and not all(map(fully_answered, traces)):
            self.outcome = "not kept: the test failed, and not every call was answered"
            return
        run = self._merged([trace for trace in traces if trace.done])
        if run == recorded_run(self.test, self.traces):
            self.outcome = "unchanged"
            return
        save(self.path, run)
        calls = sum(len(trace.calls) for trace in run)
        self.outcome = f"recorded {counted(len(run), 'execution')}, {counted(calls, 'call')}"

    def report(self) -> str:
        """Describe the recording and where the test's executions diverge from it.

        Returns:
            The file, the mode and the outcome, and a tree per execution that differs.
        """
        outcome = self.outcome or counted(len(self.traces), "execution") + " recorded"
        trees = [str(divergence) for divergence in self.divergences() if not divergence.same]
        used = self._used()
        same = len(used) - len(trees)
        head = f"{self.path}, mode {self.mode}: {outcome}"
        asks = "1 execution asks" if same == 1 else f"{same} executions ask"
        return "\n".join([head, *([f"{asks} what was recorded"] if used else []), *trees])

    def divergences(self) -> list[Divergence]:
        """Compare the test's executions with the recorded ones.

        Returns:
            How each execution differs that can be compared; also one that was not recorded, from
            the recorded one that is nearest.
        """
        compared = (divergence_of(execution) for execution in self.executions)
        return [divergence for divergence in compared if divergence is not None]

    def place(self, name: str, model: str) -> Any:
        """Return the recorded place of a model's name.

        Args:
            name: The name in the program; empty for the default model.
            model: The name of the model that the test gives; preferred if several were recorded.

        Returns:
            The place as traces record it, ``None`` if the name was not recorded.
        """
        worlds = [trace.world["models"] for trace in self.traces]
        places = [world[name] for world in worlds if name in world]
        first = places[0] if places else None
        return next((place for place in places if place["model"] == model), first)

    def _used(self) -> list[str]:
        recorded = (execution.recorded for execution in self.executions)
        return [past.id for past in recorded if past is not None]

    def _recorded_execution(self, rollout: Rollout) -> Trace | None:
        used = set(self._used())
        matching = [t for t in self.traces if t.id not in used and matches(t, rollout)]
        return max(matching, key=lambda trace: nearness(trace, rollout), default=None)

    def _unrecorded(self, rollout: Rollout) -> Unrecorded:
        name, path = str(rollout.program), str(self.path)
        same_program = [trace for trace in self.traces if trace.name == name]
        if not self.traces:
            return Unrecorded(path, name, "nothing is recorded there")
        if not same_program:
            names = ", ".join(dict.fromkeys(trace.name for trace in self.traces))
            return Unrecorded(path, name, f"it holds {names}")
        times = sum(1 for trace in same_program if matches(trace, rollout))
        if times:
            problem = f"with these inputs it was executed {times} times, not more"
            return Unrecorded(path, name, problem)
        nearest = nearest_to(rollout, same_program)
        divergence = "" if nearest is None else str(diverge_to(rollout, nearest))
        return Unrecorded(path, name, "it wasn't executed with these inputs", divergence)

    def _merged(self, traces: Sequence[Trace]) -> Run:
        """Return the run to write: the test's executions, then the unused recorded ones."""
        by_id = {trace.id: trace for trace in self.traces}
        rollouts = [execution.rollout for execution in self.executions]
        programs = {rollout.program.key: rollout.program for rollout in rollouts}
        executed = [replayable(trace, programs[trace.program], by_id) for trace in traces]
        used = set(self._used())
        unused = [trace for trace in self.traces if trace.id not in used]
        return recorded_run(self.test, [*executed, *unused])


@attrs.frozen(eq=False)
class _Tape:
    """The recorder of an executor: events go to the recording, names of versions to the store."""

    recording: Recording
    store: Recorder | None

    def append(self, *events: Event) -> Future[None]:
        return self.recording.append(*events)

    def version(self, name: str) -> Version:
        return (self.store or self.recording).version(name)

    def recorded(self, wishes: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        return self.recording.recorded(wishes)

    def first(self, name: str) -> Version:
        return (self.store or self.recording).first(name)


@attrs.frozen(eq=False)
class _Answers:
    """Answers an executor's rollouts and models from a recording."""

    recording: Recording
    default: str | Model | None

    def rollout(self, rollout: Rollout) -> Rollout:
        return self.recording.answered(rollout)

    def model(self, name: str, make: Callable[[], Model]) -> Model:
        default = self.default
        if default is not None and not isinstance(default, str):
            default = default.name
        place = self.recording.place(name, name or default or "")
        path = str(self.recording.path)
        if place is not None:
            among = [RecordedModel(m, at, "", make) for m, at in place.get("among", ())]
            return RecordedModel(place["model"], place["endpoint"], path, make, tuple(among))
        if self.recording.replays:
            return RecordedModel(name or default or "none", "unrecorded", path, make)
        return make()
