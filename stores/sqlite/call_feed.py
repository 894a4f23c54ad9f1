"""Follows a SQLite trace store: the calls that ended since the last look, whoever wrote them."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import attrs

from lmflow.messages.replies import outcome_of
from lmflow.stores.damage import DAMAGE, damaged
from lmflow.stores.dialect import dialect_of
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.full_text import outcome_text
from lmflow.stores.sqlite.writing.settled import settle_log
from lmflow.values.record import pretty

_OPEN = """
SELECT call.id FROM run
JOIN run_item ON run_item.run = run.id JOIN call ON call.trace = run_item.trace
WHERE run.status = 'open' AND call.status = 'started' AND (:run = '' OR run.id = :run)
"""
_NEW = "SELECT id, status FROM call WHERE id > ? ORDER BY id"
_OF_RUN = """
SELECT call.id, call.status FROM call
CROSS JOIN run_item ON run_item.trace = call.trace AND run_item.run = ?
WHERE call.id > ? ORDER BY call.id
"""
_BEFORE = """
SELECT call.id FROM call CROSS JOIN run_item ON run_item.trace = call.trace AND run_item.run = ?
ORDER BY call.id DESC LIMIT 1 OFFSET ?
"""
_ROW = """
SELECT call.id, call.address, call.attempt, call.kind, call.model, call.status,
       call.tok_in, call.tok_out, call.started_ns, call.ended_ns, call.reply,
       trace.uid AS trace, run_item.run, run_item.label
FROM call JOIN trace ON trace.id = call.trace JOIN run_item ON run_item.trace = trace.id
WHERE call.id = ? ORDER BY run_item.run LIMIT 1
"""


@attrs.frozen
class EndedCall:
    """A call that ended.

    Times are in nanoseconds since the epoch; ``text`` is the answer, the result or the failure.
    """

    call: int
    run: str
    label: str
    trace: str
    address: str
    attempt: int
    kind: str
    model: str
    status: str
    tok_in: int | None
    tok_out: int | None
    started: int
    ended: int
    text: str


class CallFeed:
    """Follows the calls of a store, or of one run; a look costs as much as there are new calls.

    The feed begins with the ``last`` calls that are stored, with all of them if it is ``None``.
    """

    def __init__(
        self, connection: sqlite3.Connection, store: str, run: str = "", last: int | None = 0
    ) -> None:
        self._db = connection
        self._store = store
        self._run = run
        self._open = {row[0] for row in self._db.execute(_OPEN, {"run": run})}
        self._last_call = self._before(last)
        self._changes = -1

    def ended(self) -> list[EndedCall]:
        """Return the calls that ended since the last look, in the order of their ends."""
        settle_log(Path(self._store), self._db)
        (changes,) = self._db.execute("PRAGMA data_version").fetchone()
        if changes == self._changes:
            return []
        self._changes = changes
        new = self._new()
        self._last_call = max([self._last_call, *(call for call, _ in new)])
        self._open.update(call for call, _ in new)
        open_rows = [self._row(call) for call in sorted(self._open)]
        rows = [row for row in open_rows if row is not None and row["status"] != "started"]
        self._open.difference_update(row["id"] for row in rows)
        blobs = BlobReader(self._db, self._store)
        return sorted(
            (_ended(row, blobs, self._store) for row in rows),
            key=lambda call: (call.ended, call.call),
        )

    def wait(self, seconds: float) -> None:
        """Wait for so many seconds, or less if the store says by itself that something came."""
        dialect = dialect_of(self._db)
        if dialect is None:
            time.sleep(seconds)
        else:
            dialect.wait(seconds)

    @property
    def over(self) -> bool:
        """``True`` once the followed run has ended; a feed of a whole store is never over."""
        settle_log(Path(self._store), self._db)
        row = self._db.execute("SELECT status FROM run WHERE id = ?", (self._run,)).fetchone()
        return row is not None and row[0] != "open"

    def _before(self, last: int | None) -> int:
        """Return the number of the call before the first one that is shown."""
        if last is None:
            return 0
        if self._run:
            rows = self._db.execute(_BEFORE, (self._run, last)).fetchone()
        else:
            rows = self._db.execute(
                "SELECT id FROM call ORDER BY id DESC LIMIT 1 OFFSET ?", (last,)
            ).fetchone()
        return rows[0] if rows else 0

    def _new(self) -> list[tuple[int, str]]:
        """Return number and status of the calls that are new."""
        if self._run:
            rows = self._db.execute(_OF_RUN, (self._run, self._last_call))
        else:
            rows = self._db.execute(_NEW, (self._last_call,))
        return [(row[0], row[1]) for row in rows]

    def _row(self, call: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(_ROW, (call,)).fetchone()
        return row


def _ended(row: sqlite3.Row, blobs: BlobReader, store: str) -> EndedCall:
    try:
        return _decoded(row, blobs)
    except DAMAGE as error:
        raise damaged(store, f"call {row['id']}", error) from error


def _decoded(row: sqlite3.Row, blobs: BlobReader) -> EndedCall:
    outcome = outcome_of(blobs.get(row["reply"]))
    value = getattr(outcome, "value", None)  # a tool's result
    return EndedCall(
        call=row["id"],
        run=row["run"],
        label=row["label"],
        trace=row["trace"],
        address=row["address"],
        attempt=row["attempt"],
        kind=row["kind"],
        model=row["model"],
        status=row["status"],
        tok_in=row["tok_in"],
        tok_out=row["tok_out"],
        started=row["started_ns"],
        ended=row["ended_ns"],
        text=outcome_text(outcome) if value is None else pretty(value),
    )
