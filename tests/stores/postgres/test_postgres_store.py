"""What a store in PostgreSQL does beyond the laws of all stores."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from subprocess import run as run_process

import attrs
import pytest
from postgres_server import emptied, new_store
from psycopg import errors

import lmflow as lf
from lmflow.errors import NewerSchema, NoContent, NotFound, StoreError
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ToolRequest
from lmflow.stores.opened import open_store, reading
from lmflow.stores.postgres.connection import PostgresConnection
from lmflow.stores.postgres.gc import collect, shrink
from lmflow.stores.postgres.location import location
from lmflow.testing.sample_runs import (
    SAVED,
    THIRD,
    VERSION,
    answered,
    asked,
    begun,
    events_of,
    keep,
    run_of,
    trace_of,
)
from lmflow.traces.events import RefMoved, RunOpened, TraceOpened, VersionSaved
from lmflow.traces.trace import CallAttempt, Run

CHILD = """
import sys, lmflow as lf
from lmflow.errors import RefChanged
from lmflow.testing.sample_runs import answered, events_of, run_of, trace_of
from lmflow.traces.events import RefMoved, VersionSaved
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def moved(store, version, at):
    before = store.refs().get("main", "")
    try:
        store.append(VersionSaved(version, 1), RefMoved("main", version.id, "", at, name, before)).result(60)
    except RefChanged:
        return False
    return True

with lf.PostgresStore(url) as store:
    for k in range(count):
        store.append(*events_of(run_of(f"{name}-{k}", trace_of(f"{name}.{k}", answered())))).result(60)
        while not moved(store, lf.Version(note=f"{name} {k}"), k):
            pass
"""
PROCESSES, RUNS = 3, 8


@pytest.fixture
def url(postgres: str) -> str:
    """The URL of an empty store."""
    return emptied(postgres)


@pytest.fixture
def store(url: str) -> Iterator[lf.PostgresStore]:
    """An empty store."""
    with lf.PostgresStore(url) as opened:
        yield opened


def _changed(url: str, *statements: str) -> None:
    """Change a store as no lmflow would."""
    with contextlib.closing(PostgresConnection(location(url))) as db:
        for statement in statements:
            db.run(statement)


def test_processes_write_one_store(url: str) -> None:
    """Nothing of what several processes write is lost, each ref moves from where it stood, and who
    follows the store sees each call once.
    """
    commands = [[sys.executable, "-c", CHILD, url, f"p{k}", str(RUNS)] for k in range(PROCESSES)]
    with lf.PostgresStore(url) as store, reading(url) as reader:
        feed, calls = reader.follow(), []
        threads = [
            threading.Thread(target=run_process, args=(command,), kwargs={"check": True})
            for command in commands
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            feed.wait(0.5)
            calls += feed.ended()
        for thread in threads:
            thread.join()
        calls += feed.ended()
        count = PROCESSES * RUNS
        runs = {f"p{k}-{n}" for k in range(PROCESSES) for n in range(RUNS)}
        assert sorted(runs) == sorted(call.run for call in calls)
        log = store.reflog("main", 99)[::-1]
        assert (count, ["", *(move.version for move in log)]) == (
            len(log),
            [*(move.before for move in log), store.refs()["main"]],
        )
        check = reader.check()
        assert (count, ()) == (check.runs, check.problems)


def test_who_follows_a_store_is_woken(store: lf.PostgresStore) -> None:
    """A commit ends the wait; without one the wait takes its time."""
    with store.reading() as reader:
        feed = reader.follow()
        assert [] == feed.ended()
        timer = threading.Timer(0.1, lambda: store.append(*events_of(run_of("r"))))
        timer.start()
        began = time.monotonic()
        feed.wait(30)
        timer.join()
        assert time.monotonic() - began < 20


_HANG_UP = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND application_name = 'lmflow'"
)


def test_a_lost_connection_is_mended(store: lf.PostgresStore, url: str) -> None:
    """If the server hung up while nothing was written, writing and reading connect anew."""
    keep(store, *SAVED)
    assert THIRD == store.version(THIRD.id)
    _changed(url, _HANG_UP)
    time.sleep(0.2)  # until the server's goodbye is here
    assert THIRD == store.version(THIRD.id)
    keep(store, *events_of(run_of("r")))
    assert ["r"] == [run.id for run in store.runs()]


def test_a_server_that_stays_away_says_how_to_go_on(
    store: lf.PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended meanwhile fails; once the server is back, appending works again."""

    def refused(_: object) -> None:
        raise StoreError(store.name, "it can't be opened (connection refused)", "Is it up?")

    _changed(url, _HANG_UP)
    time.sleep(0.2)  # until the server's goodbye is here
    with monkeypatch.context() as patched:
        patched.setattr("lmflow.stores.postgres.committing.PostgresConnection", refused)
        error = store.append(*SAVED).exception(30)
    assert isinstance(error, StoreError)
    assert "`lmflow resume` goes on" in str(error)
    keep(store, *SAVED)
    assert THIRD == store.version(THIRD.id)


