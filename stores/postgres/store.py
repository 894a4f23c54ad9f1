"""The trace store in PostgreSQL: many processes and machines share it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Self

from lmflow.data.dataset import Dataset, Examples
from lmflow.messages.replies import Outcome
from lmflow.stores.leases import StoreLeases, transaction
from lmflow.stores.postgres.committing import Committer
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.datasets import PostgresDatasets
from lmflow.stores.postgres.location import location
from lmflow.stores.postgres.pointer import PostgresPointer
from lmflow.stores.postgres.pool import ReadingPool
from lmflow.stores.postgres.reading import explained
from lmflow.stores.sqlite.acts import given_acts, taken_acts
from lmflow.stores.sqlite.exchange.feed import SqliteFeed
from lmflow.stores.sqlite.groups import SqliteRuns, SqliteVersions
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import Event, GivenAct, RefMoved, ScoreRecorded
from lmflow.traces.store import ExecutionQuery, StoredVersion
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version


class PostgresStore:
    """A trace store in a PostgreSQL database, which processes on many machines may share.

    ``runs``, ``versions`` and ``datasets`` group its reads; the other methods are shortcuts. The
    future of ``append`` is done after COMMIT. Each store is a schema of the database, ``lmflow``
    unless the URL says ``?schema=NAME``; it is made if it does not exist. Messages name the store
    by its URL without the password.

    Args:
        url: The URL, ``postgresql://USER@HOST:PORT/DATABASE``.
        durable: ``False`` to acknowledge events before the server has flushed them to its disk:
            faster, and a crash of the server loses the last half second.

    Raises:
        NewerSchema: If a newer lmflow made the store; it is left unchanged.
        StoreError: If the server can't be reached, or the user may not make the tables.

    Example:
        ``with lf.PostgresStore("postgresql://ann@db.example/traces") as store: ...``
    """

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self._place = location(url)
        self.name = self._place.name
        self._committer = Committer(self._place, durable=durable)
        self._pool = ReadingPool(self._place)
        self.runs = SqliteRuns(self.reading)
        self.versions = SqliteVersions(self.reading)
        self.datasets = PostgresDatasets(self._place, self.reading)

    def __repr__(self) -> str:
        return f"<PostgresStore {self.name}>"

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def append(self, *events: Event) -> Future[None]:
        """Store events in order, all of them or none.

        Args:
            *events: The events.

        Returns:
            A future that is done after COMMIT; it raises ``StoreError`` if the events can't be
            written.

        Raises:
            StoreError: If the store is closed.
        """
        return self._committer.append(events)

    def settle(self) -> None:
        """Return at once: what was acknowledged stands in the tables and views."""

    def run(self, run: str) -> Run:
        """Return ``runs.get(run)``: a run with all its traces.

        Raises:
            NotFound: If no run, or more than one, has the id.
            Tampered: If a stored value does not match its hash.
        """
        return self.runs.get(run)

    def trace(self, trace: str) -> Trace:
        """Return ``runs.trace(trace)``: a trace with all its calls."""
        return self.runs.trace(trace)

    def recorded(self, queries: Sequence[ExecutionQuery]) -> Sequence[Trace | None]:
        """Return ``runs.recorded(queries)``: the newest trace of each execution."""
        return self.runs.recorded(queries)

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """Return ``runs.answer(key)``: the newest reply for a request's key."""
        return self.runs.answer(key)

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """Return ``runs.scores(trace)``: the scores of a trace."""
        return self.runs.scores(trace)

    def version(self, name: str) -> Version:
        """Return ``versions.get(name)``: the version that a ref or an id names.

        Raises:
            UnknownVersion: If the name resolves to no version, or to several.
        """
        return self.versions.get(name)

    def first(self, name: str) -> Version:
        """Return ``versions.first(name)``: the oldest stored ancestor of a version."""
        return self.versions.first(name)

    def saved(self, name: str) -> StoredVersion:
        """Return ``versions.saved(name)``: a version with its refs and scores."""
        return self.versions.saved(name)

    def refs(self) -> Mapping[str, str]:
        """Return ``versions.refs()``: the version ids by ref."""
        return self.versions.refs()

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """Return ``versions.reflog(name, limit)``: the latest moves of refs."""
        return self.versions.reflog(name, limit)

    def put_dataset(
        self,
        name: str,
        parts: Examples | Mapping[str, Examples],
        *,
        origins: Mapping[str, str] | None = None,
    ) -> str:
        """Store a data set, or one in splits as ``lf.split`` returns it, under a name.

        The data set that the name pointed at before stays stored under its digest.

        Args:
            name: The name; formed like a ref.
            parts: The data set or its rows, or its splits by name.
            origins: The ids of the traces that examples come from, by the examples' ids.

        Returns:
            The digest of the data set.

        Raises:
            BadRef: If ``name`` can't be a name.
            BadData: If there are no rows, or an example is in two splits.
            StoreError: If the store can't be written.
        """
        return self.datasets.put(name, parts, origins=origins)

    def keep_dataset(self, data: Dataset) -> str:
        """Return ``datasets.keep(data)``: the digest of a data set that is stored unnamed."""
        return self.datasets.keep(data)

    def dataset(self, name: str, split: str = "") -> Dataset:
        """Return ``datasets.get(name, split)``: a data set, or one of its splits.

        Raises:
            NotFound: If no data set has the name or digest, or it has no such split.
        """
        return self.datasets.get(name, split)

    def splits(self, name: str) -> Mapping[str, Dataset]:
        """Return ``datasets.splits(name)``: the splits of a data set by name."""
        return self.datasets.splits(name)

    def acts(self, run: str, after: int = 0) -> Sequence[GivenAct]:
        """Return the acts that people gave to a search, by the whole id of its run."""
        with self.reading() as reader:
            return given_acts(reader, run, after)

    def acts_taken(self, run: str) -> tuple[bool, Sequence[tuple[str, Trace]]]:
        """Return whether a run ended, and the acts that it recorded as taken."""
        with self.reading() as reader:
            return taken_acts(reader, run)

    def pointer(self, name: str) -> PostgresPointer:
        """Return a pointer that resolves a name again and again on one connection."""
        return PostgresPointer(self._place, name)

    @property
    def leases(self) -> StoreLeases:
        """The leases by which workers share a run, on whatever machines."""
        return StoreLeases(self.name, self._writing, _time_of_server)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[PostgresConnection]:
        db = PostgresConnection(self._place)
        with explained(self._place), transaction(db, db.commit) as writing:
            yield writing

    @contextlib.contextmanager
    def feed(self) -> Iterator[SqliteFeed]:
        """Open a feed of what ended, for exporters, on a connection of its own."""
        place = self._place
        with contextlib.closing(PostgresConnection(place)) as db, explained(place):
            yield SqliteFeed(db.as_sqlite(), place.name)

    def reading(self) -> contextlib.AbstractContextManager[Reader]:
        """Lend a reader, on a read-only connection that no other thread uses meanwhile."""
        return self._pool.reading()

    def close(self) -> None:
        """Write what is queued and close the connections. Closing twice is harmless."""
        self._committer.close()
        self._pool.close()


_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"


def _time_of_server(db: PostgresConnection) -> int:
    """Return the time by the server's clock: those of the machines may differ."""
    return int(db.run(_NOW).fetchone()[0])
