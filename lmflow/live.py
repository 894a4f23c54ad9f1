"""The live driver: forks on an event loop, and the door that every call passes on its way out."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import attrs

from lmflow.drive import Done, Frame, advance, branch, closed, opened
from lmflow.effects import Call, Effect, Fork, Pending
from lmflow.errors import CallError, ModelUnavailable, StepTimeout, StoreError, ToolFailed
from lmflow.messages import ModelReply, Outcome, Request, ToolReply, ToolRequest, failure_of
from lmflow.models.base import Exchange, Http, Model, place
from lmflow.models.names import model as model_named
from lmflow.models.wrap import Routed
from lmflow.store import Recorder
from lmflow.trace import Asked, CallEnded, CallStarted, Chosen, Event
from lmflow.values import Record, plain

T = TypeVar("T")


@attrs.frozen(eq=False)
class Outside:
    """What an executor holds of the outside: models, session, threads, the bound on open calls, the recorder."""

    models: Models
    http: Http
    tools: ThreadPoolExecutor
    slots: asyncio.Semaphore
    recorder: Recorder

    def send(self, *events: Event) -> None:
        """Record events without waiting."""
        self.recorder.append(*events)

    async def kept(self, *events: Event) -> None:
        """Record events and wait until they are durable."""
        future = self.recorder.append(*events)
        if future.done():
            future.result()
        else:
            await asyncio.wrap_future(future)


class Live:
    """The driver on an event loop: forks run concurrently, every call passes ``perform``."""

    def __init__(self, outside: Outside, trace: str) -> None:
        self.outside = outside
        self.trace = trace
        self.calls: list[Asked] = []
        self.choices: dict[str, str | int] = {}
        self.models: list[str] = []

    async def run(self, pending: Pending, outer: Frame) -> Record:
        """The outputs of a program that is awaited in a frame."""
        coroutine, frame = opened(pending, outer)
        answer, error, name = None, None, str(pending.program)
        try:
            while not isinstance(effect := advance(coroutine, answer, error, name), Done):
                answer, error = None, None
                try:
                    answer = await self.settle(effect, frame)
                except CallError as problem:
                    error = problem
        finally:
            coroutine.close()
        return closed(pending, effect.value)

    async def settle(self, effect: Effect, frame: Frame) -> Any:
        """The answer to one effect. A ``CallError`` is for the coroutine that awaits it."""
        if isinstance(effect, Call):
            return await self.perform(effect, frame.next("call"))
        if isinstance(effect, Pending):
            return await self.run(effect, frame)
        at = frame.next(effect.name)
        return await (self.one(effect, at, frame) if effect.mode == "first" else self.every(effect, at, frame))

    async def every(self, fork: Fork, at: str, frame: Frame) -> tuple[Any, ...]:
        """All branches settled; then the results, or the first failure in program order."""
        results = await together([self.tried(e, branch(fork, i, at, frame)) for i, e in enumerate(fork.branches)])
        for result in results:
            if isinstance(result, Exception):
                raise result
        return tuple(results)

    async def one(self, fork: Fork, at: str, frame: Frame) -> Any:
        """The branch that ends first, which is recorded; the others are stopped."""
        tasks = [asyncio.create_task(self.tried(e, branch(fork, i, at, frame))) for i, e in enumerate(fork.branches)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        winner = min(tasks.index(task) for task in done)
        self.choices[at] = fork.label(winner)
        await self.outside.kept(Chosen(self.trace, at, fork.label(winner)))
        result = tasks[winner].result()
        if isinstance(result, Exception):
            raise result
        return result

    async def tried(self, effect: Effect, frame: Frame) -> Any:
        """The answer, or the failure as a value; what ends the whole run (a lost store) is raised."""
        try:
            return await self.settle(effect, frame)
        except StoreError:
            raise
        except Exception as problem:  # noqa: BLE001 - branches settle before any of them is heard
            return problem

    async def perform(self, call: Call, address: str) -> Any:
        """One call through the door, within its time and the bound on open calls."""
        async with self.outside.slots:
            return await _Door(self, call, address).through()

    async def kept(self, asked: Asked) -> None:
        """Record an ended attempt, and wait for it."""
        self.calls.append(asked)
        await self.outside.kept(CallEnded(self.trace, asked))


class _Door:
    """One call: its attempts, each started and ended in the store before its answer is used."""

    def __init__(self, live: Live, call: Call, address: str) -> None:
        self._live, self._call, self._address = live, call, address
        self._attempt = 0
        self._late = False

    async def through(self) -> Any:
        request = self._call.request
        if isinstance(request, ToolRequest):
            return await self._timed(request, self._attempted(request, request.key, self._tool))
        model = self._live.outside.models.get(request.model)
        self._live.models.append(request.model)
        asked = attrs.evolve(request, model=model.name, endpoint=model.endpoint)
        key = asked.key

        async def send(exchange: Exchange, /, *, by: Model | None = None, source: str = "") -> ModelReply:
            sent = asked if by is None else attrs.evolve(asked, model=by.name, endpoint=by.endpoint)
            ask = partial(exchange, self._live.outside.http)
            reply = await self._attempted(sent, key if sent is asked else sent.key, ask, source)
            if not isinstance(reply, ModelReply):
                msg = f"{model.name} answered {reply!r}, expected a ChatReply or an EmbedReply"
                raise TypeError(msg)
            return reply

        return await self._timed(asked, model(asked, send))

    async def _timed(self, request: Request, answer: Coroutine[Any, Any, Outcome]) -> Outcome:
        """The answer within the step's time. What is too late is recorded as such, also between two attempts."""
        if self._call.timeout is None:
            return await answer
        task = asyncio.ensure_future(answer)
        try:
            done, _ = await asyncio.wait([task], timeout=self._call.timeout)
            if not done:
                self._late = True
        finally:
            task.cancel()
            await asyncio.wait([task])
        if task.cancelled():
            return await self._attempted(request, request.key, self._overdue)
        return task.result()

    async def _overdue(self) -> Outcome:
        raise self._timeout()

    def _timeout(self) -> StepTimeout:
        return StepTimeout(self._address.rpartition("/")[0], self._call.timeout or 0.0)

    async def _attempted(
        self, request: Request, key: str, perform: Callable[[], Awaitable[Outcome]], source: str = ""
    ) -> Outcome:
        asked = Asked(self._address, request, key, self._attempt, started=time.time_ns(), source=source)
        self._attempt += 1
        self._live.outside.send(CallStarted(self._live.trace, asked))
        try:
            outcome: Outcome = await perform()
            error = None
        except CallError as problem:
            outcome = failure_of(problem)
            error = outcome.error()
        except asyncio.CancelledError:
            if not self._late:
                raise
            outcome = failure_of(self._timeout())
            error = outcome.error()
        cost = 0 if source else None
        await self._live.kept(attrs.evolve(asked, outcome=outcome, ended=time.time_ns(), cost=cost))
        if error:
            raise error
        return outcome

    async def _tool(self) -> ToolReply:
        request, function = self._call.request, self._call.function
        assert isinstance(request, ToolRequest)  # noqa: S101 - the other kind of request
        assert function is not None  # noqa: S101 - a tool's call carries its function
        inputs: Mapping[str, Any] = request.inputs
        try:
            if inspect.iscoroutinefunction(function):
                result = await function(**inputs)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._live.outside.tools, lambda: function(**inputs))
            return ToolReply(plain(result))
        except Exception as error:  # noqa: BLE001 - a tool's failure is an answer
            raise ToolFailed(request.tool, type(error).__name__, str(error)) from None


