"""Derives the roots of recorded traces and runs from their rows."""

from __future__ import annotations

import json
import sqlite3

import attrs

from lmflow.messages.replies import Outcome, outcome_of
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.blobs.reader import BlobReader
from lmflow.traces.trace import Failed, root_of
from lmflow.values.record import Record, digest


@attrs.frozen
class _Leaf:
    """The parts of a call that a root depends on."""

    address: str
    key: str
    outcome: Outcome


class RootReader:
    """Derives roots through one connection; ``Tampered`` if a blob does not match its hash."""

    def __init__(self, connection: sqlite3.Connection, blobs: BlobReader) -> None:
        self._db = connection
        self._blobs = blobs

    def of_trace(self, row: sqlite3.Row) -> str:
        """Return the root that the calls and the result of a trace give."""
        calls = self._db.execute(
            "SELECT address, key, reply FROM call"
            " WHERE trace = ? AND reply IS NOT NULL ORDER BY attempt",
            (row["id"],),
        )
        leaves = {call["address"]: self._leaf(call) for call in calls}
        choices = self._db.execute(
            "SELECT address, winner FROM choice WHERE trace = ?", (row["id"],)
        )
        outputs, failure = self._blobs.get(row["outputs"]), self._blobs.get(row["failure"])
        return root_of(
            leaves.values(),
            Record({choice["address"]: json.loads(choice["winner"]) for choice in choices}),
            None if outputs is None else Record(outputs),
            Failed(**failure) if failure else None,
        )

    def of_run(self, run: str) -> str:
        """Return the root that the traces of a run give; those that ended have a root of theirs."""
        items = self._db.execute(
            "SELECT label, trace.* FROM run_item JOIN trace ON trace.id = run_item.trace"
            " WHERE run = ? ORDER BY position",
            (run,),
        )
        return digest("run", [[item["label"], self._of_item(item)] for item in items])

    def _of_item(self, item: sqlite3.Row) -> str:
        return digest_text(item["root"]) if item["root"] else self.of_trace(item)

    def _leaf(self, call: sqlite3.Row) -> _Leaf:
        outcome = outcome_of(self._blobs.get(call["reply"]))
        return _Leaf(call["address"], digest_text(call["key"]), outcome)
