"""One execution from its beginning to its end: what is opened, driven and closed in the store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Protocol

import attrs

from lmflow.errors import ENDING, BudgetExceeded
from lmflow.execution.budget import unbounded_media, worst_case
from lmflow.execution.call import Execution, OnText
from lmflow.execution.connections import Account, Connections, WriteReceipt
from lmflow.execution.live import Live, gather_strict
from lmflow.interpreter.driver import Frame
from lmflow.interpreter.predict import ADAPTER
from lmflow.messages.requests import ChatRequest
from lmflow.models.base import Model, leaves, place
from lmflow.programs.compatibility import checked_params, stale
from lmflow.programs.effects import Pending
from lmflow.programs.environment import Env, overlaid
from lmflow.programs.program import Program, completed, init
from lmflow.replays.reuse import NOTHING_KEPT, Reuse
from lmflow.traces.events import TraceClosed, TraceOpened
from lmflow.traces.trace import CallAttempt, Trace, failed
from lmflow.values.record import Record
from lmflow.versions.version import Version

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHIFTS = range(85, -1, -5)


@attrs.frozen
class Rollout:
    """What to execute once: a program with its inputs, a version of its parameters, and the label
    in its run.

    The pending's ``sample`` tells intended repeats apart. ``reuse`` is what answers instead of the
    outside; ``interrupted`` is the trace that it goes on with, where it was cut off; ``first`` the
    first version of its line, where that is known.
    """

    pending: Pending
    version: Version
    label: str = ""
    reuse: Reuse = attrs.field(default=NOTHING_KEPT, eq=False)
    interrupted: Trace | None = None
    first: Version | None = attrs.field(default=None, eq=False)

    @property
    def program(self) -> Program:
        """The program."""
        program: Program = self.pending.program
        return program


class Answers(Protocol):
    """What an executor is answered by instead of the outside: a recording."""

    def rollout(self, rollout: Rollout) -> Rollout:
        """The rollout with what answers it, ``Rollout.reuse``. Asked in order, before anything of
        it is driven.
        """
        ...

    def model(self, name: str, make: Callable[[], Model]) -> Model:
        """What stands for the model of a name ("" for the default); ``make`` gives the model
        itself.
        """
        ...


@attrs.frozen(eq=False)
class FinishedRollout:
    """An execution that is over: its trace, the error that it ended with, and whether that is on
    record.
    """

    trace: Trace
    error: Exception | None
    kept: WriteReceipt


@attrs.frozen(eq=False)
class PreparedRollout:
    """A program with the version, parameters and world that it is about to be executed in, within
    bounds.
    """

    outside: Connections
    account: Account
    program: Program
    version: Version
    env: Env
    world: Record
    target: str = ""
    timeout: float | None = None

    async def drive(
        self, run: str, rollout: Rollout, position: int = 0, hear: OnText | None = None
    ) -> FinishedRollout:
        """The trace of an execution and what it ended with. What ends the run is raised: then it
        isn't over in the store.
        """
        outside, pending = self.outside, rollout.pending
        sample = pending.sample or 0
        trace = rollout.interrupted or Trace(
            new_id(outside.random), self.program.key, str(self.program), self.version, pending.inputs, self.world,
            target=self.target, sample=sample, started=time.time_ns(), code=self.program,
        )  # fmt: skip
        if rollout.interrupted is None:
            outside.send(TraceOpened(run, rollout.label, position, trace))
        execution = Execution(
            outside, trace.id, account=self.account, name=str(self.program), timeout=self.timeout, hear=hear,
            reuse=rollout.reuse, calls=trace.calls,
        )  # fmt: skip
        outputs, error = None, None
        try:
            env = self.env if not sample else attrs.evolve(self.env, sample=sample)
            outputs = await Live(execution).run(Pending(self.program, pending.inputs), Frame(env))
        except ENDING:
            raise
        except Exception as problem:  # noqa: BLE001 - recorded, then raised or returned by the caller
            error = problem
        done = self._closed(trace, execution, outputs, error)
        return FinishedRollout(done, error, outside.send(TraceClosed(done)))

    def _closed(
        self, trace: Trace, execution: Execution, outputs: Record | None, error: Exception | None
    ) -> Trace:
        known = self.world.models
        used = {name: place(model) for name, model in execution.models.items() if name not in known}
        models = {**execution.reuse.places, **known, **used}
        calls = execution.calls if len(execution.calls) == 1 else sorted(execution.calls, key=_when)
        return trace.over(
            calls=tuple(calls), choices=Record(execution.choices) if execution.choices else trace.choices,
            outputs=outputs, failure=failed(error) if error else None, ended=time.time_ns(), code=trace.code,
            world=self.world if models.keys() <= known.keys() else self.world | {"models": models},
        )  # fmt: skip


def prepare(
    outside: Connections,
    account: Account,
    rollout: Rollout,
    *,
    target: str = "",
    timeout: float | None = None,
) -> PreparedRollout:
    """The rollout's program, ready to be executed. ``ForeignPaths``, ``ModelUnavailable``, or
    ``Unbounded`` where the budget needs to know what each step may cost: before anything is sent
    or recorded.
    """
    program, version = rollout.program, rollout.version
    params = checked_params(program, version)
    choices = outside.choices
    world = Record(adapter=ADAPTER, models=places(outside, params))
    if choices.pairs:
        world |= {"adapters": choices.to_json()}
    if old := stale(program, version, rollout.first or version):
        world |= {"stale": old}
    if account.measured:
        _check_bounds(outside, account, program, params)
    return PreparedRollout(
        outside, account, program, version, Env(params, adapters=choices), world, target, timeout
    )


async def run_all(
    run: str,
    todo: Mapping[int, Rollout],
    ready: Iterable[PreparedRollout],
    concurrency: int,
    step: Callable[[bool], object],
) -> dict[int, Trace]:
    """The traces of rollouts that are executed side by side, by position, all of them on record.
    Those that a budget stopped are missing. ``step`` is told of each whether it succeeded.
    """
    waiting, made = iter(zip(todo.items(), ready, strict=True)), dict[int, FinishedRollout]()

    async def work() -> None:
        for (position, rollout), begun_ in waiting:
            with contextlib.suppress(BudgetExceeded):
                made[position] = await begun_.drive(run, rollout, position)
                step(made[position].error is None)

    # Not a task for each rollout, but for twice as many as may be open: half of them wait for what
    # they have recorded.
    await gather_strict([work() for _ in range(min(2 * concurrency - 1, len(todo)))])
    for kept in {end.kept for end in made.values()}:
        await kept.durable()
    return {position: end.trace for position, end in made.items()}


def places(outside: Connections, params: Record) -> Record:
    """What the model names in parameters stand for."""
    return outside.models.places(value for path, value in params.items() if path.endswith(".model"))


def versioned(pending: Pending, version: Version | None) -> Version:
    """The version that a pending runs with: its overlay is a child of the version, so that the
    trace says it all.
    """
    program: Program = pending.program
    found = version or init(program)
    if not pending.overlay:
        return found
    whole = (
        found
        if found.params.keys() >= set(program.paths)
        else attrs.evolve(found, params=completed(program, found))
    )
    return whole.put(overlaid(whole.params, pending.overlay), note="overlay")


def new_id(random: Random) -> str:
    """An id of 18 letters that sorts by time."""
    number = (time.time_ns() // 1_000_000 << 40) | random.getrandbits(40)
    return "".join([_ALPHABET[number >> shift & 31] for shift in _SHIFTS])


def _check_bounds(outside: Connections, account: Account, program: Program, params: Record) -> None:
    """``Unbounded`` for the first step whose calls the budget could not bound."""
    for name, step in program.predictors.items():
        if step.signature.attaches:
            raise unbounded_media(name)
        for model in leaves(outside.models.get(params[f"{name}.model"])):
            request = ChatRequest((), model.name, options=params[f"{name}.options"])
            worst_case(name, request, outside.prices, time.time_ns(), priced=account.priced)


def _when(call: CallAttempt) -> tuple[int, str, int]:
    return call.started, call.address, call.attempt
