"""SQLite's statements as PostgreSQL understands them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.stores.postgres.dialect import translated
from lmflow.stores.postgres.nul import escaped, unescaped
from lmflow.stores.sqlite.writing.statements import CLOSE_TRACES

CASES = [
    ("SELECT ? FROM run", "SELECT $1 FROM run"),
    ("SELECT '?', ':a', it FROM run WHERE id = ?", "SELECT '?', ':a', it FROM run WHERE id = $1"),
    ("SELECT id FROM run LIMIT ?", "SELECT id FROM run LIMIT nullif($1::bigint, -1)"),
    ("INSERT OR IGNORE INTO t VALUES (?)", "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING"),
    (
        "INSERT OR REPLACE INTO ref (name, version, updated_ns) VALUES (?, ?, ?)",
        "INSERT INTO ref (name, version, updated_ns) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET version = excluded.version, updated_ns = excluded.updated_ns",
    ),
    ("SELECT substr(id, -8) FROM run", "SELECT right(id, 8) FROM run"),
    ("CREATE TEMP TABLE dead_blob (id BLOB PRIMARY KEY) WITHOUT ROWID",
     "CREATE TEMP TABLE dead_blob (id BIGINT PRIMARY KEY)"),
]  # fmt: skip


@pytest.mark.parametrize(("sqlite", "postgres"), CASES)
def test_a_statement_is_translated(sqlite: str, postgres: str) -> None:
    """The same statement for the other database."""
    assert postgres == translated(sqlite).text


def test_each_place_of_a_parameter_has_a_number() -> None:
    """A name that stands in two places is two parameters: PostgreSQL gives each one type."""
    statement = translated("SELECT 1 FROM run WHERE :run = '' OR id = :run")
    assert ("SELECT 1 FROM run WHERE $1 = '' OR id = $2", ("run", "run")) == (
        statement.text,
        statement.names,
    )


def test_a_cast_is_no_parameter() -> None:
    """Two colons begin a type."""
    assert ((), "SELECT a::text FROM t") == (
        translated("SELECT a::text FROM t").names,
        translated("SELECT a::text FROM t").text,
    )


def test_what_closes_traces_has_types() -> None:
    """The rows of values get the types of their columns."""
    text = translated(CLOSE_TRACES.format(rows="(?, ?, ?, ?, ?, ?)")).text
    assert "outputs = column2::bigint" in text
    assert "AS closed WHERE id = column1::bigint" in text


@given(st.text(st.sampled_from("a\0\ufdd0\ufdd1\ufdd2")))
def test_each_text_comes_back(text: str) -> None:
    """A text is stored without NUL, and read as it was; no two are stored alike."""
    stored = escaped(text)
    assert ("\0" not in stored, text) == (True, unescaped(stored))
