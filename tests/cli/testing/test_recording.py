"""The laws of runs in files of their own: whole, small, the same bytes for the same run, never
written by reading.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import attrs
import pytest

import lmflow as lf
from lmflow.cli.testing.recorded_runs import recorded_run
from lmflow.errors import NewerSchema, NotAStore, NotFound, StoreError
from lmflow.stores.sqlite.recording import load, save
from lmflow.stores.sqlite.store import reading
from lmflow.traces.trace import Run

step = lf.predict("step", "text -> said", "Say it.")


async def made(*texts: str) -> Run:
    """A run over texts, one of which fails."""
    async with lf.Executor(
        lf.scripted({text: f"{text}!" for text in texts if text != "bad"})
    ) as ex:
        run = await ex.map(step, [{"text": text} for text in texts])
    return recorded_run("test", run.traces)


def as_data(run: Run | None) -> Run | None:
    """The run without code, as a store gives it."""
    return run and attrs.evolve(
        run, items=tuple((label, attrs.evolve(t, code=None)) for label, t in run.items)
    )


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """A run comes back as it was, with its failures."""
    run = await made("a", "bad", "c")
    save(tmp_path / "deep" / "run.db", run)
    assert as_data(run) == load(tmp_path / "deep" / "run.db")


async def test_the_same_run_is_the_same_bytes(tmp_path: Path) -> None:
    """Two files of equal runs are equal."""
    for name in "ab":
        save(tmp_path / name, await made("a", "bad", "c"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


async def test_nothing_lies_beside_it(tmp_path: Path) -> None:
    """There is no journal and no other file, before and after reading."""
    save(tmp_path / "run.db", await made("a"))
    before = (tmp_path / "run.db").stat().st_mtime_ns
    load(tmp_path / "run.db")
    assert (["run.db"], before) == (names(tmp_path), (tmp_path / "run.db").stat().st_mtime_ns)


async def test_it_is_a_store(tmp_path: Path) -> None:
    """Whatever reads a store reads it: its hashes are sound."""
    save(tmp_path / "run.db", run := await made("a", "bad"))
    with reading(tmp_path / "run.db") as reader:
        assert run.root == reader.verify("recording").root


async def test_a_write_protected_file_is_read(tmp_path: Path) -> None:
    """Reading needs no permission to write."""
    save(tmp_path / "run.db", run := await made("a"))
    (tmp_path / "run.db").chmod(0o444)
    assert as_data(run) == load(tmp_path / "run.db")


async def test_saving_takes_the_place_of_what_was(tmp_path: Path) -> None:
    """The latest run is the only one."""
    save(tmp_path / "run.db", await made("a", "b"))
    save(tmp_path / "run.db", run := await made("c"))
    assert as_data(run) == load(tmp_path / "run.db")


async def test_a_run_that_can_t_be_saved_leaves_the_file(tmp_path: Path) -> None:
    """What can't be written is an error, the file stays, and nothing is left beside it."""
    save(tmp_path / "run.db", run := await made("a"))
    twice = attrs.evolve(run, items=(*run.items, *run.items))
    with pytest.raises(StoreError, match="can't keep"):
        save(tmp_path / "run.db", twice)
    assert as_data(run) == load(tmp_path / "run.db")
    assert ["run.db"] == names(tmp_path)


async def test_a_folder_that_can_t_be_made_is_named(tmp_path: Path) -> None:
    """A file where a folder is needed is an error that names the recording."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match=r"run\.db"):
        save(tmp_path / "file" / "run.db", await made("a"))


def test_no_file_is_no_run(tmp_path: Path) -> None:
    """Where there is no file there is no run, and none is made."""
    assert load(tmp_path / "run.db") is None
    assert [] == list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A file that isn't ours is named and left."""
    (tmp_path / "notes.db").write_text("notes", encoding="utf-8")
    with pytest.raises(NotAStore):
        load(tmp_path / "notes.db")


async def test_a_newer_recording_is_refused(tmp_path: Path) -> None:
    """A recording that a newer lmflow made says that it is one."""
    save(tmp_path / "run.db", await made("a"))
    with sqlite3.connect(tmp_path / "run.db") as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(NewerSchema):
        load(tmp_path / "run.db")


def test_a_store_without_runs_holds_no_recording(tmp_path: Path) -> None:
    """An empty store is an error with the fix."""
    lf.SqliteStore(tmp_path / "run.db").close()
    with pytest.raises(NotFound, match="record anew"):
        load(tmp_path / "run.db")


async def test_a_damaged_recording_is_told(tmp_path: Path) -> None:
    """What can't be read says what to do."""
    save(tmp_path / "run.db", await made("a"))
    data = (tmp_path / "run.db").read_bytes()
    (tmp_path / "run.db").write_bytes(data[:600] + b"\xff" * 9000 + data[9600:])
    with pytest.raises(StoreError, match="record anew"):
        load(tmp_path / "run.db")
