"""Language models on this machine: weights from the cache, served by a child process on the
loopback.
"""

from __future__ import annotations

from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Send
from lmflow.models.local.llama_server import LlamaServer
from lmflow.models.local.weights import located
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.capabilities import EndpointCapabilities


class Local:
    """A local model. Its server starts at the first request and ends with the executor."""

    endpoint = "local"

    def __init__(self, name: str, server: LlamaServer) -> None:
        self.name = name
        self._server = server
        self._learned = EndpointCapabilities()

    @property
    def structured(self) -> bool | None:
        """Whether the server takes a JSON schema; ``None`` before it was asked to."""
        return self._learned.structured

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """The reply of the server, which is started if need be."""
        url = await self._server.start()
        wire = self.name.removeprefix("local/")
        served = OpenAI(
            self.name, wire, url, self.endpoint, self._server.api_key, 300.0, learned=self._learned
        )
        return await served(request, send)

    async def aclose(self) -> None:
        """End the server."""
        await self._server.stop()


def local(name: str, *, slots: int = 4, context: int = 4096, embedding: bool = False) -> Local:
    """A model by catalogue name (``smollm2-135m``) or by the path of a ``.gguf`` file.

    ``slots`` requests are served at once, each with ``context`` tokens. Weights for embedding, of
    the catalogue or by ``embedding=True``, answer ``EmbedRequest`` alone. Raises
    ``ModelUnavailable`` where the weights or the extra ``local`` are missing.
    """
    found = located(name)
    embeds = embedding or found.kind == "embedding"
    return Local(
        f"local/{found.name}",
        LlamaServer(found.path, slots=slots, context=context, embedding=embeds),
    )
