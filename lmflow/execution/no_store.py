"""The recorder of an executor without a store."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from lmflow.errors import UnknownVersion, clipped, safe_repr
from lmflow.traces.events import Event
from lmflow.traces.store import ExecutionQuery, Recorder
from lmflow.traces.trace import Trace
from lmflow.versions.version import Version

STORE_FIX = "Open it: with lf.SqliteStore({path}) as store."


def recorder_of(store: Recorder | None) -> Recorder:
    """Return the store, or what stands in for none. ``TypeError`` if it is no store."""
    if store is None:
        return NoStore()
    if isinstance(store, (str, Path)):
        path = repr(str(store))
        msg = f"expected a store, found the path {path}. {STORE_FIX.format(path=path)}"
        raise TypeError(msg)
    if isinstance(store, type) or not hasattr(store, "append"):
        shown = getattr(store, "__name__", "") or clipped(safe_repr(store), 60)
        fix = 'Give lf.MemoryStore() or lf.SqliteStore("notes.db").'
        msg = f"expected a store, found {type(store).__name__} {shown}. {fix}"
        raise TypeError(msg)
    return store


class NoStore:
    """Keeps nothing: the traces that an executor returns hold their calls themselves."""

    def __init__(self) -> None:
        self._written: Future[None] = Future()
        self._written.set_result(None)

    def append(self, *events: Event) -> Future[None]:
        """Return a future that is done, the same each time."""
        del events
        return self._written

    def version(self, name: str) -> Version:
        """Raise ``UnknownVersion``: without a store nothing has a name."""
        raise UnknownVersion(name)

    def first(self, name: str) -> Version:
        """Raise ``UnknownVersion``: without a store nothing has a name."""
        raise UnknownVersion(name)

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return ``None`` for each query."""
        return [None] * len(queries)
