"""OpenAI-compatible endpoints: chat completions, whole or streamed, and embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs

from lmflow.messages.replies import ChatReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Exchange, Http, Send
from lmflow.models.providers.openai_chat import (
    Dialect,
    chat_body,
    chat_reply,
    dialect_of,
    embed_reply,
)
from lmflow.models.providers.openai_stream import ChunkAccumulator
from lmflow.models.transport.addresses import host_port
from lmflow.models.transport.capabilities import EndpointCapabilities, send_adapted
from lmflow.models.transport.responses import Server
from lmflow.models.transport.sse import TextRelay, read_stream

OPENAI = "https://api.openai.com/v1"


@attrs.frozen(eq=False)
class OpenAI:
    """A model behind an OpenAI-compatible endpoint: ``POST base_url/chat/completions`` and
    ``base_url/embeddings``.

    Args:
        name: ``provider/model``, as recordings and keys name the model.
        wire: The model's name as the server knows it.
        base_url: The URL below which the endpoint's paths lie, mostly ending in ``/v1``.
        endpoint: The endpoint class, part of every key.
        api_key: The key, masked by value in whatever the server answers; empty for none.
        timeout: Seconds for one attempt, or between two lines of a stream.
        api_version: If set, Azure's conventions: the version in the query, the key in ``api-key``.
        key_from: Where the key comes from, in the words of failures.
        dialect: Overrules the table of reasoning models.
    """

    name: str
    wire: str
    base_url: str = attrs.field(repr=lambda url: urlsplit(url).hostname or "")
    endpoint: str
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0
    api_version: str = ""
    key_from: str = "api_key=... or OPENAI_API_KEY"
    dialect: Dialect = attrs.field(
        default=attrs.Factory(lambda self: dialect_of(self.wire), takes_self=True)
    )
    capabilities: EndpointCapabilities = attrs.field(factory=EndpointCapabilities, repr=False)
    server: Server = attrs.field(
        default=attrs.Factory(lambda self: self._server(), takes_self=True), init=False, repr=False
    )

    @property
    def structured(self) -> bool | None:
        """True if the endpoint takes a JSON schema; ``None`` before one was sent."""
        return self.capabilities.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Sends a request.

        Args:
            request: A chat, or texts to embed.
            send: Counts and records each attempt.

        Returns:
            The first choice of a completion, or one vector a text.

        Raises:
            ModelFailed: With its kind and the fix.
        """
        if isinstance(request, EmbedRequest):
            return await send(partial(self._embed, request))
        return await send_adapted(
            request, send, partial(self._exchange, request), self.capabilities
        )

    async def aclose(self) -> None:
        """Does nothing: the connections are the executor's."""

    def _exchange(self, request: ChatRequest, schema: bool) -> Exchange:  # noqa: FBT001 - a factory
        async def exchange(http: Http) -> ModelReply:
            body = chat_body(
                self.name, self.wire, request, self.dialect, schema=schema, origin=self._origin
            )
            server = self.server.facing(request)
            if http.hear is None:
                response = await http.post(
                    self._url("chat/completions"), self._headers(), body, self.timeout
                )
                reply = server.read(response, self._parse)
            else:
                reply = await self._stream(http, http.hear, body, server)
            return reply if request.schema is None else attrs.evolve(reply, structured=schema)

        return exchange

    async def _embed(self, request: EmbedRequest, http: Http) -> ModelReply:
        body = {"model": self.wire, "input": request.texts}
        response = await http.post(self._url("embeddings"), self._headers(), body, self.timeout)
        return self.server.read(response, partial(embed_reply, len(request.texts)))

    async def _stream(
        self, http: Http, hear: Callable[[str], None], body: dict[str, Any], server: Server
    ) -> ChatReply:
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        opening = http.stream(self._url("chat/completions"), self._headers(), body, self.timeout)
        text = TextRelay(hear, self.api_key)
        return await read_stream(opening, text, ChunkAccumulator(), server, self._parse)

    @property
    def _origin(self) -> str:
        return f"openai {self.endpoint}"

    def _parse(self, data: Any) -> ChatReply:
        return chat_reply(data, self._origin)

    def _url(self, path: str) -> str:
        version = f"?api-version={self.api_version}" if self.api_version else ""
        return f"{self.base_url.rstrip('/')}/{path}{version}"

    def _headers(self) -> dict[str, str]:
        if not self.api_key:
            return {}
        if self.api_version:
            return {"api-key": self.api_key}
        return {"Authorization": f"Bearer {self.api_key}"}

    def _server(self) -> Server:
        url = "" if self.api_version else " (it ends in /v1)"
        return Server(self.name, host_port(self.base_url), self.api_key, self.key_from, url)
