"""The laws of limits, by a clock that only moves when somebody sleeps."""

import asyncio
import math
from typing import Any

import attrs
import pytest
from fakes import ask
from hypothesis import given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply, Usage
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Exchange, Http, Model, Send
from lmflow.models.limited import Bucket, Limited
from lmflow.testing.models import Door
from lmflow.values.record import Record


@attrs.define
class Time:
    """Seconds that pass by sleeping. ``slept`` counts how often anybody slept."""

    now: float = 0.0
    slept: int = 0

    def clock(self) -> float:
        """The time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.slept += 1
        self.now += seconds
        await asyncio.sleep(0)


@attrs.define(eq=False)
class Busy:
    """A model that keeps when each request was sent, and how many were open at once."""

    time: Time
    usage: Usage = attrs.field(factory=Usage)
    sent: list[tuple[float, str]] = attrs.field(factory=list)
    open: int = 0
    most: int = 0
    name: str = "scripted/busy"
    endpoint: str = "scripted"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """A reply after a few turns of the loop."""

        async def exchange(_: Http) -> ChatReply:
            self.sent.append((self.time.now, request.messages[0].content))  # type: ignore[union-attr]
            self.open += 1
            self.most = max(self.most, self.open)
            for _turn in range(3):
                await asyncio.sleep(0)
            self.open -= 1
            return ChatReply("fine", usage=self.usage)

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


def _limited(usage: Usage | None = None, **limits: Any) -> tuple[Limited, Busy, Time]:
    time = Time()
    busy = Busy(time, usage or Usage())
    return lf.limited(busy, **limits, clock=time.clock, sleep=time.sleep), busy, time


async def _all(model: Model, count: int, **options: Any) -> None:
    await asyncio.gather(
        *(model(ask(str(n), options=Record(options)), Door()) for n in range(count))
    )


@settings(max_examples=50)
@given(st.floats(0.1, 50), st.integers(1, 60))
def test_no_second_sees_more_requests_than_allowed(rate: float, count: int) -> None:
    """In any stretch of time at most a second's worth and what the rate allows in it are sent."""
    model, busy, _ = _limited(requests=rate)
    asyncio.run(_all(model, count))
    times = [at for at, _ in busy.sent]
    burst = max(1.0, rate)
    assert count == len(times)
    for first, begun in enumerate(times):
        for last in range(first, count):
            assert last - first + 1 <= burst + rate * (times[last] - begun) + 1e-6


async def test_who_came_first_goes_first() -> None:
    """Requests go out in the order in which they were asked."""
    model, busy, _ = _limited(requests=1, concurrency=2)
    await _all(model, 20)
    assert [str(n) for n in range(20)] == [text for _, text in busy.sent]


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_are_open_than_allowed(most: int) -> None:
    """Concurrency is the number of requests that are open at once."""
    model, busy, _ = _limited(concurrency=most)
    await _all(model, 20)
    assert most == busy.most


async def test_tokens_are_put_right_by_the_reply() -> None:
    """What a reply used beyond the guess is waited for: after a second's worth, 100 tokens at 100 a
    second take one.
    """
    model, busy, _ = _limited(Usage(90, 10), tokens=100)
    for n in range(10):
        await model(ask(str(n)), Door())
    assert [pytest.approx(n, abs=0.02) for n in (0, 0, 1, 2, 3, 4, 5, 6, 7, 8)] == [
        at for at, _ in busy.sent
    ]


async def test_what_may_be_used_is_reserved() -> None:
    """`max_tokens` is taken before a request is sent, and given back by what wasn't used."""
    model, busy, _ = _limited(Usage(0, 0), tokens=100, concurrency=8)
    await _all(model, 4, max_tokens=50)
    assert [0.0, 0.0] == [at for at, _ in busy.sent][:2]
    assert 4 == len(busy.sent)


async def test_more_tokens_than_a_second_s_worth_go_once_it_is_full() -> None:
    """A request that is larger than the bucket is sent alone, not never."""
    model, busy, _ = _limited(tokens=10)
    await _all(model, 2, max_tokens=100)
    assert [0.0, pytest.approx(10.0)] == [at for at, _ in busy.sent]


async def test_nobody_waits_by_asking_again_and_again() -> None:
    """One sleep a request is enough."""
    model, busy, time = _limited(requests=2)
    await _all(model, 10)
    assert 8 >= time.slept
    assert 10 == len(busy.sent)


async def test_every_attempt_counts() -> None:
    """Retries inside are limited as well."""
    time = Time()
    failing = lf.scripted([ModelFailed("server", "no"), ModelFailed("server", "no"), "fine"])
    model = lf.limited(
        lf.retrying(failing, longest=0), requests=1, clock=time.clock, sleep=time.sleep
    )
    await model(ask(), door := Door())
    assert 3 == len(door.attempts)
    assert pytest.approx(2.0) == time.now


async def test_what_is_reused_needs_no_room() -> None:
    """A reply from a recording is no request."""
    time = Time()

    class Recorded(Busy):
        async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
            del request
            exchange: Exchange = _fine
            return await send(exchange, source="t1")

    model = lf.limited(Recorded(time), requests=1, clock=time.clock, sleep=time.sleep)
    await _all(model, 5)
    assert 0.0 == time.now


async def _fine(_: Http) -> ChatReply:
    return ChatReply("fine")


async def test_a_waiter_that_is_cancelled_leaves_its_place() -> None:
    """Who gives up takes nothing, and those behind go on."""
    slow = asyncio.Event()

    async def sleep(_: float) -> None:
        await slow.wait()

    time = Time()
    busy = Busy(time)
    model = lf.limited(busy, requests=1, clock=time.clock, sleep=sleep)
    await model(ask("0"), Door())
    first, second = (asyncio.create_task(model(ask(text), Door())) for text in "12")
    await asyncio.sleep(0)
    first.cancel()
    time.now = 5.0
    slow.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert (True, ["0", "2"]) == (first.cancelled(), [text for _, text in busy.sent])


async def test_a_failure_gives_its_slot_back() -> None:
    """A slot is held as long as a request is open, however it ends."""
    model = lf.limited(lf.scripted([ModelFailed("server", "no"), "fine"]), concurrency=1)
    with pytest.raises(ModelFailed):
        await model(ask(), Door())
    assert "fine" == (await model(ask(), Door())).text  # type: ignore[union-attr]


def test_another_loop_begins_anew() -> None:
    """One object may be used by one event loop after the other."""
    model, busy, _ = _limited(concurrency=1, requests=5)
    for _ in range(2):
        asyncio.run(_all(model, 5))
    assert 10 == len(busy.sent)


@pytest.mark.parametrize(
    "limits", [{"requests": 0}, {"tokens": -1}, {"concurrency": 0}, {"requests": math.nan}]
)
def test_a_limit_is_positive(limits: dict[str, Any]) -> None:
    """A limit that lets nothing pass is a mistake."""
    with pytest.raises(ValueError, match="must be more than 0"):
        lf.limited(lf.scripted(["x"]), **limits)


@given(st.floats(0.1, 100), st.lists(st.tuples(st.floats(0, 5), st.floats(0, 50))))
def test_a_bucket_never_holds_more_than_its_most(
    rate: float, steps: list[tuple[float, float]]
) -> None:
    """Waiting fills it up to its most, and what it asks one to wait is enough."""
    bucket, now = Bucket(rate, rate), 0.0
    for pause, amount in steps:
        now += pause + bucket.wait(amount, now + pause)
        assert 1e-6 > bucket.wait(amount, now)
        assert bucket.level <= bucket.capacity
        bucket.take(amount)
