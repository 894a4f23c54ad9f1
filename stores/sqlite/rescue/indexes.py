"""The indexes of a damaged store, which have some columns a second time: rows that they have
otherwise are not sure.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.stores.sqlite.rescue.tables import TABLES, Scan, Shape, column_of


@attrs.frozen
class Index:
    """An index of a table, and the temporary table that its entries are copied to."""

    table: str
    shape: Shape
    copy: str

    @property
    def insert(self) -> str:
        """The statement that copies an entry."""
        marks = ", ".join("?" * len(self.shape.columns))
        return f"INSERT INTO temp.{self.copy} VALUES ({marks})"


class Indexes:
    """The copies of the indexes of a store, in temporary tables of the connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._by_name = {index.shape.table: index for index in _indexes(db)}
        self._damaged: set[str] = set()
        for index in self._by_name.values():
            names = ", ".join(f"c{place}" for place in range(len(index.shape.columns)))
            db.execute(f"CREATE TEMP TABLE {index.copy} ({names})")

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of the indexes by name."""
        return {name: index.shape for name, index in self._by_name.items()}

    @property
    def inserts(self) -> Mapping[str, str]:
        """The statements that copy an entry, by the name of the index."""
        return {name: index.insert for name, index in self._by_name.items()}

    def finish(self, seen: Scan) -> None:
        """Prepare the copies for look-ups, and remember the indexes of which pages are lost."""
        self._damaged = set(seen.lost_pages)
        for index in self._by_name.values():
            last = len(index.shape.columns) - 1
            self._db.execute(f"CREATE INDEX temp.{index.copy}_id ON {index.copy} (c{last})")

    def unsure(self, table: str, *, strict: bool = False) -> list[int]:
        """Return the rowids of the rows of a table that an index has otherwise, or not at all.

        An index of which pages are lost proves nothing, unless ``strict``: then a row is sure only
        if all indexes have it.
        """
        wrong: set[int] = set()
        for index in self._by_name.values():
            if index.table == table and (strict or index.shape.table not in self._damaged):
                wrong.update(self._differing(index))
        return sorted(wrong)

    def lost(self, table: str, column: str) -> list[Any]:
        """Return the values of a column of the rows that an index has and the table lacks."""
        for index in self._by_name.values():
            names = [own.name for own in index.shape.columns]
            if index.table == table and column in names:
                query = (
                    f"SELECT DISTINCT c{names.index(column)} FROM temp.{index.copy}"
                    f" WHERE c{len(names) - 1} NOT IN (SELECT rowid FROM {table}) ORDER BY 1"
                )
                return [row[0] for row in self._db.execute(query)]
        return []

    def _differing(self, index: Index) -> Iterable[int]:
        *names, _ = (column.name for column in index.shape.columns)
        last = len(names)
        same = "".join(f" AND copy.c{place} IS own.{name}" for place, name in enumerate(names))
        query = (
            f"SELECT own.rowid FROM {index.table} AS own WHERE NOT EXISTS"
            f" (SELECT 1 FROM temp.{index.copy} AS copy WHERE copy.c{last} = own.rowid{same})"
        )
        return [int(row[0]) for row in self._db.execute(query)]


def _indexes(db: sqlite3.Connection) -> Iterable[Index]:
    """Yield the indexes over whole columns of tables with rowids."""
    for table in TABLES:
        info = {row[1]: row for row in db.execute(f"PRAGMA table_info({table})")}
        for _, name, _, _, partial in db.execute(f"PRAGMA index_list({table})").fetchall():
            names = [row[2] for row in db.execute(f"PRAGMA index_info({name})")]
            if partial or None in names or _has_no_rowid(db, table):
                continue
            columns = tuple(column_of(info[column]) for column in names)
            shape = Shape(name, (*columns, _ROWID), has_rowid=False)
            yield Index(table, shape, f"copy_{name}")


def _has_no_rowid(db: sqlite3.Connection, table: str) -> bool:
    (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return "WITHOUT ROWID" in sql


_ROWID = column_of((0, "rowid", "INTEGER", 1, None, 0))
