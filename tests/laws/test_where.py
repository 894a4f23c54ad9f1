"""The law of conditions on recordings: stores in memory, SQLite and PostgreSQL choose the same runs
and executions, and a call is chosen as its values say.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from postgres_server import emptied

import lmflow as lf
from lmflow.data.conditions import (
    CHOICES,
    NUMBERS,
    TEXTS,
    condition,
)
from lmflow.errors import BadCondition, LmflowError, ModelFailed, NotFound, UnknownVersion
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply, ToolReply, Usage, failure_of
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.stores.filters import Recorded
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
from lmflow.traces.trace import CallAttempt, Failed, Run, RunKind, RunStatus, Trace

FIRST = lf.Version(params={"answer.instruction": "Answer."}, note="first")
SECOND = FIRST.put({"answer.instruction": "Answer in one word."}, note="second")
WORLD = lf.Record(adapter="a", models={})
PROGRAM = lf.digest("program", "p")
DAY = 86_400 * 10**9
BEGIN = 20_780 * DAY  # 2026-11-23
WORDS = ["Paris", "paris or London", "東京", "Straße", "two minutes", 'a "quoted" word', ""]
BOUNDS = ["0", "1", "0.5", "2", "3", "12", "1.5"]
LONG = "Why is the sky blue, and the grass green? " * 10


def _call(at: int, kind: str, outcome: str, step: str, begin: int) -> CallAttempt:
    tool = ToolRequest("search", "id", lf.Record(query="tea"))
    chat = ChatRequest((Message("user", LONG),), f"p/{kind}", "e")
    request = tool if kind == "tool" else chat
    reply = {
        "ok": ToolReply(1) if kind == "tool" else ChatReply("[[answer]]\nfine", usage=Usage(5, at)),
        "failed": failure_of(ModelFailed("server", "Straße is CLOSED")),
        "retried": failure_of(ModelFailed("rate_limit", "slow down")),
    }.get(outcome)
    source = "t0" if outcome == "ok" and at == 2 else ""
    cost = None if kind == "b" else at * 250_000_000
    ended = begin + at * 500_000_000 if reply is not None else 0
    address = f"{step}[0]/call[{at}]"
    attempt = 1 if outcome == "retried" else 0
    return CallAttempt(
        address, request, request.key, attempt, reply, begin, ended, cost if reply else None, source
    )


_calls = st.tuples(
    st.sampled_from(["a", "b", "tool"]),
    st.sampled_from(["ok", "failed", "retried", "open"]),
    st.sampled_from(["answer", "draft[1]/answer", "rewrite"]),
)
_endings = st.sampled_from(["done", "failed", "open"])
_traces = st.tuples(
    st.lists(_calls, max_size=3),
    _endings,
    st.booleans(),
    st.sampled_from(WORDS),
    st.lists(st.tuples(st.sampled_from(["brief", "right"]), st.sampled_from([0.0, 0.5, 1.0, None]))
             , max_size=3),
)  # fmt: skip
_kinds: list[RunKind] = ["run", "evaluate", "serve"]
_states: list[RunStatus] = ["done", "failed", "open", "stopped"]
_runs = st.lists(
    st.tuples(st.sampled_from(_kinds), st.sampled_from(_states), st.lists(_traces, max_size=3)),
    max_size=4,
)


def _recordings(runs: Sequence[tuple[RunKind, RunStatus, Sequence[object]]]) -> list[Event]:
    """The events of runs, a day apart."""
    events: list[Event] = []
    number = 0
    for at, (kind, status, drafts) in enumerate(runs):
        begin = BEGIN + at * DAY
        ended = 0 if status == "open" else begin + 3 * 10**9
        run = Run(f"r{at}", kind, f"rag{at % 2}", (), "app:rag", status, begin, ended)
        events.append(RunOpened(attrs.evolve(run, status="open", ended=0), (FIRST, SECOND)))
        for position, draft in enumerate(drafts):
            events += _trace_events(run, position, f"t{number}", draft)  # type: ignore[arg-type]
            number += 1
        if status != "open":
            events.append(RunClosed(run.id, status, "", ended))
    return events


def _trace_events(
    run: Run,
    position: int,
    name: str,
    draft: tuple[list[tuple[str, str, str]], str, bool, str, list[tuple[str, float | None]]],
) -> list[Event]:
    steps, ending, second, word, scores = draft
    version = SECOND if second else FIRST
    inputs = lf.Record(question=word, n=position, deep={"city": word, "long": LONG})
    trace = Trace(
        name, PROGRAM, "rag", version, inputs, WORLD, "app:rag", started=run.started + position
    )
    label = f"ex[e{position}]" if position else "a%2Fb"
    events: list[Event] = [TraceOpened(run.id, label, position, trace)]
    for at, (kind, outcome, step) in enumerate(steps):
        call = _call(at, kind, outcome, step, run.started)
        events.append(CallStarted(name, attrs.evolve(call, outcome=None, ended=0, cost=None)))
        if call.outcome is not None:
            events.append(CallEnded(name, call))
    if ending != "open":
        outputs = lf.Record(answer=word, ok=second) if ending == "done" else None
        failure = None if outputs else Failed("ParseFailure", f"no answer in {word}")
        closed = attrs.evolve(trace, outputs=outputs, failure=failure, ended=run.started + 10**9)
        events.append(TraceClosed(closed))
    events += [ScoreRecorded(name, score, value, at=at) for at, (score, value) in enumerate(scores)]
    return events


_ORDERS = ["=", "!=", ">", ">=", "<", "<="]
_conditions = st.one_of(
    st.tuples(st.sampled_from([*NUMBERS, "score.brief", "input.n"]), st.sampled_from(_ORDERS),
              st.sampled_from(BOUNDS)),
    st.tuples(st.sampled_from([*set(TEXTS) - {"version", "run", "trace"}, "input.question", "output.answer",
                               "input.deep.city", "output.missing", "input.deep"]),
              st.sampled_from([*_ORDERS, "~"]),
              st.sampled_from([*WORDS[:-1], "answer", "draft.answer", "e1", "a/b", "p/a", "search",
                               "PARSE", "rag", "app:rag", "ModelFailed"])),
    st.tuples(st.sampled_from(["version", "run", "trace"]), st.sampled_from(["=", "!="]),
              st.sampled_from([FIRST.id[6:20], SECOND.id, "r1", "t0"])),
    st.tuples(st.just("started"), st.sampled_from([*_ORDERS, "~"]),
              st.sampled_from(["2026-11", "2026-11-24", "2026-11-23T00:00", "2026"])),
    st.sampled_from([(field, operator, value) for field, values in CHOICES.items()
                     for operator in ("=", "!=") for value in values]),
).map(" ".join)  # fmt: skip


def _chosen(
    store: lf.MemoryStore | lf.SqliteStore | lf.PostgresStore, texts: Sequence[str]
) -> object:
    """What a store chooses, or the kind of its error."""
    try:
        runs = [run.id for run in store.runs.where(*texts, limit=99)]
        return runs, [trace.id for trace in store.runs.traces(*texts, limit=99)]
    except (UnknownVersion, NotFound, BadCondition) as error:
        return type(error) if isinstance(error, UnknownVersion) else LmflowError


ONE = ("a", "ok", "answer")


@settings(max_examples=100, deadline=None)
@given(_runs, st.lists(_conditions, min_size=1, max_size=3))
@example([("run", "done", [([ONE], "done", True, "Paris", [("brief", 1.0)])])], ["score>0.5"])
@example([("run", "done", [([ONE], "failed", True, "Paris", [])])], ["error~PARIS", "step=answer"])
def test_both_stores_choose_the_same(
    runs: list[tuple[RunKind, RunStatus, list[object]]], texts: list[str]
) -> None:
    """Conditions choose the same runs and executions of the same recordings, in the same order."""
    memory = lf.MemoryStore()
    events = _recordings(runs)
    memory.append(*events).result(10)
    with tempfile.TemporaryDirectory() as folder, lf.SqliteStore(Path(folder, "s.db")) as sqlite:
        sqlite.append(*events).result(10)
        assert _chosen(memory, texts) == _chosen(sqlite, texts)
        _check_calls(memory, sqlite, texts)


@settings(max_examples=25, deadline=None)
@given(runs=_runs, texts=st.lists(_conditions, min_size=1, max_size=3))
@example(
    runs=[("run", "done", [([ONE], "failed", True, "Paris", [])])],
    texts=["error~PARIS", "step=answer"],
)
@example(
    runs=[("run", "done", [([ONE], "done", True, "Paris", [("brief", 1.0)])])], texts=["score>0.5"]
)
def test_a_database_chooses_the_same(
    postgres: str, runs: list[tuple[RunKind, RunStatus, list[object]]], texts: list[str]
) -> None:
    """PostgreSQL chooses what memory chooses."""
    memory = lf.MemoryStore()
    events = _recordings(runs)
    memory.append(*events).result(10)
    with lf.PostgresStore(emptied(postgres)) as store:
        store.append(*events).result(10)
        assert _chosen(memory, texts) == _chosen(store, texts)
        _check_calls(memory, store, texts)


def _check_calls(
    memory: lf.MemoryStore, sqlite: lf.SqliteStore | lf.PostgresStore, texts: list[str]
) -> None:
    """Check that a store lists the calls whose values, read in Python, fulfil the conditions."""
    criteria = [condition(text) for text in texts]
    if any(c.field in {"version", "run", "trace"} for c in criteria):
        return
    with sqlite.reading() as reader:
        listed = {(call.trace, call.address) for call in reader.listing.calls(criteria, 999)}
        count = reader.listing.count(criteria, "call")
    expected = set()
    for run in memory.runs(99):
        recorded = Recorded(memory.run(run.id), memory.scores)
        for label, trace in recorded.run.items:
            for call in trace.calls:
                if recorded.call_holds(label, trace, call, criteria):
                    expected.add((trace.id, call.address))
    assert expected == listed
    assert count == len(expected)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A store with a run of two executions, one of which failed."""
    drafts: list[object] = [
        ([ONE], "done", False, "Paris", []),
        ([("a", "failed", "answer")], "failed", False, "x", []),
    ]
    with lf.SqliteStore(tmp_path / "s.db") as store:
        store.append(*_recordings([("run", "done", drafts)])).result(10)
    return tmp_path / "s.db"


