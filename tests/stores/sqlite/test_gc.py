"""Collecting garbage: what is reached stays, what isn't goes, and the store is sound after it."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import NotFound, StoreError, UnknownVersion
from lmflow.stores.sqlite.gc import GarbageCounts, collect, shrink
from lmflow.stores.sqlite.reachability import GRACE
from lmflow.stores.sqlite.store import reading
from lmflow.traces.events import Pinned, RefMoved, ScoreRecorded, VersionSaved

ANSWER = lf.predict("answer", "question -> answer", "Answer.")
FIRST = lf.init(ANSWER)
KEPT, LOST, SIDE = (
    FIRST.put({"answer.instruction": text}, note=text) for text in ("Kept.", "Lost.", "Side.")
)
LATER = 10**19 // 2
DAY = 24 * 3600 * 10**9


@pytest.fixture
def store(tmp_path: Path) -> Iterator[lf.SqliteStore]:
    """A store with a ref, and a version that nothing reaches."""
    with lf.SqliteStore(tmp_path / "store.db") as opened:
        opened.append(*(VersionSaved(version, 1) for version in (FIRST, KEPT, LOST, SIDE))).result()
        opened.append(RefMoved("prod", KEPT.id, "", 2)).result()
        yield opened


def _sound(store: lf.SqliteStore) -> None:
    with reading(store.path) as reader:
        assert () == reader.check().problems
    with contextlib.closing(sqlite3.connect(store.path)) as db:
        assert [] == db.execute("PRAGMA foreign_key_check").fetchall()
        assert ("0", "even")[
            db.execute("SELECT CAST(value AS INTEGER) % 2 FROM meta WHERE key = 'gc'").fetchone()[0]
        ]


def _names(store: lf.SqliteStore) -> set[str]:
    with reading(store.path) as reader:
        return {saved.version.note for saved in reader.versions.latest(100)}


async def _recorded(store: lf.SqliteStore, version: lf.Version, question: str) -> str:
    async with lf.Executor(lf.scripted(lambda r: r.messages[-1].content), store) as ex:
        await ex.map(ANSWER, [{"question": question}], version=version)
    return store.runs(1)[0].id


def test_a_dry_run_says_what_goes_and_removes_nothing(store: lf.SqliteStore) -> None:
    """The same numbers as the real one, and the store as it was."""
    before = _names(store)
    dry = collect(store.path, now=LATER)
    assert before == _names(store)
    assert dry == collect(store.path, now=LATER, dry_run=False)
    assert (2, 0) == (dry.versions, dry.runs)
    assert GarbageCounts() == collect(store.path, now=LATER)


def test_what_a_ref_reaches_stays_with_its_ancestors(store: lf.SqliteStore) -> None:
    """The ref's version and its parent stay; a version that nothing names goes, and is told as
    pruned.
    """
    collect(store.path, now=LATER, dry_run=False)
    assert {FIRST.note, "Kept."} == _names(store)
    with pytest.raises(UnknownVersion, match="was pruned on"):
        store.version(LOST.id)
    _sound(store)


def test_reflogs_and_pins_keep(store: lf.SqliteStore) -> None:
    """Where a ref pointed once, and what is pinned, stays, until it is no longer pinned."""
    store.append(
        RefMoved("prod", LOST.id, "", 3), RefMoved("prod", KEPT.id, "", 4), Pinned(SIDE.id, "", 5)
    ).result()
    assert GarbageCounts() == collect(store.path, now=LATER, dry_run=False)
    store.append(Pinned(SIDE.id, "", 6, on=False)).result()
    assert 1 == collect(store.path, now=LATER, dry_run=False).versions
    _sound(store)


def test_what_was_kept_lately_stays(store: lf.SqliteStore) -> None:
    """Within the grace time nothing goes that may be about to be named."""
    assert 0 == collect(store.path, now=GRACE).versions


async def test_runs_keep_their_versions(store: lf.SqliteStore) -> None:
    """Without an age all runs stay, and with them what they ran."""
    await _recorded(store, LOST, "q")
    assert 1 == collect(store.path, now=LATER, dry_run=False).versions
    assert {FIRST.note, "Kept.", "Lost."} == _names(store)
    _sound(store)


async def test_old_runs_go_with_all_that_only_they_hold(store: lf.SqliteStore) -> None:
    """Runs that are older go, with traces, calls, scores and blobs; younger ones stay whole and
    replay.
    """
    old = await _recorded(store, LOST, "old")
    store.append(ScoreRecorded(store.run(old).traces[0].id, "x", 1.0, "because")).result()
    young = await _recorded(store, KEPT, "young")
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE run SET started_ns = 5 WHERE id = ?", (old,))
    now = store.run(young).started + 2 * DAY
    dry = collect(store.path, older_than=10 * DAY, now=now)
    assert dry == collect(store.path, older_than=10 * DAY, now=now, dry_run=False)
    assert (1, 1, 1, 2) == (dry.runs, dry.traces, dry.calls, dry.versions)
    with pytest.raises(NotFound, match="was pruned on"):
        store.run(old)
    assert store.run(young).root == lf.replay(store.run(young), ANSWER).root
    with reading(store.path) as reader:
        assert ([], 1) == (reader.search(["old"]), len(reader.search(["young"])))
    _sound(store)


async def test_blobs_of_messages_stay_with_their_requests(store: lf.SqliteStore) -> None:
    """Prefixes and messages that a kept request is made of stay; after it the run reads back."""
    run = store.run(await _recorded(store, KEPT, "q"))
    collect(store.path, now=LATER, dry_run=False)
    assert run == store.run(run.id)
    _sound(store)


async def test_a_writer_that_was_open_writes_on(store: lf.SqliteStore) -> None:
    """A writer whose cached blobs and versions were swept writes them anew."""
    old = await _recorded(store, LOST, "same")
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE run SET started_ns = 5 WHERE id = ?", (old,))
    collect(store.path, older_than=1, now=LATER, dry_run=False)
    again = store.run(await _recorded(store, LOST, "same"))
    assert again.root == lf.replay(again, ANSWER).root
    _sound(store)


def test_what_is_used_while_it_is_swept_stays(store: lf.SqliteStore) -> None:
    """While the generation is odd, a version that is named anew is touched, with its ancestors and
    blobs.
    """
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = '1' WHERE key = 'gc'")
        store.append(RefMoved("again", LOST.id, "", 3), VersionSaved(LOST, 9)).result()
        touched = set(db.execute("SELECT kind, id FROM touched"))
        rows = db.execute("SELECT id, params, origin FROM version WHERE hash IN (?, ?)", tuple(
            bytes.fromhex(version.id[6:]) for version in (FIRST, LOST))).fetchall()  # fmt: skip
    assert {("version", row[0]) for row in rows} | {
        ("blob", blob) for row in rows for blob in row[1:]
    } == touched


def test_a_collection_that_was_killed_is_begun_anew(store: lf.SqliteStore) -> None:
    """An odd generation that is left behind harms nobody and is ended by the next one."""
    with contextlib.closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = '7' WHERE key = 'gc'")
        db.execute("INSERT INTO touched VALUES ('version', 1)")
    assert 2 == collect(store.path, now=LATER, dry_run=False).versions
    _sound(store)


WRITER = """
import asyncio, sys, lmflow as lf
answer = lf.predict("answer", "question -> answer", "Answer.")
async def main():
    with lf.SqliteStore(sys.argv[1]) as store:
        async with lf.Executor(lf.scripted(lambda r: r.messages[-1].content), store) as ex:
            for k in range(40):
                version = lf.init(answer).put({"answer.options": {"seed": k % 7}})
                await ex.map(answer, [{"question": str(j)} for j in range(k % 5)], version=version)
asyncio.run(main())
"""


def test_the_store_is_sound_while_others_write(store: lf.SqliteStore) -> None:
    """Another process records the same things again and again while everything is swept."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.path)], stderr=subprocess.PIPE
    )
    while writer.poll() is None:
        collect(store.path, older_than=1, dry_run=False)
    assert (0, b"") == (writer.returncode, writer.communicate()[1])
    _sound(store)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """There is nothing to collect where there is no store, and none is made."""
    with pytest.raises(StoreError, match="no such file"):
        collect(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_the_file_can_be_made_smaller(store: lf.SqliteStore) -> None:
    """The space that was freed is given back, and everything reads as before."""
    collect(store.path, now=LATER, dry_run=False)
    shrink(store.path)
    assert KEPT == store.version("prod")
    _sound(store)
