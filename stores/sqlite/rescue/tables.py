"""Which rows of a damaged file belong to which table of a store."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.stores.sqlite.rescue.pages import Pages
from lmflow.stores.sqlite.rescue.records import (
    LEAVES,
    TABLE_INNER,
    TABLE_LEAF,
    Node,
    Value,
    node_of,
    rows_of,
)

TABLES = (
    "blob", "version", "parent", "ref", "reflog", "run", "trace", "run_item", "call", "choice",
    "wanted", "score", "pin", "act", "tombstone", "dataset", "item", "dataset_name",
)  # fmt: skip
"""The tables that are rescued, each after those that it refers to."""

LATER = frozenset({"act"})
"""Those of them that earlier schemas do not have."""

LOG = "log"
"""The table of what waits to become rows; earlier schemas have none. A page that no tree leads to
is never taken for one of it: what was in it may be rows already.
"""

_TYPES: Mapping[str, tuple[type, ...]] = {
    "INTEGER": (int,),
    "TEXT": (str,),
    "BLOB": (bytes,),
    "REAL": (int, float),
}
_HASH, _KEYED_HASH = 32, 33
_HASHES = frozenset({"hash", "tree", "program", "root", "key"})
_KIND = re.compile(r"[a-z_]{1,20}")


@attrs.frozen
class Column:
    """A column: the types of its values, and whether it must have one or is the row's number."""

    name: str
    types: tuple[type, ...]
    required: bool
    default: Value
    is_rowid: bool = False

    def takes(self, value: Value) -> bool:
        """Say whether a value can stand in the column."""
        if value is None:
            return not self.required or self.is_rowid
        if not isinstance(value, self.types):
            return False
        return self.name not in _HASHES or len(value) in (_HASH, _KEYED_HASH)  # type: ignore[arg-type]


@attrs.frozen
class Shape:
    """The columns of a table."""

    table: str
    columns: tuple[Column, ...]
    has_rowid: bool

    def row(self, rowid: int, values: Sequence[Value]) -> tuple[Value, ...] | None:
        """Return the values of all columns of a row, ``None`` if they can't be one of this table.

        A row that an older schema wrote lacks the last columns; they have their defaults.
        """
        if not values or len(values) > len(self.columns):
            return None
        missing = self.columns[len(values) :]
        if any(column.required and column.default is None for column in missing):
            return None
        if not all(map(Column.takes, self.columns, values)):
            return None
        full = (*values, *(column.default for column in missing))
        if self.columns[0].is_rowid and full[0] is None:
            return (rowid, *full[1:])
        return full


def shapes(db: sqlite3.Connection) -> dict[str, Shape]:
    """Return the shapes of the tables of a new store."""
    return {table: _shape(db, table) for table in (*TABLES, LOG)}


def _shape(db: sqlite3.Connection, table: str) -> Shape:
    info = db.execute(f"PRAGMA table_info({table})").fetchall()
    (sql,) = db.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    has_rowid = "WITHOUT ROWID" not in sql
    keys = [row[1] for row in info if row[5]]
    columns = [column_of(row) for row in info]
    if has_rowid and len(keys) == 1 and int in columns[0].types and keys[0] == columns[0].name:
        columns[0] = attrs.evolve(columns[0], is_rowid=True)
    return Shape(table, tuple(columns), has_rowid)


def column_of(row: Sequence[Any]) -> Column:
    """Return a column as ``PRAGMA table_info`` describes it."""
    _, name, kind, required, default, key = row
    return Column(name, _TYPES[kind], bool(required or key), _default(default))


def _default(text: str | None) -> Value:
    return None if text is None else text.strip("'")


@attrs.frozen
class Found:
    """A row and its table."""

    table: str
    row: tuple[Value, ...]


@attrs.define
class Scan:
    """What a pass over a file came upon.

    Args:
        unreadable: The numbers of rows that can't be read, by table.
        lost_pages: The numbers of pages that a table's tree lacks, or that are no page of one.
        unknown: The number of pages that belong to nothing that can be read.
        no_schema: True if the list of the tables can't be read.
        misplaced: The pages in a tree of another table, which may belong to another one.
    """

    unreadable: dict[str, int] = attrs.field(factory=dict)
    lost_pages: dict[str, int] = attrs.field(factory=dict)
    unknown: int = 0
    no_schema: bool = False
    misplaced: set[int] = attrs.field(factory=set)

    def note_row(self, table: str) -> None:
        """Count a row that can't be read."""
        self.unreadable[table] = self.unreadable.get(table, 0) + 1

    def note_page(self, table: str) -> None:
        """Count a page that can't be read."""
        self.lost_pages[table] = self.lost_pages.get(table, 0) + 1


