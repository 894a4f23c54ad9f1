"""The live driver: runs programs on an event loop, the branches of a fork side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from lmflow.errors import ENDING, CallError, StoreError
from lmflow.execution.call import CallRunner
from lmflow.execution.open_trace import OpenTrace
from lmflow.interpreter.driver import (
    Done,
    Frame,
    advance,
    branch_frame,
    checked_outputs,
    close_coroutine,
    open_frame,
    with_sample,
)
from lmflow.messages.replies import ChatReply
from lmflow.programs.effects import Call, Effect, Fork, Pending
from lmflow.programs.program import Pipe, Step
from lmflow.traces.events import RaceWon
from lmflow.values.record import Record

T = TypeVar("T")

_WITHOUT_USER_CODE = (Step, Pipe)
"""Programs whose coroutines are lmflow's own; code of others sees only replies that are durable."""

LONG_REPLY = 8_000
"""Characters of a reply beyond which a thread reads it, so that no other call waits meanwhile."""


class LiveDriver:
    """Runs programs for one execution: awaits their effects and sends the results back to them."""

    def __init__(self, trace: OpenTrace) -> None:
        self._trace = trace

    # `advance` hides the running event loop while user code runs. A flow that could reach it would
    # start tasks or timers that no trace records, and an exact replay would answer differently.
    async def run(self, pending: Pending, outer: Frame) -> Record:
        """Return the outputs of a program that is awaited in a frame."""
        coroutine, frame = open_frame(pending, outer)
        is_own = isinstance(pending.program, _WITHOUT_USER_CODE)
        result, error, name = None, None, str(pending.program)
        try:
            while True:
                if isinstance(result, ChatReply) and len(result.text) > LONG_REPLY:
                    effect = await asyncio.to_thread(advance, coroutine, result, error, name)
                else:
                    effect = advance(coroutine, result, error, name)
                if isinstance(effect, Done):
                    break
                result, error = None, None
                try:
                    result = await self._perform(effect, frame)
                except CallError as problem:
                    error = problem
                if not is_own:
                    await self._trace.durable()
        except BaseException:
            close_coroutine(coroutine)
            raise
        return checked_outputs(pending, effect.value)

    async def _perform(self, effect: Effect, frame: Frame) -> Any:
        """Perform one effect. A ``CallError`` is thrown into the coroutine that awaits it."""
        if isinstance(effect, Call):
            await self._trace.durable()
            call = with_sample(effect, frame.env.sample)
            return await CallRunner(self._trace, call, frame.next("call"), frame.program).run()
        if isinstance(effect, Pending):
            return await self.run(effect, frame)
        address = frame.next(effect.name)
        if effect.mode == "first":
            return await self._race(effect, address, frame)
        return await self._run_branches(effect, address, frame)

    async def _run_branches(self, fork: Fork, address: str, frame: Frame) -> tuple[Any, ...]:
        """Run all branches to their ends, then return the results or raise the first failure in
        program order.
        """
        results = await gather_strict(
            [
                self._attempt(branch, branch_frame(fork, position, address, frame))
                for position, branch in enumerate(fork.branches)
            ]
        )
        problems = [result for result in results if isinstance(result, Exception)]
        if problems:
            ending = [problem for problem in problems if isinstance(problem, ENDING)]
            raise (ending or problems)[0]
        return tuple(results)

    # The winner is the one thing in a run that timing decides, so it is recorded before its result
    # is used: a resumed or replayed trace takes the recorded branch and never races again. Losers
    # are cancelled and awaited, so that their open calls are settled as maybe billed.
    async def _race(self, fork: Fork, address: str, frame: Frame) -> Any:
        """Return the result of the branch that ends first; the other branches are cancelled. A
        winner on record wins again.
        """
        recorded_winner = self._trace.reuse.choices.get(address)
        for position, branch in enumerate(fork.branches):
            if fork.label(position) == recorded_winner:
                result = await self._attempt(branch, branch_frame(fork, position, address, frame))
                return await self._record_winner(fork, position, address, result)
        tasks = [
            asyncio.create_task(self._attempt(branch, branch_frame(fork, position, address, frame)))
            for position, branch in enumerate(fork.branches)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # Two branches may end in one turn of the loop; the set has no order, the program has.
        winner = min(tasks.index(task) for task in done)
        return await self._record_winner(fork, winner, address, tasks[winner].result())

    async def _record_winner(self, fork: Fork, winner: int, address: str, result: Any) -> Any:
        """Record the winner of a race, then return its result or raise its failure."""
        if isinstance(result, ENDING):
            raise result
        label = fork.label(winner)
        self._trace.choices[address] = label
        self._trace.record(RaceWon(self._trace.trace_id, address, label))
        if isinstance(result, Exception):
            raise result
        return result

    # Branches end before any failure is raised: a failure that cancelled its siblings would leave
    # it to timing which of their calls are on record. A lost store is the exception, since what is
    # still open could not be recorded anyway.
    async def _attempt(self, effect: Effect, frame: Frame) -> Any:
        """Perform one effect; a failure is returned as a value, except for ``StoreError``."""
        try:
            return await self._perform(effect, frame)
        except StoreError:
            raise
        except Exception as problem:  # noqa: BLE001 - raised once all branches have ended
            return problem


async def gather_strict(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results in order; the first exception cancels the rest and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return [task.result() for task in tasks]
