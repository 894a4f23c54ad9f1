"""Models of the package litellm (the extra ``litellm``), for providers that have no shape of their
own here.
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
from lmflow.models.transport.responses import EndpointCapabilities, Server, asked, clean
from lmflow.values.record import plain

_OWN = {
    "num_retries": 0,
    "max_retries": 0,
    "caching": False,
    "cache": {"no-cache": True, "no-store": True},
}


@attrs.frozen(eq=False)
class LiteLLM:
    """A model that litellm asks. Its own retries and caching are off: an attempt is a request.

    ``wire`` is litellm's name (``gemini/gemini-2.5-flash``), ``module`` the package. It uses a
    session of its own, and doesn't stream. Keys come from the variables that litellm reads, or
    ``api_key``, which is masked by value.
    """

    name: str
    wire: str
    module: Any = attrs.field(repr=False)
    api_key: str = attrs.field(default="", repr=False)
    timeout: float = 120.0
    learned: EndpointCapabilities = attrs.field(factory=EndpointCapabilities, repr=False)

    @property
    def endpoint(self) -> str:
        """The provider, as litellm names it."""
        return self.wire.partition("/")[0] if "/" in self.wire else "litellm"

    @property
    def structured(self) -> bool | None:
        """Whether the model takes a JSON schema; ``None`` before it was asked to."""
        return self.learned.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The first choice, or a vector a text. ``ModelFailed`` says what kind of failure it was."""
        if isinstance(request, EmbedRequest):
            return await send(partial(self._embed, request))
        return await asked(request, send, partial(self._exchange, request), self.learned)

    async def aclose(self) -> None:
        """Nothing to do."""

    def _exchange(self, request: ChatRequest, schema: bool) -> Exchange:  # noqa: FBT001 - with the schema or without
        async def exchange(http: Http) -> ModelReply:
            body = chat_body(self.name, self.wire, request, PLAIN, schema=schema)
            data = await self._sent(self.module.acompletion, body, self._peer().facing(request))
            reply: ChatReply = self._peer().parse_reply(data, chat_reply, str(data), 200)
            if http.hear is not None and reply.text:
                http.hear(reply.text)
                reply = attrs.evolve(reply, chunks=(len(reply.text),))
            return reply if request.schema is None else attrs.evolve(reply, structured=schema)

        return exchange

    async def _embed(self, request: EmbedRequest, _: Http) -> EmbedReply:
        data = await self._sent(
            self.module.aembedding, {"model": self.wire, "input": list(request.texts)}, self._peer()
        )
        return self._peer().parse_reply(
            data, partial(embed_reply, len(request.texts)), str(data), 200
        )

    async def _sent(self, function: Any, body: dict[str, Any], peer: Server) -> Any:
        key = {"api_key": self.api_key} if self.api_key else {}
        try:
            answer = await function(**plain(body), **_OWN, **key, timeout=self.timeout)
        except Exception as error:  # noqa: BLE001 - its errors are the classes of a package that may be missing
            failure = self._failed(error, peer)
        else:
            return clean(answer.model_dump(), self.api_key)
        raise failure  # out of the handler, since the error itself may hold the key

    def _failed(self, error: Exception, peer: Server) -> ModelFailed:
        status, text = getattr(error, "status_code", None), clean(str(error), self.api_key)
        name = type(error).__name__
        if "Connection" in name:
            return ModelFailed("unreachable", f"{self.name}: {text}")
        if "Timeout" in name:
            return ModelFailed("timeout", f"{self.name}: {text}", status)
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        if isinstance(status, int):
            return peer.failed(status, {"error": {"message": text}}, text, headers)
        return ModelFailed("server", f"{self.name}: litellm raised {name}: {text}", raw=text)

    def _peer(self) -> Server:
        return Server(
            self.name,
            self.endpoint,
            self.api_key,
            "api_key=... or the variable that litellm reads",
            "",
        )


def litellm(wire: str, *, api_key: str = "", timeout: float = 120.0, module: Any = None) -> LiteLLM:
    """The model that litellm calls ``wire``. ``ModelUnavailable`` where the extra is missing; it is
    slow to import.
    """
    name = f"litellm/{wire}"
    try:
        found = module or importlib.import_module("litellm")
    except ImportError as error:
        raise ModelUnavailable(
            name, f"litellm can't be imported ({error})", 'Run: pip install "lmflow-dsl[litellm]"'
        ) from error
    return LiteLLM(name, wire, found, api_key, timeout)
