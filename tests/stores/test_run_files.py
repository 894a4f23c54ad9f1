"""The laws of runs in files: what is saved replays elsewhere to the same root, what was changed or
made by somebody else is refused by a typed error.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import (
    BudgetExceeded,
    LmflowError,
    ModelFailed,
    NoContent,
    NotAStore,
    NotFound,
    StoreError,
    Tampered,
)
from lmflow.stores import run_files
from lmflow.stores.sqlite.blobs import format as blob_format

ANSWER = lf.predict("answer", "picture: Image, question -> answer, tags: list[str]")
PICTURE = lf.Image(b"GIF89a...")
ROWS = [{"id": f"é{n}", "question": f"{n}?", "picture": PICTURE} for n in range(5)]


def model() -> Any:
    """A model that fails on one row."""

    def reply(request: Any) -> str:
        if "3?" in request.messages[-1].content:
            raise ModelFailed("request", "no", 400)
        return "[[answer]]\nfine\n\n[[tags]]\n- a\n- b"

    return lf.scripted(reply)


@pytest.fixture
async def run() -> lf.Run:
    """A run with pictures and a failure, of a version with a parent."""
    child = lf.init(ANSWER).put({"answer.instruction": "Answer the picture."}, note="né")
    async with lf.Executor(model(), concurrency=2, target="app:answer") as ex:
        return await ex.map(ANSWER, ROWS, version=child)


async def test_a_run_comes_back(run: lf.Run, tmp_path: Path) -> None:
    """All fields, traces, roots and contents are the same; one file is left."""
    file = lf.save_run(run, tmp_path / "new" / "run.db")
    again = lf.load_run(file)
    assert (run, run.root) == (again, again.root)
    assert PICTURE.data == again.traces[0].inputs.picture.data
    assert [file] == list(file.parent.iterdir())
    assert again == lf.load_run(lf.save_run(again, tmp_path / "again.db"))


async def test_it_replays_offline_on_another_machine(run: lf.Run, tmp_path: Path) -> None:
    """A fresh process with nothing but the file and the program comes to the same root."""
    lf.save_run(run, tmp_path / "run.db")
    script = """
import lmflow as lf
answer = lf.predict("answer", "picture: Image, question -> answer, tags: list[str]")
run = lf.load_run("run.db")
traces = [lf.replay(trace, answer) for trace in run]
assert [trace.root for trace in traces] == [trace.root for trace in run]
print(run.root)
"""
    done = subprocess.run(  # noqa: ASYNC221 - the loop has nothing else to do
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.root == done.stdout.strip()


async def test_the_file_is_a_store(run: lf.Run, tmp_path: Path) -> None:
    """Commands and stores read it as any other."""
    file = lf.save_run(run, tmp_path / "run.db")
    with lf.SqliteStore(file) as store:
        assert run == store.run(run.id)
        assert run.traces[0].version == store.version(run.traces[0].version.id)


async def test_it_goes_on_in_another_store(tmp_path: Path) -> None:
    """A run that a budget stopped keeps its open executions, and resumes where it is put."""
    with lf.SqliteStore(tmp_path / "here.db") as store:
        async with lf.Executor(model(), store, concurrency=1) as ex:
            with pytest.raises(BudgetExceeded) as stopped:
                await ex.map(ANSWER, ROWS, budget=lf.Budget(calls=2))
            whole = await ex.map(ANSWER, ROWS)
        file = lf.save_run(store.run(stopped.value.run), tmp_path / "run.db")
    loaded = lf.load_run(file)
    assert ("stopped", 5) == (loaded.status, len(loaded.wanted))
    with lf.SqliteStore(file) as store:
        async with lf.Executor(model(), store, concurrency=1) as ex:
            finished = await ex.resume(store.run(loaded.id), ANSWER)
    assert whole.root == finished.root


async def test_an_evaluation_keeps_its_settings(tmp_path: Path) -> None:
    """Kind, settings and result of an evaluation are in the file; it is scored again from it."""
    rows, metric = [{**row, "answer": "fine"} for row in ROWS], lf.exact_match("answer")
    store = lf.MemoryStore()
    async with lf.Executor(model(), store) as ex:
        evaluation = await ex.evaluate(ANSWER, rows, metric)
    loaded = lf.load_run(lf.save_run(store.run(evaluation.run), tmp_path / "run.db"))
    assert ("evaluate", evaluation.root) == (loaded.kind, loaded.result)
    assert evaluation.root == lf.scores_from(loaded, rows, metric).root


async def test_what_is_redacted_stays_out(tmp_path: Path) -> None:
    """The run that a redacting executor returns is refused; what its store has is saved clean."""
    store = lf.MemoryStore()
    async with lf.Executor(
        lf.scripted(lambda _: "[[answer]]\nalice\n\n[[tags]]\n- alice"),
        store,
        redact=lambda text: text.replace("alice", "***"),
    ) as ex:
        run = await ex.map(ANSWER, [{"question": "alice?", "picture": PICTURE}])
    with pytest.raises(StoreError, match=r"executor redacts.*lf.save_run\(store.run\("):
        lf.save_run(run, tmp_path / "run.db")
    file = lf.save_run(store.run(run.id), tmp_path / "run.db")
    assert store.run(run.id).root == lf.load_run(file).root
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert "alice" not in "\n".join(db.iterdump())
    assert "alice" not in json.dumps(lf.load_run(file).to_dict())
    assert {"redacted": True} == dict(
        store.run(run.id).traces[0].world.only("redacted", "unredacted")
    )


async def test_a_run_without_the_contents_is_saved_without(run: lf.Run, tmp_path: Path) -> None:
    """A picture of which only the description is here stays one; the run replays all the same."""
    loaded = lf.load_run(lf.save_run(lf.Run.from_dict(run.to_dict()), tmp_path / "run.db"))
    assert (run, run.root) == (loaded, loaded.root)
    with pytest.raises(NoContent):
        loaded.traces[0].inputs.picture.data  # noqa: B018 - reading it is the point


async def test_versions_that_it_lacks_are_named(run: lf.Run, tmp_path: Path) -> None:
    """Executions that never began under a version that no trace has can't be saved."""
    planned = attrs.evolve(run.wanted[0], label="ex[later]", version="v1:b2:" + "0" * 64)
    lacking = attrs.evolve(run, wanted=(*run.wanted, planned), status="stopped")
    with pytest.raises(StoreError, match=r"yet to run 'ex\[later\]'.*Finish it first"):
        lf.save_run(lacking, tmp_path / "run.db")


