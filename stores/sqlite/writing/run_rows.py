"""Rows of runs: one that opens and closes in one transaction is written once."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from lmflow.stores.sqlite.blobs.format import digest_bytes
from lmflow.stores.sqlite.bulk import insert_rows
from lmflow.stores.sqlite.lists.run_totals import FORGET_TOTALS, WRITE_TOTALS
from lmflow.stores.sqlite.writing.statements import CLOSE_RUN, INSERT_RUNS
from lmflow.traces.events import RunClosed
from lmflow.traces.trace import Run
from lmflow.values.record import plain


class RunRows:
    """The rows of runs that wait to be written."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.clear()

    def clear(self) -> None:
        """Drop what waits."""
        self._new: dict[str, tuple[Any, ...]] = {}
        self._ended: dict[str, None] = {}

    def open(self, run: Run) -> None:
        """Add a run that begins."""
        if run.id in self._new:
            self.write_new()
        config = json.dumps(plain(run.config), sort_keys=True)
        place = (run.id, run.kind, run.name, run.target, run.started, run.of, config)
        self._new[run.id] = (*place, run.status, None, run.ended, run.result)

    def close(self, closed: RunClosed) -> None:
        """Add the end of a run; ``KeyError`` if it was not opened."""
        root = digest_bytes(closed.root) if closed.root else None
        end = (closed.status, root, closed.ended, closed.result)
        if (new := self._new.get(closed.id)) is not None:
            self._new[closed.id] = (*new[: -len(end)], *end)
        elif not self._db.execute(CLOSE_RUN, (*end, closed.id)).rowcount:
            msg = f"no run {closed.id!r} was opened"
            raise KeyError(msg)
        self._ended[closed.id] = None

    def write_new(self) -> None:
        """Write the rows of new runs."""
        insert_rows(self._db, INSERT_RUNS, list(self._new.values()))
        self._new = {}

    def forget_totals(self, runs: set[str]) -> None:
        """Let runs that have more executions now be added up again; new ones have no totals."""
        self._db.executemany(FORGET_TOTALS, [(run,) for run in runs if run not in self._new])

    def write_totals(self) -> None:
        """Write the totals of runs that ended, once all other rows are written."""
        for run in self._ended:
            self._db.execute(WRITE_TOTALS, {"run": run})
        self._ended = {}
