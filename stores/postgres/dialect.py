"""Writes the statements of a store, which are SQLite's, as PostgreSQL understands them.

Both databases share most of their SQL, and the readers are written in what they share. The rest is
translated here, statement by statement; functions of SQLite are in the schema (``functions``).
"""

from __future__ import annotations

import functools
import re

import attrs

from lmflow.stores.sqlite.full_text import DELETE_WORDS, INSERT_WORDS

REPLACED = {
    "ref": ("name", "version, updated_ns"),
    "choice": ("trace, address", "winner"),
    "pin": ("version", "why, who, at_ns"),
    "tombstone": ("kind, name", "at_ns"),
    "run_total": (
        "run",
        "traces, calls, reused, tok_in, tok_out, cost, unpriced, failed, orphans",
    ),
}
"""The keys and the other columns of the tables whose rows a statement replaces."""

TEMPORARY = {"gone_run": 'TEXT COLLATE "C"'}
"""The types of the ids of temporary tables; those of the others are numbers."""

_IGNORE = re.compile(r"INSERT OR IGNORE INTO")
_REPLACE = re.compile(r"INSERT OR REPLACE INTO (\w+)")
_TEMP = re.compile(r"CREATE TEMP TABLE (\w+) \(id BLOB PRIMARY KEY\) WITHOUT ROWID")
_CLOSED = re.compile(r"\bcolumn([12356])\b")
_REWRITES = (
    (re.compile(r"ON CONFLICT DO UPDATE"), "ON CONFLICT (trace, address, attempt) DO UPDATE"),
    (re.compile(r"\) WHERE id = column1"), ") AS closed WHERE id = column1"),
    (re.compile(r"CROSS JOIN (\w+) ON"), r"JOIN \1 ON"),
    (re.compile(r"substr\(([:\w.]+), -(length\(:\w+\)|\d+)\)"), r"right(\1, \2)"),
    (re.compile(r"\bchar\((\d+)\)"), r"chr(\1)"),
    (re.compile(r"NOT run_item\.reused\b"), "run_item.reused = 0"),
    (re.compile(r"blob\.hash IS NOT call\.key"), "blob.hash IS DISTINCT FROM call.key"),
    (re.compile(r"SELECT \?(?=,? (?:0 )?UNION)"), "SELECT ?::bigint"),
    (re.compile(r"\bLIMIT (:stop - :start|:\w+|\?)"), r"LIMIT nullif(\1, -1)"),
    (re.compile(r":stop - :start"), ":stop::bigint - :start::bigint"),
    (re.compile(r"nullif\((:\w+|\?), -1\)"), r"nullif(\1::bigint, -1)"),
)
_WRITES = re.compile(r"\s*(INSERT|UPDATE trace)\b")
_TOKEN = re.compile(r"'(?:[^']|'')*'|\?|(?<![:\w]):([a-z_]\w*)")


@attrs.frozen
class Statement:
    """A statement for PostgreSQL.

    Args:
        text: The text, with ``$1`` for the first parameter.
        names: The names of its parameters in order; empty if they have no names.
        only_writes: Whether it returns nothing that anybody asks for.
    """

    text: str
    names: tuple[str, ...] = ()
    only_writes: bool = False


@functools.lru_cache(maxsize=1024)
def translated(sql: str) -> Statement:
    """Return a statement of SQLite as one of PostgreSQL."""
    temp = _TEMP.fullmatch(sql)
    if temp is not None:
        kind = TEMPORARY.get(temp[1], "BIGINT")
        return Statement(f"CREATE TEMP TABLE {temp[1]} (id {kind} PRIMARY KEY)")
    for pattern, replacement in _REWRITES:
        sql = pattern.sub(replacement, sql)
    if "AS closed WHERE" in sql:
        sql = _CLOSED.sub(r"column\1::bigint", sql)
    return _numbered(_with_conflicts(sql))


def _with_conflicts(sql: str) -> str:
    if _IGNORE.search(sql):
        return f"{_IGNORE.sub('INSERT INTO', sql)} ON CONFLICT DO NOTHING"
    replaced = _REPLACE.search(sql)
    if replaced is None:
        return sql
    keys, columns = REPLACED[replaced[1]]
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", "))
    insert = _REPLACE.sub(r"INSERT INTO \1", sql)
    return f"{insert} ON CONFLICT ({keys}) DO UPDATE SET {changes}"


def _numbered(sql: str) -> Statement:
    """Number the parameters, each place its own: PostgreSQL gives a parameter one type."""
    names: list[str] = []
    count = 0

    def number(token: re.Match[str]) -> str:
        nonlocal count
        if token[0].startswith("'"):
            return token[0]
        count += 1
        if token[1]:
            names.append(token[1])
        return f"${count}"

    only_writes = _WRITES.match(sql) is not None and "RETURNING" not in sql
    return Statement(_TOKEN.sub(number, sql), tuple(names), only_writes)


def is_insert_of_words(sql: str) -> bool:
    """Tell whether a statement adds texts to the full-text index."""
    return sql.startswith(INSERT_WORDS)


def is_delete_of_words(sql: str) -> bool:
    """Tell whether a statement removes texts from the full-text index."""
    return sql == DELETE_WORDS
