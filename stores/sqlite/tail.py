"""Following a store: the calls that have ended since somebody last asked, whoever writes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import attrs

from lmflow.messages.replies import outcome_of
from lmflow.stores.sqlite.blobs import BlobReader
from lmflow.stores.sqlite.full_text import answer
from lmflow.values.record import pretty

_OPEN = """
SELECT call.id FROM run JOIN run_item ON run_item.run = run.id JOIN call ON call.trace = run_item.trace
WHERE run.status = 'open' AND call.status = 'started' AND (:run = '' OR run.id = :run)
"""
_NEW = "SELECT id, status FROM call WHERE id > ? ORDER BY id"
_OF_RUN = """
SELECT call.id, call.status FROM call CROSS JOIN run_item ON run_item.trace = call.trace AND run_item.run = ?
WHERE call.id > ? ORDER BY call.id
"""
_BEFORE = """
SELECT call.id FROM call CROSS JOIN run_item ON run_item.trace = call.trace AND run_item.run = ?
ORDER BY call.id DESC LIMIT 1 OFFSET ?
"""
_ROW = """
SELECT call.id, call.address, call.attempt, call.kind, call.model, call.status, call.tok_in, call.tok_out,
       call.started_ns, call.ended_ns, call.reply, trace.uid AS trace, run_item.run, run_item.label
FROM call JOIN trace ON trace.id = call.trace JOIN run_item ON run_item.trace = trace.id
WHERE call.id = ? ORDER BY run_item.run LIMIT 1
"""


@attrs.frozen
class Ended:
    """A call that came to an end; times in nanoseconds since the epoch, ``text`` what was answered
    or what failed.
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


class Tail:
    """Follows the calls of a store, or of one run, by number; costs what is new, not what is there.

    It begins with the ``last`` calls that are there, all of them where ``last`` is ``None``.
    """

    def __init__(
        self, connection: sqlite3.Connection, store: str, run: str = "", last: int | None = 0
    ) -> None:
        self._db = connection
        self._store = store
        self._run = run
        self._open = {row[0] for row in self._db.execute(_OPEN, {"run": run})}
        self._seen = self._before(last)
        self._changes = -1

    def ended(self) -> list[Ended]:
        """The calls that have ended since, in the order of their ends."""
        (changes,) = self._db.execute("PRAGMA data_version").fetchone()
        if changes == self._changes:
            return []
        self._changes = changes
        new = self._new()
        self._seen = max([self._seen, *(call for call, _ in new)])
        self._open.update(call for call, _ in new)
        rows = [
            row
            for call in sorted(self._open)
            if (row := self._row(call)) and row["status"] != "started"
        ]
        self._open.difference_update(row["id"] for row in rows)
        blobs = BlobReader(self._db, self._store)
        return sorted((_ended(row, blobs) for row in rows), key=lambda it: (it.ended, it.call))

    @property
    def over(self) -> bool:
        """Whether the run that is followed has come to its end; a whole store never has."""
        row = self._db.execute("SELECT status FROM run WHERE id = ?", (self._run,)).fetchone()
        return row is not None and row[0] != "open"

    def _before(self, last: int | None) -> int:
        """The number of the call before the first that is shown."""
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
        rows: Iterable[sqlite3.Row] = (
            self._db.execute(_OF_RUN, (self._run, self._seen))
            if self._run
            else self._db.execute(_NEW, (self._seen,))
        )
        return [(row[0], row[1]) for row in rows]

    def _row(self, call: int) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(_ROW, (call,)).fetchone()
        return row


def _ended(row: sqlite3.Row, blobs: BlobReader) -> Ended:
    outcome = outcome_of(blobs.get(row["reply"]))
    value = getattr(outcome, "value", None)  # a tool's
    return Ended(
        row["id"], row["run"], row["label"], row["trace"], row["address"], row["attempt"], row["kind"], row["model"],
        row["status"], row["tok_in"], row["tok_out"], row["started_ns"], row["ended_ns"],
        pretty(value) if value is not None else answer(outcome),
    )  # fmt: skip