class Models:
    """The models that an executor was given or made by name."""

    def __init__(self, default: str | Model | None) -> None:
        self._default = default
        self._made: dict[str, Model] = {}

    def get(self, name: str) -> Model:
        """The model of that name, the default for none or its own name. ``ModelUnavailable`` where there is none."""
        if name == "" and self._default is None:
            fix = 'Give the executor one, lf.Executor("openai/gpt-5-mini"), or the step, model=...'
            raise ModelUnavailable("the default", "no model was given", fix)
        if not isinstance(self._default, (str, type(None))) and name in {"", self._default.name}:
            return self._default
        if isinstance(self._default, Routed) and name in self._default.models:
            return self._default.models[name]
        wanted = name or str(self._default)
        if wanted not in self._made:
            self._made[wanted] = model_named(wanted)
        return self._made[wanted]

    def places(self, names: Iterable[str]) -> Record:
        """Per name what it stands for: the resolved model and its endpoint class."""
        models = {name: self.get(name) for name in dict.fromkeys(names)}
        return Record({name: place(model) for name, model in models.items()})

    async def aclose(self) -> None:
        """Close what was made by name."""
        for model in self._made.values():
            await model.aclose()
        self._made.clear()


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first exception cancels the rest and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return [task.result() for task in tasks]
