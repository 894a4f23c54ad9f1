"""The laws of listening: everything in order, several at once, never in the way, and an end."""

from __future__ import annotations

import asyncio
import gc

import pytest

import lmflow as lf
from lmflow.execution.events import Listener, Missed
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    RunClosed,
    RunOpened,
    TraceClosed,
    TraceOpened,
)

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
KINDS = [RunOpened, TraceOpened, CallStarted, CallEnded, TraceClosed, RunClosed]


def _executor() -> lf.Executor:
    return lf.Executor(lf.scripted(lambda _: "fine"))


async def test_each_listener_hears_everything_in_order() -> None:
    """Two listeners hear the same events, those that the store gets."""
    async with _executor() as ex:
        listeners = [ex.events(), ex.events()]
        await ex.run(ANSWER, question="why?")
    assert [KINDS, KINDS] == [[type(event) async for event in listener] for listener in listeners]


async def test_events_come_while_the_run_goes_on() -> None:
    """A listener is told at once, and ends when the executor closes."""
    heard: list[object] = []

    async def listen(events: Listener) -> None:
        heard.extend([event async for event in events])

    async with _executor() as ex:
        task = asyncio.create_task(listen(ex.events()))
        await asyncio.sleep(0)
        await ex.run(ANSWER, question="why?")
    await task
    assert KINDS == [type(event) for event in heard]


async def test_a_listener_hears_from_when_it_came() -> None:
    """What happened before is in the store, not in the listener."""
    async with _executor() as ex:
        await ex.run(ANSWER, question="a")
        events = ex.events()
        await ex.run(ANSWER, question="b")
    assert len(KINDS) == len([event async for event in events])


async def test_a_slow_listener_is_told_what_it_missed() -> None:
    """The run goes on; the newest events wait, and one ``Missed`` counts the others."""
    async with _executor() as ex:
        events = ex.events(limit=2)
        await ex.run(ANSWER, question="why?")
    assert [Missed(4), TraceClosed, RunClosed] == [
        e if isinstance(e, Missed) else type(e) async for e in events
    ]


async def test_a_listener_that_is_dropped_is_forgotten() -> None:
    """Nothing is kept for who doesn't listen any more."""
    async with _executor() as ex:
        events = ex.events()
        assert 1 == len(ex._session.connections.listeners)
        del events
        gc.collect()
        assert 0 == len(ex._session.connections.listeners)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_1(limit: int) -> None:
    """A listener that may hear nothing is refused."""
    with pytest.raises(ValueError, match="limit must be at least 1"):
        Listener(limit)
