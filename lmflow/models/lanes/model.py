"""A model whose requests wait for each other and go out in waves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

import attrs

from lmflow.errors import ModelFailed, ModelUnavailable, listed
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Exchange, Http, Model, Response, Send, Stream, Wrapper, leaves
from lmflow.models.lanes.anthropic import AnthropicLane
from lmflow.models.lanes.base import BATCH, Lane
from lmflow.models.lanes.openai import OpenAILane
from lmflow.models.retries import TRANSIENT, Retrying
from lmflow.values.record import Record

ATTEMPTS = 3
"""How often a request goes out at most, unless the caller says otherwise."""
LANES: Mapping[str, Lane] = {"openai": OpenAILane(), "anthropic": AnthropicLane()}
"""The lanes by name."""
_ALONE = "Run it by an executor: await ex.map(program, rows)."

Post = Callable[[str, Mapping[str, str], Mapping[str, object]], Awaitable[Response]]
"""Brings the response to what would be posted to a URL with headers."""


@attrs.frozen
class WaveRules:
    """When a wave goes out, and how many may.

    Attributes:
        size: The requests with which a wave is full.
        quiet: The seconds for which nothing but waiting requests must have been at work.
        longest: The seconds after which a wave goes out even if something is still at work.
        poll: The seconds between two questions how far a batch is.
        most: The most waves of one executor, ``None`` for no limit.
    """

    size: int = 50_000
    quiet: float = 1.0
    longest: float = 600.0
    poll: float = 30.0
    most: int | None = None


@attrs.frozen(eq=False)
class Batched(Wrapper):
    """Lets the model's requests wait for a wave; failed ones go out again with a later wave."""

    lane: Lane | None
    rules: WaveRules
    attempts: Mapping[str, int]

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The model's reply, once a wave brought it. Raises the last ``ModelFailed``."""

        async def send_by_wave(
            exchange: Exchange, /, *, by: Model | None = None, source: str = ""
        ) -> ModelReply:
            if source:
                return await send(exchange, by=by, source=source)
            return await send(WaveExchange(exchange, self.lane, self.rules), by=by)

        attempt = 1
        while True:
            try:
                return await self.model(request, send_by_wave)
            except ModelFailed as failure:
                if attempt >= self.attempts.get(failure.kind, 1):
                    raise
            attempt += 1


@attrs.frozen(eq=False)
class WaveExchange:
    """An exchange whose request goes by a lane. The executor gives it the way there."""

    exchange: Exchange
    lane: Lane | None
    rules: WaveRules

    async def __call__(self, http: Http) -> ModelReply:
        """Raise ``ModelFailed``: nothing but an executor can wait for a wave."""
        del http
        raise ModelFailed("request", f"a batched model was asked without an executor. {_ALONE}")

    def lane_of(self, url: str) -> Lane:
        """Return the lane of requests to a URL. Raises ``ModelFailed`` if there is none."""
        lanes = [self.lane] if self.lane is not None else LANES.values()
        for lane in lanes:
            if lane.takes(url):
                return lane
        fix = f"Lanes: {listed(LANES)}. Ask the model without lf.batched."
        raise ModelFailed("request", f"no batch lane takes requests to {url}. {fix}")

    def by(self, post: Post) -> Exchange:
        """Return the exchange whose requests ``post`` brings to the lane."""

        async def exchange(_: Http) -> ModelReply:
            reply = await self.exchange(_LaneSession(post))
            return attrs.evolve(reply, tier=BATCH)

        return exchange


@attrs.frozen(eq=False)
class _LaneSession:
    """The session of a batched model, whose replies nobody hears before they are whole."""

    bring: Post

    @property
    def hear(self) -> None:
        return None

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, object],
        seconds: float,
    ) -> Response:
        del seconds  # of a live answer; a wave takes hours
        return await self.bring(url, headers, body)

    def stream(
        self,
        url: str,
        headers: Mapping[str, str],
        body: Mapping[str, object],
        seconds: float,
    ) -> AbstractAsyncContextManager[Stream]:
        _refuse_stream(url, headers, body, seconds)


def _refuse_stream(*request: object) -> NoReturn:
    del request
    raise ModelFailed("request", "a batch lane has no streams. Ask the model without lf.batched.")


def in_waves(
    model: Model,
    lane: Lane | None = None,
    rules: WaveRules | None = None,
    attempts: int = ATTEMPTS,
) -> Batched:
    """Wrap a model so that its requests go out in waves; see ``batched``.

    Raises ``ModelUnavailable`` if the model doesn't post its requests to an API.
    """
    # The waits of retries are made for live requests; a wave is the wait.
    while isinstance(model, Retrying):
        model = model.model
    for leaf in leaves(model):
        if not hasattr(leaf, "base_url"):
            fix = f"Name one behind an API of these lanes: {listed(LANES)}."
            raise ModelUnavailable(leaf.name, "it has no batch lane", fix)
    most = WaveRules().size if lane is None else lane.most_requests
    kinds = Record(dict.fromkeys((*TRANSIENT, "expired"), attempts))
    return Batched(model, lane, rules or WaveRules(most), kinds)