def test_what_is_lost_with_a_connection_is_an_error(store: lf.PostgresStore, url: str) -> None:
    """What was not acknowledged fails with a ``StoreError``; the next append connects anew."""
    with contextlib.closing(PostgresConnection(location(url))) as other:
        other.run("BEGIN; LOCK TABLE run IN ACCESS EXCLUSIVE MODE")  # the writer has to wait
        waiting = store.append(*events_of(run_of("r1")))
        time.sleep(0.2)
        other.run(_HANG_UP)
        error = waiting.exception(30)
        other.rollback()
    assert isinstance(error, StoreError)
    keep(store, *events_of(run_of("r2")))
    assert ["r2"] == [run.id for run in store.runs()]


def test_a_reader_writes_nothing(store: lf.PostgresStore, url: str) -> None:
    """The connection of a reader refuses to write."""
    keep(store, *SAVED)
    read_only = PostgresConnection(location(url), read_only=True)
    with contextlib.closing(read_only) as db, pytest.raises(errors.ReadOnlySqlTransaction):
        db.run("DELETE FROM version")


def test_a_store_that_is_not_there_is_not_made_by_a_reader(postgres: str) -> None:
    """Reading says that there is none; writing makes it."""
    url = new_store(postgres)
    with pytest.raises(StoreError, match="there is no schema"), reading(url):
        pass
    open_store(url).close()
    with reading(url) as reader:
        assert {} == reader.refs()


def test_a_newer_store_is_left_alone(postgres: str) -> None:
    """A store of a newer lmflow is neither read nor written."""
    url = new_store(postgres)
    open_store(url).close()
    _changed(url, "INSERT INTO change (number, name) VALUES (99, 'later')")
    with pytest.raises(NewerSchema, match="99"):
        open_store(url)
    with pytest.raises(NewerSchema, match="99"), reading(url):
        pass


def test_a_database_of_another_encoding_is_refused(postgres: str) -> None:
    """Texts are in UTF-8, or the store is refused."""
    _changed(postgres, "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    with pytest.raises(StoreError, match="SQL_ASCII"):
        lf.PostgresStore(f"{postgres.rpartition('/')[0]}/ascii")


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """The error has the place, and no secret."""
    with pytest.raises(StoreError, match="can't be opened") as caught:
        lf.PostgresStore("postgresql://ann:hunter2@127.0.0.1:1/db")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_garbage_is_collected(store: lf.PostgresStore, url: str) -> None:
    """Old runs go with what only they reach; what a ref or another run reaches stays."""
    old, new = (
        run_of("old", trace_of("t1", answered())),
        run_of("new", trace_of("t2", asked("b[0]"))),
    )
    keep(store, *events_of(old), *events_of(new), *SAVED, RefMoved("main", THIRD.id, "made", 3))
    _changed(url, "UPDATE run SET started_ns = 20 WHERE id = 'new'")
    dry = collect(url, older_than=0, now=20)
    assert (1, 1, 1) == (dry.runs, dry.traces, dry.calls)
    assert (dry.runs, dry.calls) == (
        (done := collect(url, older_than=0, now=20, dry_run=False)).runs,
        done.calls,
    )
    shrink(url)
    with pytest.raises(NotFound, match="pruned"):
        store.run("old")
    assert (attrs.evolve(new, started=20), THIRD) == (store.run("new"), store.version("main"))
    keep(store, *events_of(run_of("later", trace_of("t3", answered()))))
    with reading(url) as reader:
        assert () == reader.check().problems


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE blob SET data = 'oops', enc = 0 WHERE kind = 'reply'", "reply blob"),
        ("UPDATE call SET key = decode(repeat('00', 32), 'hex')", "the key of"),
        ("UPDATE trace SET root = decode(repeat('00', 32), 'hex')", "has the root"),
        ("DELETE FROM search", "lacks 1 call"),
        ("UPDATE search SET words = 'other:1'", "does not hold the words"),
        ("INSERT INTO search VALUES (99, 'other:1')", "not there"),
        ("UPDATE version SET note = 'other'", "hashes to"),
    ],
)
def test_tampering_is_found(
    store: lf.PostgresStore, url: str, statement: str, problem: str
) -> None:
    """``verify`` derives everything again and names what was changed."""
    keep(store, *events_of(run_of("r", trace_of("t", answered()))))
    _changed(url, statement)
    with reading(url) as reader:
        assert any(problem in found for found in reader.check().problems)


