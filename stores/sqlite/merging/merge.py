"""Merges a SQLite store into another one."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from lmflow.errors import StoreError
from lmflow.exchange.moves import Side
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.generation import generation_of, is_sweeping
from lmflow.stores.sqlite.merging.blobs import BlobCopier
from lmflow.stores.sqlite.merging.datasets import DatasetCopier
from lmflow.stores.sqlite.merging.executions import ExecutionCopier
from lmflow.stores.sqlite.merging.names import Decisions, merge_names
from lmflow.stores.sqlite.merging.runs import RunBatch, RunCopier, batches
from lmflow.stores.sqlite.merging.scores import ScoreCopier
from lmflow.stores.sqlite.merging.sources import attach, readable
from lmflow.stores.sqlite.merging.versions import VersionCopier
from lmflow.stores.sqlite.merging.words import WordIndexer
from lmflow.stores.sqlite.opening import is_writable, read_only
from lmflow.stores.sqlite.reading import reading
from lmflow.stores.sqlite.schema import check_file, prepare
from lmflow.stores.sqlite.writing.settling import settle, settle_within
from lmflow.stores.weights import CarriedWeights, carry_weights, weights_folder

_TIMEOUT = 30.0
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FIRST, _MOST, _FEWEST = 2000, 20_000, 100
"""Executions of the first batch, and the most and the fewest of one."""

_QUICK, _LONG = 0.5, 1.5
"""Seconds of a batch: after a quicker one the next is larger, after a longer one it is smaller,
since other writers of the target wait for it.
"""

_PAUSE = 0.1
"""Seconds that others have to begin writing, after a batch that wasn't quick: SQLite's lock isn't
fair, and a waiting writer looks every tenth of a second.
"""

_CACHE = -131_072
"""The cache of the target, in KiB: the index of the hashes is searched at random."""

_CHECKPOINT = 16_000
"""Pages of the log after which they are copied into the file: each batch changes some thousand."""

Progress = Callable[[int, int], None]
"""Is called with the number of executions that were looked at, and of all."""


@attrs.frozen
class MergedCounts:
    """What a merge brought into the target.

    Args:
        runs: The number of runs.
        traces: The number of executions.
        calls: The number of calls.
        versions: The number of versions.
        scores: The number of scores.
        datasets: The number of data sets.
        weights: The number of files of weights.
        moved: The refs and names of data sets that point at something else now.
        missing: The hashes of weights that versions name and the source doesn't have.
    """

    runs: int = 0
    traces: int = 0
    calls: int = 0
    versions: int = 0
    scores: int = 0
    datasets: int = 0
    weights: int = 0
    moved: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def merge_store(  # noqa: PLR0913 - two stores, and what is decided about them
    source: Path | str,
    target: Path | str,
    *,
    take: Mapping[str, Side] | None = None,
    at: int = 0,
    who: str = "",
    progress: Progress | None = None,
) -> MergedCounts:
    """Bring all that one store has into another.

    Both may be written meanwhile. Merging twice brings nothing new, and the order of merging
    stores doesn't matter. What is written is complete at each moment: a merge that was killed is
    done again, and goes on.

    Args:
        source: The store's file; it is only read.
        target: The file of the store that gets it; made if it does not exist.
        take: The side that counts, ``"ours"`` or ``"theirs"``, for each ref or name of a data set
            on which the stores disagree; ours is the target.
        at: The time of decisions in the reflog, in nanoseconds since the epoch.
        who: Who decided.
        progress: Is told how far the merge is.

    Returns:
        What the target got.

    Raises:
        StoreError: One of the stores can't be read, or the target can't be written.
        RefsDisagree: A ref or name was moved in both, apart; nothing is merged.
        RunsDisagree: A run was gone on with in both, apart.
        Tampered: A value of the source doesn't match its hash.
    """
    source, target = Path(source), Path(target)
    if target.exists() and source.exists() and source.samefile(target):
        return MergedCounts()
    decisions = Decisions(take or {}, at, who)
    with readable(source) as uri, _opened(target) as db:
        try:
            attach(db, source, uri)
            merger = _Merger(db, str(source), str(target), decisions)
            counts = merger.merge(progress or _untold)
        except sqlite3.Error as error:
            raise _failed(db, source, target, error) from error
    carried = _carried(source, target, counts.versions)
    return attrs.evolve(counts, weights=len(carried.copied), missing=carried.missing)


class _Merger:
    """One merge, through one connection to which the source is attached."""

    def __init__(
        self, db: sqlite3.Connection, source: str, target: str, decisions: Decisions
    ) -> None:
        self._db = db
        self._names = source, target, decisions
        self._generation = -1
        self._size = min(_FIRST, _MOST)
        self._blobs = BlobCopier(db, source)
        self._versions = VersionCopier(db, self._blobs)
        self._executions = ExecutionCopier(db, source, self._blobs)
        self._runs = RunCopier(db, source, self._blobs)
        self._scores = ScoreCopier(db, self._blobs)
        self._datasets = DatasetCopier(db, self._blobs)
        self._words = WordIndexer(db)

    def merge(self, progress: Progress) -> MergedCounts:
        merge_names(self._db, *self._names, write=False)
        (traces,) = self._db.execute("SELECT count(*) FROM src.trace").fetchone()
        self._pages(self._versions.copy_page)
        for batch in batches(self._db, lambda: self._size):
            for _ in self._batch(batch):
                progress(self._executions.seen, traces)
        self._pages(self._scores.copy_page)
        self._pages(self._datasets.copy_one)
        with self._writing() as sweeping:
            while self._versions.copy_page(sweeping=sweeping):
                pass
            while self._datasets.copy_one(sweeping=sweeping):
                pass
            self._datasets.complete()
            moved = merge_names(self._db, *self._names, write=True)
        return MergedCounts(
            self._runs.runs,
            self._executions.traces,
            self._executions.calls,
            self._versions.copied,
            self._scores.copied,
            self._datasets.copied,
            moved=moved,
        )

    def _pages(self, copy: Callable[..., bool]) -> None:
        """Copy pages, each in a transaction of its own, until there is no more."""
        more = True
        while more:
            with self._writing() as sweeping:
                more = copy(sweeping=sweeping)

    def _batch(self, batch: RunBatch) -> Iterator[None]:
        """Copy a batch of runs; yield after each transaction."""
        if not batch.is_long:
            with self._writing() as sweeping:
                self._runs.begin(batch)
                self._runs.take_all()
                self._copy_taken(sweeping=sweeping)
                self._runs.close()
            yield
            return
        after: tuple[int, int] | None = (-1, -1)
        while after is not None:
            with self._writing() as sweeping:
                self._runs.begin(batch)
                after = self._runs.take_some(batch.runs[0], after, self._size)
                self._copy_taken(sweeping=sweeping)
                if after is None:
                    self._runs.close()
            yield

    def _copy_taken(self, *, sweeping: bool) -> None:
        while self._versions.copy_page(sweeping=sweeping):
            pass
        self._executions.find()
        self._blobs.copy(sweeping=sweeping)
        self._executions.copy()
        self._runs.copy()
        self._words.index()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[bool]:
        """Open a transaction that writes; yield whether garbage is being swept."""
        self._db.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        try:
            # Rows come first of what others left in the target's log meanwhile.
            self._db.row_factory = sqlite3.Row
            settle_within(self._db, self._names[1])
            self._db.row_factory = None
            generation = generation_of(self._db)
            # Garbage was, or is being, collected: an id that is known may name a row that is gone.
            if generation != self._generation:
                self._generation = generation
                self._versions.forget()
            yield is_sweeping(generation)
            self._db.execute("COMMIT")
        except BaseException:
            self._generation = -1
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._pace(time.monotonic() - began)

    def _pace(self, seconds: float) -> None:
        """Fit the next batch to what the last one took, and let other writers in."""
        if seconds < _QUICK:
            self._size = min(2 * self._size, _MOST)
            return
        if seconds > _LONG:
            self._size = max(self._size // 2, _FEWEST)
        time.sleep(_PAUSE)


@contextlib.contextmanager
def _opened(target: Path) -> Iterator[sqlite3.Connection]:
    """Open the store that is written, on a connection to which another can be attached."""
    if target.exists() and not is_writable(target):
        raise read_only(str(target))
    check_file(target)
    try:
        with contextlib.closing(
            sqlite3.connect(
                target.resolve().as_uri(), uri=True, timeout=_TIMEOUT, isolation_level=None
            )
        ) as db:
            prepare(db, target)
            settle(db, str(target))
            db.row_factory = None
            # Rows that others refer to are there by construction: SQLite's own check would look
            # each of them up once more.
            for pragma in ("foreign_keys = OFF", "synchronous = NORMAL", "trusted_schema = OFF"):
                db.execute(f"PRAGMA {pragma}")
            db.execute(f"PRAGMA main.cache_size = {_CACHE}")
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
            yield db
    except sqlite3.Error as error:
        raise _unwritten(target, error) from error


def _failed(db: sqlite3.Connection, source: Path, target: Path, error: sqlite3.Error) -> StoreError:
    """Return the error of a merge that SQLite ended. It names the damaged store, if one is."""
    if _code(error) in _DAMAGED:
        return unreadable(source if _is_damaged(db, "src") else target, error)
    return _unwritten(target, error)


def _is_damaged(db: sqlite3.Connection, schema: str) -> bool:
    try:
        (found,) = db.execute(f"PRAGMA {schema}.quick_check(1)").fetchone()
    except sqlite3.DatabaseError:
        return True
    return bool(found != "ok")


def _unwritten(target: Path, error: sqlite3.Error) -> StoreError:
    if _code(error) == sqlite3.SQLITE_CANTOPEN:
        fix = "Does its folder exist, and may you write there?"
        return StoreError(str(target), f"it can't be opened ({error})", fix)
    fix = "Is the disk full? What was merged is whole: merge again, and it goes on."
    if _code(error) == sqlite3.SQLITE_BUSY:
        fix = "Another process is writing it: merge again, and it goes on."
    return StoreError(str(target), f"the merge can't go on ({error})", fix)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _carried(source: Path, target: Path, versions_added: int) -> CarriedWeights:
    """Copy the weights that versions of the source name, and name those that it lacks.

    Nothing is looked at if the source has no weights and the target got no versions.
    """
    files = weights_folder(source)
    if not versions_added and next(iter(files), None) is None:
        return CarriedWeights()
    with reading(source) as reader:
        versions = (saved.version for saved in reader.versions.latest(-1))
        return carry_weights(versions, files, weights_folder(target))


def _untold(done: int, total: int) -> None:
    """Tell nobody."""
