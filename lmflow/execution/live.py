"""The live driver: programs on an event loop, their forks side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from lmflow.errors import ENDING, CallError, StoreError
from lmflow.execution.call import CallRunner, Execution
from lmflow.interpreter.driver import Done, Frame, advance, branch, closed, opened, sampled, shut
from lmflow.programs.effects import Call, Effect, Fork, Pending
from lmflow.traces.events import RaceWon
from lmflow.values.record import Record

T = TypeVar("T")


class Live:
    """The driver on an event loop: forks run concurrently, every call passes ``perform``."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution

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
        except BaseException:
            shut(coroutine)
            raise
        return closed(pending, effect.value)

    async def settle(self, effect: Effect, frame: Frame) -> Any:
        """The answer to one effect. A ``CallError`` is for the coroutine that awaits it."""
        if isinstance(effect, Call):
            call = sampled(effect, frame.env.sample)
            return await CallRunner(
                self.execution, call, frame.next("call"), frame.program
            ).through()
        if isinstance(effect, Pending):
            return await self.run(effect, frame)
        at = frame.next(effect.name)
        return await (
            self.one(effect, at, frame) if effect.mode == "first" else self.every(effect, at, frame)
        )

    async def every(self, fork: Fork, at: str, frame: Frame) -> tuple[Any, ...]:
        """All branches settled; then the results, or the first failure in program order."""
        results = await gather_strict(
            [self.tried(e, branch(fork, i, at, frame)) for i, e in enumerate(fork.branches)]
        )
        problems = [result for result in results if isinstance(result, Exception)]
        if problems:
            raise next(
                (problem for problem in problems if isinstance(problem, ENDING)), problems[0]
            )
        return tuple(results)

    async def one(self, fork: Fork, at: str, frame: Frame) -> Any:
        """The branch that ends first, which is recorded; the others are stopped. A recorded winner
        stays it.
        """
        known = [
            i
            for i in range(len(fork.branches))
            if fork.label(i) == self.execution.reuse.choices.get(at)
        ]
        if known:
            return await self.won(fork, known[0], at, frame)
        tasks = [
            asyncio.create_task(self.tried(e, branch(fork, i, at, frame)))
            for i, e in enumerate(fork.branches)
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        winner = min(tasks.index(task) for task in done)
        return await self.chosen(fork, winner, at, tasks[winner].result())

    async def won(self, fork: Fork, winner: int, at: str, frame: Frame) -> Any:
        """The branch that is known to have ended first."""
        result = await self.tried(fork.branches[winner], branch(fork, winner, at, frame))
        return await self.chosen(fork, winner, at, result)

    async def chosen(self, fork: Fork, winner: int, at: str, result: Any) -> Any:
        """Record who won; then its answer, or its failure raised."""
        if isinstance(result, ENDING):
            raise result
        self.execution.choices[at] = fork.label(winner)
        await self.execution.outside.kept(RaceWon(self.execution.trace, at, fork.label(winner)))
        if isinstance(result, Exception):
            raise result
        return result

    async def tried(self, effect: Effect, frame: Frame) -> Any:
        """The answer, or the failure as a value; a lost store is raised: what is open could not be
        kept.
        """
        try:
            return await self.settle(effect, frame)
        except StoreError:
            raise
        except Exception as problem:  # noqa: BLE001 - branches settle before any of them is heard
            return problem


async def gather_strict(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results in order; the first exception cancels the rest and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as problems:
        raise problems.exceptions[0] from None
    return [task.result() for task in tasks]
