"""Models on this machine: weights from the cache, served by a child process on the loopback."""

from __future__ import annotations

from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Send
from lmflow.models.local.llama_server import LlamaServer
from lmflow.models.local.weights import locate
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.capabilities import EndpointCapabilities

_TIMEOUT = 300.0


class Local:
    """A local model, whose server starts at the first request and ends with the executor."""

    endpoint = "local"

    def __init__(self, name: str, server: LlamaServer) -> None:
        self.name = name
        self._server = server
        self._capabilities = EndpointCapabilities()

    @property
    def structured(self) -> bool | None:
        """True if the server takes a JSON schema; ``None`` before one was sent."""
        return self._capabilities.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The server's reply; starts the server if it doesn't run."""
        url = await self._server.start()
        wire = self.name.removeprefix("local/")
        model = OpenAI(
            self.name,
            wire,
            url,
            self.endpoint,
            self._server.api_key,
            _TIMEOUT,
            capabilities=self._capabilities,
        )
        return await model(request, send)

    async def aclose(self) -> None:
        """Ends the server."""
        await self._server.stop()


def local(name: str, *, slots: int = 4, context: int = 4096, embedding: bool = False) -> Local:
    """Makes a model from weights on this machine.

    Args:
        name: A name in the catalogue (``smollm2-135m``), or the path of a ``.gguf`` file.
        slots: Requests that are served at once.
        context: Tokens of each request and its reply.
        embedding: Whether the file holds weights for embedding, which answer ``EmbedRequest``
            alone. The catalogue knows this of its own weights.

    Returns:
        The model. Nothing is started before its first request.

    Raises:
        ModelUnavailable: If the weights or the extra ``local`` are missing.
    """
    weights = locate(name)
    embeds = embedding or weights.kind == "embedding"
    server = LlamaServer(weights.path, slots=slots, context=context, embedding=embeds)
    return Local(f"local/{weights.name}", server)