def test_only_runs_are_saved(tmp_path: Path) -> None:
    """A trace or an id isn't a run."""
    with pytest.raises(TypeError, match="expected a run"):
        lf.save_run("01m8", tmp_path / "run.db")  # type: ignore[arg-type]


async def test_a_store_of_several_needs_a_name(tmp_path: Path) -> None:
    """A file with two runs is told which; one without has none."""
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(model(), store) as ex:
            first, second = [await ex.map(ANSWER, ROWS[:1]) for _ in range(2)]
    with pytest.raises(NotFound, match=r"it holds several runs\. Name one: lf\.load_run"):
        lf.load_run(tmp_path / "s.db")
    assert [first, second] == [lf.load_run(tmp_path / "s.db", it.id) for it in (first, second)]
    lf.SqliteStore(tmp_path / "empty.db").close()
    with pytest.raises(NotFound, match="it holds no run"):
        lf.load_run(tmp_path / "empty.db")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, StoreError, "there is no such file"),
        (b"", StoreError, "it is empty"),
        (b"{}", NotAStore, "it isn't an SQLite database"),
        (b"\x80\x04\x95 a pickle", NotAStore, "it isn't an SQLite database"),
        (b"SQLite format 3\0" + b"\0" * 4096, StoreError, "run.db"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, content: bytes | None, error: type[Exception], words: str
) -> None:
    """Whatever is there, the error is typed and names the file."""
    file = tmp_path / "run.db"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error, match=words):
        lf.load_run(file)
    with pytest.raises(NotAStore):
        lf.load_run(tmp_path)


async def changed(run: lf.Run, folder: Path, *statements: str) -> Path:
    """The file of a run after somebody has changed it by SQL."""
    file = lf.save_run(run, folder / "run.db")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)
    return file


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE run SET root = zeroblob(32)",
        "UPDATE trace SET root = zeroblob(32)",
        "UPDATE run_item SET label = 'other' WHERE position = 0",
        "UPDATE call SET key = zeroblob(32)",
        "UPDATE call SET address = 'other[0]/call[0]'",
        "UPDATE blob SET data = x'78', enc = 0 WHERE kind = 'reply'",
        "UPDATE blob SET data = x'78', enc = 0 WHERE kind = 'params'",
        "UPDATE blob SET data = x'5b5b', enc = 1 WHERE kind = 'inputs'",
        "UPDATE version SET note = 'other'",
        "DELETE FROM blob WHERE kind = 'outputs'",
        "DELETE FROM run_item WHERE position = 1",
    ],
)
async def test_a_change_is_refused(run: lf.Run, tmp_path: Path, statement: str) -> None:
    """Each value that a replay depends on is checked by its hash."""
    with pytest.raises(StoreError):
        lf.load_run(await changed(run, tmp_path, statement))


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE VIEW mine AS SELECT 1"],
        ["CREATE TRIGGER mine AFTER INSERT ON run BEGIN SELECT 1; END"],
        ["CREATE TABLE mine (x)"],
        [
            "ALTER TABLE run_item RENAME TO hidden",
            (
                "CREATE VIEW run_item AS WITH RECURSIVE n(x) AS"
                " (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
            ),
        ],
    ],
)
async def test_foreign_tables_are_refused(
    run: lf.Run, tmp_path: Path, statements: list[str]
) -> None:
    """Nothing that somebody else put into the schema is ever run."""
    with pytest.raises(Tampered, match="which lmflow doesn't make"):
        lf.load_run(await changed(run, tmp_path, *statements))


