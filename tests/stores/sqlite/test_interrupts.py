"""Ctrl-C in the middle of a commit in the caller's thread leaves a sound store and nobody waiting."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import lmflow as lf
from lmflow.errors import StoreError
from lmflow.stores.sqlite.checks.health import health
from lmflow.stores.sqlite.writing import group_commit
from lmflow.stores.sqlite.writing.group_commit import GroupCommitter
from lmflow.traces.events import RunClosed, RunOpened
from lmflow.traces.trace import Run

HASH = f"v1:b2:{'ab' * 32}"


@pytest.mark.parametrize("point", ["appended", "committed"])
def test_an_interrupted_commit_is_whole_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Before the COMMIT and after it: what was handed over is stored once, before what follows."""
    monkeypatch.setattr(group_commit, "IDLE", 3600)
    path, interrupts = tmp_path / "store.db", [True]
    lf.SqliteStore(path).close()

    def reached(name: str) -> None:
        here = threading.current_thread() is threading.main_thread()
        if name == point and here and interrupts:
            interrupts.pop()
            raise KeyboardInterrupt

    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    committer = GroupCommitter(db, str(path), reached)
    with pytest.raises(KeyboardInterrupt):
        committer.append([[RunOpened(Run("r1", "map", "answer", started=1))]])
    for future in committer.append([[RunClosed("r1", "done", HASH, 9)]]):
        future.result(10)
    committer.settle()
    committer.close()
    with lf.SqliteStore(path) as store:
        assert [("r1", "done")] == [(run.id, run.status) for run in store.runs()]
    found = health(path)
    assert found is not None
    assert "" == found.problem


def test_a_store_that_another_process_holds_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits gets an error that names the lock, and the store takes what comes later."""
    monkeypatch.setattr(group_commit, "_PATIENT", 20)
    path = tmp_path / "store.db"
    with lf.SqliteStore(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked\). Another process"):
            store.append(RunOpened(Run("r1", "map", "answer", started=1))).result(10)
        db.execute("ROLLBACK")
        store.append(RunOpened(Run("r2", "map", "answer", started=1))).result(10)
        assert ["r2"] == [run.id for run in store.runs()]
