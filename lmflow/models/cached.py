"""``cached``: a model that reuses recorded replies."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

import attrs

from lmflow.errors import clipped, safe_repr
from lmflow.messages.replies import ModelReply, Outcome
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Http, Model, Send, Wrapper, leaves
from lmflow.models.registry import model_of


class ReplyStore(Protocol):
    """A store that finds recorded replies."""

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest outcome recorded for a key, after the id of its trace; ``None`` if nothing is
        recorded.
        """
        ...


@attrs.frozen(eq=False)
class Cached(Wrapper):
    """Reuses the newest recorded reply to the same request, else calls the model."""

    store: ReplyStore

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The recorded reply, as an attempt that names its source trace, or the model's reply."""
        for leaf in leaves(self.model):
            key = attrs.evolve(request, model=leaf.name, endpoint=leaf.endpoint).key
            recorded = await asyncio.to_thread(self.store.answer, key)
            if recorded is None:
                continue
            trace, outcome = recorded
            # A recorded failure would make an outage of last week permanent.
            if isinstance(outcome, ModelReply):
                return await send(partial(_reuse, outcome), by=leaf, source=trace)
        return await self.model(request, send)


def cached(model: Model | str, store: ReplyStore) -> Cached:
    """Wraps a model so that it is called only if the store has no reply to the same request.

    Requests are the same if their messages, options, sample, model and endpoint are. A reused reply
    is recorded as an attempt of its own that names its source trace, and costs nothing. A run
    reuses nothing but by this wrapper.

    Args:
        model: The model to wrap, or its name, ``provider/model``. Of a ``fallback`` or ``routed``
            model, a reply of any of its models is reused.
        store: The store with the recordings, such as ``lmflow.stores.SqliteStore``.

    Returns:
        A model with the wrapped model's name and endpoint. Failures are never reused.

    Raises:
        ModelUnavailable: The named model can't be used.
        TypeError: ``store`` is not a store.

    Example:
        >>> import lmflow as lf
        >>> lf.cached("ollama/MODEL", lf.MemoryStore()).name
        'ollama/MODEL'
    """
    if not hasattr(store, "answer"):
        shown = clipped(safe_repr(store), 60)
        fix = 'Open one: with lf.SqliteStore("notes.db") as store: lf.cached(model, store)'
        msg = f"expected a store with recordings, found {type(store).__name__} {shown}. {fix}"
        raise TypeError(msg)
    return Cached(model_of(model), store)


async def _reuse(reply: ModelReply, _: Http) -> ModelReply:
    return reply
