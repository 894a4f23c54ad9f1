"""The laws of the SQLite store: what is acknowledged is there, what is changed is found."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

import lmflow as lf
from lmflow.errors import NotFound, StoreError, Tampered
from lmflow.messages.messages import Message
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.migrations import migrations
from lmflow.stores.sqlite.reader import OF_KEY
from lmflow.stores.sqlite.store import reading
from lmflow.stores.sqlite.writing.group_commit import GroupCommitter
from lmflow.traces.events import CallStarted, RunClosed, RunOpened
from lmflow.traces.trace import CallAttempt

ANSWER = lf.predict(
    "answer", "question -> answer", "Answer.", demos=[{"question": "one?", "answer": "1"}]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no file yet."""
    return tmp_path / "store.db"


async def _recorded(path: Path, questions: str = "ab") -> lf.Run:
    with lf.SqliteStore(path) as store:
        async with lf.Executor(lf.scripted(lambda r: r.messages[-1].content[-1]), store) as ex:
            return await ex.map(ANSWER, [{"question": question} for question in questions])


def _change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(sql)
        db.commit()


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _run(name: str) -> lf.Run:
    return lf.Run(name, "map", "answer")


def test_acknowledged_is_readable_elsewhere(path: Path) -> None:
    """When the future is done, every reader sees it; after ``settle`` other programs do."""
    with lf.SqliteStore(path) as store, closing(sqlite3.connect(path)) as other:
        for number in range(20):
            store.append(RunOpened(_run(f"r{number}"))).result(10)
            if number % 2:
                with reading(path) as reader:
                    assert number + 1 == len(reader.runs(50, ""))
            else:
                store.settle()
                assert number + 1 == other.execute("SELECT count(*) FROM run").fetchone()[0]


def test_closing_writes_what_is_queued(path: Path) -> None:
    """Who closes loses nothing."""
    with lf.SqliteStore(path) as store:
        futures = [store.append(RunOpened(_run(f"r{number}"))) for number in range(3000)]
    assert (True, 3000) == (all(future.done() for future in futures), _count(path, "run"))


def _count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - a table of ours


def test_appending_after_closing_is_refused(path: Path) -> None:
    """A closed store says so."""
    store = lf.SqliteStore(path)
    store.close()
    with pytest.raises(StoreError, match="it is closed"):
        store.append(RunOpened(_run("r")))


def test_an_append_is_all_or_nothing(path: Path) -> None:
    """Of events that are appended together, none is kept where one can't be."""
    with lf.SqliteStore(path) as store:
        future = store.append(RunOpened(_run("r1")), RunOpened(_run("r1")))
        assert (True, 0) == (isinstance(future.exception(10), StoreError), len(store.runs()))


