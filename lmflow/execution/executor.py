"""The executor: runs programs against models and tools, and records every call in a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never, Self

from lmflow.errors import check_kind
from lmflow.errors.options import EXECUTOR_OPTIONS, explains_options
from lmflow.execution.account import Account
from lmflow.execution.budget import NOTHING, Budget, Left, Prices, Spent
from lmflow.execution.call_order import EnteredAsync, check_order, check_version_input
from lmflow.execution.connections import Adapters, connect
from lmflow.execution.events import Listener
from lmflow.execution.jobs import evaluate as evaluate_job
from lmflow.execution.jobs import map_examples, rerun
from lmflow.execution.jobs import optimize as optimize_job
from lmflow.execution.jobs import score as score_job
from lmflow.execution.listening import OnText
from lmflow.execution.no_store import recorder_of
from lmflow.execution.rollout import Answers, Rollout, version_with_overlay
from lmflow.execution.runs import run_once, run_rollouts
from lmflow.execution.session import BUDGET_FIX, Session
from lmflow.execution.stream import Streaming
from lmflow.models.base import Model
from lmflow.models.prices import cost_of
from lmflow.programs.effects import Pending
from lmflow.programs.program import Program, check_programs
from lmflow.progress.display import Progress, chosen
from lmflow.traces.recent_runs import RecentRuns
from lmflow.traces.store import Recorder
from lmflow.traces.trace import Run, RunKind, Trace
from lmflow.values.record import Record
from lmflow.versions.version import Version


class Executor(EnteredAsync):
    """Runs programs against models and tools and records every call in a store.

    Use it as ``async with``: models that it made by name, its HTTP session and its threads end
    with it.

    Args:
        model: The model of steps that name none, or its name, ``provider/model``.
        store: The store that records runs. Without one, recordings live in the returned traces.
        concurrency: The most calls that are open at once.
        target: The ``module:program`` that runs name, so that the CLI can load it again.
        budget: The most that all runs of this executor may spend; ``limited`` bounds some of them.
        timeout: The seconds that each execution may take.
        prices: Returns the cost of a model's usage in nano-dollars, ``None`` if it is unknown.
        redact: Cleans each text before it is stored.
        secret: The key of the hashes that stand for redacted requests. Without one it is random, so
            that nobody can compare them later.
        answers: A recording that answers executions in place of models and tools.
        adapters: Adapters or their names by patterns of model names, ``{"anthropic/*": "json"}``;
            the first that matches counts, unless a parameter or the step names one.
        record_first: Whether a call is sent only once its start is durable in the store; under a
            budget it always is.

    Raises:
        ValueError: ``concurrency`` is less than 1.
        TypeError: ``model`` is not a model, or ``store`` a path instead of a store.
        UnknownAdapter: There is no adapter of such a name.

    Example:
        >>> import asyncio
        >>> import lmflow as lf
        >>> answer = lf.predict("answer", "question -> reply")
        >>> async def main():
        ...     async with lf.Executor(lf.scripted(["42"])) as ex:
        ...         return await ex.run(answer, question="what is six times seven?")
        >>> asyncio.run(main()).outputs.reply
        '42'
    """

    @explains_options(EXECUTOR_OPTIONS)
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
        adapters: Adapters | None = None,
        record_first: bool = False,
    ) -> None:
        if concurrency < 1:
            msg = f"concurrency must be at least 1, found {concurrency}"
            raise ValueError(msg)
        if budget is not None:
            check_kind("a budget", budget, Budget, BUDGET_FIX)
        connections = connect(
            model,
            recorder_of(store),
            concurrency,
            prices,
            redact,
            secret,
            answers,
            adapters,
            record_first=record_first,
        )
        self._session = Session(connections, Account(budget), timeout, target)

    async def __aenter__(self) -> Self:
        """Return the executor itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Stop open streams, close what the executor started, and wait until everything is
        recorded. Raises ``StoreError`` if the store could not write what was left.
        """
        await self._session.connections.aclose()

    @property
    def store(self) -> Recorder:
        """The store that records runs."""
        return self._session.recorder

    @property
    def runs(self) -> RecentRuns:
        """The latest runs of this executor, oldest first: ``ex.runs[-1]`` is the last one."""
        return self._session.connections.recent

    @property
    def concurrency(self) -> int:
        """The most calls that are open at once."""
        return self._session.connections.concurrency

    @property
    def spent(self) -> Spent:
        """The cost of its calls so far."""
        return self._session.account.ledger.spent

    @property
    def left(self) -> Left:
        """The part of its budget that is not spent."""
        return self._session.account.left

    def limited(
        self,
        budget: Budget | None = None,
        *,
        timeout: float | None = None,
        spent: Spent = NOTHING,
        target: str | None = None,
    ) -> Self:
        """Return this executor with limits of its own, ``ex.limited(Budget(usd=1)).run(...)``. It
        shares all else with this one, ends with it, and its calls count in this one's budget too.

        Args:
            budget: The most that its runs may spend together.
            timeout: The seconds that each execution may take; as here if ``None``.
            spent: What counts as spent from the start.
            target: The ``module:program`` that its runs name; as here if ``None``.

        Returns:
            The limited executor.

        Raises:
            TypeError: ``budget`` is not a ``Budget``.
        """
        limited = object.__new__(type(self))
        limited._session = self._session.within(budget, spent, timeout=timeout, target=target)
        return limited

    def events(self, *, limit: int = 10_000) -> Listener:
        """Listen to the events that the store gets from now on, until the executor closes.

        Any number may listen, and none holds up a run.

        Args:
            limit: The most events that wait for the listener. If it falls further behind, it loses
                the oldest, and a ``Missed`` in their place says how many.

        Returns:
            An async iterator of events. Raises ``ValueError`` if ``limit`` is less than 1.
        """
        listener = Listener(limit)
        self._session.connections.add_listener(listener)
        return listener

    def world(
        self, program: Program, *extra: Never, version: Version | str | None = None
    ) -> Record:
        """Return the world that a program would run in, as traces record it. Nothing is sent.

        Args:
            program: The program.
            *extra: Nothing; a version is given by keyword.
            version: A version, or the name of a ref or version in the store.

        Returns:
            The resolved models, the adapter, and the defaults that have changed since.

        Raises:
            UnknownVersion: The store has no such version.
            ForeignPaths: The program does not have a path of the version.
            ModelUnavailable: A model cannot be made.
            Unbounded: The budget must know what a step may cost, and the step has no bound.
        """
        check_order("world", extra)
        return self._session.world(program, version)

    async def run(
        self,
        program: Program | Pending,
        /,
        *extra: Never,
        version: Version | str | None = None,
        **inputs: Any,
    ) -> Trace:
        """Run a program on its inputs. It always runs anew.

        Args:
            program: The program, or a program that has its inputs already, ``step(x=1)``; that runs
                with its own overlay and sample.
            *extra: Nothing; a version is given by keyword.
            version: A version, or the name of a ref or version in the store; the defaults if
                ``None``. ``trace.world.stale`` names its defaults that the code has
                changed since.
            **inputs: The program's inputs. An input that is called ``version`` is given to the
                program itself: ``ex.run(program(version="2.0"))``.

        Returns:
            The trace; ``trace.outputs`` holds the outputs.

        Raises:
            TypeError: A version or an input is given by position.
            Exception: What the program raised, after it is recorded.
        """
        check_order("run", extra)
        return await self._run_trace(self._rollout(program, version, inputs))

    def stream(
        self,
        program: Program | Pending,
        /,
        *extra: Never,
        version: Version | str | None = None,
        **inputs: Any,
    ) -> Streaming:
        """Run a program and iterate over the texts of its outputs while they arrive. Closing the
        iterator stops the run.

        Args:
            program: The program, or a program that has its inputs already.
            *extra: Nothing; a version is given by keyword.
            version: A version, or the name of a ref or version in the store.
            **inputs: The program's inputs, as ``run`` takes them.

        Returns:
            An async iterator of ``Partial``; at its end ``stream.trace`` is the trace. It raises
            what ``run`` raises, at its end.
        """
        check_order("stream", extra)
        rollout = self._rollout(program, version, inputs)
        stream = Streaming(lambda on_text: self._run_trace(rollout, on_text))
        streams = self._session.connections.streams
        streams.add(stream.task)
        stream.task.add_done_callback(streams.discard)
        return stream

    async def rollouts(
        self,
        kind: RunKind,
        name: str,
        rollouts: Sequence[Rollout],
        *,
        of: str = "",
        progress: Progress | None = None,
    ) -> Run:
        """Execute rollouts side by side as one run.

        Args:
            kind: The kind of the run.
            name: The name of the run.
            rollouts: What to execute; the labels must differ.
            of: The run or trace that is executed again.
            progress: Shows the progress, as for ``map``.

        Returns:
            The run with one trace a rollout, in order. Failures are in the traces.

        Raises:
            BudgetExceeded: A call did not fit. It is raised once all open calls have ended and are
                recorded; the executions that it stopped stay open in the store.
        """
        shown = chosen(progress)
        return await run_rollouts(self._session, kind, name, rollouts, of=of, progress=shown)

    async def once(
        self, rollout: Rollout, *, kind: RunKind = "run", hear: OnText | None = None
    ) -> tuple[Run, Exception | None]:
        """Execute one rollout as a run of its own, and return when all of it is durable.

        Args:
            rollout: What to execute.
            kind: The kind of the run.
            hear: Is called with the pieces of replies while they arrive.

        Returns:
            The run, and the error that the program ended with.

        Raises:
            BudgetExceeded: A call did not fit.
        """
        return await run_once(self._session, rollout, kind=kind, on_text=hear)

    # Long methods stand in files of their own, as plain functions whose `self` is the executor.
    map = map_examples.map
    replay = rerun.replay
    resume = rerun.resume
    evaluate = evaluate_job.evaluate
    optimize = optimize_job.optimize
    score = score_job.score

    async def _run_trace(self, rollout: Rollout, on_text: OnText | None = None) -> Trace:
        run, error = await self.once(rollout, hear=on_text)
        if error:
            raise error
        return run.traces[0]

    def _rollout(
        self, program: Program | Pending, version: Version | str | None, inputs: Mapping[str, Any]
    ) -> Rollout:
        if isinstance(program, Pending) and inputs:
            msg = f"{program} has its inputs already, found more: {', '.join(inputs)}"
            raise TypeError(msg)
        if not isinstance(program, Pending):
            check_programs(program)
            check_version_input(program, version)
        base = self._session.version(version)
        if not isinstance(program, Pending):
            program = program(**inputs)
        root = self._session.root_version(version)
        return Rollout(program, version_with_overlay(program, base), first=root)
