"""The laws of backups: one moment of a store that is written, whole, checked, and never over another."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import StoreError
from lmflow.stores.sqlite.backup import backup
from lmflow.stores.sqlite.store import reading

STEP = lf.predict("answer", "question -> answer")


async def _fill(path: Path, rows: int = 5) -> None:
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "fine"), store) as ex:
            await ex.map(STEP, [{"question": f"{at}?"} for at in range(rows)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a run."""
    asyncio.run(_fill(tmp_path / "store.db"))
    return tmp_path / "store.db"


def test_the_copy_opens_and_replays(store: Path, tmp_path: Path) -> None:
    """The copy is a store with the same runs, and each execution replays to its root."""
    copy = tmp_path / "copy.db"
    assert backup(store, copy) == copy.stat().st_size
    with reading(copy) as reader:
        assert () == reader.check().problems
        for run in reader.runs(9, ""):
            for trace in reader.run(run.id):
                assert trace.root == lf.replay(trace, STEP).root
    with lf.SqliteStore(copy) as again:
        lf.commit(again, "prod", lf.Version(note="written"))


def test_a_store_that_is_written_is_copied_whole(store: Path, tmp_path: Path) -> None:
    """While others commit all the time, the copy ends, and has one moment of the store."""
    stop, commits = threading.Event(), 0

    def write() -> None:
        nonlocal commits
        with lf.SqliteStore(store) as writer:
            while not stop.is_set():
                lf.commit(writer, "prod", lf.Version(note=f"n{commits}" * 50))
                commits += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for at in range(5):
            backup(store, tmp_path / f"copy{at}.db")
    finally:
        stop.set()
        thread.join()
    assert commits
    for at in range(5):
        with reading(tmp_path / f"copy{at}.db") as reader:
            assert () == reader.check().problems


def test_nothing_is_replaced_unless_told_so(store: Path, tmp_path: Path) -> None:
    """A file that is there stays, with ``overwrite`` it is replaced as a whole."""
    copy = tmp_path / "copy.db"
    copy.write_text("mine", "utf-8")
    with pytest.raises(StoreError, match="exists already") as caught:
        backup(store, copy)
    assert ("mine", True) == (copy.read_text("utf-8"), "--overwrite" in caught.value.fix)
    backup(store, copy, overwrite=True)
    assert copy.read_bytes().startswith(b"SQLite format 3")


def test_a_copy_that_was_used_is_replaced(store: Path, tmp_path: Path) -> None:
    """No journal of the copy that is replaced is read as the new one's."""
    copy = tmp_path / "copy.db"
    for count in range(1, 4):
        backup(store, copy, overwrite=True)
        with reading(copy) as reader:
            assert (count, ()) == (len(reader.runs(9, "")), reader.check().problems)
            for _ in range(2):  # the journal stays as long as somebody reads
                asyncio.run(_fill(copy))
        asyncio.run(_fill(store))


@pytest.mark.parametrize(
    ("target", "words"),
    [("store.db", "the store itself"), ("none/copy.db", "folder does not exist"), ("", "a folder")],
)
def test_places_that_can_t_be(store: Path, tmp_path: Path, target: str, words: str) -> None:
    """The store itself, a folder, and a folder that isn't there are refused."""
    with pytest.raises(StoreError, match=words):
        backup(store, tmp_path / target, overwrite=True)
    assert {"store.db"} == {
        path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()
    }


def test_a_damaged_store_is_not_copied(store: Path, tmp_path: Path) -> None:
    """A store that SQLite finds damaged gives no copy, and the error names the rescue."""
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_blob_1'"
        (page,) = db.execute(query).fetchone()
    content = bytearray(store.read_bytes())
    content[(page - 1) * 4096 + 200 : page * 4096] = bytes(4096 - 200)
    store.write_bytes(content)
    with pytest.raises(StoreError, match="lmflow store salvage"):
        backup(store, tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy*"))


def test_progress_reaches_the_end(store: Path, tmp_path: Path) -> None:
    """The last report is of all pages."""
    reports: list[tuple[int, int]] = []
    backup(store, tmp_path / "copy.db", progress=lambda done, total: reports.append((done, total)))
    assert reports[-1][0] == reports[-1][1] > 0
