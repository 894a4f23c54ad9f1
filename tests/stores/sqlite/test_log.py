"""The laws of the log: what is acknowledged is seen by every reader, and rows are made of it once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import StoreError
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, Failure, ToolReply, Usage
from lmflow.messages.requests import ChatRequest, EmbedRequest, Request, ToolRequest
from lmflow.stores.sqlite.checks.health import health
from lmflow.stores.sqlite.gc import collect
from lmflow.stores.sqlite.query import query
from lmflow.stores.sqlite.reading import reading
from lmflow.stores.sqlite.rescue.salvage import salvage
from lmflow.stores.sqlite.writing import group_commit, log, settled
from lmflow.stores.sqlite.writing.piece_reader import events_of
from lmflow.stores.sqlite.writing.pieces import NotAPiece, written_piece
from lmflow.stores.sqlite.writing.waiting import log_waits
from lmflow.traces.calls import CallAttempt
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    RunPlanned,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    TraceReused,
    VersionSaved,
)
from lmflow.traces.trace import PlannedExecution, Run, Trace

VERSION = lf.Version(params={"answer.instruction": "Answer."})
HASH = f"v1:b2:{'ab' * 32}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no file yet."""
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[lf.SqliteStore]:
    """A store with an open run, whose writer makes rows only when it is asked."""
    monkeypatch.setattr(group_commit, "IDLE", 3600)
    with lf.SqliteStore(path) as store:
        store.append(RunOpened(Run("r1", "map", "answer", started=1), (VERSION,))).result(10)
        yield store


def _trace(name: str = "t1") -> Trace:
    return Trace(name, HASH, "answer", VERSION, lf.Record(question="why?"), lf.Record(adapter="x"))


def _call(text: str = "because", *, ended: bool = True) -> CallAttempt:
    request = ChatRequest((Message("system", "Answer."), Message("user", "why?")), "m/m")
    reply = ChatReply(text, usage=Usage(3, 2)) if ended else None
    return CallAttempt("answer[0]/call[0]", request, request.key, 0, reply, 1, 2 * ended, 7)


def _opened(name: str = "t1", position: int = 0) -> TraceOpened:
    return TraceOpened("r1", f"row[{position}]", position, _trace(name))


def _closed(name: str = "t1") -> TraceClosed:
    finished = _trace(name).finished(
        calls=(_call(),), choices=lf.Record(), world=lf.Record(adapter="x"),
        outputs=lf.Record(answer="because"), failure=None, ended=9, code=None,
    )  # fmt: skip
    return TraceClosed(finished)


