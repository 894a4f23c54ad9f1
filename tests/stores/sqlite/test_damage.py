# ruff: noqa: S608 - names of our own tables and columns
"""The laws of damaged stores: whatever was changed, errors are typed, name it and say what to do."""

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures_and_sounds import PNG

import lmflow as lf
from lmflow.errors import LmflowError, StoreError, Tampered
from lmflow.stores.sqlite.checks.health import health
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.reader import Reader
from lmflow.stores.sqlite.recording import load
from lmflow.stores.sqlite.store import reading

LONG = "Why is the sky blue? " * 20

UNCHECKED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


async def _fill(path: Path) -> None:
    step = lf.predict("a", "q, picture: Image -> answer", LONG)
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "fine " * 80), store) as ex:
            rows = [{"q": LONG, "picture": lf.Image(PNG)}, {"q": "東京", "picture": lf.Image(PNG)}]
            run = await ex.map(step, rows)
            await ex.score(run.traces[0].id, 1.0, feedback=LONG)
        lf.commit(store, "prod", lf.Version(params={"a.instruction": LONG}))
        store.put_dataset("qa", [{"q": "a"}, {"q": LONG}])


@cache
def _sound() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store.db")
        asyncio.run(_fill(path))
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()


def _read(use: Callable[[Reader], object]) -> Callable[[Path], object]:
    def run(path: Path) -> None:
        with reading(path) as reader:
            use(reader)

    return run


def _write(path: Path) -> None:
    with lf.SqliteStore(path) as store:
        lf.commit(store, "later", lf.Version(note="later"))


def _all_versions(reader: Reader) -> object:
    versions = reader.versions
    return [
        *versions.log("prod"), *versions.latest(9), *versions.reflog("", 9), versions.pins(),
        *map(versions.saved, versions.refs()),
    ]  # fmt: skip


USES: dict[str, Callable[[Path], object]] = {
    "runs": _read(lambda r: [r.run(run.id) for run in r.runs(9, "")]),
    "summaries": _read(lambda r: r.summaries(9)),
    "verify": _read(lambda r: [r.verify(run.id) for run in r.runs(9, "")]),
    "scores": _read(
        lambda r: [r.scores(uid) for run in r.runs(9, "") for _, uid in r.labels(run.id)]
    ),
    "check": _read(lambda r: r.check()),
    "search": _read(lambda r: r.search(["fine"])),
    "trace_summaries": _read(lambda r: [(t.inputs, t.outputs) for t in r.trace_summaries()]),
    "versions": _read(_all_versions),
    "datasets": _read(lambda r: [r.dataset(named.name) for named in r.datasets.names()]),
    "follow": _read(lambda r: r.follow("", None).ended()),
    "health": health,
    "load": load,
    "gc, dry": lambda path: collect(path, older_than=0, now=2**62),
    "gc": lambda path: collect(path, older_than=0, now=2**62, dry_run=False),
    "write": _write,
}


def _holds(content: bytes, *names: str) -> None:
    """Use a store of that content in every way: it works, or raises a typed error with words."""
    for name in names or USES:
        folder = Path(tempfile.mkdtemp())
        path = folder / "store.db"
        path.write_bytes(content)
        try:
            with contextlib.suppress(LmflowError):
                USES[name](path)
        finally:
            shutil.rmtree(folder)


some_uses = st.lists(st.sampled_from(sorted(USES)), min_size=1, max_size=3, unique=True)
quick = settings(max_examples=60, deadline=None, suppress_health_check=UNCHECKED)


@pytest.mark.parametrize("use", USES)
def test_a_sound_store_can_be_used(use: str, tmp_path: Path) -> None:
    """Without damage nothing is raised."""
    path = tmp_path / "store.db"
    path.write_bytes(_sound())
    USES[use](path)


@quick
@given(st.data(), some_uses)
def test_flipped_bits(data: st.DataObject, uses: list[str]) -> None:
    """Any bits of the file."""
    content = bytearray(_sound())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _holds(bytes(content), *uses)


@quick
@given(st.data(), some_uses)
def test_flipped_bits_of_the_schema(data: st.DataObject, uses: list[str]) -> None:
    """Bits of the first pages, where the schema stands."""
    content = bytearray(_sound())
    content[data.draw(st.integers(0, 12_000))] ^= 1 << data.draw(st.integers(0, 7))
    _holds(bytes(content), *uses)


@quick
@given(st.data(), some_uses)
def test_a_truncated_file(data: st.DataObject, uses: list[str]) -> None:
    """A file that ends too soon."""
    _holds(_sound()[: data.draw(st.integers(0, len(_sound())))], *uses)


def _changed(*statements: tuple[str, tuple[Any, ...]]) -> bytes:
    folder = Path(tempfile.mkdtemp())
    path = folder / "store.db"
    path.write_bytes(_sound())
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            for sql, values in statements:
                db.execute(sql, values)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path.read_bytes()
    finally:
        shutil.rmtree(folder)


def _ids(table: str) -> list[Any]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(_as_rollback(_sound()))
        return [row[0] for row in db.execute(f"SELECT rowid FROM {table}")]


def _as_rollback(content: bytes) -> bytes:
    """A database that doesn't ask for a log, which one in memory can't have."""
    return content[:18] + b"\x01\x01" + content[20:]