async def test_a_trap_that_fills_the_memory_is_refused(
    run: lf.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small blob that unpacks to a huge text is stopped at the limit."""
    monkeypatch.setattr(blob_format, "LARGEST", 10_000)
    file = lf.save_run(run, tmp_path / "run.db")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        trap = zlib.compress(b'"' + b"x" * 1_000_000 + b'"')
        db.execute("UPDATE blob SET data = ?, enc = 1 WHERE kind = 'reply'", (trap,))
    with pytest.raises(Tampered, match="can't be read"):
        lf.load_run(file)


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.data())
def test_a_damaged_file_is_whole_or_refused(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Whichever bytes are changed or cut off, what is loaded has its root, or the error is typed."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    good = folder / "good.db"
    if not good.exists():
        store = lf.MemoryStore()
        lf.run(ANSWER, question="1?", picture=PICTURE, model=model(), store=store)
        lf.save_run(store.run(store.runs()[0].id), good)
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(content), len(content) // 2, 100]))
    bad = folder / "bad.db"
    bad.write_bytes(bytes(content[:cut]))
    with contextlib.suppress(LmflowError):
        assert lf.load_run(good).root == lf.load_run(bad).root


async def test_a_large_run_is_written_in_parts(
    run: lf.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events go into a transaction, the run is the same."""
    monkeypatch.setattr(run_files, "EVENTS_AT_ONCE", 2)
    assert run == lf.load_run(lf.save_run(run, tmp_path / "run.db"))


def test_an_older_file_is_brought_up_to_date_in_memory(tmp_path: Path) -> None:
    """A store of an earlier lmflow loads, and its file stays as it is."""
    fixture = Path(__file__).parents[1] / "fixtures" / "recorded" / "store.db.gz"
    file = tmp_path / "old.db"
    file.write_bytes(gzip.decompress(fixture.read_bytes()))
    before = file.read_bytes()
    with pytest.raises(NotFound, match="several runs") as several:
        lf.load_run(file)
    (name,) = re.findall(r"lf.load_run\(path, '(\w+)'\)", str(several.value))
    assert name == lf.load_run(file, name).id
    assert before == file.read_bytes()


async def test_a_store_is_never_replaced_by_a_run(run: lf.Run, tmp_path: Path) -> None:
    """A file of several runs, or one that is open, is refused and stays; that of one is replaced."""
    file = tmp_path / "lmflow.db"
    with lf.SqliteStore(file) as store:
        async with lf.Executor(model(), store) as ex:
            await ex.map(ANSWER, ROWS)
            await ex.map(ANSWER, ROWS)
        with pytest.raises(StoreError, match="is open"):
            lf.save_run(run, file)
    with pytest.raises(StoreError, match="several runs"):
        lf.save_run(run, file)
    with lf.SqliteStore(file) as store:
        assert 2 == len(store.runs())
    other = lf.save_run(run, tmp_path / "run.db")
    assert other == lf.save_run(run, other)


async def test_words_that_no_hash_covers_stay_text(run: lf.Run, tmp_path: Path) -> None:
    """Names, kinds and ids of a file from elsewhere can't steer the terminal."""
    file = lf.save_run(run, tmp_path / "run.db")
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        words = ("\x1b]0;title\x07\u202e",) * 3
        db.execute("UPDATE run SET name = ?, kind = ?, status = ?", words)
        db.execute("UPDATE trace SET name = ?, uid = uid || ?", ("\x1b[31m", "\x1b[31m"))
    loaded = lf.load_run(file)
    for value in (loaded, loaded.traces[0]):
        shown = f"{value}{value!r}{value._repr_html_()}{value._repr_markdown_()}"
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
