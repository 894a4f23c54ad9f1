"""Stands for the writer of a store that can only be read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from lmflow.stores.sqlite.opening import read_only
from lmflow.traces.events import Event


class NoCommitter:
    """Refuses events before anything is sent, since their answers could not be recorded."""

    def __init__(self, store: str) -> None:
        self._store = store

    def check_open(self) -> None:
        """Raise ``StoreError``, which says that the store can only be read."""
        raise read_only(self._store)

    def append(self, groups: Sequence[Sequence[Event]]) -> Sequence[Future[None]]:
        """Raise ``StoreError``, which says that the store can only be read."""
        del groups
        raise read_only(self._store)

    def settle(self) -> None:
        """Do nothing: readers look into the log themselves."""

    def close(self) -> None:
        """Do nothing: no file is open."""
