"""How events reach the recorder: together, in order, once somebody waits for them; and who waits
hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from lmflow.errors import StoreError
from lmflow.execution import batching_writer
from lmflow.execution.batching_writer import BatchingWriter


class Pieces:
    """A recorder that notes the pieces, and settles them when it is told to."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Any, ...]] = []
        self.futures: list[Future[None]] = []

    def append(self, *events: Any) -> Future[None]:
        """Note them."""
        self.pieces.append(events)
        self.futures.append(Future())
        return self.futures[-1]


def _writing() -> tuple[Any, Pieces]:
    recorder: Any = Pieces()
    return BatchingWriter(recorder), recorder


def test_what_nobody_waits_for_is_handed_over_with_what_somebody_does() -> None:
    """What is added until the end of the turn in which somebody waits is one piece, in order."""

    async def turns() -> list[tuple[Any, ...]]:
        writing, recorder = _writing()
        writing.add([1])
        await asyncio.sleep(0)
        kept = writing.add([2, 3])
        assert [] == recorder.pieces
        waiting = asyncio.create_task(kept.durable())
        await asyncio.sleep(0)
        writing.add([4])
        await asyncio.sleep(0)
        writing.add([5])
        recorder.futures[0].set_result(None)
        await waiting
        return recorder.pieces

    assert [(1, 2, 3, 4)] == asyncio.run(turns())


def test_what_nobody_waits_for_is_handed_over_a_little_later() -> None:
    """The start of a long call is on record while the call is open."""

    async def turns() -> list[tuple[Any, ...]]:
        writing, recorder = _writing()
        for event in (1, 2):
            writing.add([event])
            await asyncio.sleep(3 * batching_writer.LONGEST_WAIT)
        return recorder.pieces

    assert [(1,), (2,)] == asyncio.run(turns())


class Groups(Pieces):
    """A recorder that takes several pieces at once, unless it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False
        self.times = 0

    def check_open(self) -> None:
        """Raise if it is closed."""
        if self.is_closed:
            raise StoreError("x", "it is closed")

    def append_groups(self, groups: Sequence[Sequence[Any]]) -> list[Future[None]]:
        """Note them."""
        self.check_open()
        self.times += 1
        return [self.append(*events) for events in groups]


def test_pieces_of_their_own_are_handed_over_together() -> None:
    """An event that may be refused is a piece of its own, and still costs no commit of its own; a
    recorder that takes nothing says so at once.
    """

    async def turns() -> tuple[int, list[tuple[Any, ...]]]:
        recorder: Any = Groups()
        writing: Any = BatchingWriter(recorder)
        writing.add([1])
        writing.add_alone([2])
        writing.add([3])
        writing.flush()
        recorder.is_closed = True
        with pytest.raises(StoreError, match="closed"):
            writing.add_alone([4]).check()
        return recorder.times, recorder.pieces

    assert (1, [(1,), (2,), (3,)]) == asyncio.run(turns())


def test_flush_hands_over_at_once_and_once() -> None:
    """``flush`` does not wait for the turn to end, and nothing is handed over twice."""

    async def turns() -> list[tuple[Any, ...]]:
        writing, recorder = _writing()
        writing.add([1])
        writing.flush()
        writing.add([2])
        writing.flush()
        await asyncio.sleep(0)
        return recorder.pieces

    assert [(1,), (2,)] == asyncio.run(turns())


@pytest.mark.parametrize("error", [None, StoreError("x", "it is full")])
def test_all_who_wait_hear_how_it_ended(error: StoreError | None) -> None:
    """Each who waits for a piece goes on when it is kept, or gets the error, also who comes later."""

    async def ends() -> list[BaseException | None]:
        writing, recorder = _writing()
        kept = writing.add([1])
        waiting = [asyncio.create_task(kept.durable()) for _ in range(3)]
        gone = asyncio.create_task(kept.durable())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()  # who stops waiting takes nobody with them
        future = recorder.futures[0]
        await asyncio.to_thread(
            lambda: future.set_exception(error) if error else future.set_result(None)
        )
        found = await asyncio.gather(*waiting, return_exceptions=True)
        return [*found, *await asyncio.gather(kept.durable(), return_exceptions=True)]

    assert [error] * 4 == asyncio.run(ends())


def test_what_a_closed_loop_did_not_hear_is_known_in_the_next() -> None:
    """A batch that was written while its loop was being closed keeps nobody waiting for ever."""
    writing, recorder = _writing()

    async def add() -> None:
        writing.add([1])
        writing.flush()

    async def end() -> bool:
        writing.rebind()
        await asyncio.wait_for(writing.written(), 5)
        return bool(writing.settled)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(add())
    recorder.futures[0].set_result(None)
    loop.close()
    assert asyncio.run(end())


def test_a_write_that_is_interrupted_keeps_nobody_waiting() -> None:
    """Ctrl-C passes through; who waits for the batch gets an error."""

    class Interrupted(Pieces):
        def check_open(self) -> None:
            """It is open."""

        def append_groups(self, groups: Sequence[Any]) -> Sequence[Future[None]]:
            """Somebody presses Ctrl-C."""
            del groups
            raise KeyboardInterrupt

    async def ends() -> None:
        recorder: Any = Interrupted()
        writing, events = BatchingWriter(recorder), [1]  # what is written doesn't matter
        kept = writing.add(events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(KeyboardInterrupt):
            writing.flush()
        with pytest.raises(StoreError, match="interrupted"):
            await asyncio.wait_for(kept.durable(), 5)

    asyncio.run(ends())
