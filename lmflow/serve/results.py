"""The result of a request, as JSON for its client and as a line of the access log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

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
        return {"outputs": plain(self.outputs), **self.ids}


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


def no_log(record: AccessRecord) -> None:
    """Writes nothing."""
    del record


def compact_json(value: Any) -> str:
    """A JSON value on one line of ASCII, whatever a model wrote."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
