"""Tools: steps that run a function, and what they need before they can run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.messages.requests import CACHED, ToolMode
from lmflow.programs.program import Program, Step
from lmflow.values.functions import Function
from lmflow.values.record import Record

Price = Callable[[Mapping[str, Any]], int | None]
"""Returns what a call with some inputs costs, in nano-dollars; ``None`` if nobody can tell. No
inputs at all ask whether prices are known.
"""


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Tool(Step):
    """A step that runs a function with effects: search, clock, randomness, files, HTTP.

    ``mode`` (cached, pure, live) says how recorded answers may be used again. ``description`` is
    what a model that may call the tool is told of it; ``parameters`` is the JSON schema of the
    inputs, ``None`` for the signature's own. ``check`` raises if the function can't run here, since
    an extra is missing for example. ``price`` says what a call costs, ``None`` if calls cost
    nothing.
    """

    function: Function
    timeout: float | None = None
    mode: ToolMode = CACHED
    description: str = ""
    parameters: Record | None = None
    check: Callable[[], None] | None = attrs.field(default=None, eq=False, repr=False)
    price: Price | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def identity(self) -> Any:
        """Name, signature and function; neither the description nor the mode is part of it."""
        return ["Tool", self.name, self.signature.identity, self.function.identity]


def check_tools(program: Program) -> None:
    """Raise the error of the first tool in a program that can't run here.

    It is called before a program's first call is paid. A replay doesn't need it: it runs no tool.
    """
    for step in program.steps.values():
        if isinstance(step, Tool) and step.check is not None:
            step.check()