def test_a_bad_event_in_a_batch_fails_alone(path: Path) -> None:
    """In one group commit a bad event fails its own future, the others are kept."""
    with (
        lf.SqliteStore(path) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        futures = [store.append(RunOpened(_run(f"r{number % 50}"))) for number in range(51)]
        other.execute("ROLLBACK")
        assert [50] == [number for number, future in enumerate(futures) if future.exception(10)]


def test_a_full_disk_is_a_store_error(path: Path) -> None:
    """Where nothing more fits, the future fails, and what was kept stays."""
    with lf.SqliteStore(path) as store:
        store.append(RunOpened(_run("r0"))).result(10)
        committer = store._committer
        assert isinstance(committer, GroupCommitter)
        pages = committer._db.execute("PRAGMA page_count").fetchone()[0]
        committer._db.execute(f"PRAGMA max_page_count = {pages}")
        future = store.append(*(RunOpened(lf.Run(f"r{n}", "map", "x" * 9000)) for n in range(1, 9)))
        with pytest.raises(StoreError, match="Is the disk full"):
            future.result(10)
        committer._db.execute("PRAGMA max_page_count = 100000")
        store.append(RunOpened(_run("r9"))).result(10)
        assert ["r9", "r0"] == [run.id for run in store.runs()]


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    """A path in no folder is refused in words."""
    with pytest.raises(StoreError, match="Does its folder exist"):
        lf.SqliteStore(tmp_path / "none" / "store.db")


def test_a_damaged_file_is_a_store_error(path: Path) -> None:
    """A store whose pages are junk is refused."""
    lf.SqliteStore(path).close()
    head = path.read_bytes()[:100]
    path.write_bytes(head + b"junk" * 2000)
    with pytest.raises(StoreError, match="can't be read"):
        lf.SqliteStore(path)


def test_reading_makes_no_file(path: Path) -> None:
    """Who reads what isn't there is told so, and nothing is made."""
    with pytest.raises(StoreError, match="there is no such file"), reading(path):
        pass
    assert [] == list(path.parent.iterdir())


async def test_reading_does_not_change_the_file(path: Path) -> None:
    """The bytes of a store that is read stay as they are."""
    run = await _recorded(path)
    before = _bytes(path)
    with reading(path) as reader:
        assert run.root == reader.verify(run.id).root
    assert before == _bytes(path)


async def test_a_reader_can_not_write(path: Path) -> None:
    """A reader's connection is read-only."""
    await _recorded(path)
    with pytest.raises(StoreError, match="readonly"), reading(path) as reader:
        reader._db.execute("DELETE FROM run")


async def test_messages_are_stored_once(path: Path) -> None:
    """Calls share the blobs of what they have in common."""
    await _recorded(path, "abcdefgh")
    with closing(sqlite3.connect(path)) as db:
        kinds = dict(db.execute("SELECT kind, count(*) FROM blob GROUP BY kind").fetchall())
    assert (1, 1, 11) == (kinds["shape"], kinds["prefix"], kinds["message"])
    assert "request" not in kinds


async def test_an_untouched_store_verifies(path: Path) -> None:
    """Every hash can be derived again."""
    run = await _recorded(path)
    with reading(path) as reader:
        assert (run.root, run.root) == (reader.verify(run.id).root, reader.root(run.id))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE blob SET data = CAST('{}' AS BLOB), enc = 0 WHERE kind = 'reply'",
        "UPDATE blob SET data = CAST('{}' AS BLOB), enc = 0 WHERE kind = 'message'",
        "UPDATE blob SET hash = zeroblob(32) WHERE kind = 'params'",
        "DELETE FROM blob WHERE kind = 'reply'",
        "DELETE FROM call WHERE id = 1",
        "UPDATE call SET reply = (SELECT max(reply) FROM call)",
        "UPDATE call SET key = zeroblob(32) WHERE id = 1",
        "UPDATE call SET address = 'answer[7]/call[0]' WHERE id = 1",
        "UPDATE trace SET outputs = (SELECT max(outputs) FROM trace)",
        "UPDATE trace SET root = zeroblob(32) WHERE id = 1",
        "UPDATE run_item SET label = 'ex[9]' WHERE position = 1",
        "DELETE FROM run_item WHERE position = 1",
        "UPDATE run SET root = zeroblob(32)",
        "UPDATE version SET note = 'mine'",
    ],
)
async def test_what_was_changed_is_found(path: Path, sql: str) -> None:
    """``verify`` finds whatever a root depends on and was changed."""
    run = await _recorded(path)
    _change(path, sql)
    with pytest.raises(Tampered), reading(path) as reader:
        reader.verify(run.id)


async def test_a_tampered_blob_is_named(path: Path) -> None:
    """The words name kind and number of the blob."""
    run = await _recorded(path)
    _change(path, "UPDATE blob SET data = CAST('{}' AS BLOB), enc = 0 WHERE kind = 'reply'")
    with (
        pytest.raises(Tampered, match=r"reply blob \d+ \(v1:b2:[0-9a-f]+\)"),
        lf.SqliteStore(path) as store,
    ):
        store.run(run.id)


async def test_two_stores_on_one_file(path: Path) -> None:
    """Two writers of one file see each other's runs."""
    with lf.SqliteStore(path) as one, lf.SqliteStore(path) as two:
        one.append(RunOpened(_run("r1"))).result(10)
        two.append(RunOpened(_run("r2"))).result(10)
        one.append(RunClosed("r2", "done", "", 5)).result(10)
        assert [("r2", "done"), ("r1", "open")] == [(run.id, run.status) for run in two.runs()]


