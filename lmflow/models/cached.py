"""A model that is asked only what no recording answers: ``cached``."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

import attrs

from lmflow.messages.replies import ModelReply, Outcome
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Around, Http, Model, Send, leaves


class Answers(Protocol):
    """What ``cached`` needs of a store."""

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest reply that was recorded for a key, with the id of its trace; ``None`` where
        there is none.
        """
        ...


@attrs.frozen(eq=False)
class Cached(Around):
    """Answers from the newest recorded reply to the same request, else asks the model."""

    store: Answers

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The recorded reply, as an attempt that names the trace it comes from, or the model's."""
        for leaf in leaves(self.model):
            key = attrs.evolve(request, model=leaf.name, endpoint=leaf.endpoint).key
            found = await asyncio.to_thread(self.store.answer, key)
            if found and isinstance(found[1], ModelReply):
                return await send(partial(_recalled, found[1]), by=leaf, source=found[0])
        return await self.model(request, send)


def cached(model: Model, store: Answers) -> Cached:
    """The model, asked only what the store holds no reply to: same messages, options, sample, model
    and endpoint.

    Failures are never reused. A reused reply is recorded as an attempt of its own that says where
    it comes from, and costs nothing. This is the only way in which a run reuses anything.
    """
    return Cached(model, store)


async def _recalled(reply: ModelReply, _: Http) -> ModelReply:
    return reply
