"""Resolves shortened ids of runs and traces."""

from __future__ import annotations

import sqlite3

from lmflow.errors import NotFound
from lmflow.values.unicode import well_formed

ID_END = 8
"""Characters at the end of an id that are indexed."""


def resolve_id(db: sqlite3.Connection, store: str, kind: str, column: str, part: str) -> str:
    """Return the one id that begins or ends with ``part``.

    Beginnings are looked up in an index, ends from ``ID_END`` characters on.

    Args:
        db: The connection.
        store: The name of the store in messages.
        kind: The table, ``run`` or ``trace``.
        column: The column of its ids.
        part: The id, its beginning or its end.

    Raises:
        NotFound: If there is no such id, or more than one.
    """
    part = well_formed(part)
    end = ""
    if len(part) >= ID_END:
        end = f"substr({column}, -{ID_END}) = substr(:id, -{ID_END}) AND "
    begins = f"{column} >= :id AND {column} < :id || char(1114111)"
    rows = db.execute(
        f"SELECT {column} FROM {kind} WHERE {begins}"  # noqa: S608 - our own names
        f" UNION SELECT {column} FROM {kind} WHERE {end}substr({column}, -length(:id)) = :id"
        f" ORDER BY 1 DESC LIMIT 4",
        {"id": part},
    ).fetchall()
    ids = [str(row[0]) for row in rows]
    if part in ids:
        return part
    if part and len(ids) == 1:
        return ids[0]
    problem = f"{kind} {part!r} is ambiguous: {', '.join(ids)}" if ids else ""
    raise _not_found(db, store, kind, part, problem)


def _not_found(db: sqlite3.Connection, store: str, kind: str, part: str, problem: str) -> NotFound:
    """Return the error for an id; it says so if garbage collection removed it."""
    row = None
    if part:
        row = db.execute(
            "SELECT name, date(at_ns / 1000000000, 'unixepoch') AS day FROM tombstone"
            " WHERE kind = :kind AND name >= :id AND name < :id || char(1114111)",
            {"kind": kind, "id": part},
        ).fetchone()
    if row is None:
        problem, fix = problem or f"no {kind} {part!r}", "`lmflow runs ls` lists what there is."
    else:
        problem = f"{kind} {row['name']} was pruned on {row['day']}"
        fix = "`lmflow gc` removed it; a backup may have it."
    return NotFound(store, problem, fix)
