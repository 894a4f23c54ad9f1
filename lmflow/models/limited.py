"""A model that is asked no faster than it may be: ``limited``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs

from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Around, Exchange, Model, Send

PER_TOKEN = 4
"""How many characters of a prompt are taken for a token, until the reply says how many there were.
"""

_MOMENT = 1e-6  # shorter waits are rounding, which no clock might ever pass

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@attrs.frozen(eq=False)
class Limited(Around):
    """Asks the model within its limits; who came first goes first, and every attempt counts."""

    gate: Gate

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The model's reply, each of its attempts once there is room for it. What is reused needs
        no room.
        """
        likely = _tokens(request)

        async def within(
            exchange: Exchange, /, *, by: Model | None = None, source: str = ""
        ) -> ModelReply:
            if source:
                return await send(exchange, by=by, source=source)
            async with self.gate.passed(likely) as used:
                reply = await send(exchange, by=by)
                used(reply)
                return reply

        return await self.model(request, within)


def limited(  # noqa: PLR0913 - three limits, and a clock for tests
    model: Model,
    *,
    requests: float | None = None,
    tokens: float | None = None,
    concurrency: int | None = None,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> Limited:
    """The model, sent at most ``requests`` and ``tokens`` (prompt and completion) a second,
    ``concurrency`` at once.

    A second's worth may go at once. A request's tokens are guessed before it is sent (its
    characters by four, and its ``max_tokens``) and put right by the reply. Limits of one object are
    shared by all who ask it. ``ValueError`` for a limit that isn't positive.
    """
    for name, limit in (("requests", requests), ("tokens", tokens), ("concurrency", concurrency)):
        if limit is not None and not limit > 0:
            msg = f"limited({name}=...) must be more than 0, found {limit!r}"
            raise ValueError(msg)
    buckets = (
        Bucket(requests, max(1.0, requests)) if requests else None,
        Bucket(tokens, tokens) if tokens else None,
    )
    return Limited(model, Gate(*buckets, concurrency, clock, sleep))


@attrs.define(eq=False)
class Bucket:
    """What may still be taken; it fills at ``rate`` a second up to ``most``. What is overdrawn is
    waited for.
    """

    rate: float
    most: float
    held: float = attrs.field(init=False)
    at: float | None = None

    def __attrs_post_init__(self) -> None:
        self.held = self.most

    def wait(self, amount: float, now: float) -> float:
        """The seconds until so much may be taken; what is more than it ever holds may once it is
        full.
        """
        self.held = min(
            self.most, self.held + self.rate * (now - (now if self.at is None else self.at))
        )
        self.at = now
        missing = (min(amount, self.most) - self.held) / self.rate
        return missing if missing > _MOMENT else 0.0


@attrs.define(eq=False)
class Gate:
    """The limits of a model as they stand now."""

    requests: Bucket | None
    tokens: Bucket | None
    concurrency: int | None
    clock: Clock
    sleep: Sleep
    _loop: asyncio.AbstractEventLoop | None = None
    _turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    _slots: asyncio.Semaphore | None = None

    @contextlib.asynccontextmanager
    async def passed(self, tokens: int) -> AsyncIterator[Callable[[ModelReply], None]]:
        """Room for one request while the block lasts. What it gives is told the reply, to put the
        tokens right.
        """
        self._belong()
        async with self._slots or contextlib.nullcontext():
            async with self._turn:
                while (seconds := self._wait(tokens)) > 0:
                    await self.sleep(seconds)
                self._take(tokens)
            yield lambda reply: self._settle(tokens, reply)

    def _belong(self) -> None:
        """Turns and slots are of one event loop; another begins with its own."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop, self._turn = loop, asyncio.Lock()
            self._slots = asyncio.Semaphore(self.concurrency) if self.concurrency else None

    def _wait(self, tokens: int) -> float:
        now = self.clock()
        waits = ((self.requests, 1.0), (self.tokens, float(tokens)))
        return max((bucket.wait(amount, now) for bucket, amount in waits if bucket), default=0.0)

    def _take(self, tokens: int) -> None:
        for bucket, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
            if bucket:
                bucket.held -= amount

    def _settle(self, tokens: int, reply: ModelReply) -> None:
        usage = reply.usage
        if self.tokens and usage.prompt is not None:
            self.tokens.held = min(
                self.tokens.most, self.tokens.held + tokens - usage.prompt - (usage.completion or 0)
            )


def _tokens(request: ModelRequest) -> int:
    if not isinstance(request, ChatRequest):
        return max(1, sum(len(text) for text in request.texts) // PER_TOKEN)
    bound = request.options.get("max_tokens", request.options.get("max_completion_tokens", 0))
    prompt = sum(len(message.content) for message in request.messages) // PER_TOKEN
    return max(1, prompt + (bound if isinstance(bound, int) else 0))
