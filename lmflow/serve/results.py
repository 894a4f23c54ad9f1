"""The result of a request, as JSON for its client and as a line of the access log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.interpreter.tools import ToolUse, Turn
from lmflow.values.record import Record, plain

CLIENT_GONE = 499
"""The status of a client that went away before the answer, as proxies write it in their logs."""


@attrs.frozen(eq=False)
class RequestResult:
    """The result of an executed request: the ids of its run and trace, the version that ran, and
    the outputs or the error.
    """

    run: str
    trace: str
    version: str
    outputs: Record | None = None
    error: Exception | None = None

    @property
    def ids(self) -> dict[str, str]:
        """The ids of the run, the trace and the version."""
        return {"run": self.run, "trace": self.trace, "version": self.version}

    @property
    def body(self) -> dict[str, Any]:
        """The outputs and the ids, as JSON values."""
        return {"outputs": self.public_outputs, **self.ids}

    @property
    def public_outputs(self) -> Any:
        """The outputs as JSON values, in the form that their schema declares."""
        return plain(_public(self.outputs))


@attrs.frozen
class AccessRecord:
    """A line of the access log: the route, the status, the duration, and the ids of the run."""

    route: str
    status: int
    seconds: float
    error: str = ""
    run: str = ""
    trace: str = ""
    version: str = ""


AccessLog = Callable[[AccessRecord], None]
"""Takes the record of each request once the request is over."""


def _public(value: Any) -> Any:
    """The value as its schema declares it: without what a provider wants back with an agent's
    calls, which is no client's business.
    """
    if isinstance(value, ToolUse):
        return attrs.evolve(value, state=None)
    if isinstance(value, Turn):
        return attrs.evolve(value, calls=_public(value.calls))
    if isinstance(value, tuple):
        return tuple(map(_public, value))
    if isinstance(value, Mapping):
        return {name: _public(item) for name, item in value.items()}
    return value


def no_log(record: AccessRecord) -> None:
    """Writes nothing."""
    del record


def compact_json(value: Any) -> str:
    """A JSON value on one line of ASCII, whatever a model wrote."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
