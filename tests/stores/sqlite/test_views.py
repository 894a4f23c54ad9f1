# ruff: noqa: S608 - names of our own views and columns
"""The laws of the views: any of their columns can be counted, compared and joined, whatever a store
holds.
"""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import sqlite_utils
from pictures_and_sounds import PNG

import lmflow as lf
from lmflow.data.conditions import step_name
from lmflow.errors import ModelFailed
from lmflow.messages.messages import Attached, Message
from lmflow.messages.replies import ChatReply, EmbedReply, ToolReply, failure_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.blobs.format import pack
from lmflow.stores.sqlite.full_text import BIGRAMS
from lmflow.stores.sqlite.migrations import migrations
from lmflow.stores.sqlite.schema import APPLICATION, VERSION
from lmflow.stores.sqlite.store import reading
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
)
from lmflow.traces.trace import CallAttempt, Failed, Run, Trace

LONG = "Why is the sky blue, and the grass green? " * 20
PICTURE = lf.Image(PNG)
VIEWS = ["v_calls", "v_traces", "v_versions", "v_runs", "v_scores", "v_reflog", "v_datasets"]


def _chat(*texts: str, picture: bool = False) -> ChatRequest:
    attached = (Attached(0, PICTURE),) if picture else ()
    return ChatRequest(
        tuple(Message("user", text, attached=attached) for text in texts), "p/m", "e"
    )


REQUESTS: list[tuple[Request, object]] = [
    (_chat("short"), ChatReply("yes")),
    (_chat(LONG), ChatReply(LONG)),
    (_chat(LONG, "and then?"), ChatReply("no")),
    (_chat("look", picture=True), ChatReply("a picture")),
    (_chat("東京は日本の首都ですか"), ChatReply("はい、東京です")),
    (_chat("fails"), failure_of(ModelFailed("server", LONG))),
    (_chat("never ends"), None),
    (EmbedRequest(("a", LONG), "p/e", "e"), EmbedReply(((0.5, 1.0), (1.0, 0.0)))),
    (ToolRequest("look_up", "id", lf.Record(q=LONG, picture=PICTURE)), ToolReply({"found": LONG})),
    (ToolRequest("count", "id", lf.Record()), ToolReply(5)),
]


def _events() -> Iterator[Event]:
    version = lf.Version(params={"a.instruction": LONG}, note="first")
    yield RunOpened(Run("r1", "map", "a", started=1))
    for at, (request, outcome) in enumerate(REQUESTS):
        inputs = lf.Record(q=LONG, picture=PICTURE) if at % 2 else lf.Record(q="short")
        trace = Trace(f"t{at}", lf.digest("program", "p"), "a", version, inputs, lf.Record())
        call = CallAttempt("a[0]/call[0]", request, request.key, outcome=outcome)  # type: ignore[arg-type]
        yield TraceOpened("r1", f"ex[{at}]", at, attrs.evolve(trace, started=1))
        yield CallStarted(trace.id, attrs.evolve(call, outcome=None))
        if outcome is not None:
            yield CallEnded(trace.id, attrs.evolve(call, ended=2))
            failure = Failed("ModelFailed", LONG) if at % 3 == 0 else None
            outputs = None if failure else lf.Record(a=LONG)
            yield TraceClosed(attrs.evolve(trace, outputs=outputs, failure=failure, ended=3))
        yield ScoreRecorded(trace.id, "exact", at / 7, LONG if at % 2 else "fine")
    yield RunClosed("r1", "done", lf.digest("run", []), 4)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with long and short texts, media, failures, embeddings, tools, scores, data sets."""
    path = tmp_path_factory.mktemp("views") / "store.db"
    with lf.SqliteStore(path) as store:
        store.append(*_events()).result(10)
        lf.commit(store, "prod", lf.Version(params={"a.instruction": LONG}, note="tuned"))
        store.put_dataset(
            "qa", lf.split(lf.dataset([{"q": LONG}, {"q": "b"}]), {"a": 0.5, "b": 0.5})
        )
    return path


def _columns(db: sqlite3.Connection, view: str) -> list[str]:
    return [row[0] for row in db.execute(f"SELECT * FROM {view} LIMIT 0").description]


def _ask_all(path: Path) -> dict[str, int]:
    """Count each view, and take each column's greatest value, filter and order by it."""
    counts = {}
    with closing(sqlite3.connect(path)) as db:
        for view in VIEWS:
            (counts[view],) = db.execute(f"SELECT count(*) FROM {view}").fetchone()
            for column in _columns(db, view):
                db.execute(
                    f"SELECT max({column}), min({column}), count({column}) FROM {view}"
                ).fetchall()
                db.execute(
                    f"SELECT * FROM {view} WHERE {column} IS NOT NULL ORDER BY {column}"
                ).fetchall()
                db.execute(f"SELECT * FROM {view} WHERE {column} LIKE '%a%'").fetchall()
                db.execute(f"SELECT {column}, count(*) FROM {view} GROUP BY {column}").fetchall()
    return counts


