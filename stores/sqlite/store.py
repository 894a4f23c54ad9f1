"""The SQLite trace store: one writer thread with group commit, readers of their own."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from lmflow.data.dataset import Dataset
from lmflow.errors import LmflowError, StoreError
from lmflow.messages.replies import Outcome
from lmflow.stores.sqlite.datasets import put
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.ref_pointer import SqlitePointer
from lmflow.stores.sqlite.schema import check_file, made, prepare
from lmflow.stores.sqlite.writer import RowWriter
from lmflow.traces.events import Event, RefMoved, ScoreRecorded
from lmflow.traces.store import Saved, Wish
from lmflow.traces.trace import Run, Trace
from lmflow.versions.version import Version

LARGEST_BATCH = 1000
CHECKPOINT = 4000
"""Pages of the journal (16 MB) after which they are copied into the file: each copy is waited for,
so few are made.
"""

_Item = tuple[tuple[Event, ...], "Future[None]"] | None


class SqliteStore:
    """A trace store in a SQLite file, made if it doesn't exist. Safe to share between threads and
    processes.

    ``append``'s future is done after COMMIT: what it acknowledged survives a kill of this process,
    and with ``durable=True`` a power cut too. Raises ``NotAStore`` or ``NewerSchema`` for a file
    that isn't ours to use, and leaves it untouched.
    """

    def __init__(self, path: str | Path, *, durable: bool = False) -> None:
        self.path = Path(path)
        self.name = str(path)
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        check_file(self.path)
        self._db = self._connected(durable=durable)
        self._thread = threading.Thread(
            target=_write, args=(self._queue, self._db, self.name), name="lmflow-store", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def append(self, *events: Event) -> Future[None]:
        """Keep events, in order, all or none. The future is done after COMMIT."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # who stops waiting doesn't undo what is queued
        with self._lock:
            if self._closed:
                raise StoreError(self.name, "it is closed", "Open it anew.")
            self._queue.put((events, done))
        return done

    def runs(self, limit: int = 20, before: str = "") -> Sequence[Run]:
        """The latest runs without their traces, newest first."""
        with self.reading() as reader:
            return reader.runs(limit, before)

    def run(self, run: str) -> Run:
        """A run with all its traces. ``Tampered`` where a stored value doesn't match its hash."""
        with self.reading() as reader:
            return reader.run(run)

    def trace(self, trace: str) -> Trace:
        """A trace with all its calls."""
        with self.reading() as reader:
            return reader.trace(trace)

    def version(self, name: str) -> Version:
        """The version that a ref, an id or a short id names, or ``REF~N``."""
        with self.reading() as reader:
            return reader.version(name)

    def first(self, name: str) -> Version:
        """The first version that is kept of its line, by first parents."""
        with self.reading() as reader:
            return reader.versions.first(name)

    def saved(self, name: str) -> Saved:
        """The version with when and by whom it was kept."""
        with self.reading() as reader:
            return reader.versions.saved(name)

    def reflog(self, name: str = "", limit: int = 50) -> Sequence[RefMoved]:
        """The latest moves of a ref, or of all, newest first."""
        with self.reading() as reader:
            return reader.versions.reflog(name, limit)

    def scores(self, trace: str) -> Sequence[ScoreRecorded]:
        """The scores of a trace, in the order in which they were given."""
        with self.reading() as reader:
            return reader.scores(trace)

    def answer(self, key: str) -> tuple[str, Outcome] | None:
        """The newest reply that was recorded for a key, with the id of its trace."""
        with self.reading() as reader:
            return reader.answer(key)

    def recorded(self, wishes: Sequence[Wish]) -> Sequence[Trace | None]:
        """For each the newest trace of just that, one that ended where there is such."""
        with self.reading() as reader:
            return reader.recorded(wishes)

    def refs(self) -> Mapping[str, str]:
        """The refs: name -> version id."""
        with self.reading() as reader:
            return reader.refs()

    def put_dataset(
        self,
        name: str,
        parts: Dataset | Mapping[str, Dataset],
        *,
        origins: Mapping[str, str] | None = None,
    ) -> str:
        """Keep a data set, or one in splits as ``lf.split`` gives them, under a name; its digest.

        What the name stood for stays kept under its digest. ``origins`` are the traces that
        examples come from, by id.
        """
        return put(self.path, name, parts, time.time_ns(), origins or {})

    def keep_dataset(self, data: Dataset) -> str:
        """Keep a data set by its content alone, under no name; its digest."""
        return put(self.path, "", data, time.time_ns(), {})

    def dataset(self, name: str, split: str = "") -> Dataset:
        """The data set that a name or a digest stands for, or one of its splits. ``NotFound``."""
        with self.reading() as reader:
            return reader.dataset(name, split)

    def splits(self, name: str) -> Mapping[str, Dataset]:
        """The splits of a data set; one without splits is under ``""``."""
        with self.reading() as reader:
            return reader.datasets.splits(name)

    def pointer(self, name: str) -> SqlitePointer:
        """What a name points at, looked up anew each time on one connection of its own."""
        return SqlitePointer(self.reading, self.name, name)

    def reading(self) -> contextlib.AbstractContextManager[Reader]:
        """A reader on a read-only connection of its own."""
        return reading(self.path)

    def close(self) -> None:
        """Write what is queued and close the file. Closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._db.close()

    def _connected(self, *, durable: bool) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(
                self.path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise StoreError(
                self.name,
                f"it can't be opened ({error})",
                "Does its folder exist, and may you write there?",
            ) from error
        try:
            prepare(db, self.path)
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        except sqlite3.DatabaseError as error:
            db.close()
            raise StoreError(
                self.name,
                f"it can't be read ({error})",
                "It is untouched: restore it from a backup.",
            ) from error
        except BaseException:
            db.close()
            raise
        return db


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[Reader]:
    """A reader of the store at ``path``, which must exist and is never written. ``NotAStore``,
    ``NewerSchema``, ``StoreError``.
    """
    path = Path(path)
    if not check_file(path):
        fix = "Record a run first, `lmflow run`, or name the store, --store FILE."
        raise StoreError(str(path), "there is no such file", fix)
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
    db.row_factory = sqlite3.Row
    try:
        if not made(db, path):
            raise StoreError(
                str(path),
                "it was never finished",
                "Open it once for writing, lf.SqliteStore(path).",
            )
        yield Reader(db, str(path))
    except sqlite3.DatabaseError as error:
        raise StoreError(
            str(path),
            f"it can't be read ({error})",
            "Is it whole? `sqlite3 FILE 'PRAGMA integrity_check'`.",
        ) from error
    finally:
        db.close()


def _write(waiting: queue.SimpleQueue[_Item], db: sqlite3.Connection, name: str) -> None:
    rows, open_ = RowWriter(db), True
    while open_:
        batch = [waiting.get()]
        with contextlib.suppress(queue.Empty):
            while len(batch) < LARGEST_BATCH and batch[-1] is not None:
                batch.append(waiting.get_nowait())
        open_ = batch[-1] is not None
        items = [item for item in batch if item is not None]
        if items and _commit(rows, db, [event for events, _ in items for event in events]) is None:
            for _, done in items:
                done.set_result(None)
            continue
        for events, done in items:
            _settle(done, _commit(rows, db, list(events)), name)


def _settle(done: Future[None], error: Exception | None, name: str) -> None:
    if error is None:
        done.set_result(None)
    elif isinstance(error, LmflowError):
        done.set_exception(error)
    else:
        fix = "Is the disk full?" if isinstance(error, sqlite3.OperationalError) else ""
        done.set_exception(
            StoreError(name, f"it can't keep what happened ({type(error).__name__}: {error})", fix)
        )


def _commit(rows: RowWriter, db: sqlite3.Connection, events: list[Any]) -> Exception | None:
    try:
        db.execute("BEGIN IMMEDIATE")
        rows.write(events)
        db.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - given to whoever awaits the events
        rows.forget()
        if db.in_transaction:
            db.execute("ROLLBACK")
        return error
    return None