def scan(pages: Pages, known: Mapping[str, Shape], seen: Scan) -> Iterator[Found]:
    """Yield the rows of the tables: first those that the trees lead to, then those of pages that
    no tree leads to and that are not free.
    """
    visited = {1}
    roots = _roots(pages)
    names = {name for name, _ in roots}
    seen.no_schema = not names.issuperset(set(TABLES) - LATER)
    for name, root in roots:
        yield from _Tree(pages, name, known.get(name), seen).rows(root, visited)
    free = pages.freed() | pages.unusable
    known_pages = visited | (pages.used - seen.misplaced) | free
    for number in range(2, pages.count + 1):
        if number not in known_pages:
            rows = list(_orphan(pages, number, known))
            seen.unknown += not rows
            yield from rows
    seen.unknown += pages.missing


def _roots(pages: Pages) -> list[tuple[str, int]]:
    """Return the first pages of tables and indexes by name, as the schema has them."""
    roots: list[tuple[str, int]] = []
    for number in _nodes(pages, 1, set()):
        node = node_of(pages, number)
        if node is None:
            continue
        for found in rows_of(pages, node):
            match found:
                case (_, (str(), str(name), str(), int(root), *_)) if root:
                    roots.append((name, root))
    return roots


def _nodes(pages: Pages, root: int, visited: set[int]) -> Iterator[int]:
    """Yield the pages of a tree, each once, whatever of it can be read."""
    waiting = [root]
    while waiting:
        number = waiting.pop()
        if number in visited and number != 1:
            continue
        visited.add(number)
        yield number
        node = node_of(pages, number)
        if node is not None:
            waiting += [child for child in reversed(node.children) if child not in visited]


@attrs.frozen
class _Tree:
    """The tree of a table or index; ``shape`` is ``None`` if its rows are not rescued."""

    pages: Pages
    name: str
    shape: Shape | None
    seen: Scan

    def rows(self, root: int, visited: set[int]) -> Iterator[Found]:
        """Yield the rows of the tree; pages of other tables are left to those."""
        if not 1 < root <= self.pages.count:
            self.seen.note_page(self.name)
            return
        for number in _nodes(self.pages, root, visited):
            node = node_of(self.pages, number)
            if node is None or not self._fits(node):
                self.seen.note_page(self.name)
                visited.discard(number)
                self.seen.misplaced.add(number)
                continue
            for _ in range(node.lacking):
                self.seen.note_page(self.name)
            yield from self._rows(node)

    def _fits(self, node: Node) -> bool:
        is_table = node.kind in (TABLE_LEAF, TABLE_INNER)
        return self.shape is None or is_table == self.shape.has_rowid

    def _rows(self, node: Node) -> Iterator[Found]:
        for found in rows_of(self.pages, node):
            if self.shape is None:
                continue  # reading it has marked its overflow pages as used
            row = None if found is None else self.shape.row(*found)
            if row is None:
                self.seen.note_row(self.name)
            else:
                yield Found(self.name, row)


def _orphan(pages: Pages, number: int, known: Mapping[str, Shape]) -> Iterator[Found]:
    """Yield the rows of a page that no tree leads to, if they can be of one table only."""
    node = node_of(pages, number)
    if node is None or node.kind not in LEAVES or not node.cells:
        return
    rows = [found for found in rows_of(pages, node) if found is not None]
    has_rowid = node.kind == TABLE_LEAF
    fitting = [
        shape
        for shape in known.values()
        if shape.table in TABLES
        if shape.has_rowid == has_rowid and rows and all(shape.row(*row) for row in rows)
    ]
    if len(fitting) != 1:
        return
    (shape,) = fitting
    if shape.table == "blob" and not all(_KIND.fullmatch(str(row[2])) for _, row in rows):
        return
    for rowid, values in rows:
        row = shape.row(rowid, values)
        if row is not None:
            yield Found(shape.table, row)
