"""A model as a recording has it, which is made only to send a new request."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from lmflow.errors import ModelUnavailable
from lmflow.messages.replies import ModelReply
from lmflow.messages.requests import ModelRequest
from lmflow.models.base import Model, Send
from lmflow.models.transport.addresses import host_class


@attrs.frozen(eq=False)
class RecordedModel:
    """Stands for a model as it was recorded; makes the model itself only to send a new request."""

    name: str
    endpoint: str
    path: str
    make: Callable[[], Model]
    inner: tuple[Model, ...] = ()

    async def __call__(self, request: ModelRequest, send: Send) -> ModelReply:
        """Send a request; ``ModelUnavailable`` if the model is not the recorded one."""
        model = self.make()
        # Older recordings hold the host alone as endpoint class.
        endpoints = {model.endpoint, host_class(model.endpoint)}
        if model.name != self.name or self.endpoint not in endpoints:
            problem = (
                f"{self.path} was recorded with it at {self.endpoint}, "
                f"now it is {model.name} at {model.endpoint}"
            )
            fix = "Record anew: pytest --lmflow-record=all."
            raise ModelUnavailable(self.name, problem, fix)
        return await model(request, send)

    async def aclose(self) -> None:
        """Do nothing: the executor that made the model closes it."""
