"""Runs one call: its time limits, its budget, and its attempts, each recorded before it is used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import attrs

from lmflow.errors import CallError, ModelFailed, StepTimeout
from lmflow.execution.batching_writer import WriteReceipt
from lmflow.execution.budget import NOTHING, Spent
from lmflow.execution.costs import actual_or_worst, actual_price, to_reserve, tool_price
from lmflow.execution.lanes.call import WaveCall
from lmflow.execution.listening import heard
from lmflow.execution.logs import log_another_attempt, log_attempt
from lmflow.execution.loop_resources import ends_the_task
from lmflow.execution.open_trace import OpenTrace
from lmflow.interpreter.partial import ReplySource, reply_pieces
from lmflow.messages.failures import check_reply, recordable, tool_failure, unsent_failure
from lmflow.messages.replies import (
    ChatReply,
    Failure,
    ModelReply,
    Outcome,
    ToolReply,
    failure_of,
)
from lmflow.messages.requests import ChatRequest, ModelRequest, Request, ToolRequest
from lmflow.models.base import Exchange, Model, is_own
from lmflow.models.lanes.model import WaveExchange
from lmflow.programs.effects import Call
from lmflow.programs.program import Program
from lmflow.replays.reuse import NO_ANSWERS, outcome_or_raise
from lmflow.traces.events import CallStarted
from lmflow.traces.trace import CallAttempt
from lmflow.values.record import plain

Perform = Callable[[], Awaitable[Outcome]]


class CallRunner:
    """Runs one call: each of its attempts is recorded as started and as ended before its reply is
    used.

    A call ends at the latest with its step's time (counted from when a slot is free for it) and
    with its execution's (counted from the beginning). An attempt that is too late is recorded as a
    ``StepTimeout``; after the execution's time nothing is sent.
    """

    # One asyncio.Timeout covers both limits. It is entered with the execution's deadline before the
    # call waits for a slot, and moved forward by the step's time once it has one: the wait in the
    # queue counts against the execution but not against the step.
    def __init__(self, trace: OpenTrace, call: Call, address: str, step: Program) -> None:
        self._trace, self._call, self._address, self._step = trace, call, address, step
        self._attempt = trace.reuse.attempts.get(address, 0)
        self._past = iter(trace.reuse.past.get(address, ()))
        timed = trace.deadline is not None or call.timeout is not None
        self._scope = asyncio.timeout_at(trace.deadline) if timed else None
        self._cancellations_before = 0
        self._has_slot = False
        self._request: Request = call.request
        self._key, self._hands_on = "", True
        self._failed: CallAttempt | None = None
        self._raised: CallError | None = None
        self._replies: list[ModelReply] = []

    async def run(self) -> Outcome:
        """Return the reply. Raises the ``CallError`` that was recorded, ``BudgetExceeded``,
        ``Unbounded`` or ``StoreError``.
        """
        trace, request = self._trace, self._call.request
        if trace.reuse is not NO_ANSWERS:
            recorded = trace.recorded_answer(self._address, request)
            if recorded is not None:
                reply = await trace.use_recorded(recorded, self._address)
                return self._play_back(request, reply)
        if isinstance(request, ToolRequest):
            self._request, self._key = request, request.key
            perform: Perform = self._call_tool
        else:
            model = trace.model(request.model)
            self._request = resolved = request.to(model.name, model.endpoint)
            self._key, self._hands_on = resolved.key, is_own(model)
            perform = partial(self._ask, model, resolved)
        if self._scope is None:
            return await self._in_slot(perform)
        return await self._in_time(self._scope, perform)

    def _play_back(self, request: Request, outcome: Outcome) -> Outcome:
        """Give a recorded reply to who listens, in the pieces in which it once arrived."""
        if (
            self._trace.on_text is not None
            and isinstance(outcome, ChatReply)
            and isinstance(request, ChatRequest)
        ):
            source = self._reply_source(request, self._attempt)
            for piece in (*reply_pieces(outcome), None):
                self._trace.on_text(source, piece)
        return outcome

    # The TimeoutErrors of models and tools are recorded as their failures, so one that arrives here
    # while the scope has not expired is a caller's. The scope's own becomes a StepTimeout.
    async def _in_time(self, scope: asyncio.Timeout, perform: Perform) -> Outcome:
        task = asyncio.current_task()
        self._cancellations_before = task.cancelling() if task else 0
        try:
            if not self._trace.overdue:
                async with scope:
                    return await self._in_slot(perform)
        except TimeoutError:
            if not scope.expired():
                raise
        # An attempt that there is no time for.
        return await self._record_unsent(failure_of(self._timeout_error()))

    async def _in_slot(self, perform: Perform) -> Outcome:
        """Wait for one of the executor's slots, then perform; the step's time counts from then."""
        await self._take_slot()
        if self._scope is not None and self._call.timeout is not None:
            self._scope.reschedule(self._end_of(self._call.timeout))
        try:
            return await perform()
        finally:
            self._give_slot_back()

    async def _take_slot(self) -> None:
        loop = self._trace.connections.loop
        await loop.slots.acquire()
        loop.at_work += 1
        self._has_slot = True

    def _give_slot_back(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._trace.connections.loop.at_work -= 1
            self._trace.connections.loop.slots.release()

    def _end_of(self, seconds: float) -> float:
        end = asyncio.get_running_loop().time() + seconds
        return end if self._trace.deadline is None else min(end, self._trace.deadline)

    async def _record_unsent(self, outcome: Outcome) -> Outcome:
        """Record an outcome for which nothing was sent; return the reply, or raise the failure."""
        trace, address, number, now = self._trace, self._address, self._attempt, time.time_ns()
        is_copy = not isinstance(outcome, Failure)
        source, cost = (trace.trace_id, 0) if is_copy else ("", None)
        started = CallAttempt(
            address, self._request, self._key, number, None, now, cost=cost, source=source
        )
        trace.connections.record(CallStarted(trace.trace_id, started))
        trace.record_ended(attrs.evolve(started, outcome=outcome, ended=time.time_ns()))
        result: Outcome = outcome_or_raise(outcome)
        return result

    # What a model raises or returns must be what the last attempt recorded, since a replay answers
    # with that. A model that fails outside of its attempts, or makes a reply of several, gets one
    # more attempt, for which nothing is sent.
    async def _ask(self, model: Model, request: ModelRequest) -> Outcome:
        """Return a model's reply; whatever its code raises becomes a recorded failure."""
        task = asyncio.current_task()
        try:
            reply: Any = await model(request, self._send)
        except BaseException as error:
            failure = None if ends_the_task(error, task) else recordable(error, request)
            if failure is None or error is self._raised:
                raise
        else:
            if self._replies and reply is self._replies[-1]:
                return cast("Outcome", reply)
            checked = self._checked(reply, request, model)
            if not isinstance(checked, Failure):
                return await self._record_unsent(checked)
            failure = checked
        if self._failed is not None and self._failed.outcome == failure:
            raise failure.error() from None
        return await self._record_unsent(failure)

    def _checked(self, reply: Any, request: ModelRequest, model: Model) -> ModelReply | Failure:
        """Return the reply of a model that made it of others; a failure if it sent nothing."""
        try:
            checked = check_reply(reply, request)
        except ModelFailed as problem:
            return failure_of(problem)
        return checked if self._replies else unsent_failure(model.name)

    # Models get this method as their `Send`. A model that retries calls it once for each attempt,
    # so every attempt passes the budget and the recorder, whatever the model does between them.
    async def _send(
        self, exchange: Exchange, /, *, by: Model | None = None, source: str = ""
    ) -> ModelReply:
        """Send one attempt for a model: reserve its worst case, record it, and return the reply."""
        trace, resolved, worst = self._trace, self._request, NOTHING
        assert not isinstance(resolved, ToolRequest)  # noqa: S101 - tools are run, not sent
        await trace.durable()
        for attempt in self._past:
            self._raise_recorded(attempt.outcome)
        request = resolved if by is None else resolved.to(by.name, by.endpoint)
        key = self._key if request is resolved else request.key
        if not source:
            account, prices = trace.account, trace.connections.prices
            worst = to_reserve(account, str(self._step), request, prices, exchange)
            if trace.account.bounded:
                with trace.connections.loop.idle():
                    await trace.account.reserve(worst)
        if isinstance(exchange, WaveExchange):
            outcome = await self._send_by_wave(request, key, exchange, worst)
        else:
            perform = self._performing(request, exchange)
            outcome = await self._run_attempt(request, key, perform, worst, source)
        self._replies.append(reply := cast("ModelReply", outcome))
        return reply

    async def _send_by_wave(
        self, request: ModelRequest, key: str, exchange: WaveExchange, worst: Spent
    ) -> Outcome:
        numbers = self._attempt, 0 if self._failed is None else self._failed.attempt + 1
        place = self._address, key, numbers
        async with WaveCall(self._trace, exchange, *place, self._give_slot_back) as wave:
            perform = self._performing(request, wave.exchange(self._scope))
            return await self._run_attempt(request, key, perform, worst)

    def _performing(self, request: ModelRequest, exchange: Exchange) -> Perform:
        http, on_text = self._trace.connections.http, self._trace.on_text
        if on_text is None:
            return partial(exchange, http)
        return partial(heard, exchange, http, self._reply_source(request, self._attempt), on_text)

    def _reply_source(self, request: ModelRequest, attempt: int) -> ReplySource:
        call = self._call
        return ReplySource(self._step, request, self._address, attempt, call.wanted, call.adapter)

    # `actual` says what the attempt counts as if this coroutine ends here: nothing before it is
    # started, the worst case (None) while it is out, since a server may bill what we no longer wait
    # for. `finally` settles the reservation on every way out, else the budget would leak.
    async def _run_attempt(
        self, request: Request, key: str, perform: Perform, worst: Spent = NOTHING, source: str = ""
    ) -> Outcome:
        """Run one attempt. It holds a slot until it is answered; while its record becomes durable
        another call may use the slot.
        """
        trace, address, number = self._trace, self._address, self._attempt
        actual: Spent | None = NOTHING
        try:
            if not self._has_slot:
                await self._take_slot()
            began = time.time_ns()
            started = CallAttempt(address, request, key, number, None, began, source=source)
            receipt = trace.connections.record(CallStarted(trace.trace_id, started))
            self._attempt, actual = number + 1, None
            if self._failed is not None:
                log_another_attempt(trace.trace_id, self._step, request, self._failed)
            outcome = await self._outcome_of(perform, receipt, request)
            self._give_slot_back()
            price = actual_price(self._call, request, outcome, trace.connections.prices)
            cost = 0 if source else price
            actual = actual_or_worst(outcome, cost, worst)
        finally:
            if worst is not NOTHING:
                trace.account.settle(
                    worst, actual_or_worst(None, None, worst) if actual is None else actual
                )
        ended = CallAttempt(
            address, request, key, number, outcome, began, time.time_ns(), cost, source
        )
        trace.record_ended(ended)
        if not self._hands_on:
            await trace.durable()
        log_attempt(trace.trace_id, self._step, ended)
        self._raise_own_cancellation()
        if isinstance(outcome, Failure):
            self._failed = ended
            self._raise_recorded(outcome)
        return outcome

    def _raise_recorded(self, outcome: Outcome | None) -> None:
        """Raise the error of a recorded failure, and note that the record has it."""
        if isinstance(outcome, Failure):
            self._raised = outcome.error()
            raise self._raised

    # Being too late is an outcome and must be recorded like any other, so the cancellation that the
    # expired scope sends is caught here, inside the scope; the scope then finds nothing to convert.
    #
    # Under a budget nothing is sent before its start is durable: a call that a crash left without a
    # record would be sent again by `resume`, and the server would count more than the budget.
    async def _outcome_of(
        self, perform: Perform, started: WriteReceipt, request: Request
    ) -> Outcome:
        task = asyncio.current_task()
        try:
            if self._trace.record_first:
                await started.durable()
            return await self._performed(perform, request, task)
        except asyncio.CancelledError:
            if not self._expired:
                raise
            return failure_of(self._timeout_error())

    async def _performed(
        self, perform: Perform, request: Request, task: asyncio.Task[Any] | None
    ) -> Outcome:
        """Return the outcome of a model's or a tool's code, whatever it raises or returns."""
        try:
            outcome = await perform()
            return outcome if isinstance(request, ToolRequest) else check_reply(outcome, request)
        except BaseException as error:
            failure = None if ends_the_task(error, task) else recordable(error, request)
            if failure is None:
                raise
            return failure

    async def _call_tool(self) -> Outcome:
        """Run a tool; one that has a price is reserved in the budget first."""
        account = self._trace.account
        worst = tool_price(str(self._step), self._call, priced=account.priced)
        if worst is not NOTHING:
            await account.reserve(worst)
        return await self._run_attempt(self._request, self._key, self._run_tool, worst)

    # The scope cancels the task once. If the count rose by more than that, somebody else cancelled
    # the task in the same moment, and to go on would lose that cancellation.
    def _raise_own_cancellation(self) -> None:
        task = asyncio.current_task() if self._expired else None
        if task and task.cancelling() > self._cancellations_before + 1:
            raise asyncio.CancelledError

    @property
    def _expired(self) -> bool:
        return self._scope is not None and self._scope.expired()

    def _timeout_error(self) -> StepTimeout:
        """Return the error that names the limit that was reached: the execution's or the step's."""
        trace = self._trace
        if trace.overdue:
            return StepTimeout(trace.name, trace.timeout or 0.0)
        return StepTimeout(self._address.rpartition("/")[0], self._call.timeout or 0.0)

    async def _run_tool(self) -> ToolReply | Failure:
        request, function = self._call.request, self._call.function
        assert isinstance(request, ToolRequest)  # noqa: S101 - the other kind of request
        assert function is not None  # noqa: S101 - a tool's call carries its function
        result, error = await self._trace.connections.call_tool(function, request.inputs)
        if error is not None:
            return tool_failure(error, request.tool)
        return ToolReply(plain(result, kept=True))