def test_a_picture_is_read_back_later(store: lf.PostgresStore, url: str) -> None:
    """A content is read when it is looked at, by any thread, also when the store is closed."""
    picture = lf.Image(b"\x89PNG\r\n\x1a\n" + b"0" * 99)
    request = ToolRequest("look", "v1", lf.Record(picture=picture))
    call = CallAttempt("look[0]", request, request.key, 0, ChatReply("a cat"), 5, 9)
    keep(store, *events_of(run_of("r", trace_of("t", call))))
    read = store.trace("t").calls[0].request
    store.close()
    assert isinstance(read, ToolRequest)
    assert picture.data == read.inputs["picture"].data
    with open_store(url) as opened:
        again = opened.trace("t").calls[0].request
    _changed(url, "DELETE FROM blob WHERE kind = 'media'")
    assert isinstance(again, ToolRequest)
    with pytest.raises(NoContent):
        _ = again.inputs["picture"].data


def test_data_sets_are_kept(store: lf.PostgresStore) -> None:
    """A data set is found by name, digest and split; a name may move on."""
    rows = lf.dataset([{"q": str(n), "a": "x"} for n in range(9)])
    digest = store.put_dataset("d", lf.split(rows, {"train": 0.5, "test": 0.5}, seed=0))
    assert ["test", "train"] == sorted(store.splits("d"))
    other = store.put_dataset("d", [{"q": "new"}])
    assert (1, 9) == (len(store.dataset("d")), len(store.dataset(digest)))
    assert [("d", other)] == [(named.name, named.digest) for named in store.datasets.names()]


def test_long_runs_are_read_when_they_are_looked_at(store: lf.PostgresStore) -> None:
    """More than a thousand executions are read a few at a time."""
    traces = [attrs.evolve(begun(trace_of(f"t{n}"))) for n in range(1100)]
    opened = [TraceOpened("r", f"ex[{n}]", n, trace) for n, trace in enumerate(traces)]
    keep(store, RunOpened(Run("r", "map", "answer"), (VERSION,)), *opened)
    run = store.run("r")
    assert (1100, "t1099", "ex[7]") == (len(run), run.traces[-1].id, run.items[7][0])


def test_what_ended_is_exported(store: lf.PostgresStore) -> None:
    """The feed of exporters goes on from its cursor."""
    keep(store, *events_of(run_of("r1", trace_of("t1", answered()))))
    with store.feed() as feed:
        look = feed.look(feed.cursor("here"), 10)
        feed.move("here", look.cursor)
        assert ["t1"] == [ended.trace.id for ended in look.executions]
        keep(store, *events_of(run_of("r2", trace_of("t2", answered()))))
        look = feed.look(feed.cursor("here"), 10)
        assert ["t2"] == [ended.trace.id for ended in look.executions]


async def test_a_recording_replays(store: lf.PostgresStore) -> None:
    """A run that was recorded in a database replays offline to the same root."""
    step = lf.predict("answer", "question -> answer")
    async with lf.Executor(
        lf.scripted(lambda request: request.messages[-1].content[-3:]), store
    ) as ex:
        run = await ex.map(step, [{"question": f"q{n}"} for n in range(30)])
        again = await ex.replay(store.run(run.id), step)
    assert run.root == again.root


def test_a_store_shows_no_password(postgres: str) -> None:
    """Neither its name nor its representation has the password."""
    url = emptied(postgres).replace("lmflow@", "lmflow:hunter2@")
    with lf.PostgresStore(url) as store:
        keep(store, VersionSaved(VERSION, 1))
        assert "hunter2" not in f"{store!r} {store.name} {store.runs!r} {store.versions!r}"
    with reading(url) as reader, pytest.raises(NotFound) as caught:
        reader.run("nothing")
    assert "hunter2" not in str(caught.value)
