"""The door that every call passes on its way out: its time, its budget, and its attempts, recorded
before their use.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs

from lmflow.errors import CallError, StepTimeout, ToolFailed
from lmflow.execution.budget import NOTHING, ONE, Spent, actual_or_worst, worst_case
from lmflow.execution.connections import Account, Connections
from lmflow.interpreter.partial import Source, pieces
from lmflow.messages.replies import (
    ChatReply,
    EmbedReply,
    Failure,
    ModelReply,
    Outcome,
    ToolReply,
    failure_of,
)
from lmflow.messages.requests import ChatRequest, ModelRequest, Request, ToolRequest
from lmflow.models.base import Exchange, Http, Model, Response, Stream
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.replays.reuse import NOTHING_KEPT, Reuse, copied_call, outcome_or_raise
from lmflow.traces.events import CallEnded, CallStarted
from lmflow.traces.trace import CallAttempt
from lmflow.values.record import plain

Perform = Callable[[], Awaitable[Outcome]]
OnText = Callable[[Source, str | None], None]
"""What is told the pieces of a reply as they come, and ``None`` at its end."""


class Execution:
    """One execution as it goes on: what its calls need, and what has come of them so far."""

    def __init__(  # noqa: PLR0913 - each is a fact of its own
        self,
        outside: Connections,
        trace: str,
        *,
        account: Account,
        name: str = "",
        timeout: float | None = None,
        hear: OnText | None = None,
        reuse: Reuse = NOTHING_KEPT,
        calls: Iterable[CallAttempt] = (),
    ) -> None:
        self.outside = outside
        self.trace = trace
        self.reuse = reuse
        self.account = account
        self.name = name
        self.timeout = timeout
        self.deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        self.hear = hear
        self.calls = list(calls)
        self.choices: dict[str, str | int] = {}
        self.models: dict[str, Model] = {}

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline

    def model(self, name: str) -> Model:
        """The model of that name, which it has then used."""
        found = self.models.get(name)
        if found is None:
            found = self.models[name] = self.outside.models.get(name)
        return found

    def recalled(self, address: str, request: Request) -> CallAttempt | None:
        """The recorded call that answers a request, where there is one."""
        asked = self.reuse.resolve_model(request, address)
        if asked is request and not isinstance(request, ToolRequest):
            model = self.model(request.model)
            asked = request.to(model.name, model.endpoint)
        return self.reuse(address, asked)

    async def again(self, found: CallAttempt, address: str) -> Outcome:
        """The answer of a recorded call. In a trace of its own it is recorded anew, at no cost."""
        if self.reuse.source != self.trace:
            await self.kept(copied_call(found, address, self.reuse.source, time.time_ns()))
        outcome: Outcome = outcome_or_raise(found.outcome)
        return outcome

    async def kept(self, asked: CallAttempt) -> None:
        """Record an ended attempt, and wait for it."""
        self.calls.append(asked)
        await self.outside.kept(CallEnded(self.trace, asked))


class CallRunner:
    """One call: its attempts, each started and ended in the store before its answer is used.

    A call ends at the latest with its step's time (counted from when it may go out) and its
    execution's (from the beginning); what is too late is recorded as a ``StepTimeout``, and after
    the execution's time nothing is sent.
    """

    def __init__(self, execution: Execution, call: Call, address: str, step: Program) -> None:
        self._execution, self._call, self._address, self._step = execution, call, address, step
        self._attempt = execution.reuse.attempts.get(address, 0)
        self._past = iter(execution.reuse.past.get(address, ()))
        timed = execution.deadline is not None or call.timeout is not None
        self._scope = asyncio.timeout_at(execution.deadline) if timed else None
        self._cancelled = 0
        self._open = False
        self._asked: Request = call.request
        self._key = ""

    async def through(self) -> Outcome:
        """The answer. Raises the ``CallError`` that was recorded, ``BudgetExceeded``,
        ``Unbounded``, ``StoreError``.
        """
        execution, request = self._execution, self._call.request
        if (
            execution.reuse is not NOTHING_KEPT
            and (found := execution.recalled(self._address, request)) is not None
        ):
            return self._shown(request, await execution.again(found, self._address))
        if isinstance(request, ToolRequest):
            self._asked, self._key = request, request.key
            perform: Perform = partial(self._attempted, request, request.key, self._tool)
        else:
            model = execution.model(request.model)
            self._asked = asked = request.to(model.name, model.endpoint)
            self._key = asked.key
            perform = partial(model, asked, self._send)
        return await (
            self._opened(perform) if self._scope is None else self._in_time(self._scope, perform)
        )

    def _shown(self, request: Request, outcome: Outcome) -> Outcome:
        """A recorded outcome, which who listens hears in the pieces in which it came."""
        if (
            self._execution.hear is not None
            and isinstance(outcome, ChatReply)
            and isinstance(request, ChatRequest)
        ):
            source = Source(self._step, request, self._address, self._attempt, self._call.wanted)
            for piece in (*pieces(outcome), None):
                self._execution.hear(source, piece)
        return outcome

    async def _in_time(self, scope: asyncio.Timeout, perform: Perform) -> Outcome:
        task = asyncio.current_task()
        self._cancelled = task.cancelling() if task else 0
        try:
            if not self._execution.late:
                async with scope:
                    return await self._opened(perform)
        except TimeoutError:
            if not scope.expired():
                raise
        return await self._overdue()

    async def _opened(self, perform: Perform) -> Outcome:
        """What is performed while the call is open; its step's time counts from then."""
        await self._enter()
        if self._scope is not None and self._call.timeout is not None:
            self._scope.reschedule(self._until(self._call.timeout))
        try:
            return await perform()
        finally:
            self._leave()

    async def _enter(self) -> None:
        """Become one of the calls that are open."""
        await self._execution.outside.slots.acquire()
        self._open = True

    def _leave(self) -> None:
        """Be open no longer, so that another may go out."""
        if self._open:
            self._open = False
            self._execution.outside.slots.release()

    def _until(self, seconds: float) -> float:
        until = asyncio.get_running_loop().time() + seconds
        return until if self._execution.deadline is None else min(until, self._execution.deadline)

    async def _overdue(self) -> Outcome:
        """The attempt that there is no time for, as it is recorded."""
        execution, place, number, now = (
            self._execution,
            self._address,
            self._attempt,
            time.time_ns(),
        )
        failure = failure_of(self._timeout())
        execution.outside.send(
            CallStarted(
                execution.trace, CallAttempt(place, self._asked, self._key, number, None, now)
            )
        )
        await execution.kept(
            CallAttempt(place, self._asked, self._key, number, failure, now, time.time_ns())
        )
        raise failure.error()

    async def _send(
        self, exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        """The door as models know it, ``Send``: an attempt's worst case is reserved before it is
        sent.
        """
        execution, asked, worst = self._execution, self._asked, NOTHING
        assert not isinstance(asked, ToolRequest)  # noqa: S101 - those aren't sent
        for attempt in self._past:
            outcome_or_raise(attempt.outcome)
        sent = asked if by is None else asked.to(by.name, by.endpoint)
        key = self._key if sent is asked else sent.key
        if not source:
            worst = self._worst(sent)
            if execution.account.bounded:
                await execution.account.reserve(worst)
        outside, hear = execution.outside, execution.hear
        perform = self._streamed(sent, exchange, hear) if hear else partial(exchange, outside.http)
        reply = await self._attempted(sent, key, perform, worst, source)
        if not isinstance(reply, ModelReply):
            msg = f"{sent.model} answered {reply!r}, expected a ChatReply or an EmbedReply"
            raise TypeError(msg)
        return reply

    def _worst(self, request: ModelRequest) -> Spent:
        account, prices = self._execution.account, self._execution.outside.prices
        if not account.measured:
            return ONE
        return worst_case(str(self._step), request, prices, time.time_ns(), priced=account.priced)

    def _streamed(
        self, asked: ModelRequest, exchange: Exchange, told: OnText
    ) -> Callable[[], Awaitable[ModelReply]]:
        """The exchange with somebody who listens; a reply that doesn't stream is heard as one
        piece.
        """

        async def perform() -> ModelReply:
            source = Source(self._step, asked, self._address, self._attempt - 1, self._call.wanted)
            heard = ListeningSession(self._execution.outside.http, lambda text: told(source, text))
            reply = await exchange(heard)
            if isinstance(reply, ChatReply):
                if not reply.chunks:
                    told(source, reply.text)
                told(source, None)
            return reply

        return perform

    async def _attempted(
        self, request: Request, key: str, perform: Perform, worst: Spent = NOTHING, source: str = ""
    ) -> Outcome:
        """One attempt. The call is open until it is answered; while it waits for its record others
        may go out.
        """
        execution, place, number = self._execution, self._address, self._attempt
        actual: Spent | None = NOTHING
        try:
            if not self._open:
                await self._enter()
            began = time.time_ns()
            asked = CallAttempt(place, request, key, number, None, began, source=source)
            execution.outside.send(CallStarted(execution.trace, asked))
            self._attempt, actual = number + 1, None
            try:
                outcome = await perform()
            except CallError as problem:
                outcome = failure_of(problem)
            except asyncio.CancelledError:
                if not self._expired:
                    raise
                outcome = failure_of(self._timeout())  # being too late is an answer
            self._leave()
            cost = 0 if source else self._cost(request, outcome)
            actual = actual_or_worst(outcome, cost, worst)
        finally:
            if worst is not NOTHING:
                execution.account.settle(
                    worst, actual_or_worst(None, None, worst) if actual is None else actual
                )
        await execution.kept(
            CallAttempt(place, request, key, number, outcome, began, time.time_ns(), cost, source)
        )
        self._heed()
        if isinstance(outcome, Failure):
            raise outcome.error()
        return outcome

    def _cost(self, request: Request, outcome: Outcome) -> int | None:
        """What the reply cost, in nano-dollars."""
        if isinstance(outcome, (ChatReply, EmbedReply)) and not isinstance(request, ToolRequest):
            return self._execution.outside.prices(request.model, outcome.usage, time.time_ns())
        return None

    def _heed(self) -> None:
        """Heed a cancellation from outside that came together with the timeout's own."""
        task = asyncio.current_task() if self._expired else None
        if task and task.cancelling() > self._cancelled + 1:
            raise asyncio.CancelledError

    @property
    def _expired(self) -> bool:
        return self._scope is not None and self._scope.expired()

    def _timeout(self) -> StepTimeout:
        """Whose time it was that was over."""
        execution = self._execution
        if execution.late:
            return StepTimeout(execution.name, execution.timeout or 0.0)
        return StepTimeout(self._address.rpartition("/")[0], self._call.timeout or 0.0)

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
                result = await loop.run_in_executor(
                    self._execution.outside.tools, lambda: function(**inputs)
                )
            return ToolReply(plain(result, kept=True))
        except Exception as error:  # noqa: BLE001 - a tool's failure is an answer
            raise ToolFailed(request.tool, type(error).__name__, str(error)) from None


@attrs.frozen(eq=False)
class ListeningSession:
    """The executor's session for one call, with somebody who listens."""

    http: Http
    hear: Callable[[str], None]

    async def post(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> Response:
        """As the session does."""
        return await self.http.post(url, headers, body, seconds)

    def stream(
        self, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
    ) -> AbstractAsyncContextManager[Stream]:
        """As the session does."""
        return self.http.stream(url, headers, body, seconds)
