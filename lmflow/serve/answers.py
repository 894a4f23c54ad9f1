"""What comes of a request: for its client as JSON values, for who runs the server as a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

from lmflow.values.record import Record, plain

GONE = 499
"""The status of who went away before the answer, as proxies write it in their logs."""


@attrs.frozen(eq=False)
class Answered:
    """What came of a request: the ids of its run and trace, the version that answered, the outputs
    or the error.
    """

    run: str
    trace: str
    version: str
    outputs: Record | None = None
    error: Exception | None = None

    @property
    def ids(self) -> dict[str, str]:
        """Where it is recorded, and under which version it ran."""
        return {"run": self.run, "trace": self.trace, "version": self.version}

    @property
    def whole(self) -> dict[str, Any]:
        """The outputs, and the ids."""
        return {"outputs": plain(self.outputs), **self.ids}


@attrs.frozen
class Told:
    """A request that is over: what was asked for, its status, how long it took, and where it is
    recorded.
    """

    route: str
    status: int
    seconds: float
    error: str = ""
    run: str = ""
    trace: str = ""
    version: str = ""


Tell = Callable[[Told], None]


def untold(told: Told) -> None:
    """Nobody is told."""
    del told


def text(value: Any) -> str:
    """A JSON value on one line of ASCII, whatever a model wrote."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
