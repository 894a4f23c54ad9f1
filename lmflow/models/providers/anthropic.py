"""Anthropic's Messages API, whole or streamed."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Exchange, Http, Send
from lmflow.models.providers.anthropic_messages import EventAccumulator, message_body, message_reply
from lmflow.models.transport.addresses import host_port
from lmflow.models.transport.capabilities import EndpointCapabilities, send_adapted
from lmflow.models.transport.responses import Server
from lmflow.models.transport.sse import TextRelay, read_stream

ANTHROPIC = "https://api.anthropic.com/v1"
VERSION = "2023-06-01"


@attrs.frozen(eq=False)
class Anthropic:
    """A model behind the Messages API (``POST base_url/messages``).

    Args:
        name: ``provider/model``, as recordings and keys name the model.
        wire: The model's name as the server knows it.
        base_url: The URL of the API, with or without ``/v1``.
        endpoint: The endpoint class, part of every key.
        api_key: The key, masked by value in whatever the server answers; empty for none.
        timeout: Seconds for one attempt, or between two lines of a stream.
    """

    name: str
    wire: str
    base_url: str = attrs.field(default=ANTHROPIC, repr=lambda url: urlsplit(url).hostname or "")
    endpoint: str = "anthropic"
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0
    capabilities: EndpointCapabilities = attrs.field(factory=EndpointCapabilities, repr=False)

    @property
    def structured(self) -> bool | None:
        """True if the model takes a JSON schema; ``None`` before one was sent."""
        return self.capabilities.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Sends a request.

        Args:
            request: A chat; the API has no embeddings.
            send: Counts and records each attempt.

        Returns:
            The message.

        Raises:
            ModelFailed: With its kind and the fix.
        """
        if isinstance(request, EmbedRequest):
            return await send(self._refuse_embedding)
        return await send_adapted(
            request, send, partial(self._exchange, request), self.capabilities
        )

    async def aclose(self) -> None:
        """Does nothing: the connections are the executor's."""

    def _exchange(self, request: ChatRequest, schema: bool) -> Exchange:  # noqa: FBT001 - a factory
        async def exchange(http: Http) -> ModelReply:
            body = message_body(self.name, self.wire, request, schema=schema, origin=self._origin)
            url, headers, server = self._url(), self._headers(), self._server().facing(request)
            if http.hear is None:
                answer = await http.post(url, headers, body, self.timeout)
                reply = server.read(answer, self._parse)
            else:
                opening = http.stream(url, headers, {**body, "stream": True}, self.timeout)
                text = TextRelay(http.hear, self.api_key)
                reply = await read_stream(opening, text, EventAccumulator(), server, self._parse)
            return reply if request.schema is None else attrs.evolve(reply, structured=schema)

        return exchange

    async def _refuse_embedding(self, _: Http) -> ModelReply:
        raise ModelFailed(
            "request",
            f"{self.name}: the Messages API gives no vectors. Name a model for embedding.",
        )

    @property
    def _origin(self) -> str:
        return f"anthropic {self.endpoint}"

    def _parse(self, data: Any) -> ChatReply:
        return message_reply(data, self._origin)

    def _url(self) -> str:
        """The address of the API: a base URL may end in /v1 or not, as with the vendor's SDKs."""
        return f"{self.base_url.rstrip('/').removesuffix('/v1')}/v1/messages"

    def _headers(self) -> dict[str, Any]:
        key = {"x-api-key": self.api_key} if self.api_key else {}
        return {"anthropic-version": VERSION, **key}

    def _server(self) -> Server:
        key = "api_key=... or ANTHROPIC_API_KEY"
        return Server(self.name, host_port(self.base_url), self.api_key, key)