async def test_words_of_any_error_can_be_asked_for(tmp_path: Path) -> None:
    """An exception with half of a surrogate pair in its words is shown like any other."""

    def broken(request: Request) -> str:
        raise ValueError("no \ud800" + str(request)[:0])

    step = lf.predict("a", "q -> answer")
    with lf.SqliteStore(tmp_path / "store.db") as store:
        async with lf.Executor(lf.scripted(broken), store) as ex:
            with pytest.raises(ModelFailed):
                await ex.run(step, q="why?")
    assert {"v_traces": 1} == {"v_traces": _ask_all(tmp_path / "store.db")["v_traces"]}
    with closing(sqlite3.connect(tmp_path / "store.db")) as db:
        ((words,),) = db.execute("SELECT failure FROM v_traces").fetchall()
    assert "ValueError: no \ufffd" in words


def test_every_column_can_be_asked_for(filled: Path) -> None:
    """Counting, aggregating, filtering and grouping by any column of any view gives rows."""
    calls = traces = scores = len(REQUESTS)
    expected = [calls, traces, 2, 1, scores, 1, 1]
    assert dict(zip(VIEWS, expected, strict=True)) == _ask_all(filled)


@pytest.mark.parametrize(
    ("first", "second"), [*itertools.permutations(["v_calls", "v_traces", "v_scores"], 2)]
)
def test_views_can_be_joined(filled: Path, first: str, second: str) -> None:
    """Views with a trace join by it, in either order."""
    with closing(sqlite3.connect(filled)) as db:
        query = f"SELECT count(*) FROM {first} JOIN {second} USING (trace)"
        assert (len(REQUESTS),) == db.execute(query).fetchone()
        query = f"SELECT max(a.asked) FROM v_calls AS a, {second} AS b WHERE a.trace = b.trace"
        assert (None,) != db.execute(query).fetchone()


def test_calls_show_what_was_asked_and_answered(filled: Path) -> None:
    """Short texts as they are, long ones by their size, nothing of calls without words."""
    with closing(sqlite3.connect(filled)) as db:
        rows = db.execute("SELECT asked, answered FROM v_calls ORDER BY id").fetchall()
    assert ("short", "yes") == rows[0]
    assert (True, True) == (
        rows[1][0].endswith(" characters)"),
        rows[1][1].endswith(" characters)"),
    )
    assert ("never ends", None) == rows[6]


@pytest.mark.parametrize("blob", ["request", "reply"])
def test_damaged_texts_are_shown_as_they_are(filled: Path, tmp_path: Path, blob: str) -> None:
    """A blob that isn't JSON any more costs its own cell, not the view."""
    path = tmp_path / "damaged.db"
    path.write_bytes(filled.read_bytes())
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            f"UPDATE blob SET data = CAST('{{oops' AS BLOB), enc = 0"
            f" WHERE id IN (SELECT {blob} FROM call WHERE {blob} IS NOT NULL)"
        )
        db.commit()
    assert len(REQUESTS) == _ask_all(path)["v_calls"]


ADDRESSES = [
    "answer[0]/call[0]",
    "rag[0]/draft[2]/answer[0]/call[11]",
    "race[0]/branch[a%2Fb]/answer[1]/call[0]",
    "map[3]/call[0]",
    "call[0]",
    "say it[0]/call[0]",
    "aaa[0]/aa[0]/call[0]",
]


def test_calls_show_where_they_belong(tmp_path: Path) -> None:
    """A call has its run, label, version and step, in SQL that any client runs."""
    path = tmp_path / "store.db"
    version = lf.Version(note="first")
    trace = Trace(
        "t1", lf.digest("program", "p"), "a", version, lf.Record(), lf.Record(), started=1
    )
    events: list[Event] = [RunOpened(Run("r1", "map", "a", started=1))]
    events.append(TraceOpened("r1", "ex[e7]", 0, trace))
    for address in ADDRESSES:
        request = _chat("short")
        call = CallAttempt(address, request, request.key, outcome=ChatReply("yes"), ended=2)
        events += [CallStarted("t1", attrs.evolve(call, outcome=None)), CallEnded("t1", call)]
    with lf.SqliteStore(path) as store:
        store.append(*events).result(10)
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT run, label, version, step, address FROM v_calls").fetchall()
        assert [("r1", "ex[e7]")] == db.execute("SELECT run, label FROM v_traces").fetchall()
    digits = version.id.removeprefix("v1:b2:")[:12]
    assert {("r1", "ex[e7]", digits)} == {row[:3] for row in rows}
    assert [step_name(address) for address in ADDRESSES] == [row[3] for row in rows]


