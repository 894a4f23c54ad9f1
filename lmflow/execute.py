"""The executor, the only door to the outside: it drives programs and records every call before it is used."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import attrs
import toolz

from lmflow.adapters.known import known
from lmflow.again import ended, left, opening, replays, wanted_of
from lmflow.budget import NOTHING, Budget, Left, Prices, Spent, spent_on
from lmflow.data import Data, dataset_of
from lmflow.door import Hear
from lmflow.effects import Pending
from lmflow.errors import BudgetExceeded, UnknownVersion
from lmflow.evaluating import evaluate_on
from lmflow.evaluation import Evaluation
from lmflow.events import Listener
from lmflow.findable import findable, keep_data
from lmflow.growing import Ground, Growing
from lmflow.messages import Usage
from lmflow.metrics import Metric
from lmflow.models.base import Model
from lmflow.models.http import Session
from lmflow.models.prices import cost_of
from lmflow.optimize import Staged, Traces
from lmflow.optimizing import Optimization, Tell, asked, pursue, untold
from lmflow.outside import Account, Models, Outside
from lmflow.params import Version, check_ref
from lmflow.program import Program, completed, init, take
from lmflow.programs.judges import Judge, key_of
from lmflow.progress import Progress, silent
from lmflow.redact import Redactor
from lmflow.rollout import Answers, Begun, Rollout, begun, driven, new_id, places, versioned
from lmflow.store import Recorder, Wish
from lmflow.stream import Streaming
from lmflow.trace import Event, RefMoved, Run, RunClosed, Scored, Trace
from lmflow.values import Record


class Executor:
    """Runs programs on a model and records every call in a store.

    ``model`` is a model or its name (``provider/model``); ``concurrency`` bounds the calls that are open at once.
    Without a store, recordings live in memory as long as the executor. Use it as ``async with``; models that it made
    by name end with it. ``budget`` bounds what all its runs spend, ``timeout`` the seconds that each execution may
    take; ``limited`` bounds some of its runs. ``redact`` cleans each text that is stored; ``secret`` is the key of the
    hashes that then stand for what was asked (without one a random key, so that nobody can compare them later).
    ``answers`` is a recording that answers executions, and stands for models, instead of the outside. ``adapters`` says
    by patterns of models' names which adapter they are asked in, ``{"anthropic/*": "json"}``, the first that fits,
    where neither a parameter nor the step says so; it is recorded. ``UnknownAdapter``.
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
        self.store: Recorder = _Unkept() if store is None else store
        self.concurrency = concurrency
        self._target = target
        self._timeout = timeout
        self._answers = answers
        self._session = Session()
        self._account = Account(budget)
        self._streams: set[asyncio.Task[Trace]] = set()
        self._outside = Outside(
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
        """Stop open streams, end servers and sessions that it started, and wait until everything is recorded."""
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
    ) -> Executor:
        """This executor with bounds for what runs through it: ``await ex.limited(Budget(usd=1)).run(...)``.

        What is spent counts in the executor's own budget too; ``spent`` is what counts as spent before. ``target`` is
        the ``module:program`` that its runs name. It shares models, session and store with this one, and ends with it.
        """
        bounded = copy.copy(self)
        bounded._target = self._target if target is None else target  # noqa: SLF001 - its own class
        bounded._account = Account(budget, spent, self._account)  # noqa: SLF001
        bounded._timeout = self._timeout if timeout is None else timeout  # noqa: SLF001
        return bounded

    def events(self, *, limit: int = 10_000) -> Listener:
        """What happens from now on: an async iterator over the events that the store gets, until the executor closes.

        Any number may listen, and none holds up a run: at most ``limit`` events wait for a listener; of one that falls
        further behind the oldest are dropped, and a ``Missed`` in their place says how many. The store has them all.
        """
        listener = Listener(limit)
        self._outside.listeners.add(listener)
        return listener

    async def run(self, program: Program | Pending, version: Version | str | None = None, /, **inputs: Any) -> Trace:
        """Run a program on its inputs and return the trace; ``trace.outputs`` holds the outputs.

        ``version`` is a version, or the name of a ref or version in the store; without one the defaults run. Where it
        holds defaults that the code has changed since, ``trace.world.stale`` names them. A program
        that has its inputs already, ``step(x=1)``, runs as it is, with its overlay and sample. It always runs anew.
        Raises what the program raises, after the failure is recorded.
        """
        return await self._once(self._rollout(program, version, inputs))

    def stream(self, program: Program | Pending, version: Version | str | None = None, /, **inputs: Any) -> Streaming:
        """Run a program and iterate over the texts of its outputs as they come; then ``stream.trace`` is the trace.

        Raises what ``run`` raises, where the iteration ends. Closing the iterator stops the run.
        """
        rollout = self._rollout(program, version, inputs)
        stream = Streaming(lambda hear: self._once(rollout, hear))
        self._streams.add(stream.task)
        stream.task.add_done_callback(self._streams.discard)
        return stream

    async def map(  # noqa: PLR0913 - each is a choice of its own
        self,
        program: Program,
        examples: Iterable[Mapping[str, Any]],
        version: Version | str | None = None,
        *,
        samples: int = 1,
        budget: Budget | None = None,
        progress: Progress = silent,
    ) -> Run:
        """Run a program on each example, side by side; a run with one trace an example, in their order.

        Of an example only the program's inputs are read; its ``id`` labels it, else its position. With ``samples`` each
        is run that often, labelled ``ex[id]/n[k]``, and asks with ``sample=k``. A failure is the trace's ``failure``,
        not an exception; bad inputs are refused before anything is sent. ``BudgetExceeded`` says what is left.
        """
        rows = [Record(example) for example in examples]
        pendings = [take(program, row) for row in rows]
        found, line = self._version(version), self._first(version)
        many = [
            Rollout(sample, versioned(sample, found), label, first=line)
            for pending, name in zip(pendings, _labels(rows), strict=True)
            for sample, label in _sampled(pending, name, samples)
        ]
        bounded = self if budget is None else self.limited(budget)
        return await bounded.rollouts("map", str(program), many, progress=progress)

    async def replay(  # noqa: PLR0913 - each is a choice of its own
        self,
        recorded: Trace | Run,
        program: Program,
        version: Version | str | None = None,
        *,
        at: str = "",
        budget: Budget | None = None,
        progress: Progress = silent,
    ) -> Run:
        """Drive a recording again under a version, by default the recorded one, and ask only what it doesn't answer.

        A call is answered by the recorded one where its request is the same (``lf.what_if`` says beforehand how many
        are); what is reused is recorded at no cost, with the trace it is from. With ``at`` it forks: exact before the
        first call at or below that address, asked anew from it on. ``ReplayDiverged``, ``NotRecorded``.
        """
        many = replays(
            recorded, program, self._version(version), self._places(program), at=at, choices=self._outside.choices
        )
        bounded = self if budget is None else self.limited(budget)
        kind = "fork" if at else "what_if"
        return await bounded.rollouts(kind, str(program), many, of=recorded.id, progress=progress)

    async def resume(
        self,
        run: Run,
        program: Program,
        *,
        retry_failures: bool = False,
        budget: Budget | None = None,
        progress: Progress = silent,
    ) -> Run:
        """Finish a run that was stopped: what was recorded stays, what was open is asked again, the rest is begun.

        ``run`` is as read from the executor's own store. It keeps its id and ends with the root that it would have had.
        A failure is settled unless ``retry_failures``. ``budget`` is for the whole run: what was recorded counts, open
        calls as maybe billed. ``ReplayDiverged`` where program, version or model aren't those that it was begun with.
        """
        stands, choices = self._places(program), self._outside.choices
        todo = left(run, program, self.store.version, stands, retry_failures=retry_failures, choices=choices)
        calls = [call for trace in run for call in trace.calls]
        spent = NOTHING if budget is None else spent_on(calls, self._outside.prices, measured=budget.measured)
        bounded = self if budget is None else self.limited(budget, spent=spent)
        return await bounded._completed(run, todo, progress)  # noqa: SLF001 - its own class

    async def score(
        self, trace: Trace | str, value: float | None, *, name: str = "score", feedback: str = "", who: str = ""
    ) -> None:
        """Keep a judgement of a trace that is recorded: a number, words, or both. None is overwritten."""
        uid = trace if isinstance(trace, str) else trace.id
        await self._outside.apart(Scored(uid, name, value, feedback, "", who, time.time_ns())).durable()

    async def evaluate(  # noqa: PLR0913 - what an evaluation is of
        self,
        program: Program,
        version: Version | str | None,
        examples: Iterable[Mapping[str, Any]],
        metric: Metric | Judge,
        *,
        samples: int = 1,
        cluster: str = "",
        reuse: bool = True,
        budget: Budget | None = None,
        spent: Spent = NOTHING,
        config: Mapping[str, Any] = Record(),
        of: str = "",
        progress: Progress = silent,
    ) -> Evaluation:
        """Run a program under a version on examples and score each: the mean with its interval, rows, cost, latency.

        ``cluster`` is a field of the examples whose equal values count as one in the interval. Calls that are recorded
        already are reused where their requests are the same (stored outputs never are); without ``reuse`` all are
        asked anew. Scores are kept beside the traces. ``MetricFailed`` where the metric fails on all outputs.
        ``config`` says on the run how it was asked for, beside its data, metric and version; ``of`` names the run that
        it begins again, ``spent`` what that one has spent of the budget.
        """
        data = dataset_of(str(program), examples)
        under = self._version(version) or init(program)
        said = Record({"data": data.digest, "metric": key_of(metric), "version": under.id, "samples": samples})
        bounded = self._bounded(budget, spent)
        async with bounded._growing("evaluate", str(program), said | config, of, reuse=reuse) as grown:  # noqa: SLF001
            found = await evaluate_on(
                grown, program, under, data, metric, samples=samples, cluster=cluster, progress=progress
            )
            await grown.close(result=found.root)
        return found

    async def optimize(  # noqa: PLR0913 - what an optimization is of
        self,
        optimizer: Staged,
        program: Program,
        version: Version | str | None,
        data: Data,
        metric: Metric | Judge,
        *,
        ref: str = "",
        reuse: bool = True,
        budget: Budget | None = None,
        spent: Spent = NOTHING,
        config: Mapping[str, Any] = Record(),
        of: str = "",
        tell: Tell = untold,
    ) -> Optimization:
        """Run what an optimizer needs until it comes to a version, or the budget ends it: then it is the best so far.

        The version is kept, and ``ref`` points at it where that is given and it is another than the start. On the
        held-back data both are scored in the end, at the expense of the executor's own budget alone. ``tell(need,
        fresh)`` is told of each need and how many of its rollouts weren't run before. Begun again it pays nothing
        twice, with ``reuse``, and comes to the same version id. Cancelled, it leaves the best so far in the store, as
        the ``result`` of its run. ``config`` says on the run how it was asked for, beside its optimizer, data, metric
        and start; ``of`` names the run that it begins again, ``spent`` what that one has spent of the budget.
        """
        traces = Traces(self._version(version) or init(program), data)
        said = asked(optimizer, traces, metric) | (config or findable(program, data, metric, budget, ref))
        if not config and self._outside.redactor is None:
            await asyncio.to_thread(keep_data, self.store, data)
        bounded = self._bounded(budget, spent)
        async with bounded._growing("optimize", f"{optimizer.name} {program}", said, of, reuse=reuse) as grown:  # noqa: SLF001
            await grown.save(traces.version)
            found, stages, stopped = await pursue(grown, optimizer, program, traces, metric, tell)
            await grown.save(found)
            paid = grown.spent
            scores = await self._compared(grown, program, (traces.version, found), data, metric)
            run = await grown.close("stopped" if stopped else "done", found.id)
        if ref and found.id != traces.version.id:
            await self._outside.apart(RefMoved(check_ref(ref), found.id, found.note, time.time_ns())).durable()
        return Optimization(found, traces.version, optimizer, run, stages, stopped, paid, *scores)

    async def _compared(
        self, grown: Growing, program: Program, versions: tuple[Version, Version], data: Data, metric: Metric | Judge
    ) -> tuple[Evaluation | None, Evaluation | None]:
        """Both versions on the held-back data, where there is some; one of them where they are the same."""
        if not len(data.held):
            return None, None
        own = grown.bounded(self._account)
        before = await evaluate_on(own, program, versions[0], data.held, metric, label="held/before")
        if versions[0].id == versions[1].id:
            return before, before
        return before, await evaluate_on(own, program, versions[1], data.held, metric, label="held/after")

    def _bounded(self, budget: Budget | None, spent: Spent) -> Executor:
        return self if budget is None else self.limited(budget, spent=spent)

    def _growing(self, kind: str, name: str, config: Record, of: str, *, reuse: bool) -> Growing:
        account = Account(parent=self._account)
        places = (lambda program, version: self._places(program)(version)) if reuse else None
        ground = Ground(self._outside, account, self._ready, self.concurrency, places, self._answered)
        return Growing(attrs.evolve(self._run(kind, name, (), of), config=config), ground)

    async def rollouts(
        self, kind: str, name: str, rollouts: Sequence[Rollout], *, of: str = "", progress: Progress = silent
    ) -> Run:
        """Execute many, side by side, as a run of that kind and name: one trace a rollout, in order, by its label.

        Failures are the traces'. ``BudgetExceeded`` is raised when all open calls have ended and are recorded; the
        executions that it stopped stay open in the store.
        """
        rollouts = self._answered(rollouts)
        run = self._run(kind, name, rollouts, of)
        return await self._completed(run, dict(enumerate(rollouts)), progress, first=(opening(run, rollouts),))

    async def _completed(
        self, run: Run, todo: Mapping[int, Rollout], progress: Progress, *, first: Sequence[Event] = ()
    ) -> Run:
        """A run with what was left of it executed, by position; ``first`` is recorded before."""
        account = Account(parent=self._account)
        ready = self._ready(list(todo.values()), account)
        with self._opened(run):
            await self._outside.apart(*first).durable()
            with progress(run.name, len(todo)) as step:
                made = await driven(run.id, todo, ready, self.concurrency, step)
            if len(made) < len(todo):
                raise attrs.evolve(account.refusal(), run=run.id, done=len(made), total=len(todo))
            done = ended(run, {rollout.label: made[position] for position, rollout in todo.items()})
            await self._outside.kept(RunClosed(run.id, done.status, self._outside.root(done), done.ended))
        return done

    def world(self, program: Program, version: Version | str | None = None) -> Record:
        """What a program would run against, as its traces say it, and which defaults are stale. Nothing is sent.

        Raises what keeps it from running: ``UnknownVersion``, ``ForeignPaths``, ``ModelUnavailable``, ``Unbounded``.
        What is slow only the first time is done with it, so that no run waits for it.
        """
        found = self._version(version) or init(program)
        rollout = Rollout(Pending(program, Record()), found, first=self._first(version))
        world = begun(self._outside, self._account, rollout).world
        for place in world["models"].values():
            self._outside.prices(place["model"], Usage(), time.time_ns())
        return world

    async def once(
        self, rollout: Rollout, *, kind: str = "run", hear: Hear | None = None
    ) -> tuple[Run, Exception | None]:
        """One execution as a run of its own, of that kind, when all of it is on record, and the error that it ended
        with. ``hear`` is told what replies say as it comes. What ends the run as it is is raised (``BudgetExceeded``).
        """
        account = Account(parent=self._account)
        (rollout,) = self._answered([rollout])
        ready = self._ready([rollout], account)[0]
        run = self._run(kind, str(rollout.program), [rollout])
        with self._opened(run):
            begun_ = self._outside.apart(opening(run, [rollout]))
            try:
                end = await ready.drive(run.id, rollout, 0, hear)
            except BudgetExceeded:
                raise attrs.evolve(account.refusal(), run=run.id, total=1) from None
            done = ended(run, {rollout.label: end.trace})
            closed = self._outside.send(RunClosed(run.id, done.status, self._outside.root(done), done.ended))
            for kept in (begun_, end.kept, closed):  # in the order in which they were sent
                await kept.durable()
        return done, end.error

    async def _once(self, rollout: Rollout, hear: Hear | None = None) -> Trace:
        run, error = await self.once(rollout, hear=hear)
        if error:
            raise error
        return run.traces[0]

    def _run(self, kind: str, name: str, rollouts: Sequence[Rollout], of: str = "") -> Run:
        found, wanted = new_id(self._outside.random), wanted_of(rollouts)
        return Run(found, kind, name, target=self._target, started=time.time_ns(), of=of, wanted=wanted)

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

    def _rollout(self, program: Program | Pending, version: Version | str | None, inputs: Mapping[str, Any]) -> Rollout:
        if isinstance(program, Pending) and inputs:
            msg = f"{program} has its inputs already, found more: {', '.join(inputs)}"
            raise TypeError(msg)
        pending = program if isinstance(program, Pending) else program(**inputs)
        return Rollout(pending, versioned(pending, self._version(version)), first=self._first(version))

    def _version(self, version: Version | str | None) -> Version | None:
        return self.store.version(version) if isinstance(version, str) else version

    def _first(self, version: Version | str | None) -> Version | None:
        """The first version of a line that was named; of one that was given only itself is known."""
        return self.store.first(version) if isinstance(version, str) else version

    def _answered(self, rollouts: Sequence[Rollout]) -> Sequence[Rollout]:
        return rollouts if self._answers is None else [self._answers.rollout(rollout) for rollout in rollouts]

    def _ready(self, rollouts: Sequence[Rollout], account: Account) -> list[Begun]:
        ready: dict[tuple[Program, Version], Begun] = {}
        for rollout in rollouts:
            if (what := (rollout.program, rollout.version)) not in ready:
                ready[what] = begun(self._outside, account, rollout, target=self._target, timeout=self._timeout)
        return [ready[rollout.program, rollout.version] for rollout in rollouts]


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


def _sampled(pending: Pending, label: str, samples: int) -> list[tuple[Pending, str]]:
    if samples < 1:
        msg = f"samples must be at least 1, found {samples}"
        raise ValueError(msg)
    return [(pending, label)] if samples == 1 else [(pending.sampled(k), f"{label}/n[{k}]") for k in range(samples)]


def _labels(rows: list[Record]) -> list[str]:
    names = [str(row.get("id", position)) for position, row in enumerate(rows)]
    if not toolz.isdistinct(names):
        twice = next(name for name, count in toolz.frequencies(names).items() if count > 1)
        msg = f"the example id {twice!r} appears twice: ids label examples in the run, so they must differ"
        raise ValueError(msg)
    return [f"ex[{name}]" for name in names]
