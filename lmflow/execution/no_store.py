"""The recorder of an executor without a store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from lmflow.errors import UnknownVersion
from lmflow.traces.events import Event
from lmflow.traces.store import ExecutionQuery
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version


class NoStore:
    """Keeps nothing: the traces that an executor returns hold their calls themselves."""

    def append(self, *events: Event) -> Future[None]:
        """Return a future that is done."""
        del events
        written: Future[None] = Future()
        written.set_result(None)
        return written

    def version(self, name: str) -> Version:
        """Raise ``UnknownVersion``: without a store nothing has a name."""
        raise UnknownVersion(name)

    def first(self, name: str) -> Version:
        """Raise ``UnknownVersion``: without a store nothing has a name."""
        raise UnknownVersion(name)

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return ``None`` for each query."""
        return [None] * len(queries)