def test_literals_are_bound(filled: Path) -> None:
    """A literal that looks like SQL is a text."""
    with lf.SqliteStore(filled) as store:
        assert [] == list(store.runs.where("program = x' OR 1=1 --"))
        assert [] == list(store.runs.where('output.answer = " OR 1=1'))
        assert ["r0"] == [run.id for run in store.runs.where("program != x' OR 1=1 --")]


def test_one_part_fulfils_all(filled: Path) -> None:
    """Two conditions on calls are about the same call."""
    with lf.SqliteStore(filled) as store:
        assert ["r0"] == [run.id for run in store.runs.where("step=answer", "error~closed")]
        assert [] == list(store.runs.where("output.answer=Paris", "error~closed"))


def test_a_damaged_blob_is_named(filled: Path) -> None:
    """A condition on outputs that can't be read raises ``Tampered``, not SQLite's error."""
    import sqlite3  # noqa: PLC0415 - the test's own damage

    with sqlite3.connect(filled) as db:
        db.execute("UPDATE blob SET data = CAST('oops' AS BLOB), enc = 0 WHERE kind = 'outputs'")
    db.close()
    with lf.SqliteStore(filled) as store, pytest.raises(lf.errors.Tampered, match="can't be read"):
        store.runs.where("output.answer = Paris")