STEPS = [migration.name for migration in migrations.pending(sqlite_utils.Database(memory=True))]


def _put(db: sqlite3.Connection, blob: int, kind: str, text: str) -> None:
    enc, data = pack(text.encode("ascii", "backslashreplace").decode("ascii"))
    row = (blob, bytes([blob]) * 32, kind, enc, len(text), data)
    db.execute("INSERT INTO blob (id, hash, kind, enc, size, data) VALUES (?, ?, ?, ?, ?, ?)", row)


def _old_store(path: Path, schema: int) -> None:
    """A store as an lmflow of that schema made it, whose requests are partly compressed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        database = sqlite_utils.Database(db)
        migrations.apply(database, stop_before=STEPS[1])
        names = " " * 400
        _put(db, 1, "params", "{}")
        _put(db, 2, "message", '{"content": "東京は日本の首都です", "role": "user"}')
        _put(db, 3, "prefix", "[]")
        _put(db, 4, "request", '{"is": "ChatRequest", "messages": {"last": [2], "prefix": 3}}')
        _put(
            db,
            5,
            "request",
            f'{{"messages": {{"last": [2], "prefix": 3}}, {names}"is": "ChatRequest"}}',
        )
        _put(db, 6, "reply", '{"is": "ChatReply", "text": "はい"}')
        db.execute("INSERT INTO version (id, hash, tree, params, note, origin, created_ns)"
                   " VALUES (1, zeroblob(32), zeroblob(32), 1, '', 1, 0)")  # fmt: skip
        db.execute("INSERT INTO run VALUES ('r1', 'run', 'a', '', 'done', NULL, 1, 2)")
        db.execute(
            "INSERT INTO trace (id, uid, program, name, target, version, inputs, world, sample, failure, started_ns,"
            " ended_ns) VALUES (1, 't1', zeroblob(32), 'a', '', 1, 1, 1, 0, 1, 1, 2)"
        )
        db.execute("INSERT INTO run_item VALUES ('r1', 0, 'a', 1)")
        for call, request in ((1, 4), (2, 5)):
            db.execute(
                "INSERT INTO call (id, trace, address, attempt, key, kind, model, request, reply, status, started_ns,"
                " ended_ns) VALUES (?, 1, 'a[0]', ?, zeroblob(32), 'chat', 'p/m', ?, 6, 'ok', 1, 2)",
                (call, call, request),
            )
        if schema < VERSION:
            later = next(name for name in STEPS if int(name[1:4]) > schema)
            migrations.apply(database, stop_before=later)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {schema}")
        db.execute("PRAGMA journal_mode = WAL")


@pytest.mark.parametrize("schema", range(1, VERSION))
def test_views_of_an_earlier_store_hold(tmp_path: Path, schema: int) -> None:
    """A store of each earlier schema is brought up to date as it is opened, views and index too."""
    path = tmp_path / "store.db"
    _old_store(path, schema)
    lf.SqliteStore(path).close()
    assert [2, 1, 1, 1, 0, 0, 0] == list(_ask_all(path).values())
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO search (search) VALUES ('integrity-check')")
        query = "SELECT count(*) FROM search WHERE search MATCH ?"
        assert [(2,), (0,)] == [
            db.execute(query, (word,)).fetchone()
            for word in ('"x0039318q0037117q"', '"東京は日本の首都です"')
        ]


def test_an_index_of_the_earlier_schema_is_read_as_it_is(tmp_path: Path) -> None:
    """A store that nobody opened for writing since is searched by whole runs, as it was."""
    path = tmp_path / "store.db"
    _old_store(path, BIGRAMS - 1)
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT count(*) FROM search WHERE search MATCH ?"
        assert (2,) == db.execute(query, ('"東京は日本の首都です"',)).fetchone()
    with reading(path) as reader:
        assert ["r1"] == [run.id for run in reader.runs(9, "")]


def test_a_store_that_is_too_old_to_read_says_so(tmp_path: Path) -> None:
    """Reading never writes, so the line that brings the store up to date is named."""
    path = tmp_path / "store.db"
    _old_store(path, 3)
    with (
        pytest.raises(
            lf.errors.StoreError, match=f"its schema is 3, this lmflow reads 7 to {VERSION}"
        ) as caught,
        reading(path),
    ):
        pass
    assert "SqliteStore(path)" in caught.value.fix
