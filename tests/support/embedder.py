"""An embedding model that counts letters, as an executor's own model: a double that passes the door
like any other.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import EmbedReply, ModelReply
from lmflow.messages.requests import EmbedRequest, ModelRequest
from lmflow.models.base import Http, Send

NAME = "letters/26"


def letters(text: str) -> tuple[float, ...]:
    """How often each letter occurs, and a little, so that no text has no direction."""
    return tuple(text.lower().count(letter) + 0.1 for letter in string.ascii_lowercase)


@attrs.define(eq=False)
class Letters:
    """Embeds by ``letters``. ``asked`` are the texts of each call; the call number ``fails`` fails,
    0 for none.
    """

    fails: int = 0
    asked: list[tuple[str, ...]] = attrs.field(factory=list)
    name: str = NAME
    endpoint: str = "letters"

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """A vector for each text."""

        async def exchange(_: Http) -> ModelReply:
            assert isinstance(request, EmbedRequest)
            self.asked.append(request.texts)
            if len(self.asked) == self.fails:
                raise ModelFailed("server", "out of letters")
            return EmbedReply(vectors_of(request.texts), self.name)

        return await send(exchange)

    async def aclose(self) -> None:
        """Nothing to do."""


def vectors_of(texts: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The vectors of some texts."""
    return tuple(map(letters, texts))
