"""The law of cancellation: whenever a run is stopped, what was sent is on record, and nothing is
left behind.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import attrs
import pytest

import lmflow as lf
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Http, Send
from lmflow.traces.events import CallEnded, Event

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
TIMED = lf.predict("timed", "question -> answer", "Answer.", timeout=30)


@lf.flow("question -> answer", uses=[ANSWER, TIMED])
async def pair(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - a flow is typed by its signature
    """Two side by side, then the first of two."""
    one, two = await lf.gather(ANSWER(question=f"{question} 1"), TIMED(question=f"{question} 2"))
    won = await lf.first(ANSWER(question=f"{question} 3"), ANSWER(question=f"{question} 4"))
    return one.answer + two.answer + won.answer


class Later:
    """A store that acknowledges two turns of the loop later, and knows what it has acknowledged."""

    def __init__(self) -> None:
        """With nothing kept."""
        self.store = lf.MemoryStore()
        self.version = self.store.version
        self.first = self.store.first
        self.recorded = self.store.recorded
        self.acknowledged: list[CallEnded] = []

    def append(self, *events: Event) -> Future[None]:
        """Keep now, say so later."""
        done: Future[None] = Future()
        self.store.append(*events).result()

        def say() -> None:
            self.acknowledged += [event for event in events if isinstance(event, CallEnded)]
            done.set_result(None)

        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, say)
        return done


@attrs.define(eq=False)
class Turns:
    """A model that takes two turns of the loop and counts what is sent and open."""

    name: str = "turns/model"
    endpoint: str = "turns"
    sent: int = 0
    open: int = 0

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Fine."""
        del request

        async def exchange(_: Http) -> ChatReply:
            self.sent, self.open = self.sent + 1, self.open + 1
            try:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            finally:
                self.open -= 1
            return ChatReply("fine")

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


@pytest.mark.parametrize("kind", ["run", "map", "timed", "stream"])
@pytest.mark.parametrize("budget", [None, lf.Budget(calls=60)])
async def test_a_run_can_be_stopped_at_any_await(kind: str, budget: lf.Budget | None) -> None:
    """Stopped at its k-th turn, for every k: what was acknowledged is kept, no task is left, and
    the next run works.
    """
    for turn in range(1000):
        store, model = Later(), Turns()
        async with lf.Executor(
            model, store, concurrency=3, budget=budget, timeout=60 if kind == "timed" else None
        ) as ex:
            work = asyncio.create_task(_work(ex, kind))
            for _ in range(turn):
                await asyncio.sleep(0)
            ended = work.done()
            work.cancel()
            await asyncio.wait([work])
            assert 0 == model.open
            sent = model.sent
            await ex.run(ANSWER, question="again")
        assert {asyncio.current_task()} == asyncio.all_tasks()
        _check(store, sent, recorded_first=budget is not None)
        if ended:
            return
    raise AssertionError("it never ended")


async def _work(ex: lf.Executor, kind: str) -> None:
    if kind == "map":
        await ex.map(pair, [{"question": question} for question in "ab"])
    elif kind == "stream":
        async with ex.stream(pair, question="a") as stream:
            async for _ in stream:
                pass
    else:
        await ex.run(pair, question="a")


def _check(kept: Later, sent: int, *, recorded_first: bool) -> None:
    runs = [kept.store.run(run.id) for run in kept.store.runs()]
    calls = {
        (trace.id, call.address, call.attempt): call
        for run in runs
        for trace in run
        for call in trace.calls
    }
    # Under a budget a call that is stopped before its start is durable is on record but not sent.
    assert sent + 1 <= len(calls)
    assert recorded_first or sent + 1 == len(calls)
    for event in kept.acknowledged:
        assert event.call == calls[event.trace, event.call.address, event.call.attempt]
    for run in runs:
        assert run.status in {"done", "stopped"}
        assert run.status == "stopped" or all(trace.done for trace in run)


async def test_a_cancellation_together_with_a_timeout_is_heeded() -> None:
    """A run that is cancelled in the turn in which its step's time is over doesn't go on."""
    store = lf.MemoryStore()
    step = lf.predict("answer", "question -> answer", timeout=0.01)

    @lf.flow("question -> answer", uses=[step], version="1")
    async def patient(question):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - typed by its signature
        for _ in range(50):
            try:
                return (await step(question=question)).answer
            except lf.LmflowError:
                continue
        return "never"

    @attrs.frozen(eq=False)
    class Hang:
        name: str = "hang/model"
        endpoint: str = "hang"

        async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
            async def exchange(_: Http) -> ChatReply:
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    work.cancel()  # in the very turn
                    raise
                return ChatReply("never")

            del request
            return await send(exchange)

        async def aclose(self) -> None:
            pass

    async with lf.Executor(Hang(), store) as ex:
        work = asyncio.create_task(ex.run(patient, question="why?"))
        with pytest.raises(asyncio.CancelledError):
            await work
    (run,) = store.runs()
    assert ("stopped", 1) == (run.status, len(store.run(run.id).traces[0].calls))
