"""Reads the acts by which people steer the searches of a SQLite trace store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmflow.errors import NotFound
from lmflow.stores.damage import unreadable
from lmflow.stores.sqlite.blobs.format import digest_text
from lmflow.stores.sqlite.opening import opened_as_is
from lmflow.stores.sqlite.reader import Reader
from lmflow.traces.events import STEER, GivenAct, SearchSteered
from lmflow.traces.trace import Trace

_ACTS = """
SELECT act.id, act.run, act.kind, version.hash, act.note, act.who, act.at_ns
FROM act LEFT JOIN version ON version.id = act.version
WHERE act.run = :run AND act.id > :after ORDER BY act.id
"""
_HAS_ACTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'act'"
_MOST = 10_000


def acts_in(path: Path, run: str, after: int) -> list[GivenAct]:
    """Return the acts that people gave to a run after a number.

    What waits in the log is not made into rows first, since acts are written as rows at once: a
    search looks for them at each of its needs.
    """
    try:
        with opened_as_is(path) as db:
            return acts_of(db, run, after)
    except sqlite3.Error as error:
        raise unreadable(str(path), error) from error


def acts_of(db: Any, run: str, after: int = 0) -> list[GivenAct]:
    """Return the acts that people gave to a run after a number; none in an earlier schema.

    ``db`` is a connection to SQLite, or one to another database that is used like it.
    """
    if db.execute(_HAS_ACTS).fetchone() is None:
        return []
    return [_act(*tuple(row)) for row in db.execute(_ACTS, {"run": run, "after": after})]


def given_acts(reader: Reader, run: str, after: int = 0) -> list[GivenAct]:
    """Return the acts that people gave to a run after a number, through an open reader."""
    everything = reader.listing.filter((), "run")
    if not reader.listing.rows(_HAS_ACTS, everything, {}):
        return []
    rows = reader.listing.rows(_ACTS, everything, {"run": run, "after": after})
    return [_act(*tuple(row)) for row in rows]


def taken_acts(reader: Reader, run: str) -> tuple[bool, Sequence[tuple[str, Trace]]]:
    """Return whether a run ended, and the executions by which it recorded the acts that it took."""
    try:
        found = reader.run_alone(reader.place(run, "run").run)
    except NotFound:
        return True, ()
    rows = reader.outlines.branch(found.id, f"{STEER}[", _MOST)
    return found.status != "open", [(row["label"], reader.trace(row["trace"])) for row in rows]


def _act(  # noqa: PLR0913, PLR0917 - the columns of the table
    number: int, run: str, kind: str, version: bytes | None, note: str, who: str, at: int
) -> GivenAct:
    name = digest_text(version) if version else ""
    return GivenAct(number, SearchSteered(run, kind, name, note, who, at))
