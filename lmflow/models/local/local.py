"""Models on this machine: weights from the cache, served by a child process on the loopback."""

from __future__ import annotations

from pathlib import Path

import attrs

from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ChatRequest, ModelRequest
from lmflow.models.base import Send
from lmflow.models.local.adapters import AdapterServer, LocalPlace, Serving
from lmflow.models.local.weights import locate
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.capabilities import EndpointCapabilities
from lmflow.values.weights_names import adapted_name, split_name

_TIMEOUT = 300.0


class Local:
    """A local model, whose server starts at the first request and ends with the executor."""

    endpoint = "local"

    def __init__(self, name: str, server: AdapterServer, adapter: Path | None = None) -> None:
        self.name = name
        self._server, self._adapter = server, adapter
        self._capabilities = EndpointCapabilities()

    @property
    def structured(self) -> bool | None:
        """True if the server takes a JSON schema; ``None`` before one was sent."""
        return self._capabilities.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The server's reply; starts the server if it doesn't run."""
        wire = split_name(self.name)[0].removeprefix("local/")
        async with self._server.using(self._adapter) as serving:
            model = OpenAI(
                self.name,
                wire,
                serving.url,
                self.endpoint,
                serving.api_key,
                _TIMEOUT,
                capabilities=self._capabilities,
            )
            return await model(_adapted(request, serving), send)

    async def aclose(self) -> None:
        """Ends the server."""
        await self._server.stop()


def _adapted(request: ModelRequest, serving: Serving) -> ModelRequest:
    """Name the adapter in what is sent; the request that is recorded has it in its model's name."""
    if not serving.options or not isinstance(request, ChatRequest):
        return request
    return attrs.evolve(request, options=request.options | serving.options)


def local(
    name: str,
    *,
    slots: int = 4,
    context: int = 4096,
    embedding: bool = False,
    place: LocalPlace | None = None,
) -> Local:
    """Makes a model from weights on this machine.

    Args:
        name: A name in the catalogue (``smollm2-135m``), or the path of a ``.gguf`` file; with
            ``+lora:SHA256`` behind it, with that adapter.
        slots: Requests that are served at once.
        context: Tokens of each request and its reply.
        embedding: Whether the file holds weights for embedding, which answer ``EmbedRequest``
            alone. The catalogue knows this of its own weights.
        place: The servers to share and the folder of trained weights; by default a server of its
            own, and the folder in the user's cache.

    Returns:
        The model. Nothing is started before its first request.

    Raises:
        ModelUnavailable: If the weights or the extra ``local`` are missing.
    """
    base, sha256 = split_name(name)
    weights, place = locate(base), place or LocalPlace()
    embeds = embedding or weights.kind == "embedding"
    server = place.server(weights.path, slots=slots, context=context, embedding=embeds)
    full = f"local/{weights.name}"
    return Local(adapted_name(full, sha256) if sha256 else full, server, place.adapter(name))
