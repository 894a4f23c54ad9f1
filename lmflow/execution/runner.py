"""What drives rollouts on the outside and records them as runs: what all that an executor does is
made of.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import attrs

from lmflow.adapters.registry import known
from lmflow.errors import BudgetExceeded, UnknownVersion, check_kind
from lmflow.execution.budget import NOTHING, Budget, Left, Prices, Spent
from lmflow.execution.call import OnText
from lmflow.execution.connections import Account, Connections, Models
from lmflow.execution.events import Listener
from lmflow.execution.open_run import OpenRun, RunContext
from lmflow.execution.progress import Progress, silent
from lmflow.execution.rerun import planned, run_closed, run_opened
from lmflow.execution.rollout import (
    Answers,
    PreparedRollout,
    Rollout,
    new_id,
    places,
    prepare,
    run_all,
)
from lmflow.messages.replies import Usage
from lmflow.models.base import Model
from lmflow.models.prices import cost_of
from lmflow.models.transport.http import Session
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program, completed, init
from lmflow.traces.events import Event, RunClosed
from lmflow.traces.redaction import Redactor
from lmflow.traces.store import Recorder, Wish
from lmflow.traces.trace import Run, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


class Runner:
    """Holds the outside, a store and a budget, and executes rollouts as runs. Abstract:
    ``Executor`` says of what.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own
        self,
        model: str | Model | None = None,
        store: Recorder | None = None,
        *,
        concurrency: int = 16,
        target: str = "",
        budget: Budget | None = None,
        timeout: float | None = None,
        prices: Prices = cost_of,
        redact: Callable[[str], str] | None = None,
        secret: bytes = b"",
        answers: Answers | None = None,
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        if concurrency < 1:
            msg = f"concurrency must be at least 1, found {concurrency}"
            raise ValueError(msg)
        if isinstance(store, (str, Path)):
            path = repr(str(store))
            msg = f"expected a store, found the path {path}. Open it: with lf.SqliteStore({path}) as store."
            raise TypeError(msg)
        self.store: Recorder = _Unkept() if store is None else store
        self.concurrency = concurrency
        self._target = target
        self._timeout = timeout
        self._answers = answers
        self._session = Session()
        self._account = Account(budget)
        self._streams: set[asyncio.Task[Trace]] = set()
        self._outside = Connections(
            Models(model, answers.model if answers else None), self._session,
            ThreadPoolExecutor(min(concurrency, 32), "lmflow-tool"),
            asyncio.Semaphore(concurrency), self.store, prices,
            Redactor(redact, secret or secrets.token_bytes(32)) if redact else None, known(adapters or {}),
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        """The executor itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop open streams, end servers and sessions that it started, and wait until everything is
        recorded.
        """
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)
        await self._outside.models.aclose()
        await self._session.close()
        self._outside.tools.shutdown(wait=False, cancel_futures=True)
        await self._outside.apart().durable()
        for listener in self._outside.listeners:
            listener.close()

    @property
    def spent(self) -> Spent:
        """What its calls have cost so far."""
        return self._account.ledger.spent

    @property
    def left(self) -> Left:
        """What its budget still allows."""
        return self._account.left

    def limited(
        self,
        budget: Budget | None = None,
        *,
        timeout: float | None = None,
        spent: Spent = NOTHING,
        target: str | None = None,
    ) -> Self:
        """This executor with bounds for what runs through it: ``await
        ex.limited(Budget(usd=1)).run(...)``.

        What is spent counts in the executor's own budget too; ``spent`` is what counts as spent
        before. ``target`` is the ``module:program`` that its runs name. It shares models, session
        and store with this one, and ends with it.
        """
        if budget is not None:
            check_kind(
                "a budget", budget, Budget, "Say of what: lf.Budget(calls=100), lf.Budget(usd=1)."
            )
        bounded = copy.copy(self)
        bounded._target = self._target if target is None else target  # noqa: SLF001 - its own class
        bounded._account = Account(budget, spent, self._account)  # noqa: SLF001
        bounded._timeout = self._timeout if timeout is None else timeout  # noqa: SLF001
        return bounded

    def events(self, *, limit: int = 10_000) -> Listener:
        """What happens from now on: an async iterator over the events that the store gets, until
        the executor closes.

        Any number may listen, and none holds up a run: at most ``limit`` events wait for a
        listener; of one that falls further behind the oldest are dropped, and a ``Missed`` in their
        place says how many. The store has them all.
        """
        listener = Listener(limit)
        self._outside.listeners.add(listener)
        return listener

    async def rollouts(
        self,
        kind: str,
        name: str,
        rollouts: Sequence[Rollout],
        *,
        of: str = "",
        progress: Progress = silent,
    ) -> Run:
        """Execute many, side by side, as a run of that kind and name: one trace a rollout, in
        order, by its label.

        Failures are the traces'. ``BudgetExceeded`` is raised when all open calls have ended and
        are recorded; the executions that it stopped stay open in the store.
        """
        rollouts = self._answered(rollouts)
        run = self._run(kind, name, rollouts, of)
        return await self._completed(
            run, dict(enumerate(rollouts)), progress, first=(run_opened(run, rollouts),)
        )

    async def once(
        self, rollout: Rollout, *, kind: str = "run", hear: OnText | None = None
    ) -> tuple[Run, Exception | None]:
        """One execution as a run of its own, of that kind, when all of it is on record, and the
        error that it ended with. ``hear`` is told what replies say as it comes. What ends the
        run as it is is raised (``BudgetExceeded``).
        """
        account = Account(parent=self._account)
        (rollout,) = self._answered([rollout])
        ready = self._ready([rollout], account)[0]
        run = self._run(kind, str(rollout.program), [rollout])
        with self._opened(run):
            begun_ = self._outside.apart(run_opened(run, [rollout]))
            try:
                end = await ready.drive(run.id, rollout, 0, hear)
            except BudgetExceeded:
                raise attrs.evolve(account.refusal(), run=run.id, total=1) from None
            done = run_closed(run, {rollout.label: end.trace})
            closed = self._outside.send(
                RunClosed(run.id, done.status, self._outside.root(done), done.ended)
            )
            for kept in (begun_, end.kept, closed):  # in the order in which they were sent
                await kept.durable()
        return done, end.error

    def world(self, program: Program, version: Version | str | None = None) -> Record:
        """What a program would run against, as its traces say it, and which defaults are stale.
        Nothing is sent.

        Raises what keeps it from running: ``UnknownVersion``, ``ForeignPaths``,
        ``ModelUnavailable``, ``Unbounded``. What is slow only the first time is done with it, so
        that no run waits for it.
        """
        found = self._version(version) or init(program)
        rollout = Rollout(Pending(program, Record()), found, first=self._first(version))
        world = prepare(self._outside, self._account, rollout).world
        for place in world["models"].values():
            self._outside.prices(place["model"], Usage(), time.time_ns())
        return world

    async def _completed(
        self,
        run: Run,
        todo: Mapping[int, Rollout],
        progress: Progress,
        *,
        first: Sequence[Event] = (),
    ) -> Run:
        """A run with what was left of it executed, by position; ``first`` is recorded before."""
        account = Account(parent=self._account)
        ready = self._ready(list(todo.values()), account)
        with self._opened(run):
            await self._outside.apart(*first).durable()
            with progress(run.name, len(todo)) as step:
                made = await run_all(run.id, todo, ready, self.concurrency, step)
            if len(made) < len(todo):
                raise attrs.evolve(account.refusal(), run=run.id, done=len(made), total=len(todo))
            done = run_closed(
                run, {rollout.label: made[position] for position, rollout in todo.items()}
            )
            await self._outside.kept(
                RunClosed(run.id, done.status, self._outside.root(done), done.ended)
            )
        return done

    def _run(self, kind: str, name: str, rollouts: Sequence[Rollout], of: str = "") -> Run:
        found, wanted = new_id(self._outside.random), planned(rollouts)
        return Run(
            found, kind, name, target=self._target, started=time.time_ns(), of=of, wanted=wanted
        )

    def _places(self, program: Program) -> Callable[[Version], Record]:
        """What the model names in a version stand for."""
        return functools.cache(lambda version: places(self._outside, completed(program, version)))

    @contextlib.contextmanager
    def _opened(self, run: Run) -> Iterator[None]:
        """A run that is on record as stopped where it doesn't come to its end."""
        try:
            yield
        except BaseException:
            self._outside.apart(RunClosed(run.id, "stopped", "", time.time_ns()))
            raise

    def _version(self, version: Version | str | None) -> Version | None:
        if version is None:
            return None
        if isinstance(version, str):
            return self.store.version(version)
        check_kind(
            "a version",
            version,
            Version,
            "Inputs are given by name: ex.run(program, question=...).",
        )
        return version

    def _first(self, version: Version | str | None) -> Version | None:
        """The first version of a line that was named; of one that was given only itself is known."""
        return self.store.first(version) if isinstance(version, str) else version

    def _answered(self, rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
        return (
            rollouts
            if self._answers is None
            else [self._answers.rollout(rollout) for rollout in rollouts]
        )

    def _ready(self, rollouts: Sequence[Rollout], account: Account) -> list[PreparedRollout]:
        ready: dict[tuple[Program, Version], PreparedRollout] = {}
        for rollout in rollouts:
            if (what := (rollout.program, rollout.version)) not in ready:
                ready[what] = prepare(
                    self._outside, account, rollout, target=self._target, timeout=self._timeout
                )
        return [ready[rollout.program, rollout.version] for rollout in rollouts]

    def _bounded(self, budget: Budget | None, spent: Spent) -> Self:
        return self if budget is None else self.limited(budget, spent=spent)

    def _growing(self, kind: str, name: str, config: Record, of: str, *, reuse: bool) -> OpenRun:
        account = Account(parent=self._account)
        places = (lambda program, version: self._places(program)(version)) if reuse else None
        ground = RunContext(
            self._outside, account, self._ready, self.concurrency, places, self._answered
        )
        return OpenRun(attrs.evolve(self._run(kind, name, (), of), config=config), ground)


class _Unkept:
    """The recorder of an executor without a store: the traces themselves hold their calls."""

    def append(self, *events: Event) -> Future[None]:
        """Done at once."""
        del events
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def version(self, name: str) -> Version:
        """There are no names without a store."""
        raise UnknownVersion(name)

    def first(self, name: str) -> Version:
        """There are no names without a store."""
        raise UnknownVersion(name)

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        """Nothing is kept without a store."""
        return [None] * len(wishes)
