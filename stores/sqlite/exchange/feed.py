"""What ended in a SQLite trace store since a cursor, for exporters; the cursors themselves."""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmflow.errors import StoreError, Tampered
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.stores.sqlite.bulk import select_in
from lmflow.stores.sqlite.opening import is_writable, read_only
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.writing.settled import settle_log
from lmflow.traces.events import ScoreRecorded
from lmflow.traces.feed import Cursor, EndedExecution, EndedRun, Look, PlacedScore
from lmflow.traces.reused import as_reused
from lmflow.traces.trace import Run

_TIMEOUT = 30.0
_UID = "uid"
_CURSOR = "export "
_SCORES = 1000
_NEW = "SELECT rowid AS id, * FROM run_item WHERE rowid > ? ORDER BY rowid LIMIT ?"
_WAITING = "SELECT rowid AS id, * FROM run_item WHERE rowid IN ({keys})"
_ENDED = "SELECT id FROM trace WHERE id IN ({keys}) AND ended_ns > 0"
_NEW_SCORES = """
SELECT score.id, (SELECT min(rowid) FROM run_item WHERE run_item.trace = score.trace
                  AND (score.run = '' OR run_item.run = score.run)) AS item
FROM score WHERE score.id > ? ORDER BY score.id LIMIT ?
"""
_SCORE = """
SELECT score.*, trace.uid, run_item.run AS in_run, run_item.label, run.kind FROM score
JOIN trace ON trace.id = score.trace JOIN run_item ON run_item.rowid = ?
JOIN run ON run.id = run_item.run WHERE score.id = ?
"""


@contextlib.contextmanager
def opened_feed(path: Path) -> Iterator[SqliteFeed]:
    """Open a feed of a store's file on a connection of its own.

    Raises:
        StoreError: The store can't be written, so that no cursor can be kept in it.
    """
    if not is_writable(path):
        raise read_only(str(path))
    db = sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    try:
        yield SqliteFeed(db, str(path))
    except sqlite3.Error as error:
        raise unreadable(str(path), error) from error
    finally:
        db.close()


