"""The laws of the schema: whose file is it, and what is in ours."""

import hashlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlite_utils

import lmflow as lf
from lmflow.errors import NewerSchema, NotAStore, StoreError
from lmflow.messages.replies import ChatReply, Usage
from lmflow.stores.sqlite.migrations import migrations
from lmflow.stores.sqlite.schema import APPLICATION, VERSION, check_file, prepare
from lmflow.stores.sqlite.store import reading

ANSWER = lf.predict("answer", "question -> answer", "Answer.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no file yet."""
    return tmp_path / "store.db"


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()


def _newer(path: Path) -> None:
    lf.SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
        db.execute("PRAGMA journal_mode = DELETE")


CASES: list[tuple[object, type[StoreError]]] = [
    (lambda path: path.write_bytes(b"some notes of mine\n"), NotAStore),
    (lambda path: path.write_bytes(b"x"), NotAStore),
]
CASES += [(_foreign, NotAStore), (_newer, NewerSchema)]


@pytest.mark.parametrize(("make", "error"), CASES)
@pytest.mark.parametrize("read", [False, True])
def test_what_is_not_ours_is_left_alone(
    make: object,
    error: type[StoreError],
    read: bool,  # noqa: FBT001 - a parameter of the test
    path: Path,
) -> None:
    """Another's file, or a newer lmflow's, is refused: its bytes and its folder stay as they are."""
    make(path)  # type: ignore[operator]
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(error, match="untouched"):
        _open(path, read=read)
    assert before == {file.name: file.read_bytes() for file in path.parent.iterdir()}


def _open(path: Path, *, read: bool) -> None:
    if not read:
        lf.SqliteStore(path).close()
        return
    with reading(path) as reader:
        reader.refs()


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """A file of no bytes is nobody's."""
    path.touch()
    with lf.SqliteStore(path) as store:
        assert [] == list(store.runs())


COMMITTER = """
import sys, lmflow as lf
with lf.SqliteStore(sys.argv[1]) as store:
    lf.commit(store, "theirs", lf.Version(note="theirs"))
"""


def test_reading_drops_no_locks(path: Path) -> None:
    """A process that reads beside its open store keeps the store's locks: another's closing takes
    nothing from it.
    """
    with lf.SqliteStore(path) as store:
        lf.commit(store, "ours", lf.Version(note="ours"))
        assert check_file(path)
        subprocess.run([sys.executable, "-c", COMMITTER, str(path)], check=True)
        assert path.with_name(f"{path.name}-wal").exists()
        lf.commit(store, "later", lf.Version(note="later"))
    with closing(sqlite3.connect(path)) as db:
        assert [("later",), ("ours",), ("theirs",)] == db.execute(
            "SELECT name FROM ref ORDER BY 1"
        ).fetchall()


def test_a_store_says_what_it_is(path: Path) -> None:
    """Application id, version and WAL stand in the file."""
    lf.SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        found = [
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode")
        ]
    assert [APPLICATION, VERSION, "wal"] == found


def test_opening_again_changes_nothing(path: Path) -> None:
    """The schema is made once."""
    dumps = []
    for _ in range(2):
        lf.SqliteStore(path).close()
        with closing(sqlite3.connect(path)) as db:
            dumps.append(list(db.iterdump()))
    assert dumps[0] == dumps[1]


SCHEMAS = {13: "774ceeb8cff8c5b6", 14: "5a13891f5580ba75", 15: "b6002d45a1c29647"}
"""The digest of what stands in ``sqlite_master``, by ``user_version``."""


def _described(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that makes a schema: texts, kinds of tables, columns, what is in a new store."""
    with closing(sqlite3.connect(path)) as db:
        texts = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
        columns = (
            "SELECT m.name, c.* FROM sqlite_master AS m, pragma_table_xinfo(m.name) AS c"
            " WHERE m.type IN ('table', 'view') ORDER BY m.name, c.cid"
        )
        kinds = "SELECT name, type, ncol, wr, strict FROM pragma_table_list ORDER BY name"
        names = "SELECT id, migration_set, name FROM _sqlite_migrations ORDER BY id"
        meta = "SELECT * FROM meta ORDER BY key"
        return {sql: db.execute(sql).fetchall() for sql in (texts, columns, kinds, names, meta)}


def _migrated(path: Path) -> Path:
    """Make a store by sqlite-utils, one migration after the other."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrations.apply(sqlite_utils.Database(db))
    return path


def test_a_new_store_has_the_schema_of_a_migrated_one(path: Path, tmp_path: Path) -> None:
    """Plain SQL makes, text by text, what all migrations make, and puts the same names on
    record.
    """
    lf.SqliteStore(path).close()
    assert _described(_migrated(tmp_path / "migrated.db")) == _described(path)


def test_no_migration_is_pending_in_a_new_store(path: Path) -> None:
    """To sqlite-utils, and so to an earlier lmflow, a new store is one that was migrated."""
    lf.SqliteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrated = sqlite_utils.Database(db)
        assert [] == migrations.pending(migrated)
        assert [] == [one for one in migrations.applied(migrated) if "+00:00" not in one.applied_at]


def test_the_schema_of_a_version_never_changes(path: Path) -> None:
    """A schema that differs has a number of its own: who has the earlier one would never get it,
    and a run in a file would be refused.
    """
    lf.SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        # The tables inside the index of full texts are SQLite's own affair.
        sql = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'search!_%' ESCAPE '!'"
        rows = sorted(db.execute(sql), key=str)
    assert SCHEMAS[VERSION] == hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


CREATOR = """
import sys, lmflow as lf
for _ in range(2):
    lf.SqliteStore(sys.argv[1]).close()
print(sorted({"sqlite_utils", "pandas", "numpy"} & set(sys.modules)))
"""


def test_a_new_store_needs_no_sqlite_utils(path: Path) -> None:
    """Neither making a store nor opening it again imports what only migrations need."""
    command = [sys.executable, "-c", CREATOR, str(path)]
    assert b"[]\n" == subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("table", ["_sqlite_migrations", "score", "log"])
def test_a_store_is_made_whole_or_not_at_all(table: str, path: Path, tmp_path: Path) -> None:
    """If making a store is cut short anywhere, the file has no table; the next one makes all."""

    def refuse(action: int, name: str | None, *_: str | None) -> int:
        is_cut = action == sqlite3.SQLITE_CREATE_TABLE and name == table
        return sqlite3.SQLITE_DENY if is_cut else sqlite3.SQLITE_OK

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.set_authorizer(refuse)
        with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
            prepare(db, path)
    with closing(sqlite3.connect(path)) as db:
        assert [] == db.execute("SELECT name FROM sqlite_master").fetchall()
    lf.SqliteStore(path).close()
    assert _described(_migrated(tmp_path / "migrated.db")) == _described(path)


def test_many_may_make_a_store_at_once(path: Path, tmp_path: Path) -> None:
    """Of those that open a new file at the same moment one makes the schema, and all get it."""
    start, found = threading.Barrier(6), list[int]()

    def make() -> None:
        with closing(sqlite3.connect(path, timeout=5.0, isolation_level=None)) as db:
            start.wait()
            prepare(db, path)
            found.append(db.execute("PRAGMA user_version").fetchone()[0])

    makers = [threading.Thread(target=make) for _ in range(6)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [VERSION] * 6 == found
    assert _described(_migrated(tmp_path / "migrated.db")) == _described(path)


def test_a_store_that_migrations_left_unfinished_is_finished(path: Path, tmp_path: Path) -> None:
    """A file in which an earlier lmflow made some tables and was killed gets the others."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        migrations.apply(sqlite_utils.Database(db), stop_before="m005_versions")
    lf.SqliteStore(path).close()
    assert _described(_migrated(tmp_path / "migrated.db")) == _described(path)


@pytest.fixture
async def filled(path: Path) -> Path:
    """A store with a map of two examples and a version under a ref."""
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "fine"), store) as ex:
            await ex.map(ANSWER, [{"question": "a"}, {"question": "b"}])
    return path


def _rows(path: Path, sql: str) -> list[dict[str, object]]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(sql)]


async def test_v_calls_shows_the_calls(filled: Path) -> None:
    """A row a call, with address, model and status in words."""
    rows = _rows(filled, "SELECT address, attempt, kind, model, status FROM v_calls")
    row = {
        "address": "answer[0]/call[0]",
        "attempt": 0,
        "kind": "chat",
        "model": "scripted/model",
        "status": "ok",
    }
    assert [row, row] == rows


async def test_v_runs_counts(filled: Path) -> None:
    """A row a run, with its traces and calls counted."""
    rows = _rows(filled, "SELECT kind, name, status, traces, calls, failed, orphans FROM v_runs")
    assert [
        {
            "kind": "map",
            "name": "answer",
            "status": "done",
            "traces": 2,
            "calls": 2,
            "failed": 0,
            "orphans": 0,
        }
    ] == rows


async def test_v_calls_and_v_runs_show_costs(path: Path) -> None:
    """Money is in dollars; a call without a known price is counted as such, a tool's isn't."""
    script = lf.scripted([ChatReply("x", usage=Usage(5, 2)), "y"])
    with lf.SqliteStore(path) as store:
        prices = {5: 1_500_000_000}
        async with lf.Executor(
            script,
            store,
            prices=lambda _model, usage, _at: prices.get(usage.prompt or 0),
            concurrency=1,
        ) as ex:
            await ex.map(ANSWER, [{"question": "a"}, {"question": "b"}])
    assert [{"usd": 1.5, "source": ""}, {"usd": None, "source": ""}] == _rows(
        path, "SELECT usd, source FROM v_calls"
    )
    assert [{"usd": 1.5, "unpriced": 1, "reused": 0, "tok_in": 5}] == _rows(
        path, "SELECT usd, unpriced, reused, tok_in FROM v_runs"
    )


def test_a_store_of_the_first_schema_is_brought_up(path: Path) -> None:
    """A file that an earlier lmflow made gets the new columns when it is opened, and keeps its
    rows.
    """
    with closing(sqlite3.connect(path)) as db:
        migrations.apply(sqlite_utils.Database(db), stop_before="m002_costs")
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute("PRAGMA user_version = 1")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("INSERT INTO run VALUES ('01', 'run', 'x', '', 'done', NULL, 1, 2)")
        db.commit()
    with lf.SqliteStore(path) as store:
        assert ["01"] == [run.id for run in store.runs()]
    assert [{"calls": 0, "usd": None}] == _rows(path, "SELECT calls, usd FROM v_runs")


async def test_v_versions_shows_the_versions(filled: Path) -> None:
    """A row a version, by its first digits, which every command takes."""
    rows = _rows(filled, "SELECT id, note, refs FROM v_versions")
    digits = lf.init(ANSWER).id.removeprefix("v1:b2:")[:12]
    assert [{"id": digits, "note": "defaults of answer", "refs": None}] == rows


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    yield
    assert [] == [file.name for file in tmp_path.iterdir() if file.name.endswith("-journal")]
