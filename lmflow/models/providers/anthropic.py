"""Anthropic's Messages API, whole or streamed."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Exchange, Http, Send
from lmflow.models.providers.anthropic_messages import Joined, message_body, message_reply
from lmflow.models.transport.responses import EndpointCapabilities, Server, asked, host_port
from lmflow.models.transport.sse import Heard, streamed

ANTHROPIC = "https://api.anthropic.com/v1"
VERSION = "2023-06-01"


@attrs.frozen(eq=False)
class Anthropic:
    """A model behind the Messages API (``POST base_url/messages``).

    ``wire`` is the model's name as the server knows it, ``timeout`` the seconds for one attempt, or
    between two lines of a stream. The key is masked by value in whatever the server answers.
    """

    name: str
    wire: str
    base_url: str = attrs.field(default=ANTHROPIC, repr=lambda url: urlsplit(url).hostname or "")
    endpoint: str = "anthropic"
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0
    learned: EndpointCapabilities = attrs.field(factory=EndpointCapabilities, repr=False)

    @property
    def structured(self) -> bool | None:
        """Whether the model takes a JSON schema; ``None`` before it was asked to."""
        return self.learned.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The message. ``ModelFailed`` says what kind of failure it was and what mends it."""
        if isinstance(request, EmbedRequest):
            return await send(self._no_vectors)
        return await asked(request, send, partial(self._exchange, request), self.learned)

    async def aclose(self) -> None:
        """Nothing to do: the session is the executor's."""

    def _exchange(self, request: ChatRequest, schema: bool) -> Exchange:  # noqa: FBT001 - with the schema or without
        async def exchange(http: Http) -> ModelReply:
            body = message_body(self.name, self.wire, request, schema=schema)
            url, headers, peer = self._url(), self._headers(), self._peer().facing(request)
            if http.hear is None:
                reply = peer.read(await http.post(url, headers, body, self.timeout), message_reply)
            else:
                opening = http.stream(url, headers, {**body, "stream": True}, self.timeout)
                reply = await streamed(
                    opening, Heard(http.hear, self.api_key), Joined(), peer, message_reply
                )
            return reply if request.schema is None else attrs.evolve(reply, structured=schema)

        return exchange

    async def _no_vectors(self, _: Http) -> ModelReply:
        raise ModelFailed(
            "request",
            f"{self.name}: the Messages API gives no vectors. Name a model for embedding.",
        )

    def _url(self) -> str:
        """The address of the API; a base URL may end in /v1 or not, as the vendor's own libraries
        have it.
        """
        return f"{self.base_url.rstrip('/').removesuffix('/v1')}/v1/messages"

    def _headers(self) -> dict[str, Any]:
        return {
            "anthropic-version": VERSION,
            **({"x-api-key": self.api_key} if self.api_key else {}),
        }

    def _peer(self) -> Server:
        key = "api_key=... or ANTHROPIC_API_KEY"
        return Server(self.name, host_port(self.base_url), self.api_key, key)
