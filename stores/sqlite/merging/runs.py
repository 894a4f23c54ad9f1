"""Copies runs: their rows, what they were started for, and which executions they have."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import attrs

from lmflow.stores.sqlite.lists.run_totals import WRITE_TOTALS
from lmflow.stores.sqlite.merging.blobs import BlobCopier
from lmflow.stores.sqlite.merging.executions import apart

_CREATE = (
    "CREATE TEMP TABLE batch_run (id TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TEMP TABLE batch_item (
        run TEXT NOT NULL, position INTEGER NOT NULL, label TEXT NOT NULL, trace INTEGER NOT NULL,
        reused INTEGER NOT NULL, PRIMARY KEY (run, position)) WITHOUT ROWID""",
    """CREATE TEMP TABLE batch_wanted (
        run TEXT NOT NULL, position INTEGER NOT NULL, label TEXT NOT NULL, inputs INTEGER NOT NULL,
        version INTEGER NOT NULL, sample INTEGER NOT NULL, PRIMARY KEY (run, position)
    ) WITHOUT ROWID""",
)
_SIZE = "(SELECT count(*) FROM {schema}.{table} AS rows WHERE rows.run = there.id)"
_THERE = {table: _SIZE.format(schema="src", table=table) for table in ("run_item", "wanted")}
_HERE = {table: _SIZE.format(schema="main", table=table) for table in ("run_item", "wanted")}
# A run that ended is the same in both if it ended at the same time with the same root.
_DIFFERENT = f"""
SELECT there.id, max({_THERE["run_item"]}, {_THERE["wanted"]})
FROM src.run AS there LEFT JOIN main.run AS here ON here.id = there.id
WHERE there.id > ? AND NOT (
    here.id IS NOT NULL AND there.status <> 'open' AND there.status = here.status
    AND there.root IS here.root AND there.ended_ns = here.ended_ns
    AND {_THERE["run_item"]} = {_HERE["run_item"]} AND {_THERE["wanted"]} = {_HERE["wanted"]}
) ORDER BY there.id LIMIT ?
"""
# A run stays open here until all that it has is here.
_INSERT_RUNS = """
INSERT INTO main.run (id, kind, name, target, status, root, started_ns, ended_ns, of, config,
                      result)
SELECT there.id, kind, name, target, 'open', NULL, started_ns, 0, of, config, ''
FROM temp.batch_run CROSS JOIN src.run AS there ON there.id = batch_run.id
WHERE there.id NOT IN (SELECT id FROM main.run)
"""
_ALL_ITEMS = """
INSERT INTO temp.batch_item SELECT run, position, label, trace, reused
FROM temp.batch_run CROSS JOIN src.run_item ON run_item.run = batch_run.id
"""
_ALL_WANTED = """
INSERT INTO temp.batch_wanted SELECT run, position, label, inputs, version, sample
FROM temp.batch_run CROSS JOIN src.wanted ON wanted.run = batch_run.id
"""
_SOME = "WHERE run = :run AND position > :last ORDER BY position LIMIT :limit"
_SOME_ITEMS = f"""
INSERT INTO temp.batch_item SELECT run, position, label, trace, reused FROM src.run_item {_SOME}
"""
_SOME_WANTED = f"""
INSERT INTO temp.batch_wanted
SELECT run, position, label, inputs, version, sample FROM src.wanted {_SOME}
"""
_DISAGREES = """
SELECT batch.run, batch.label FROM temp.batch_item AS batch
CROSS JOIN main.run_item AS here ON here.run = batch.run AND here.position = batch.position
CROSS JOIN temp.part ON part.src = batch.trace WHERE here.trace <> part.dst LIMIT 1
"""
_INSERT_ITEMS = """
INSERT OR IGNORE INTO main.run_item (run, position, label, trace, reused)
SELECT run, position, label, part.dst, reused FROM temp.batch_item AS batch
CROSS JOIN temp.part ON part.src = batch.trace
"""
_INSERT_WANTED = """
INSERT OR IGNORE INTO main.wanted (run, position, label, inputs, version, sample)
SELECT run, position, label, inputs.dst, version.dst, sample FROM temp.batch_wanted AS batch
CROSS JOIN temp.blob_map AS inputs ON inputs.src = batch.inputs
CROSS JOIN temp.version_map AS version ON version.src = batch.version
"""
# The state that ended later counts.
_CLOSE = """
UPDATE main.run SET status = there.status, root = there.root, ended_ns = there.ended_ns,
                    result = there.result
FROM src.run AS there CROSS JOIN temp.batch_run ON batch_run.id = there.id
WHERE run.id = there.id
AND (there.ended_ns, there.status, coalesce(there.root, x''), there.result)
    > (run.ended_ns, run.status, coalesce(run.root, x''), run.result)
"""
_CLOSED = """
SELECT run.id FROM temp.batch_run CROSS JOIN main.run ON run.id = batch_run.id
WHERE run.status <> 'open'
"""

