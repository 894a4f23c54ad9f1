"""What a test asks of models and tools: recorded once, answered from the record afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs

from lmflow.errors import LmflowError, ModelUnavailable, Unrecorded
from lmflow.execution.executor import Executor
from lmflow.execution.rollout import Rollout
from lmflow.execution.sync import finished
from lmflow.messages.replies import Failure, ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Model, Send
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program
from lmflow.replays.divergence import diverge
from lmflow.replays.exact import replay
from lmflow.replays.reuse import exact_answers
from lmflow.replays.simulate import ReplayCase, simulate
from lmflow.stores.memory import MemoryStore
from lmflow.stores.sqlite.recording import load, save
from lmflow.traces.events import Event, RunOpened
from lmflow.traces.store import Recorder, Wish
from lmflow.traces.trace import CallAttempt, Run, Trace
from lmflow.versions.version import Version


@attrs.frozen(eq=False)
class Execution:
    """One that the test made, and the recorded one that answers it, as far as there is one."""

    rollout: Rollout
    recorded: Trace | None


class Recording:
    """The recording of one test, in a file of its own.

    In mode ``none`` nothing is sent; in ``once`` everything where there is no file, else nothing;
    in ``new`` what the file doesn't answer; in ``all`` everything, and the file is written anew.
    What is neither recorded nor sent is ``ReplayDiverged``, or ``Unrecorded`` where no execution of
    that program with these inputs was.
    """

    def __init__(self, path: Path, test: str, mode: str) -> None:
        self.path, self.test, self.mode = path, test, mode
        held = None if mode == "all" else load(path)
        self.held: tuple[Trace, ...] = held.traces if held else ()
        self.replays = mode == "none" or (mode == "once" and held is not None)
        self.made: list[Execution] = []
        self.outcome = ""
        self._kept = MemoryStore()
        self._runs: list[str] = []
        self._programs: dict[str, Program] = {}

    def executor(
        self, model: str | Model | None = None, *, store: Recorder | None = None, **options: Any
    ) -> Executor:
        """An executor, ``lf.Executor(model, ...)``, whose calls are answered by the recording or
        recorded in it.

        Where they are answered, no model is made: it needs no key. ``store`` is where names of
        versions are looked up; nothing is recorded there.
        """
        return Executor(model, _Tape(self, store), answers=_Answers(self, model), **options)

    def run(
        self,
        program: Program | Pending,
        version: Version | str | None = None,
        /,
        *,
        model: str | Model | None = None,
        store: Recorder | None = None,
        **inputs: Any,
    ) -> Trace:
        """The trace of one execution, without ``await``, as ``lf.run`` gives it."""

        async def go() -> Trace:
            async with self.executor(model, store=store) as ex:
                return await ex.run(program, version, **inputs)

        return finished(go)

    def answered(self, rollout: Rollout) -> Rollout:
        """The rollout with the recorded execution that answers it: the first unused one of the same
        program and inputs. ``Unrecorded`` where there is none and nothing may be sent.
        """
        found = self._found(rollout)
        self.made.append(Execution(rollout, found))
        if found is not None:
            case = ReplayCase(found, rollout.program, rollout.version)
            return attrs.evolve(rollout, reuse=exact_answers(found) if self.replays else case.kept)
        if self.replays:
            raise self._unrecorded(rollout)
        return rollout

    def heard(self, event: Event) -> None:
        """Remember the order of runs."""
        if isinstance(event, RunOpened):
            self._runs.append(event.run.id)

    def append(self, *events: Event) -> Future[None]:
        """Keep what happens until the test is over."""
        for event in events:
            self.heard(event)
        return self._kept.append(*events)

    def version(self, name: str) -> Version:
        """A version that an execution of the test ran."""
        return self._kept.version(name)

    def first(self, name: str) -> Version:
        """The first version of its line among those that executions of the test ran."""
        return self._kept.first(name)

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        """What the test itself has executed already."""
        return self._kept.recorded(wishes)

    def finish(self, *, failed: bool) -> None:
        """Write what was recorded, once the test is over.

        Of a failed test it is kept where every call was answered: then it fails the same way from
        the record. What can't be replayed isn't kept, and raises ``ReplayDiverged``.
        """
        if self.replays or not self._runs:
            return
        traces = [trace for run in self._runs for trace in self._kept.run(run)]
        if failed and not all(map(_answered, traces)):
            self.outcome = "not kept: the test failed, and not every call was answered"
            return
        now = self._taken([trace for trace in traces if trace.done])
        before = recorded_run(self.test, self.held)
        if now == before:
            self.outcome = "unchanged"
            return
        save(self.path, now)
        self.outcome = (
            f"recorded {len(now)} executions, {sum(len(trace.calls) for trace in now)} calls"
        )

    def report(self) -> str:
        """What came of it, and where what the test asked parts from what was recorded, as a tree."""
        head = f"{self.path}, mode {self.mode}: {self.outcome or f'{len(self.held)} executions recorded'}"
        trees = [tree for made in self.made if (tree := _parted(made))]
        same = sum(1 for made in self.made if made.recorded is not None) - len(trees)
        return "\n".join([head, f"{same} executions ask what was recorded", *trees])

    def place(self, name: str, given: str) -> Any:
        """What the name of a model stood for where it was recorded: of several, the one that is
        called ``given``.
        """
        found = [places[name] for trace in self.held if name in (places := trace.world["models"])]
        return next(
            (place for place in found if place["model"] == given), found[0] if found else None
        )

    def _found(self, rollout: Rollout) -> Trace | None:
        used = {made.recorded.id for made in self.made if made.recorded is not None}
        fitting = [trace for trace in self.held if trace.id not in used and _fits(trace, rollout)]
        return max(fitting, key=lambda trace: _nearness(trace, rollout), default=None)

    def _unrecorded(self, rollout: Rollout) -> Unrecorded:
        name = str(rollout.program)
        near = [trace for trace in self.held if trace.name == name]
        if not self.held:
            return Unrecorded(str(self.path), name, "nothing is recorded there")
        if not near:
            held = ", ".join(dict.fromkeys(trace.name for trace in self.held))
            return Unrecorded(str(self.path), name, f"it holds {held}")
        if any(_fits(trace, rollout) for trace in near):
            times = sum(1 for trace in near if _fits(trace, rollout))
            return Unrecorded(
                str(self.path), name, f"with these inputs it was executed {times} times, not more"
            )
        asked = attrs.evolve(near[0], inputs=rollout.pending.inputs)
        parted = str(diverge(asked, rollout.program, rollout.version))
        return Unrecorded(str(self.path), name, "it wasn't executed with these inputs", parted)

    def _taken(self, traces: Sequence[Trace]) -> Run:
        """The run to be kept: what was asked, with the recorded calls that answered, and what
        answered nothing.
        """
        by_id = {trace.id: trace for trace in self.held}
        code = iter(self._codes(traces))
        made = [_checked(_whole(trace, by_id), next(code)) for trace in traces]
        used = {made.recorded.id for made in self.made if made.recorded is not None}
        return recorded_run(
            self.test, [*made, *(trace for trace in self.held if trace.id not in used)]
        )

    def _codes(self, traces: Sequence[Trace]) -> Iterable[Program]:
        """The program of each trace."""
        programs = {made.rollout.program.key: made.rollout.program for made in self.made}
        return [programs[trace.program] for trace in traces]


def recorded_run(test: str, traces: Iterable[Trace]) -> Run:
    """Executions as a run that says nothing of when and where: ids count, times are 0. The same
    answers give an equal run.
    """
    items = tuple(
        (f"ex[{at}]", _timeless(trace, f"{at:04d}-{trace.root[-12:]}"))
        for at, trace in enumerate(traces)
    )
    return Run("recording", "test", test, items, status="done")


def _timeless(trace: Trace, name: str) -> Trace:
    calls = tuple(attrs.evolve(call, started=0, ended=0, source="") for call in trace.calls)
    return attrs.evolve(trace, id=name, calls=calls, started=0, ended=0)


def _whole(trace: Trace, held: dict[str, Trace]) -> Trace:
    """The trace with recorded calls as they were recorded, where they answered."""
    calls: list[CallAttempt] = []
    for call in trace.calls:
        source = held.get(call.source)
        calls += (
            [past for past in source.calls if past.address == call.address] if source else [call]
        )
    return attrs.evolve(trace, calls=tuple(calls))


def _checked(trace: Trace, program: Program) -> Trace:
    """The trace, which can be replayed, with its calls in program order."""
    replay(trace, program)
    met = simulate(ReplayCase(trace, program, trace.version), exact_answers(trace)).met
    order = {step.address: at for at, step in enumerate(met)}
    last = len(order)
    calls = sorted(
        trace.calls, key=lambda call: (order.get(call.address, last), call.address, call.attempt)
    )
    return attrs.evolve(trace, calls=tuple(calls))


def _answered(trace: Trace) -> bool:
    failed = (call.outcome for call in trace.answers.values() if isinstance(call.outcome, Failure))
    return (
        trace.done
        and not trace.orphans
        and all(outcome.kind != "ModelFailed" for outcome in failed)
    )


def _fits(trace: Trace, rollout: Rollout) -> bool:
    same = trace.world.get("redacted") or trace.inputs == rollout.pending.inputs
    return bool(
        trace.name == str(rollout.program)
        and trace.sample == (rollout.pending.sample or 0)
        and same
    )


def _nearness(trace: Trace, rollout: Rollout) -> tuple[bool, bool]:
    return trace.program == rollout.program.key, trace.version.tree == rollout.version.tree


def _parted(made: Execution) -> str:
    """The divergence of an execution from the recorded one, empty where there is none."""
    if made.recorded is None:
        return ""
    try:
        found = diverge(made.recorded, made.rollout.program, made.rollout.version)
    except LmflowError as error:
        return str(error)
    return "" if found.same else str(found)


@attrs.frozen(eq=False)
class _Tape:
    """The recorder of an executor: what happens goes to the recording, names of versions to the
    store.
    """

    recording: Recording
    store: Recorder | None

    def append(self, *events: Event) -> Future[None]:
        return self.recording.append(*events)

    def version(self, name: str) -> Version:
        return (self.store or self.recording).version(name)

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        return self.recording.recorded(wishes)

    def first(self, name: str) -> Version:
        return (self.store or self.recording).first(name)


@attrs.frozen(eq=False)
class _Answers:
    """What an executor is answered by."""

    recording: Recording
    given: str | Model | None

    def rollout(self, rollout: Rollout) -> Rollout:
        return self.recording.answered(rollout)

    def model(self, name: str, make: Callable[[], Model]) -> Model:
        given = self.given if isinstance(self.given, (str, type(None))) else self.given.name
        place = self.recording.place(name, name or given or "")
        if place is not None:
            inner = [_Stand(model, at, "", make) for model, at in place.get("among", ())]
            return _Stand(
                place["model"], place["endpoint"], str(self.recording.path), make, tuple(inner)
            )
        if self.recording.replays:
            return _Stand(name or given or "none", "unrecorded", str(self.recording.path), make)
        return make()


@attrs.frozen(eq=False)
class _Stand:
    """Stands for a model as it was recorded; the model itself is made where something new is asked."""

    name: str
    endpoint: str
    path: str
    make: Callable[[], Model]
    inner: tuple[Model, ...] = ()

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        model = self.make()
        if (model.name, model.endpoint) != (self.name, self.endpoint):
            found = f"{self.path} was recorded with it at {self.endpoint}, now it is {model.name} at {model.endpoint}"
            raise ModelUnavailable(self.name, found, "Record anew: pytest --lmflow-record=all.")
        return await model(request, send)

    async def aclose(self) -> None:
        """Nothing to do: who made the model closes it."""