@quick
@given(st.data(), some_uses)
def test_a_changed_blob(data: st.DataObject, uses: list[str]) -> None:
    """A bit of a blob is flipped, or the blob is cut, emptied, or of another encoding or kind."""
    blob = data.draw(st.sampled_from(_ids("blob")))
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(_as_rollback(_sound()))
        (old,) = db.execute("SELECT data FROM blob WHERE id = ?", (blob,)).fetchone()
    new = bytearray(old)
    new[data.draw(st.integers(0, len(new) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    change = data.draw(
        st.sampled_from([
            ("data", bytes(new)), ("data", old[: len(old) // 2]), ("data", b""), ("enc", 0), ("enc", 1), ("enc", 9),
            ("kind", "request"), ("kind", "prefix"), ("kind", "media"), ("hash", b"\0"), ("hash", b""),
        ])
    )  # fmt: skip
    column, value = change
    _holds(_changed((f"UPDATE blob SET {column} = ? WHERE id = ?", (value, blob))), *uses)


COLUMNS = [
    ("trace", column) for column in ("version", "inputs", "outputs", "world", "failure", "program", "root", "started_ns")
] + [
    ("call", "request"), ("call", "prefix"), ("call", "last"), ("call", "reply"), ("call", "key"), ("call", "trace"), ("call", "status"), ("call", "cost"),
    ("run", "config"), ("run", "root"), ("run", "status"), ("run_item", "trace"), ("wanted", "inputs"),
    ("wanted", "version"), ("version", "params"), ("version", "origin"), ("version", "hash"), ("parent", "hash"),
    ("ref", "version"), ("item", "example"), ("dataset", "hash"), ("score", "feedback"), ("reflog", "after"),
    ("meta", "value"), ("dataset_name", "dataset"),
]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=UNCHECKED)
@given(
    st.sampled_from(COLUMNS),
    st.one_of(st.integers(-3, 40), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), st.text(max_size=9)),
    some_uses,
)  # fmt: skip
def test_a_changed_value(column: tuple[str, str], value: object, uses: list[str]) -> None:
    """A row refers to another row, or holds a value that no lmflow writes."""
    table, name = column
    try:
        content = _changed((f"UPDATE {table} SET {name} = ?", (value,)))
    except sqlite3.IntegrityError:  # a type that the column can't have
        return
    _holds(content, *uses)


TABLES = [
    "blob", "version", "parent", "ref", "reflog", "run", "trace", "run_item", "call", "choice", "wanted", "score", "pin",
    "tombstone", "touched", "meta", "dataset", "item", "dataset_name", "search", "v_runs",
]  # fmt: skip


@pytest.mark.parametrize("column", ["request", "prefix", "last"])
def test_a_part_of_a_request_that_is_something_else(column: str) -> None:
    """Calls name blobs of every kind as a part of their requests."""
    for blob in _ids("blob"):
        _holds(_changed((f"UPDATE call SET {column} = ?", (blob,))), "verify", "gc", "follow")


def test_feedback_that_is_something_else() -> None:
    """Scores name blobs of every kind as their feedback."""
    for blob in _ids("blob"):
        _holds(_changed(("UPDATE score SET feedback = ?", (blob,))), "scores")


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table(table: str) -> None:
    """A table or view that is gone."""
    kind = "VIEW" if table.startswith("v_") else "TABLE"
    _holds(_changed((f"DROP {kind} {table}", ())))


@pytest.mark.parametrize("table", [table for table in TABLES if table not in {"search", "v_runs"}])
def test_an_empty_table(table: str) -> None:
    """Rows that others refer to are gone."""
    _holds(_changed((f"DELETE FROM {table}", ())))


@pytest.mark.parametrize(
    ("statement", "use", "words"),
    [
        ("UPDATE blob SET data = x'00' WHERE kind = 'reply'", "runs", "reply blob"),
        ("UPDATE blob SET data = x'00' WHERE kind = 'prefix'", "gc", "prefix blob"),
        ("UPDATE run SET config = '{'", "runs", "run .* can't be read"),
        ("DELETE FROM version", "runs", "row 1 of the table version is missing"),
        ("DELETE FROM trace", "runs", "row 1 of the table trace is missing"),
        ("DROP TABLE call", "runs", "no such table: call"),
        ("DROP TABLE blob", "gc", "no such table"),
    ],
)
def test_what_is_damaged_is_named(statement: str, use: str, words: str, tmp_path: Path) -> None:
    """The message names the thing and the store, and what to do."""
    path = tmp_path / "store.db"
    path.write_bytes(_changed((statement, ())))
    with pytest.raises(StoreError, match=words) as caught:
        USES[use](path)
    assert str(path) in str(caught.value)
    assert caught.value.fix


def test_a_check_reports_all_that_is_damaged(tmp_path: Path) -> None:
    """``verify`` without a run goes on after the first damage and names each."""
    path = tmp_path / "store.db"
    statement = "UPDATE blob SET data = x'00' WHERE kind IN ('reply', 'inputs', 'params')"
    path.write_bytes(_changed((statement, ())))
    with reading(path) as reader:
        problems = " ".join(reader.check().problems)
    assert [True] * 3 == [f"{kind} blob" in problems for kind in ("reply", "inputs", "params")]


def test_a_damaged_store_is_no_tampered_sound_one(tmp_path: Path) -> None:
    """A changed value is ``Tampered``, a kind of ``StoreError``."""
    path = tmp_path / "store.db"
    path.write_bytes(_changed(("UPDATE blob SET data = x'00' WHERE kind = 'inputs'", ())))
    with pytest.raises(Tampered):
        USES["runs"](path)
