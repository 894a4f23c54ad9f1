"""The SQLite trace store: one thread writes, each read opens a connection of its own."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self

from lmflow.data.dataset import Dataset, Examples
from lmflow.errors import StoreError
from lmflow.messages.replies import Outcome
from lmflow.stores.damage import unreadable
from lmflow.stores.leases import StoreLeases, transaction
from lmflow.stores.sqlite.acts import acts_in, taken_acts
from lmflow.stores.sqlite.exchange.feed import SqliteFeed, opened_feed
from lmflow.stores.sqlite.groups import SqliteDatasets, SqliteRuns, SqliteVersions
from lmflow.stores.sqlite.opening import is_writable
from lmflow.stores.sqlite.pointer import SqlitePointer
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.reading import reading
from lmflow.stores.sqlite.schema import check_file, prepare
from lmflow.stores.sqlite.writing.group_commit import GroupCommitter
from lmflow.stores.sqlite.writing.no_commit import NoCommitter
from lmflow.stores.sqlite.writing.settled import settle_log
from lmflow.stores.weights import weights_folder
from lmflow.traces.events import Event, GivenAct, RefMoved, ScoreRecorded
from lmflow.traces.store import ExecutionQuery, StoredVersion
from lmflow.traces.trace import Run, Trace
from lmflow.values.hashed_files import HashedFiles
from lmflow.versions.version import Version

__all__ = ["SqliteStore", "reading"]

CHECKPOINT = 4000
"""Pages of the WAL (16 MB) after which SQLite copies them into the file.

The writer waits for each copy, so there should be few; between two copies readers search the WAL,
so it should not be much longer either.
"""


class SqliteStore:
    """A trace store in a SQLite file. Threads and processes may share it.

    A store that can't be written, because its file, folder or disk is read-only, is only read:
    ``append`` raises ``StoreError`` then.

    ``runs``, ``versions`` and ``datasets`` group its reads; the other methods are shortcuts. The
    future of ``append`` is done after COMMIT: acknowledged events survive a kill of this process,
    and with ``durable=True`` a power cut too. They are committed to a log, of which rows are made a
    little later, also by the next process that reads or writes the store; ``settle`` waits for it.

    Args:
        path: The file; it is created if it does not exist.
        durable: ``True`` to flush each commit to the disk itself; slower.

    Raises:
        NotAStore: If the file is something else; it is left unchanged.
        NewerSchema: If a newer lmflow wrote the file; it is left unchanged.
        StoreError: If the file can't be opened or read.

    Example:
        >>> import tempfile
        >>> import lmflow as lf
        >>> with lf.SqliteStore(f"{tempfile.mkdtemp()}/store.db") as store:
        ...     _ = lf.commit(store, "prod", lf.Version(note="first"))
        ...     print(store.version("prod").note, len(store.runs()))
        first 0
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        if isinstance(path, str) and "://" in path:  # not shown: it may have a password
            scheme, fix = path.partition("://")[0], "A database is opened by lf.PostgresStore(url)."
            raise StoreError(f"{scheme}://...", "it is a URL, and this store is a file", fix)
        self.path = Path(path)
        self.name = str(path)
        check_file(self.path)
        if self.path.exists() and not is_writable(self.path):
            self._committer: GroupCommitter | NoCommitter = NoCommitter(self.name)
            with self.reading():
                pass  # so that a damaged store is an error here, too
        else:
            self._committer = GroupCommitter(
                self._connected(durable=durable),
                self.name,
                waits_for_disk=durable,
                checkpoint=CHECKPOINT,
            )
        self.runs = SqliteRuns(self.reading)
        self.versions = SqliteVersions(self.reading)
        self.datasets = SqliteDatasets(self.path, self.reading)

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
            StoreError: If the store is closed, or can only be read.
        """
        return self._committer.append((events,))[0]

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> Sequence[Future[None]]:
        """Store groups of events in order, each of them whole or not at all, in one commit.

        Args:
            groups: The groups.

        Returns:
            A future for each group, as ``append`` returns it.

        Raises:
            StoreError: If the store is closed, or can only be read.
        """
        return self._committer.append(groups)

    def check_open(self) -> None:
        """Raise ``StoreError`` if the store takes no events: it is closed, or can only be read."""
        self._committer.check_open()

    def settle(self) -> None:
        """Wait until all that was acknowledged stands in the tables and views, for programs that
        read the file without lmflow. lmflow itself sees it at once.
        """
        self._committer.settle()

    @property
    def files(self) -> HashedFiles:
        """The folder of trained weights beside the store's file, by the sha256 of their content."""
        return weights_folder(self.path)

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
        return acts_in(self.path, run, after)

    def acts_taken(self, run: str) -> tuple[bool, Sequence[tuple[str, Trace]]]:
        """Return whether a run ended, and the acts that it recorded as taken."""
        with self.reading() as reader:
            return taken_acts(reader, run)

    def pointer(self, name: str) -> SqlitePointer:
        """Return a pointer that resolves a name again and again on one connection."""
        return SqlitePointer(self.reading, self.name, name)

    @property
    def leases(self) -> StoreLeases:
        """The leases by which workers share a run."""
        self.check_open()
        return StoreLeases(self.name, self._writing, lambda _: time.time_ns())

    def _writing(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
        return transaction(db, db.commit)

    def feed(self) -> contextlib.AbstractContextManager[SqliteFeed]:
        """Open a feed of what ended, for exporters, on a connection of its own."""
        return opened_feed(self.path)

    def reading(self) -> contextlib.AbstractContextManager[Reader]:
        """Open a reader on a read-only connection of its own."""
        self._committer.settle()
        return reading(self.path)

    def close(self) -> None:
        """Write what is queued and close the file. Closing twice is harmless."""
        self._committer.close()

    def _connected(self, *, durable: bool) -> sqlite3.Connection:
        try:
            # Opened here, so that errors reach the caller, and used by the writer thread only.
            db = sqlite3.connect(
                self.path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            fix = "Does its folder exist, and may you write there?"
            raise StoreError(self.name, f"it can't be opened ({error})", fix) from error
        try:
            prepare(db, self.path)
            settle_log(self.path, db)  # a process that was killed may have left something
            # In WAL mode NORMAL loses no commit if the process dies, only the last ones if the
            # power fails; the file is never corrupt. FULL flushes the WAL at each commit.
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("PRAGMA foreign_keys = ON")
        except sqlite3.DatabaseError as error:
            db.close()
            raise unreadable(self.name, error) from error
        except BaseException:
            db.close()
            raise
        return db
