"""Intent before act: when a call is sent, and what the store knows by then."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import StoreError
from lmflow.messages.requests import ChatRequest
from lmflow.traces.events import CallStarted, Event

ANSWER = lf.predict("answer", "question -> reply", options={"max_tokens": 20})


class Slow(lf.MemoryStore):
    """A store that commits a turn of the loop later, until it breaks."""

    def __init__(self, breaks_after: int = 10**9) -> None:
        super().__init__()
        self.started: set[str] = set()
        self.breaks_after = breaks_after

    def append(self, *events: Event) -> Future[None]:
        """Done, or broken, some time later."""
        written: Future[None] = Future()
        asyncio.get_running_loop().call_later(0.005, self._commit, written, events)
        return written

    def _commit(self, written: Future[None], events: tuple[Event, ...]) -> None:
        if len(self.started) >= self.breaks_after:
            written.set_exception(StoreError("store", "disk full"))
            return
        super().append(*events).result()
        for event in events:
            if isinstance(event, CallStarted):
                self.started.add(str(event.call.request))
        written.set_result(None)


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({}, False),
        ({"record_first": True}, True),
        ({"budget": lf.Budget(calls=99)}, True),
        ({"budget": lf.Budget(tokens=10**6)}, True),
    ],
)
async def test_under_a_budget_a_start_is_durable_before_it_is_sent(
    options: dict[str, Any], *, waits: bool
) -> None:
    """When the model is asked, the store has the start of the call; without a budget it may not."""
    store, known = Slow(), list[bool]()

    def answer(request: ChatRequest) -> str:
        known.append(str(request) in store.started)
        return "yes"

    async with lf.Executor(lf.scripted(answer), store, **options) as ex:
        run = await ex.map(ANSWER, [{"question": f"q{n}"} for n in range(8)])
    assert not run.failures
    assert [waits] * 8 == known


@pytest.mark.parametrize("breaks_after", [0, 3, 7])
async def test_a_store_that_breaks_leaves_no_unknown_call(breaks_after: int) -> None:
    """Whatever the moment, no call was sent whose start the store doesn't have."""
    store, sent = Slow(breaks_after), set[str]()

    def answer(request: ChatRequest) -> str:
        sent.add(str(request))
        return "yes"

    ex = lf.Executor(lf.scripted(answer), store, concurrency=3, budget=lf.Budget(calls=99))
    with pytest.raises(StoreError, match="disk full"):
        await ex.map(ANSWER, [{"question": f"q{n}"} for n in range(12)])
    assert sent <= store.started


async def test_the_wait_for_the_store_counts_in_the_step_s_time() -> None:
    """A commit that takes too long is the step's timeout, recorded once, and nothing was sent."""
    store, sent = Slow(), list[str]()

    def answer(request: ChatRequest) -> str:
        sent.append(str(request))
        return "yes"

    step = lf.predict("answer", "question -> reply", timeout=0.001)
    async with lf.Executor(lf.scripted(answer), store, budget=lf.Budget(calls=9)) as ex:
        run = await ex.map(step, [{"question": "q"}])
    assert [] == sent
    outcomes = [call.outcome for call in run.traces[0].calls]
    assert ["StepTimeout"] == [getattr(outcome, "kind", "") for outcome in outcomes]
