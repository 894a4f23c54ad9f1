"""``limited``: a model with bounds on its rate of requests and tokens, and its concurrency."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs

from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Exchange, Model, Send, Wrapper
from lmflow.models.registry import model_of

PER_TOKEN = 4
"""The characters of a prompt that are estimated as one token, until the reply brings the count."""

# Rounding may leave a wait so short that adding it to a clock changes nothing: an endless loop.
_SHORTEST_WAIT = 1e-6

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@attrs.frozen(eq=False)
class Limited(Wrapper):
    """Calls the model within its limits, first come first served; every attempt counts."""

    gate: RateGate

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The model's reply. Each attempt waits until the limits have room; a reused reply doesn't
        wait.
        """
        estimate = _estimate_tokens(request)

        async def send_within_limits(
            exchange: Exchange, /, *, by: Model | None = None, source: str = ""
        ) -> ModelReply:
            if source:
                return await send(exchange, by=by, source=source)
            async with self.gate.admit(estimate) as settle:
                reply = await send(exchange, by=by)
                settle(reply)
                return reply

        return await self.model(request, send_within_limits)


def limited(  # noqa: PLR0913 - three limits, and a clock for tests
    model: Model | str,
    *,
    requests: float | None = None,
    tokens: float | None = None,
    concurrency: int | None = None,
    clock: Clock = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> Limited:
    """Wraps a model so that requests wait until they are within the limits.

    All callers of the returned object share its limits. The requests and tokens of one second may
    be used at once.

    Args:
        model: The model to wrap, or its name, ``provider/model``.
        requests: Requests a second.
        tokens: Tokens a second, prompt and completion. A request's tokens are estimated before it
            is sent (a quarter of its characters, and its ``max_tokens``) and corrected by the
            reply.
        concurrency: Requests at once.
        clock: The time in seconds, for tests.
        sleep: Waits some seconds, for tests.

    Returns:
        A model with the wrapped model's name and endpoint.

    Raises:
        ValueError: If a limit isn't positive.
        ModelUnavailable: The named model can't be used.

    Example:
        >>> import lmflow as lf
        >>> lf.limited(lf.scripted({"": "fine"}), requests=10, concurrency=2).name
        'scripted/model'
    """
    for name, limit in (("requests", requests), ("tokens", tokens), ("concurrency", concurrency)):
        if limit is not None and not limit > 0:
            msg = f"limited({name}=...) must be more than 0, found {limit!r}"
            raise ValueError(msg)
    buckets = (
        Bucket(requests, max(1.0, requests)) if requests else None,
        Bucket(tokens, tokens) if tokens else None,
    )
    return Limited(model_of(model), RateGate(*buckets, concurrency, clock, sleep))


@attrs.define(eq=False)
class Bucket:
    """A token bucket: it fills at ``rate`` a second up to ``capacity``. Its level may become
    negative, and the next takers wait for that.
    """

    rate: float
    capacity: float
    level: float = attrs.field(init=False)
    filled_at: float | None = None

    def __attrs_post_init__(self) -> None:
        self.level = self.capacity

    def wait(self, amount: float, now: float) -> float:
        """The seconds until the amount may be taken. More than the capacity may be taken from a
        full bucket, else such a request would wait forever.
        """
        if self.filled_at is not None:
            self.level = min(self.capacity, self.level + self.rate * (now - self.filled_at))
        self.filled_at = now
        seconds = (min(amount, self.capacity) - self.level) / self.rate
        return seconds if seconds > _SHORTEST_WAIT else 0.0

    def take(self, amount: float) -> None:
        """Lowers the level; a negative amount gives back."""
        self.level = min(self.capacity, self.level - amount)


@attrs.define(eq=False)
class RateGate:
    """The limits of a model, and how much of them is used."""

    requests: Bucket | None
    tokens: Bucket | None
    concurrency: int | None
    clock: Clock
    sleep: Sleep
    _loop: asyncio.AbstractEventLoop | None = None
    _turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    _slots: asyncio.Semaphore | None = None

    @contextlib.asynccontextmanager
    async def admit(self, tokens: int) -> AsyncIterator[Callable[[ModelReply], None]]:
        """Waits for room for one request, which it holds while the block lasts. Yields a function
        that corrects the estimate of tokens by the reply.
        """
        self._join_loop()
        async with self._slots or contextlib.nullcontext():
            # The lock is held while waiting: a small request that came later must not overtake a
            # large one forever. Whoever is cancelled while waiting has taken nothing yet.
            async with self._turn:
                while (seconds := self._wait(tokens)) > 0:
                    await self.sleep(seconds)
                self._take(tokens)
            yield lambda reply: self._settle(tokens, reply)

    def _join_loop(self) -> None:
        """Makes a new lock and semaphore in a new event loop: asyncio's belong to one loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._turn = loop, asyncio.Lock()
            self._slots = asyncio.Semaphore(self.concurrency) if self.concurrency else None

    def _wait(self, tokens: int) -> float:
        now = self.clock()
        waits = ((self.requests, 1.0), (self.tokens, float(tokens)))
        return max((bucket.wait(amount, now) for bucket, amount in waits if bucket), default=0.0)

    def _take(self, tokens: int) -> None:
        if self.requests:
            self.requests.take(1.0)
        if self.tokens:
            self.tokens.take(float(tokens))

    def _settle(self, estimate: int, reply: ModelReply) -> None:
        usage = reply.usage
        if self.tokens and usage.prompt is not None:
            self.tokens.take(usage.prompt + (usage.completion or 0) - estimate)


def _estimate_tokens(request: ModelRequest) -> int:
    if not isinstance(request, ChatRequest):
        return max(1, sum(len(text) for text in request.texts) // PER_TOKEN)
    bound = request.options.get("max_tokens", request.options.get("max_completion_tokens", 0))
    prompt = sum(len(message.content) for message in request.messages) // PER_TOKEN
    return max(1, prompt + (bound if isinstance(bound, int) else 0))
