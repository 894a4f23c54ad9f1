"""The laws of rows: they are the same whether events become rows one by one or all at once."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import lmflow as lf
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.stores.sqlite.writing.rows import RowWriter
from lmflow.testing.sample_runs import events_of, run_of, trace_of
from lmflow.traces.calls import CallAttempt
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    RaceWon,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    TraceReused,
)
from lmflow.traces.trace import Run, Trace

VERSION = lf.Version(params={"answer.instruction": "Answer."})
HASH = f"v1:b2:{'ab' * 32}"


_TRACE = """
SELECT trace.id, uid, program, name, target, version, sample, root, started_ns, ended_ns,
       inputs.hash, world.hash, outputs.hash
FROM trace JOIN blob AS inputs ON inputs.id = inputs JOIN blob AS world ON world.id = world
LEFT JOIN blob AS outputs ON outputs.id = outputs ORDER BY trace.id
"""
_CALL = """
SELECT call.id, trace, address, attempt, key, call.kind, model, status, tok_in, tok_out, cost,
       source, started_ns, ended_ns, shape.hash, last.hash, reply.hash
FROM call JOIN blob AS shape ON shape.id = request JOIN blob AS last ON last.id = call.last
LEFT JOIN blob AS reply ON reply.id = reply ORDER BY call.id
"""
TABLES = {
    "trace": _TRACE,
    "call": _CALL,
    "run_item": "SELECT * FROM run_item ORDER BY run, position",
    "score": "SELECT id, trace, version, name, value, metric, run FROM score ORDER BY id",
    "run": "SELECT * FROM v_runs ORDER BY id",
    "blob": "SELECT hash, kind FROM blob ORDER BY hash",
    "choice": "SELECT * FROM choice",
}


def _call(trace: str, address: str, text: str) -> tuple[CallStarted, CallEnded]:
    request = ChatRequest((Message("system", "Answer."), Message("user", f"{trace}?")), "m/m")
    started = CallAttempt(address, request, request.key, 0, None, 1)
    reply = ChatReply(text, usage=Usage(3, 2))
    return CallStarted(trace, started), CallEnded(
        trace, CallAttempt(address, request, request.key, 0, reply, 1, 2, 7)
    )


def _events() -> Sequence[Event]:
    """Return two runs whose calls end in another order than they start, one of them never."""
    inputs, world = lf.Record(question="why?"), lf.Record(adapter="x")
    events: list[Event] = [RunOpened(Run("r1", "map", "answer", started=1), (VERSION,))]
    for position, name in enumerate(("t1", "t2", "t3")):
        trace = Trace(name, HASH, "answer", VERSION, inputs, world, started=1)
        (start_a, end_a), (start_b, end_b) = (_call(name, f"{at}[0]/call[0]", at) for at in "ab")
        closed = trace.finished(
            calls=(end_a.call, end_b.call), choices=lf.Record(), world=lf.Record(adapter=name),
            outputs=lf.Record(answer=name), failure=None, ended=9, code=None,
        )  # fmt: skip
        events += [TraceOpened("r1", f"row[{position}]", position, trace), start_a, start_b, end_b]
        if name != "t3":
            race = RaceWon(name, "first[0]", "b")
            score = ScoreRecorded(name, "exact", 1.0, "fine", at=3, run="r1")
            events += [race, end_a, TraceClosed(closed), score]
    events += [RunClosed("r1", "done", HASH, 9), RunOpened(Run("r2", "map", "answer", started=2))]
    return [*events, TraceReused("r2", "row[0]", 0, "t1"), RunClosed("r2", "done", HASH, 9)]


def _tables(path: Path, batches: Sequence[Sequence[Event]], *, settles: bool) -> dict[str, object]:
    with lf.SqliteStore(path) as store:
        for batch in batches:
            store.append(*batch).result(10)
            if settles:
                store.settle()
    with closing(sqlite3.connect(path)) as db:
        return {name: db.execute(query).fetchall() for name, query in TABLES.items()}


def test_rows_are_the_same_in_one_piece_and_in_many(tmp_path: Path) -> None:
    """Executions and calls that begin and end in one transaction have the rows, in the order, of
    those that end in a later one.
    """
    events = _events()
    one_by_one = _tables(tmp_path / "a.db", [[event] for event in events], settles=True)
    assert 3 == len(one_by_one["trace"])  # type: ignore[arg-type]
    others: dict[str, Sequence[Sequence[Event]]] = {
        "b": [[event] for event in events],
        "c": [events[:1], events[1:]],
        "d": [events[:8], events[8:15], events[15:]],
    }
    for name, batches in others.items():
        assert one_by_one == _tables(tmp_path / f"{name}.db", batches, settles=False)


def test_an_execution_is_scored_in_the_transaction_in_which_it_ends(tmp_path: Path) -> None:
    """The score finds the execution, although its row waits until all rows are written."""
    path = tmp_path / "store.db"
    lf.SqliteStore(path).close()
    score = ScoreRecorded("t", "exact", 1.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        RowWriter(db).write([*events_of(run_of("r", trace_of("t"))), score])
        db.execute("COMMIT")
    with lf.SqliteStore(path) as store:
        assert [score] == list(store.scores("t"))