class SqliteFeed:
    """What ended in a store, through one connection, which one thread at a time may use."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._db = connection
        self._name = name
        self._reader = Reader(connection, name)
        self._blobs = BlobReader(connection, name)

    @property
    def store(self) -> str:
        """The unique id of the store, which is made when it is first needed."""
        self._db.execute(
            "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)", (_UID, secrets.token_hex(16))
        )
        (uid,) = self._db.execute("SELECT value FROM meta WHERE key = ?", (_UID,)).fetchone()
        return str(uid)

    def cursor(self, name: str) -> Cursor:
        """Return the cursor of a name; the beginning if there is none.

        Raises:
            Tampered: What is stored isn't a cursor.
        """
        query = "SELECT value FROM meta WHERE key = ?"
        row = self._db.execute(query, (f"{_CURSOR}{name}",)).fetchone()
        if row is None:
            return Cursor()
        try:
            return Cursor.from_dict(json.loads(row["value"]))
        except (ValueError, KeyError, TypeError) as error:
            problem = f"the cursor {name!r} can't be read ({error!r:.80})"
            raise Tampered(self._name, problem, "Export from the beginning: --again.") from None

    def move(self, name: str, cursor: Cursor) -> None:
        """Store the cursor of a name, durably."""
        self._db.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (f"{_CURSOR}{name}", json.dumps(cursor.to_json())),
        )

    def look(self, cursor: Cursor, limit: int) -> Look:
        """Return what ended since a cursor, at most ``limit`` executions."""
        settle_log(Path(self._name), self._db)
        self._db.execute("BEGIN")  # so that all queries see one state of the store
        try:
            return self._look(self._valid(cursor), limit)
        finally:
            self._db.execute("COMMIT")

    def _valid(self, cursor: Cursor) -> Cursor:
        """Return the cursor; one a little earlier if a rewritten file numbers its rows anew.

        What is sent twice has the same ids, so nothing is doubled.
        """
        if not cursor.item:
            return cursor
        row = self._db.execute(
            "SELECT run, position FROM run_item WHERE rowid = ?", (cursor.item,)
        ).fetchone()
        if row is not None and (row["run"], row["position"]) == cursor.at:
            return cursor
        oldest = min((cursor.at[0], *cursor.runs))
        (first,) = self._db.execute(
            "SELECT min(rowid) FROM run_item WHERE run >= ?", (oldest,)
        ).fetchone()
        return Cursor(item=(first or 1) - 1, score=cursor.score)

    def _look(self, cursor: Cursor, limit: int) -> Look:
        new = self._db.execute(_NEW, (cursor.item, limit)).fetchall()
        waiting = select_in(self._db, _WAITING, list(cursor.open))
        items = {row["id"]: row for row in (*waiting, *new)}
        traces = list(dict.fromkeys(row["trace"] for row in items.values()))
        ended_traces = {row["id"] for row in select_in(self._db, _ENDED, traces)}
        ended = [row for row in items.values() if row["trace"] in ended_traces][:limit]
        more = len(new) == limit
        held = new[-1]["run"] if more else ""
        candidates = dict.fromkeys((*cursor.runs, *(row["run"] for row in items.values())))
        runs = self._runs(candidates)
        closed = [run for run in runs.values() if run.status != "open" and run.id != held]
        scores, last_score = self._scores(cursor.score)
        done = {row["id"] for row in ended}
        last = new[-1] if new else None
        after = Cursor(
            item=cursor.item if last is None else last["id"],
            at=cursor.at if last is None else (last["run"], last["position"]),
            open=tuple(sorted(items.keys() - done)),
            runs=tuple(sorted(runs.keys() - {run.id for run in closed})),
            score=last_score,
        )
        return Look(
            executions=tuple(self._executions(ended, runs)),
            runs=tuple(EndedRun(run, self._root(run.id)) for run in closed),
            scores=tuple(scores),
            cursor=after,
            more=more or len(scores) == _SCORES,
        )

    def _runs(self, ids: Mapping[str, None]) -> dict[str, Run]:
        known = select_in(self._db, "SELECT id FROM run WHERE id IN ({keys})", list(ids))
        return {row["id"]: self._reader.run_alone(row["id"]) for row in known}

    def _root(self, run: str) -> str:
        row = self._db.execute("SELECT root FROM run WHERE id = ?", (run,)).fetchone()
        return digest_text(row["root"]) if row["root"] else ""

    def _executions(self, rows: Sequence[Any], runs: Mapping[str, Run]) -> Iterator[EndedExecution]:
        refs: dict[str, list[str]] = {}
        for name, version in self._reader.refs().items():
            refs.setdefault(version, []).append(name)
        traces = self._reader.traces_at([row["trace"] for row in rows])
        for row, trace in zip(rows, traces, strict=True):
            names = tuple(sorted(refs.get(trace.version.id, ())))
            is_reused = bool(row["reused"])
            recorded = as_reused(trace) if is_reused else trace
            yield EndedExecution(runs[row["run"]], row["label"], recorded, is_reused, names)

    def _scores(self, after: int) -> tuple[list[PlacedScore], int]:
        """Return the scores after a number, and the number of the last one."""
        found = self._db.execute(_NEW_SCORES, (after, _SCORES)).fetchall()
        rows = [
            self._db.execute(_SCORE, (row["item"], row["id"])).fetchone()
            for row in found
            if row["item"] is not None
        ]
        return [self._score(row) for row in rows], found[-1]["id"] if found else after

    def _score(self, row: Any) -> PlacedScore:
        score = ScoreRecorded(
            row["uid"],
            row["name"],
            row["value"],
            self._blobs.get(row["feedback"]) or "",
            row["metric"],
            row["who"],
            row["at_ns"],
            row["in_run"],
        )
        return PlacedScore(row["id"], row["in_run"], row["kind"], row["label"], score)


def check_store(path: Path) -> None:
    """Raise ``StoreError`` if there is no store to export."""
    if not path.exists():
        fix = "Record a run first, `lmflow run`, or name the store, --store FILE."
        raise StoreError(str(path), "there is no such file", fix)