_WRITER = """
import sys, lmflow as lf
from lmflow.traces.events import RunOpened
sys.stdin.readline()
with lf.SqliteStore(sys.argv[1]) as store:
    for number in range(200):
        store.append(RunOpened(lf.Run(f"{sys.argv[2]}-{number}", "map", "x"))).result(30)
"""


def test_two_processes_make_one_store(path: Path) -> None:
    """Processes that open and write the same new file at once lose nothing."""
    command = [sys.executable, "-c", _WRITER, str(path)]
    children = [
        subprocess.Popen(
            [*command, f"w{k}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for k in range(2)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    said = [(child.communicate(timeout=50)[1], child.returncode) for child in children]
    assert ([("", 0)] * 2, 400) == (said, _count(path, "run"))


def test_a_call_of_no_trace_is_told(path: Path) -> None:
    """An event about a trace that was never opened is refused in words."""
    request = ChatRequest((Message("user", "a"),))
    with lf.SqliteStore(path) as store:
        future = store.append(CallStarted("nowhere", CallAttempt("a[0]", request, request.key)))
        assert re.search("no trace 'nowhere'", str(future.exception(10)))


async def test_summaries_are_the_view(path: Path) -> None:
    """The latest runs, as the view shows them."""
    run = await _recorded(path)
    with reading(path) as reader:
        assert [(run.id, 2, 2)] == [
            (row["id"], row["traces"], row["calls"]) for row in reader.summaries(5)
        ]


async def test_the_root_of_an_open_run_is_empty(path: Path) -> None:
    """A run that didn't end has no root yet."""
    with lf.SqliteStore(path) as store:
        store.append(RunOpened(_run("r1"))).result(10)
        with store.reading() as reader:
            assert "" == reader.root("r1")
            with pytest.raises(NotFound):
                reader.root("nothing")


async def test_a_run_is_read_in_few_queries(path: Path) -> None:
    """Whatever its size is: rows and blobs come in pieces, and what is read is what was recorded."""
    run = await _recorded(path, "".join(map(chr, range(0x4E00, 0x4E00 + 300))))
    asked: list[str] = []
    with reading(path) as reader:
        reader._db.set_trace_callback(asked.append)
        read = reader.run(run.id)
    assert (run.root, run.items) == (read.root, read.items)
    assert len(asked) < 100


async def test_a_request_that_can_not_be_read_is_named(path: Path) -> None:
    """Reading ahead hides nothing: the blob that is broken is told."""
    run = await _recorded(path)
    _change(path, "UPDATE blob SET data = CAST('[' AS BLOB), enc = 0 WHERE kind = 'shape'")
    with (
        pytest.raises(Tampered, match=r"shape blob \d+ .* can't be read"),
        lf.SqliteStore(path) as store,
    ):
        store.run(run.id)


@pytest.mark.parametrize("steps", [{"stop_before": "m011_parts"}, {}])
def test_a_key_is_looked_up_in_an_index(steps: dict[str, str]) -> None:
    """Whether the index has whole keys or the first bytes of them, no table is searched."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrations.apply(Database(db), **steps)
        plan = f"EXPLAIN QUERY PLAN SELECT id FROM call WHERE {OF_KEY}"  # noqa: S608 - a constant
        (*_, found), *more = db.execute(plan, {"key": bytes(32)}).fetchall()
    assert (True, []) == (found.startswith("SEARCH call USING") and "call_key" in found, more)


_FORKED = """
import os, sys
import lmflow as lf
with lf.SqliteStore(sys.argv[1]) as store:
    lf.commit(store, "prod", lf.Version(note="before"))
    child = os.fork()
    if not child:
        print(store.version("prod").note, flush=True)
        try:
            store.append()
        except lf.errors.StoreError as error:
            print(error.problem, flush=True)
        store.close()
        os._exit(0)
    os.waitpid(child, 0)
    lf.commit(store, "prod", lf.Version(note="after"))
    print(store.version("prod").note)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
def test_a_forked_process_reads_and_is_told_to_open_the_store_anew(path: Path) -> None:
    """It has no thread that writes, so its writes fail at once; its parent's go on."""
    command = [sys.executable, "-W", "ignore", "-c", _FORKED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    problem = "another process opened it, from which this one was forked"
    assert ["before", problem, "after"] == done.stdout.splitlines()