_RUNS = 1000


@attrs.frozen
class RunBatch:
    """Runs that are copied in one transaction; or one long run, which takes several."""

    runs: tuple[str, ...]
    is_long: bool = False


def batches(db: sqlite3.Connection, size_now: Callable[[], int]) -> Iterator[RunBatch]:
    """Yield the runs in which the source differs from the target, in batches of about as many
    executions as ``size_now`` returns.
    """
    last, waiting, count = "", list[str](), 0
    while rows := db.execute(_DIFFERENT, (last, _RUNS)).fetchall():
        for run, executions in rows:
            last, size = run, size_now()
            if executions > size:
                yield RunBatch((run,), is_long=True)
                continue
            waiting.append(run)
            count += max(executions, 1)
            if count >= size:
                yield RunBatch(tuple(waiting))
                waiting, count = [], 0
    if waiting:
        yield RunBatch(tuple(waiting))


class RunCopier:
    """Copies the rows of runs around their executions, which stand in ``temp.part``."""

    def __init__(self, db: sqlite3.Connection, source: str, blobs: BlobCopier) -> None:
        self._db = db
        self._source = source
        self._blobs = blobs
        self.runs = 0
        for statement in _CREATE:
            db.execute(statement)

    def begin(self, batch: RunBatch) -> None:
        """Name the runs of a batch."""
        self._db.execute("DELETE FROM temp.batch_run")
        rows = [(run,) for run in batch.runs]
        self._db.executemany("INSERT INTO temp.batch_run VALUES (?)", rows)

    def take_all(self) -> None:
        """Take all executions of the batch."""
        self._clear()
        self._db.execute(_ALL_ITEMS)
        self._db.execute(_ALL_WANTED)
        self._need()

    def take_some(self, run: str, after: tuple[int, int], limit: int) -> tuple[int, int] | None:
        """Take the next executions of a long run, and the next that it was started for.

        Args:
            run: The run.
            after: The last positions of both that were taken.
            limit: How many of each.

        Returns:
            The last positions; ``None`` if nothing was left.
        """
        self._clear()
        statements = (_SOME_ITEMS, _SOME_WANTED)
        taken = [
            self._db.execute(statement, {"run": run, "last": last, "limit": limit}).rowcount
            for statement, last in zip(statements, after, strict=True)
        ]
        if not any(taken):
            return None
        self._need()
        query = (
            "SELECT (SELECT max(position) FROM temp.batch_item),"
            " (SELECT max(position) FROM temp.batch_wanted)"
        )
        items, wanted = self._db.execute(query).fetchone()
        return (
            after[0] if items is None else items,
            after[1] if wanted is None else wanted,
        )

    def copy(self) -> None:
        """Write the rows that were taken, once blobs, versions and executions are there.

        Raises:
            RunsDisagree: The run was gone on with in both stores, apart.
        """
        row = self._db.execute(_DISAGREES).fetchone()
        if row is not None:
            raise apart(self._source, f"run {row[0]}", f"its execution {row[1]}")
        self.runs += self._db.execute(_INSERT_RUNS).rowcount
        self._db.execute(_INSERT_ITEMS)
        self._db.execute(_INSERT_WANTED)

    def close(self) -> None:
        """Give the runs of the batch the later state of both stores, and their totals."""
        self._db.execute(_CLOSE)
        for (run,) in self._db.execute(_CLOSED).fetchall():
            self._db.execute(WRITE_TOTALS, {"run": run})

    def _clear(self) -> None:
        self._db.execute("DELETE FROM temp.batch_item")
        self._db.execute("DELETE FROM temp.batch_wanted")

    def _need(self) -> None:
        self._blobs.need("SELECT inputs FROM temp.batch_wanted")
