"""Models of the package litellm (the extra ``litellm``), for providers without a wire format of
their own in lmflow.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import attrs

from lmflow.errors import ModelFailed, ModelUnavailable
from lmflow.messages.replies import ChatReply, EmbedReply, ModelReply
from lmflow.messages.requests import ChatRequest, EmbedRequest, ModelRequest
from lmflow.models.base import Exchange, Http, Send
from lmflow.models.providers.openai_chat import PLAIN, chat_body, chat_reply, embed_reply
from lmflow.models.transport.capabilities import EndpointCapabilities, send_adapted
from lmflow.models.transport.json_text import scrub
from lmflow.models.transport.responses import Server
from lmflow.values.record import plain

# One attempt is one request: a retry or a cache of litellm's would be neither counted nor recorded.
_ONE_REQUEST = {
    "num_retries": 0,
    "max_retries": 0,
    "caching": False,
    "cache": {"no-cache": True, "no-store": True},
}


@attrs.frozen(eq=False)
class LiteLLM:
    """A model that litellm calls, with litellm's own retries and caching off.

    ``wire`` is litellm's name (``gemini/MODEL``), ``module`` the package, which uses a
    session of its own. Replies aren't streamed. Keys come from the variables that litellm reads, or
    from ``api_key``, which is masked by value.
    """

    name: str
    wire: str
    module: Any = attrs.field(repr=False)
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0
    capabilities: EndpointCapabilities = attrs.field(factory=EndpointCapabilities, repr=False)

    @property
    def endpoint(self) -> str:
        """The provider, as litellm names it."""
        return self.wire.partition("/")[0] if "/" in self.wire else "litellm"

    @property
    def structured(self) -> bool | None:
        """True if the model takes a JSON schema; ``None`` before one was sent."""
        return self.capabilities.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Sends a request: the first choice, or one vector a text. Raises ``ModelFailed``."""
        if isinstance(request, EmbedRequest):
            return await send(partial(self._embed, request))
        return await send_adapted(
            request, send, partial(self._exchange, request), self.capabilities
        )

    async def aclose(self) -> None:
        """Does nothing."""

    def _exchange(self, request: ChatRequest, schema: bool) -> Exchange:  # noqa: FBT001 - a factory
        async def exchange(http: Http) -> ModelReply:
            body = chat_body(
                self.name, self.wire, request, PLAIN, schema=schema, origin=self._origin
            )
            server = self._server().facing(request)
            data = await self._request(self.module.acompletion, body, server)
            reply: ChatReply = server.parse_reply(
                data, partial(chat_reply, origin=self._origin), str(data), 200
            )
            if http.hear is not None and reply.text:
                http.hear(reply.text)
                reply = attrs.evolve(reply, chunks=(len(reply.text),))
            return reply if request.schema is None else attrs.evolve(reply, structured=schema)

        return exchange

    async def _embed(self, request: EmbedRequest, _: Http) -> EmbedReply:
        body = {"model": self.wire, "input": list(request.texts)}
        server = self._server()
        data = await self._request(self.module.aembedding, body, server)
        parse = partial(embed_reply, len(request.texts))
        return server.parse_reply(data, parse, str(data), 200)

    async def _request(self, function: Any, body: dict[str, Any], server: Server) -> Any:
        key = {"api_key": self.api_key} if self.api_key else {}
        try:
            answer = await function(**plain(body), **_ONE_REQUEST, **key, timeout=self.timeout)
        except Exception as error:  # noqa: BLE001 - litellm may be missing
            failure = self._failure(error, server)
        else:
            return scrub(answer.model_dump(), self.api_key)
        raise failure  # outside the handler: as its context, the error would hold the key

    def _failure(self, error: Exception, server: Server) -> ModelFailed:
        status, text = getattr(error, "status_code", None), scrub(str(error), self.api_key)
        name = type(error).__name__
        if "Connection" in name:
            return ModelFailed("unreachable", f"{self.name}: {text}")
        if "Timeout" in name:
            return ModelFailed("timeout", f"{self.name}: {text}", status)
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        if isinstance(status, int):
            return server.failed(status, {"error": {"message": text}}, text, headers)
        return ModelFailed("server", f"{self.name}: litellm raised {name}: {text}", raw=text)

    @property
    def _origin(self) -> str:
        return f"litellm {self.endpoint}"

    def _server(self) -> Server:
        key = "api_key=... or the variable that litellm reads"
        return Server(self.name, self.endpoint, self.api_key, key)


def litellm(wire: str, *, api_key: str = "", timeout: float = 120.0, module: Any = None) -> LiteLLM:
    """The model that litellm calls ``wire``.

    Importing litellm takes seconds. ``ModelUnavailable`` if the extra isn't installed.
    """
    name = f"litellm/{wire}"
    try:
        package = module or importlib.import_module("litellm")
    except ImportError as error:
        raise ModelUnavailable(
            name, f"litellm can't be imported ({error})", 'Run: pip install "lmflow-dsl[litellm]"'
        ) from error
    return LiteLLM(name, wire, package, api_key, timeout)
