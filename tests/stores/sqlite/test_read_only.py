"""The laws of stores that are only read: they open, nothing is written, and a write is refused."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.cli.loading.serving import open_for_requests
from lmflow.errors import StoreError
from lmflow.stores.sqlite import opening
from lmflow.stores.sqlite.checks.health import health
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.recording import load
from lmflow.stores.sqlite.store import reading

STEP = lf.predict("answer", "question -> answer")


async def _fill(path: Path) -> None:
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda _: "fine"), store) as ex:
            await ex.map(STEP, [{"question": "why?"}, {"question": "how?"}])


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only: by its permissions, or for root by mounting it so."""
    if os.geteuid():
        folder.chmod(0o555)
        for file in folder.iterdir():
            file.chmod(0o444)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if (
        not mount
        or not umount
        or subprocess.run([mount, "--bind", folder, folder], check=False).returncode
    ):
        pytest.skip("root can't make a folder read-only here: mount --bind is not allowed")
    try:
        again = [mount, "-o", "remount,ro,bind", str(folder)]
        if subprocess.run(again, check=False).returncode:
            pytest.skip("root can't make a folder read-only here: it can't be mounted again")
        yield
    finally:
        subprocess.run([umount, "-l", folder], check=True)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store in a folder of its own, all of it in the file."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    asyncio.run(_fill(folder / "store.db"))
    return folder / "store.db"


@pytest.fixture
def logged(store: Path) -> Path:
    """A store whose writer died: its last commits are in the log alone."""
    db = sqlite3.connect(store)
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    with lf.SqliteStore(store) as writer:
        lf.commit(writer, "late", lf.Version(note="late"))
    dead = store.with_name("dead.db")
    shutil.copyfile(store, dead)
    shutil.copyfile(f"{store}-wal", f"{dead}-wal")
    db.close()
    for file in store.parent.glob("store.db*"):
        file.unlink()
    return dead


def test_a_store_in_a_read_only_folder_opens(store: Path) -> None:
    """Everything can be read, and nothing is written beside the file."""
    before = _contents(store.parent)
    with read_only(store.parent):
        with reading(store) as reader:
            assert () == reader.check().problems
            (run,) = reader.runs(9, "")
            assert 2 == len(reader.run(run.id))
        state = health(store)
        assert state is not None
        assert ("", False) == (state.problem, state.writable)
        assert load(store) is not None
        assert 1 == len(lf.SqliteStore(store).runs())
    assert before == _contents(store.parent)


def test_the_log_of_a_dead_writer_is_read(logged: Path) -> None:
    """Commits that only the log has are seen, and the log stays as it is."""
    before = _contents(logged.parent)
    with read_only(logged.parent), reading(logged) as reader:
        assert "late" == reader.version("late").note
        assert () == reader.check().problems
    assert before == _contents(logged.parent)


def test_a_large_store_with_a_log_says_so(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is too large to copy for its log names the log and the way out."""
    monkeypatch.setattr(opening, "LARGEST_COPY", 1000)
    with read_only(logged.parent):
        with pytest.raises(StoreError, match=r"dead\.db-wal beside it holds commits") as caught:
            reading(logged).__enter__()
        assert "cp " in caught.value.fix


def test_writes_are_refused_before_anything_is_sent(store: Path) -> None:
    """A run, a data set, a ref and a collection say that the store is read-only."""
    sent: list[object] = []

    async def run(shelf: lf.SqliteStore) -> None:
        def answer(request: object) -> str:
            sent.append(request)
            return "x"

        model = lf.scripted(answer)
        async with lf.Executor(model, shelf) as ex:
            await ex.run(STEP, question="why?")

    with read_only(store.parent):
        shelf = lf.SqliteStore(store)
        for write in (
            lambda: asyncio.run(run(shelf)),
            lambda: shelf.put_dataset("qa", [{"question": "a"}]),
            lambda: lf.commit(shelf, "prod", lf.Version(note="x")),
            lambda: collect(store, dry_run=False),
        ):
            with pytest.raises(StoreError, match="it is read-only"):
                write()
    assert [] == sent


def test_a_read_only_file_that_is_written_is_read_as_it_is(store: Path) -> None:
    """While a writer has the store open, its commits are seen by those who may not write."""
    with lf.SqliteStore(store) as writer:
        lf.commit(writer, "prod", lf.Version(note="new"))
        with read_only(store.parent), reading(store) as reader:
            assert "new" == reader.version("prod").note


def test_a_commit_that_was_cut_short_is_rolled_back(store: Path) -> None:
    """A journal that a killed writer left is applied to a copy: the last whole commit is read."""
    dead = store.with_name("dead.db")
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE run SET name = 'half'")
        many = [(f"k{at}", "x" * 900) for at in range(400)]
        db.executemany("INSERT INTO meta VALUES (?, ?)", many)
        shutil.copyfile(store, dead)
        shutil.copyfile(f"{store}-journal", f"{dead}-journal")
        db.execute("ROLLBACK")
    with read_only(dead.parent), reading(dead) as reader:
        assert "half" not in {run.name for run in reader.runs(9, "")}
        assert () == reader.check().problems


def test_a_server_does_not_start_on_it(store: Path) -> None:
    """A server that could record no request says so at once."""
    with read_only(store.parent), pytest.raises(StoreError, match="it is read-only"):
        open_for_requests(str(store))
    open_for_requests(str(store)).close()