def _waiting(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM log").fetchone()[0])


_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_RECORDS = st.dictionaries(_TEXT, _VALUES, max_size=3).map(lf.Record)
_MESSAGES = st.builds(
    Message, st.sampled_from(["system", "user", "assistant", "tool"]), _TEXT,
    st.lists(st.builds(ToolCall, _TEXT, _TEXT), max_size=2).map(tuple),
)  # fmt: skip
_REQUESTS = (
    st.builds(
        ChatRequest, st.lists(_MESSAGES, max_size=4).map(tuple), _TEXT, _TEXT, _RECORDS,
        st.lists(_RECORDS, max_size=2).map(tuple), st.none() | _RECORDS, st.integers(0, 9),
    )
    | st.builds(EmbedRequest, st.lists(_TEXT, max_size=3).map(tuple), _TEXT, _TEXT)
    | st.builds(ToolRequest, _TEXT, _TEXT, _RECORDS, st.integers(0, 9))
)  # fmt: skip
_OUTCOMES = (
    st.builds(ChatReply, _TEXT, usage=st.builds(Usage, st.integers(0, 9), st.integers(0, 9)))
    | st.builds(ToolReply, _VALUES)
    | st.builds(Failure, _TEXT, _RECORDS)
    | st.none()
)


@given(_REQUESTS, _OUTCOMES, _RECORDS)
def test_a_piece_reads_back_as_the_events_it_was_made_of(
    request: Request, outcome: object, inputs: lf.Record
) -> None:
    """Written as a piece and read back, events have the same keys, values and roots."""
    call = CallAttempt("a[0]/call[0]", request, request.key, 1, outcome, 1, 2, 3, "t0")  # type: ignore[arg-type]
    trace = Trace("t1", HASH, "answer", VERSION, inputs, inputs, started=1)
    ended = trace.finished(
        calls=(call,), choices=lf.Record(), world=inputs, outputs=inputs, failure=None, ended=5,
        code=None,
    )  # fmt: skip
    planned = (PlannedExecution("row[0]", inputs, VERSION.id, 2),)
    events: list[Event] = [
        RunOpened(Run("r1", "map", "answer", wanted=planned, config=inputs, started=1)),
        RunPlanned("r1", 1, planned),
        TraceOpened("r1", "row[0]", 0, trace),
        TraceReused("r1", "row[1]", 1, "t0"),
        CallStarted("t1", call),
        CallEnded("t1", call),
        RaceWon("t1", "first[0]", "b"),
        ScoreRecorded("t1", "exact", 0.5, "fine", run="r1"),
        RunClosed("r1", "done", HASH, 9),
    ]
    assert events == events_of(written_piece(events), lambda _: VERSION)
    (closed,) = events_of(written_piece([TraceClosed(ended)]), lambda _: VERSION)
    assert isinstance(closed, TraceClosed)
    assert ended.root == closed.trace.root
    assert (inputs, 5) == (closed.trace.outputs, closed.trace.ended)


def test_events_that_need_rows_at_once_are_no_piece() -> None:
    """A version, and a value with media, are written as rows before they are acknowledged."""
    picture = lf.Record(picture=lf.Image(b"GIF89a..."))
    for event in (
        VersionSaved(VERSION, 1),
        TraceOpened("r1", "row[0]", 0, Trace("t1", HASH, "a", VERSION, picture, lf.Record())),
    ):
        with pytest.raises(NotAPiece):
            written_piece([event])


def test_what_can_not_be_read_back_is_no_piece() -> None:
    """Values that a piece would take and a reader refuse are written as rows at once."""
    with pytest.raises(ValueError, match="bool"):
        written_piece([ScoreRecorded("t1", "exact", value=True)])


def test_a_place_of_a_run_is_taken_once(store: lf.SqliteStore, path: Path) -> None:
    """Of two processes that resume a run, neither is told that its execution is stored if the other
    has the place; no acknowledged piece turns out to be bad later.
    """
    store.settle()
    with lf.SqliteStore(path) as one, lf.SqliteStore(path) as other:
        one.append(_opened("t1", 0)).result(10)
        with pytest.raises(StoreError, match="run_item"):
            other.append(_opened("t2", 0)).result(10)
        other.append(_opened("t3", 1)).result(10)
        for loser in (one, store):
            with pytest.raises(StoreError, match="run_item"):
                loser.append(_opened("t4", 1)).result(10)
        assert ["t1", "t3"] == [trace.id for trace in one.run("r1").traces]
    assert 0 == _waiting(path)


def test_every_reader_sees_what_waits(store: lf.SqliteStore, path: Path) -> None:
    """Readers of this process and others, feeds and SQL see what is acknowledged, in the log or
    not; ``settle`` makes rows of it for programs that read the tables.
    """
    store.append(_opened(), CallStarted("t1", _call(ended=False))).result(10)
    assert 1 == _waiting(path)
    with reading(path) as reader:
        assert 0 == _waiting(path)
        feed = reader.follow("", None)
        assert [] == feed.ended()
        store.append(CallEnded("t1", _call()), _closed()).result(10)
        assert (1, ["because"]) == (_waiting(path), [call.text for call in feed.ended()])
        assert 0 == _waiting(path)
    store.append(_opened("t2", 1)).result(10)
    assert ((2,),) == query(path, "SELECT count(*) FROM trace", limit=9, seconds=9).rows
    store.append(_opened("t3", 2)).result(10)
    store.settle()
    assert 0 == _waiting(path)


def test_rows_are_made_once_whoever_makes_them(store: lf.SqliteStore, path: Path) -> None:
    """Another process may make rows of a part of a call; the writer's own rows go on from them."""
    store.append(_opened()).result(10)
    store.settle()
    store.append(CallStarted("t1", _call(ended=False))).result(10)
    with reading(path) as reader:
        assert 1 == len(reader.trace("t1").orphans)
    store.append(CallEnded("t1", _call()), _closed()).result(10)
    store.append(RunClosed("r1", "done", "", 9)).result(10)
    with reading(path) as reader:
        assert ([1], ()) == (
            [hit.call for hit in reader.search(["because"])],
            reader.check().problems,
        )
        assert _closed().trace.root == reader.trace("t1").root


def test_a_killed_process_leaves_its_log_to_the_next(path: Path, tmp_path: Path) -> None:
    """A copy of the files of a process that didn't close has all that was acknowledged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_commit, "IDLE", 3600)
        with lf.SqliteStore(path) as store:
            store.append(RunOpened(Run("r1", "map", "answer"), (VERSION,))).result(10)
            store.append(_opened(), CallEnded("t1", _call()), _closed()).result(10)
            for suffix in ("", "-wal"):
                data = path.with_name(f"store.db{suffix}").read_bytes()
                (tmp_path / f"left.db{suffix}").write_bytes(data)
    assert 1 == _waiting(tmp_path / "left.db")
    assert _closed().trace.root == lf.load_run(tmp_path / "left.db").traces[0].root
    with lf.SqliteStore(tmp_path / "left.db") as left:
        assert 0 == _waiting(tmp_path / "left.db")
        assert _closed().trace.root == left.trace("t1").root


def test_a_store_that_is_only_read_shows_its_log(
    store: lf.SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the log are made in a temporary copy if the file can't be written; it stays as is."""
    store.append(_opened(), CallEnded("t1", _call()), _closed()).result(10)
    monkeypatch.setattr(settled, "is_writable", lambda _: False)
    with reading(path) as reader:
        assert _closed().trace.root == reader.trace("t1").root
        assert () == reader.check().problems
    assert 1 == _waiting(path)


def test_a_store_that_is_locked_shows_its_log(
    store: lf.SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process writes for long, readers wait for a moment and then read a copy."""
    monkeypatch.setattr("lmflow.stores.sqlite.writing.settling.TIMEOUT", 0.05)
    store.append(_opened()).result(10)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with reading(path) as reader:
            assert "t1" == reader.trace("t1").id
        other.execute("ROLLBACK")
    assert 1 == _waiting(path)


def _spoiled(outcome: str) -> bytes:
    piece = msgspec.msgpack.decode(written_piece([CallEnded("t1", _call())]))
    piece[3][0][6] = outcome
    return msgspec.msgpack.encode(piece)


@pytest.mark.parametrize("piece", [b"no piece", *map(_spoiled, ["[0]", '"x"', "{", "[" * 5000])])
def test_a_piece_that_can_not_become_rows_is_kept_and_named(
    store: lf.SqliteStore, path: Path, piece: bytes
) -> None:
    """A damaged piece holds up no other; ``verify`` and ``doctor`` name it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO log (events) VALUES (?)", (piece,))
    store.append(_opened()).result(10)
    with reading(path) as reader:
        assert "t1" == reader.trace("t1").id
        (problem,) = reader.check().problems
    assert "piece 1 of the log can't become rows" in problem
    found = health(path)
    assert found is not None
    assert problem == found.problem
    assert 1 == _waiting(path)


def test_what_waits_is_rescued(store: lf.SqliteStore, path: Path, tmp_path: Path) -> None:
    """Rows are made of the log in the rescued store; a piece that can't be read is named."""
    store.append(_opened(), CallEnded("t1", _call()), _closed()).result(10)
    assert () == salvage(path, tmp_path / "new.db").lost
    with reading(tmp_path / "new.db") as reader:
        assert _closed().trace.root == reader.trace("t1").root
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO log (events) VALUES (x'c0ffee')")
    rescue = salvage(path, tmp_path / "newer.db")
    (line,) = rescue.lost
    assert (1, True) == (rescue.traces, line.startswith("piece 2 of the log can't become rows"))


@pytest.mark.parametrize(
    "events",
    [
        (_opened("t1", 5),),
        (_opened("t2", 0),),
        (CallStarted("t9", _call()),),
        (TraceReused("r1", "row[7]", 7, "t9"),),
        (ScoreRecorded("t9", "exact", 1.0),),
        (RunClosed("r9", "done", "", 1),),
        (RunOpened(Run("r1", "map", "again")),),
        (TraceOpened("r9", "row[0]", 0, _trace("t2")),),
        (_opened("t2", 1), _opened("t3", 1)),
    ],
)
def test_what_can_not_become_rows_fails_whoever_hands_it_in(
    store: lf.SqliteStore, events: tuple[Event, ...]
) -> None:
    """Events that name what isn't there, or is there already, are refused when they are appended,
    also if the log has what they contradict.
    """
    store.append(_opened()).result(10)
    with pytest.raises(StoreError):
        store.append(*events).result(10)
    assert ["t1"] == [trace.id for trace in store.run("r1").traces]


def test_the_log_is_bounded(
    store: lf.SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are made once more waits than may."""
    monkeypatch.setattr(log, "MOST_EVENTS", 4)
    for position in range(12):
        store.append(_opened(f"t{position}", position)).result(10)
        assert 6 >= _waiting(path)


def test_a_collection_of_garbage_makes_rows_of_the_log(store: lf.SqliteStore, path: Path) -> None:
    """What only the log refers to is no garbage, before a collection and after it."""
    other = lf.Version(params={"answer.instruction": "Say."})
    store.append(VersionSaved(other, 1)).result(10)
    trace = Trace("t1", HASH, "answer", other, lf.Record(), lf.Record())
    store.append(TraceOpened("r1", "row[0]", 0, trace)).result(10)
    collect(path, dry_run=False, now=4 * 10**18)
    store.append(_opened("t2", 1)).result(10)
    with reading(path) as reader:
        assert [other.id, VERSION.id] == [trace.version.id for trace in reader.run("r1").traces]
        assert () == reader.check().problems
        assert not log_waits(reader._db)
