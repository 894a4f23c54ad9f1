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
    Joined,
    chat_body,
    chat_reply,
    dialect_of,
    embed_reply,
)
from lmflow.models.transport.responses import EndpointCapabilities, Server, asked, host_port
from lmflow.models.transport.sse import Heard, streamed

OPENAI = "https://api.openai.com/v1"


@attrs.frozen(eq=False)
class OpenAI:
    """A model behind an OpenAI-compatible endpoint (``POST base_url/chat/completions`` and
    ``base_url/embeddings``).

    ``wire`` is the model's name as the server knows it, ``timeout`` the seconds for one attempt, or
    between two lines of a stream. With ``api_version`` it speaks as Azure wants it: the version in
    the query, the key in ``api-key``. The key is masked by value in whatever the server answers.
    ``dialect`` overrules the table of reasoning models.
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
    learned: EndpointCapabilities = attrs.field(factory=EndpointCapabilities, repr=False)
    peer: Server = attrs.field(
        default=attrs.Factory(lambda self: self._peer(), takes_self=True), init=False, repr=False
    )

    @property
    def structured(self) -> bool | None:
        """Whether the endpoint takes a JSON schema; ``None`` before it was asked to."""
        return self.learned.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The first choice, or a vector a text. ``ModelFailed`` says what kind of failure it was
        and what mends it.
        """
        if isinstance(request, EmbedRequest):
            return await send(partial(self._embed, request))
        return await asked(request, send, partial(self._exchange, request), self.learned)

    async def aclose(self) -> None:
        """Nothing to do: the session is the executor's."""

    def _exchange(self, request: ChatRequest, schema: bool) -> Exchange:  # noqa: FBT001 - with the schema or without
        async def exchange(http: Http) -> ModelReply:
            body = chat_body(self.name, self.wire, request, self.dialect, schema=schema)
            peer = self.peer.facing(request)
            if http.hear is None:
                response = await http.post(
                    self._url("chat/completions"), self._headers(), body, self.timeout
                )
                reply = peer.read(response, chat_reply)
            else:
                reply = await self._streamed(http, http.hear, body, peer)
            return reply if request.schema is None else attrs.evolve(reply, structured=schema)

        return exchange

    async def _embed(self, request: EmbedRequest, http: Http) -> ModelReply:
        body = {"model": self.wire, "input": request.texts}
        response = await http.post(self._url("embeddings"), self._headers(), body, self.timeout)
        return self.peer.read(response, partial(embed_reply, len(request.texts)))

    async def _streamed(
        self, http: Http, hear: Callable[[str], None], body: dict[str, Any], peer: Server
    ) -> ChatReply:
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        opening = http.stream(self._url("chat/completions"), self._headers(), body, self.timeout)
        return await streamed(opening, Heard(hear, self.api_key), Joined(), peer, chat_reply)

    def _url(self, path: str) -> str:
        version = f"?api-version={self.api_version}" if self.api_version else ""
        return f"{self.base_url.rstrip('/')}/{path}{version}"

    def _headers(self) -> dict[str, str]:
        if not self.api_key:
            return {}
        return (
            {"api-key": self.api_key}
            if self.api_version
            else {"Authorization": f"Bearer {self.api_key}"}
        )

    def _peer(self) -> Server:
        url = "" if self.api_version else " (it ends in /v1)"
        return Server(self.name, host_port(self.base_url), self.api_key, self.key_from, url)
