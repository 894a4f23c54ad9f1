"""How events reach the recorder: in one piece a turn of the loop, in order, and who waits hears of
it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from lmflow.errors import StoreError
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


def test_one_turn_is_one_piece() -> None:
    """What is added in one turn of the loop is handed over together, in order; the next turn is
    another piece.
    """

    async def turns() -> list[tuple[Any, ...]]:
        writing, recorder = _writing()
        writing.add([1])
        writing.add([2, 3])
        await asyncio.sleep(0)
        writing.add([4])
        await asyncio.sleep(0)
        return recorder.pieces

    assert [(1, 2, 3), (4,)] == asyncio.run(turns())


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
        gone.cancel()  # who stops waiting takes nobody with them
        future = recorder.futures[0]
        await asyncio.to_thread(
            lambda: future.set_exception(error) if error else future.set_result(None)
        )
        found = await asyncio.gather(*waiting, return_exceptions=True)
        return [*found, *await asyncio.gather(kept.durable(), return_exceptions=True)]

    assert [error] * 4 == asyncio.run(ends())
