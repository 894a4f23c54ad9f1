"""The laws of SQL over a store: what reads is answered, all else is refused, in bounds."""

import _thread
import asyncio
import gzip
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import NotAStore, StoreError
from lmflow.stores.sqlite.query import query, tables_of

STEP = lf.predict("answer", "question -> answer")


async def _fill(path: Path) -> None:
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "fine"), store) as ex:
            await ex.map(STEP, [{"question": f"{at}?"} for at in range(5)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a run of five executions."""
    asyncio.run(_fill(tmp_path / "store.db"))
    return tmp_path / "store.db"


def _rows(store: Path, sql: str, limit: int = 100) -> list[tuple[object, ...]]:
    return list(query(store, sql, limit=limit, seconds=5).rows)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select count(*) from v_calls", [(5,)]),
        ("SELECT kind, calls FROM v_runs", [("map", 5)]),
        ("with t as (select 1 as a) select a + 1 from t", [(2,)]),
        ("values (1, 'a')", [(1, "a")]),
        ("select count(*) from search where search match 'fine'", [(5,)]),
        ("select json_extract('{\"a\": 3}', '$.a')", [(3,)]),
        ("select name from pragma_table_info('ref') where cid = 0", [("name",)]),
        ("select x'00ff'", [(b"\0\xff",)]),
        ("select 1;", [(1,)]),
        ("select 1 where 0", []),
        ("-- a remark\nselect 1", [(1,)]),
    ],
)
def test_what_reads_is_answered(store: Path, sql: str, rows: list[tuple[object, ...]]) -> None:
    """SELECT, WITH, VALUES, full-text search, JSON, and pragmas that only describe."""
    assert rows == _rows(store, sql)


WRITES = [
    "delete from run", "update run set name = 'x'", "insert into meta values ('a', 'b')",
    "drop table run", "create table t (a)", "create temp table t (a)", "alter table run add x",
    "attach 'other.db' as other", "attach ':memory:' as other", "detach main",
    "vacuum", "vacuum into 'copy.db'", "reindex", "analyze",
    "pragma journal_mode = delete", "pragma query_only = 0", "pragma writable_schema = 1",
    "pragma user_version = 1", "pragma wal_checkpoint", "pragma optimize", "pragma temp_store_directory = '/tmp'",
    "select load_extension('x')", "select writefile('x', 'y')", "select readfile('/etc/passwd')",
    "select fts3_tokenizer('a')", "insert into search (search) values ('rebuild')",
    "begin", "commit", "rollback", "savepoint a", "create virtual table t using fts5(x)",
    "with t as (select 1) delete from run", "explain delete from run", "replace into meta values ('a', 'b')",
    "create view v as select 1", "create trigger t after insert on run begin select 1; end",
]  # fmt: skip


@pytest.mark.parametrize("sql", WRITES)
def test_what_writes_is_refused(store: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the folder changes, whatever the SQL is, and the error is typed."""
    monkeypatch.chdir(store.parent)
    before = {path.name: path.read_bytes() for path in store.parent.glob("store.db")}
    names = {path.name for path in store.parent.iterdir()}
    with pytest.raises(StoreError):
        query(store, sql, limit=10, seconds=5)
    assert before == {path.name: path.read_bytes() for path in store.parent.glob("store.db")}
    assert {path.name for path in store.parent.iterdir()} - names <= {
        "store.db-shm",
        "store.db-wal",
    }


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select * from v_cals", "Did you mean 'v_calls'"),
        ("select modl from v_calls", "Did you mean 'model'"),
        ("select v_calls.modl from v_calls", "Did you mean 'model'"),
        ("selec 1", "syntax error"),
        ("select 1; select 2", "several statements"),
        ("", "there is no query"),
        ("-- nothing", "there is no query"),
        ("select ?", "can't be answered"),
        ("select zeroblob(3000000000)", "can't be answered"),
        ("select '\ud800'", "can't be answered"),
        ("select 1\0", "can't be answered"),
    ],
)
def test_mistakes_are_named(store: Path, sql: str, words: str) -> None:
    """The error says what is wrong and names a table or column that is near."""
    with pytest.raises(StoreError) as caught:
        query(store, sql, limit=10, seconds=5)
    assert words in str(caught.value)


def test_the_rows_are_bounded(store: Path) -> None:
    """At most so many rows are returned, and it is said that there are more."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
    answer = query(store, endless, limit=3, seconds=5)
    assert (((1,), (2,), (3,)), True) == (answer.rows, answer.more)
    assert not query(store, "select 1", limit=1, seconds=5).more


def test_the_time_is_bounded(store: Path) -> None:
    """A question that never ends is stopped."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"longer than 0\.2 s"):
        query(store, endless, limit=3, seconds=0.2)
    assert 5 > time.monotonic() - started


def test_columns_of_one_name_are_told_apart(store: Path) -> None:
    """Each column has a name of its own, so that no value is lost in JSON."""
    assert ("a", "a_2", "a_3") == query(store, "select 1 a, 2 a, 3 a", limit=1, seconds=5).columns


def test_views_for_people_come_first(store: Path) -> None:
    """The list of tables begins with the views, and has no parts of the index."""
    names = list(tables_of(store))
    assert names[0].startswith("v_")
    assert "run" in names
    assert not any(name.startswith(("search_", "sqlite_")) for name in names)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """No other database is opened."""
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    with pytest.raises(NotAStore):
        query(other, "select 1", limit=1, seconds=1)
    with pytest.raises(StoreError, match="no such file"):
        query(tmp_path / "none.db", "select 1", limit=1, seconds=1)


def test_ctrl_c_is_no_timeout(store: Path) -> None:
    """An interrupt ends a query as an interrupt, not as one that took too long."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        query(store, endless, limit=1, seconds=30)
    timer.join()


def test_an_older_store_says_why_it_lacks_a_column(tmp_path: Path) -> None:
    """Views of a store that an earlier release wrote have fewer columns until it is written."""
    recorded = Path(__file__).parents[2] / "fixtures" / "recorded" / "store.db.gz"
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress(recorded.read_bytes()))
    with pytest.raises(StoreError, match=r"no such column: step.*An earlier lmflow wrote"):
        query(path, "select step from v_calls", limit=1, seconds=5)
    lf.SqliteStore(path).close()
    assert ("step",) == query(path, "select step from v_calls", limit=1, seconds=5).columns
