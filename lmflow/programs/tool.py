"""Tools: steps that run a function."""

from __future__ import annotations

from typing import Any

import attrs

from lmflow.messages.requests import CACHED, ToolMode
from lmflow.programs.program import Step
from lmflow.values.functions import Function
from lmflow.values.record import Record


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Tool(Step):
    """A step that runs a function with effects: search, clock, randomness, files, HTTP.

    ``mode`` (cached, pure, live) says how recorded answers may be used again. ``description`` is
    what a model that may call the tool is told of it; ``parameters`` is the JSON schema of the
    inputs, ``None`` for the signature's own.
    """

    function: Function
    timeout: float | None = None
    mode: ToolMode = CACHED
    description: str = ""
    parameters: Record | None = None

    @property
    def identity(self) -> Any:
        """Name, signature and function; neither the description nor the mode is part of it."""
        return ["Tool", self.name, self.signature.identity, self.function.identity]
