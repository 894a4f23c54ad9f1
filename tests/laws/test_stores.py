"""The laws of every trace store: one suite over memory and SQLite."""

import itertools
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_and_sounds import media

import lmflow as lf
from lmflow.errors import BadRef, MissingParent, ModelFailed, NotFound, RefChanged, UnknownVersion
from lmflow.messages.messages import Attached, Message, ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, Outcome, ToolReply, Usage, failure_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest
from lmflow.serve.service import pointer_to
from lmflow.traces.events import (
    CallEnded,
    CallStarted,
    Event,
    Pinned,
    RaceWon,
    RefMoved,
    RunClosed,
    RunOpened,
    ScoreRecorded,
    TraceClosed,
    TraceOpened,
    VersionSaved,
)
from lmflow.traces.trace import CallAttempt, Failed, Run, Trace

Either = lf.MemoryStore | lf.SqliteStore
KINDS = ["memory", "sqlite"]
VERSION = lf.Version(params={"answer.instruction": "Answer."}, note="first")
WORLD = lf.Record(adapter="a", models={"": {"model": "scripted/model", "endpoint": "scripted"}})
PROGRAM = lf.digest("program", "p")
PREDICT = lf.predict("answer", "question -> answer", "Answer.")


def _opened(kind: str, folder: Path) -> Either:
    return lf.MemoryStore() if kind == "memory" else lf.SqliteStore(folder / "store.db")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Either]:
    """Each of the stores, empty."""
    found = _opened(request.param, tmp_path)
    yield found
    found.close()


def _request(text: str, k: int = 0) -> ChatRequest:
    return ChatRequest(
        (Message("system", "Answer."), Message("user", text)),
        "scripted/model",
        "scripted",
        sample=k,
    )


def _asked(
    address: str, outcome: Outcome | None = None, attempt: int = 0, text: str = "why?"
) -> CallAttempt:
    request = _request(text)
    return CallAttempt(address, request, request.key, attempt, outcome, 5, 9 if outcome else 0)


def _trace(name: str, *calls: CallAttempt, **changes: object) -> Trace:
    inputs, outputs = lf.Record(question=name), lf.Record(answer="fine")
    trace = Trace(
        name,
        PROGRAM,
        "answer",
        VERSION,
        inputs,
        WORLD,
        calls=calls,
        outputs=outputs,
        started=1,
        ended=9,
    )
    return attrs.evolve(trace, **changes)  # type: ignore[arg-type]


def _begun(trace: Trace) -> Trace:
    return attrs.evolve(trace, calls=(), choices=lf.Record(), outputs=None, failure=None, ended=0)


def _events(run: Run) -> list[Event]:
    events: list[Event] = [RunOpened(attrs.evolve(run, items=(), status="open", ended=0))]
    for position, (label, trace) in enumerate(run.items):
        events.append(TraceOpened(run.id, label, position, _begun(trace)))
        for call in trace.calls:
            events.append(CallStarted(trace.id, attrs.evolve(call, outcome=None, ended=0)))
            events += [CallEnded(trace.id, call)] if call.outcome else []
        events += [RaceWon(trace.id, at, winner) for at, winner in trace.choices.items()]
        events += [TraceClosed(trace)] if trace.done else []
    return [*events, RunClosed(run.id, run.status, run.root, run.ended)]


def _run(name: str, *traces: Trace) -> Run:
    items = tuple((f"ex[{position}]", trace) for position, trace in enumerate(traces))
    return Run(name, "map", "answer", items, "app:answer", "done", 1, 10)


def _kept(store: Either, *events: Event) -> None:
    store.append(*events).result(10)


_texts = st.text(max_size=30)
_numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
_leaves = st.none() | st.booleans() | _numbers | _texts
_json = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_counts = st.none() | st.integers(0, 2**40)
_usages = st.builds(Usage, _counts, _counts, _counts, _counts, _counts)
_calls = st.lists(st.builds(ToolCall, _texts, _texts, _texts), max_size=2).map(tuple)
_floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
_outcomes = st.one_of(
    st.none(),
    st.builds(
        ChatReply,
        _texts,
        _texts,
        _texts,
        _usages,
        _texts,
        _calls,
        _texts,
        _json,
        st.lists(st.integers(0, 9)).map(tuple),
    ),
    st.builds(
        EmbedReply,
        st.lists(st.lists(_floats, max_size=3).map(tuple), max_size=3).map(tuple),
        _texts,
        _usages,
    ),
    st.builds(ToolReply, _json | media),
    st.builds(lambda text: failure_of(ModelFailed("server", text, 500, 1.5)), _texts),
)
_records = st.dictionaries(_texts, _json | media, max_size=2).map(lf.Record)
_attached = st.lists(st.builds(Attached, st.integers(0, 9), media), max_size=2).map(tuple)
_messages = st.builds(Message, _texts, _texts, _calls, _texts, _attached)
_requests = st.one_of(
    st.builds(
        ChatRequest, st.lists(_messages, min_size=1, max_size=4).map(tuple),
        st.just("scripted/model"), st.just("scripted"), _records, st.lists(_records, max_size=2).map(tuple),
        st.none() | _records, st.integers(0, 9),
    ),
    st.builds(EmbedRequest, st.lists(_texts, max_size=3).map(tuple), _texts, _texts),
    st.builds(ToolRequest, _texts, _texts, _records, st.integers(0, 9)),
)  # fmt: skip
_results = st.one_of(
    st.dictionaries(_texts, _json, max_size=3).map(lambda found: {"outputs": lf.Record(found)}),
    st.builds(lambda kind, text: {"outputs": None, "failure": Failed(kind, text)}, _texts, _texts),
)


@st.composite
def _runs(draw: st.DrawFn) -> Run:
    traces = []
    for name in range(draw(st.integers(0, 3))):
        calls = tuple(
            CallAttempt(
                f"answer[{k}]/call[0]", request, request.key, 0, outcome, 5, 9 if outcome else 0
            )
            for k, (request, outcome) in enumerate(
                draw(st.lists(st.tuples(_requests, _outcomes), max_size=4))
            )
        )
        choices = lf.Record(
            draw(
                st.dictionaries(
                    st.sampled_from(["first[0]", "first[1]"]), st.integers(0, 3) | _texts
                )
            )
        )
        version = lf.Version(
            params=draw(st.dictionaries(_texts, _json, max_size=2)), note=draw(_texts)
        )
        traces.append(
            _trace(f"t{name}", *calls, choices=choices, version=version, **draw(_results))
        )
    return _run("run", *traces)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(run=_runs())
def test_what_was_appended_reads_back_equal(kind: str, run: Run) -> None:
    """A run reads back as the value that it was, with its root."""
    with tempfile.TemporaryDirectory() as folder:
        store = _opened(kind, Path(folder))
        try:
            _kept(store, *_events(run))
            assert (run, run.root) == (store.run("run"), store.run("run").root)
        finally:
            store.close()


async def test_a_live_run_reads_back_with_its_root(store: Either) -> None:
    """What an executor recorded has the same root when it is read."""
    answer = lf.predict("answer", "question -> answer")
    async with lf.Executor(lf.scripted(lambda r: r.messages[-1].content[-3:]), store) as ex:
        run = await ex.map(answer, [{"question": f"q{i}"} for i in range(20)])
    assert run.root == store.run(run.id).root


def test_events_may_come_together_or_apart(store: Either) -> None:
    """How events are grouped makes no difference."""
    run = _run("run", _trace("t", _asked("answer[0]/call[0]", ChatReply("fine"))))
    for event in _events(run):
        _kept(store, event)
    assert run == store.run("run")


def test_the_order_of_items_is_by_position(store: Either) -> None:
    """Traces that were opened in another order stand by position."""
    _kept(store, RunOpened(Run("run", "map", "answer")))
    for position in (2, 0, 1):
        _kept(
            store, TraceOpened("run", f"ex[{position}]", position, _begun(_trace(f"t{position}")))
        )
    assert ["t0", "t1", "t2"] == [trace.id for trace in store.run("run")]


def test_attempts_are_kept_in_order(store: Either) -> None:
    """Each attempt at an address is kept; the last that ended counts."""
    failed = failure_of(ModelFailed("server", "no"))
    trace = _trace(
        "t",
        _asked("a[0]", failed, 0),
        _asked("a[0]", failed, 1),
        _asked("a[0]", ChatReply("fine"), 2),
    )
    _kept(store, *_events(_run("run", trace)))
    read = store.trace("t")
    assert ([0, 1, 2], trace.calls[2]) == (
        [call.attempt for call in read.calls],
        read.answers["a[0]"],
    )


def test_a_call_that_never_ended_is_an_orphan(store: Either) -> None:
    """Started without an end: maybe billed."""
    _kept(
        store, *_events(_run("run", _trace("t", _asked("a[0]"), _asked("b[0]", ChatReply("fine")))))
    )
    assert ["a[0]"] == [call.address for call in store.trace("t").orphans]


def test_a_key_s_answer_is_the_newest_reply(store: Either) -> None:
    """Of all that was recorded for a key the reply that ended last, with its trace; failures and
    orphans are none.
    """
    failed, key = failure_of(ModelFailed("server", "no")), _asked("a[0]").key
    late = attrs.evolve(_asked("a[0]", ChatReply("late")), ended=20)
    traces = (
        _trace("t0", late),
        _trace("t1", _asked("a[0]", ChatReply("early")), _asked("b[0]", failed), _asked("c[0]")),
    )
    before = store.answer(key)
    _kept(store, *_events(_run("run", *traces)))
    assert (None, ("t0", ChatReply("late"))) == (before, store.answer(key))
    assert store.answer(_asked("a[0]", text="how?").key) is None


def test_an_answer_may_be_a_tool_s_or_a_vector(store: Either) -> None:
    """Whatever kind of reply it is, it comes back as it was."""
    asked, reply = EmbedRequest(("x",), "m", "e"), EmbedReply(((0.5, 1.0),), "m", Usage(1, 0))
    _kept(
        store,
        *_events(_run("run", _trace("t", CallAttempt("a[0]", asked, asked.key, 0, reply, 5, 9)))),
    )
    assert ("t", reply) == store.answer(asked.key)


def test_an_open_run_can_be_read(store: Either) -> None:
    """What is going on is there to see."""
    _kept(store, *_events(_run("run", _trace("t")))[:2])
    assert ("open", False) == (store.run("run").status, store.trace("t").done)


def test_runs_are_listed_newest_first(store: Either) -> None:
    """The latest, without their traces; ``before`` continues the listing."""
    for name in ("r1", "r2", "r3"):
        _kept(store, *_events(_run(name)))
    assert (["r3", "r2"], ["r1"]) == (
        [run.id for run in store.runs(2)],
        [run.id for run in store.runs(2, "r2")],
    )


@pytest.mark.parametrize("short", ["abcde1", "abc", "e1"])
def test_an_id_may_be_short(store: Either, short: str) -> None:
    """A prefix or a suffix that fits one run names it."""
    _kept(store, *_events(_run("abcde1")), *_events(_run("xyzde2")))
    assert "abcde1" == store.run(short).id


def test_a_trace_id_may_be_short(store: Either) -> None:
    """Traces too."""
    _kept(store, *_events(_run("run", _trace("abc1"), _trace("abd2"))))
    assert ("abc1", "abd2") == (store.trace("abc").id, store.trace("d2").id)


@pytest.mark.parametrize("wanted", ["r", "9", "nothing", ""])
def test_an_ambiguous_or_unknown_id_is_not_found(store: Either, wanted: str) -> None:
    """More than one thing, or none, is ``NotFound``."""
    _kept(store, *_events(_run("r19")), *_events(_run("r29")))
    with pytest.raises(NotFound):
        store.run(wanted)


def test_a_whole_id_wins_over_a_prefix(store: Either) -> None:
    """A run whose id begins another's can be named."""
    _kept(store, *_events(_run("r1")), *_events(_run("r12")))
    assert "r1" == store.run("r1").id


def test_an_ambiguous_id_names_the_candidates(store: Either) -> None:
    """The words of the error hold what it could be."""
    _kept(store, *_events(_run("r19")), *_events(_run("r29")))
    with pytest.raises(NotFound, match=r"r19.*r29|r29.*r19"):
        store.run("r")


@pytest.mark.parametrize("length", [4, 12, 64])
def test_a_version_has_short_ids(store: Either, length: int) -> None:
    """A version is named by its id or the beginning of its digits, with the scheme or without."""
    _kept(store, VersionSaved(VERSION, 1))
    digits = VERSION.id.removeprefix("v1:b2:")[:length]
    assert (VERSION, VERSION) == (store.version(digits), store.version(f"v1:b2:{digits}"))


def test_a_version_with_parents_reads_back(store: Either) -> None:
    """Parents, note and origin are kept, in order."""
    child = attrs.evolve(
        VERSION, parents=(VERSION.id, PROGRAM), note="é", origin=lf.Record({"a.b": {"by": "hand"}})
    )
    _kept(store, VersionSaved(child, 1))
    assert child == store.version(child.id)


def test_a_run_keeps_its_version(store: Either) -> None:
    """The version of a trace can be named."""
    _kept(store, *_events(_run("run", _trace("t"))))
    assert VERSION == store.version(VERSION.id)


def test_refs_move(store: Either) -> None:
    """A ref names the version that it was last moved to."""
    other = VERSION.put({"answer.instruction": "Sing."})
    _kept(
        store,
        VersionSaved(VERSION, 1),
        VersionSaved(other, 2),
        RefMoved("best", VERSION.id, "first", 3),
    )
    _kept(store, RefMoved("best", other.id, "better", 4))
    assert (other, {"best": other.id}) == (store.version("best"), dict(store.refs()))


@pytest.mark.parametrize("name", ["bst", "abc", "", "v1:b2:0000", "nothing at all"])
def test_an_unknown_version_is_told_the_refs(store: Either, name: str) -> None:
    """``UnknownVersion`` lists the refs."""
    _kept(store, VersionSaved(VERSION, 1), RefMoved("best", VERSION.id, "first", 3))
    with pytest.raises(UnknownVersion, match="best"):
        store.version(name)


def test_a_near_ref_is_guessed(store: Either) -> None:
    """A ref that is nearly right is suggested."""
    _kept(store, VersionSaved(VERSION, 1), RefMoved("best", VERSION.id, "first", 3))
    with pytest.raises(UnknownVersion, match="Did you mean 'best'"):
        store.version("bets")


def test_a_ref_to_nowhere_is_refused(store: Either) -> None:
    """A ref points at a version that is in the store."""
    future = store.append(RefMoved("best", VERSION.id, "first", 3))
    assert (UnknownVersion, {}) == (type(future.exception(10)), dict(store.refs()))


OTHER = VERSION.put({"answer.instruction": "Sing."}, note="other")
THIRD = OTHER.put({"answer.instruction": "Dance."}, note="third")
SAVED = (VersionSaved(VERSION, 1, "ann"), VersionSaved(OTHER, 2), VersionSaved(THIRD, 3))


def _failure(store: Either, event: Event) -> BaseException | None:
    return store.append(event).exception(10)


@pytest.mark.parametrize(
    ("expected", "moved"), [(VERSION.id, True), (OTHER.id, False), ("", False), (None, True)]
)
def test_a_ref_moves_only_from_where_it_is_expected(
    store: Either, expected: str | None, *, moved: bool
) -> None:
    """A move that names another version than the ref has is refused, and nothing changes."""
    _kept(store, *SAVED, RefMoved("best", VERSION.id, "first", 3))
    error = _failure(store, RefMoved("best", THIRD.id, "better", 4, before=expected))
    assert ({"best": THIRD.id if moved else VERSION.id}, moved) == (
        dict(store.refs()),
        error is None,
    )
    assert moved or isinstance(error, RefChanged)


def test_a_ref_that_must_not_exist(store: Either) -> None:
    """An empty ``before`` makes a ref, once."""
    _kept(store, *SAVED, RefMoved("best", VERSION.id, "made", 3, before=""))
    assert isinstance(
        _failure(store, RefMoved("best", OTHER.id, "made again", 4, before="")), RefChanged
    )
    assert {"best": VERSION.id} == store.refs()


def test_a_ref_may_go(store: Either) -> None:
    """No version is the end of a ref; its log stays, and one that isn't there can't go."""
    _kept(store, *SAVED, RefMoved("best", VERSION.id, "made", 3), RefMoved("best", "", "done", 4))
    assert ({}, ["done", "made"]) == (
        dict(store.refs()),
        [moved.why for moved in store.reflog("best")],
    )
    assert isinstance(_failure(store, RefMoved("best", "", "again", 5)), UnknownVersion)


def test_the_reflog_says_everything(store: Either) -> None:
    """Each move with where it came from, why, when and who, newest first; of one ref or of all."""
    _kept(
        store,
        *SAVED,
        RefMoved("best", VERSION.id, "made", 3, "ann"),
        RefMoved("best", OTHER.id, "better", 4, "bob"),
    )
    _kept(store, RefMoved("prod", THIRD.id, "live", 5))
    latest = RefMoved("best", OTHER.id, "better", 4, "bob", VERSION.id)
    assert [latest, RefMoved("best", VERSION.id, "made", 3, "ann", "")] == list(
        store.reflog("best")
    )
    assert (["prod", "best"], []) == (
        [moved.name for moved in store.reflog(limit=2)],
        list(store.reflog("other")),
    )


BAD_NAMES = [
    "", "prod~1", "a b", "-x", "deadbeefdeadbeef", "DEADBEEFDEADBEEF", "x\n", "a..b", "a//b", "a/", "a.", "a/.b", "a./b",
    "a^", "a:b", "v1:b2:00", "a\x00b", "a\u202eb", "é", "1st", "a" * 101,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_ref_has_a_decent_name(store: Either, name: str) -> None:
    """A name that reads as something else is refused, and what is allowed is said."""
    _kept(store, *SAVED)
    error = _failure(store, RefMoved(name, VERSION.id, "made", 3))
    assert isinstance(error, BadRef)
    assert "letters, digits and `._-/`, a letter first" in str(error)
    assert {} == store.refs()


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_commit_refuses_a_bad_name(store: Either, name: str) -> None:
    """``commit`` refuses it before anything is stored."""
    with pytest.raises(BadRef):
        lf.commit(store, name, VERSION)
    with pytest.raises(UnknownVersion):
        store.version(VERSION.id)


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name])
def test_a_data_set_has_a_decent_name(tmp_path: Path, name: str) -> None:
    """A data set is named like a ref."""
    with lf.SqliteStore(tmp_path / "store.db") as store, pytest.raises(BadRef):
        store.put_dataset(name, lf.dataset([{"q": "a"}]))


def test_an_odd_ref_that_exists_is_read_and_deleted(tmp_path: Path) -> None:
    """A ref that an earlier lmflow allowed still resolves, is listed and can be deleted."""
    path = tmp_path / "store.db"
    with lf.SqliteStore(path) as store:
        lf.commit(store, "odd", VERSION)
        store.append(VersionSaved(OTHER, 2)).result(10)
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE ref SET name = 'a..b'")
            db.commit()
        assert ({"a..b": VERSION.id}, VERSION) == (store.refs(), store.version("a..b"))
        assert isinstance(_failure(store, RefMoved("a..b", OTHER.id, "moved", 3)), BadRef)
        _kept(store, RefMoved("a..b", "", "gone", 4))
        assert {} == store.refs()


@pytest.mark.parametrize(
    ("name", "expected"), [("best~0", THIRD), ("best~", OTHER), ("best~2", VERSION)]
)
def test_a_name_counts_parents_back(store: Either, name: str, expected: lf.Version) -> None:
    """``REF~N`` is the N-th first parent; so are ids and short ids."""
    _kept(store, *SAVED, RefMoved("best", THIRD.id, "made", 3))
    assert expected == store.version(name)
    assert expected == store.version(name.replace("best", THIRD.id[6:18]))


def test_beyond_the_first_there_is_no_version(store: Either) -> None:
    """A line that ends is ``UnknownVersion``, one whose parent isn't kept ``MissingParent``."""
    _kept(store, *SAVED, RefMoved("best", THIRD.id, "made", 3))
    with pytest.raises(UnknownVersion):
        store.version("best~3")
    orphan = attrs.evolve(VERSION, parents=(PROGRAM,))
    _kept(store, VersionSaved(orphan, 4), RefMoved("lost", orphan.id, "made", 5))
    with pytest.raises(MissingParent):
        store.version("lost~1")
    assert (orphan, (PROGRAM,)) == (store.first("lost"), store.saved("lost").absent)


def test_an_ambiguous_version_names_the_candidates(store: Either) -> None:
    """A beginning that fits several ids is an error with those."""
    versions = [attrs.evolve(VERSION, note=str(k)) for k in range(400)]
    _kept(store, *(VersionSaved(version, 1) for version in versions))
    digits = sorted(version.id[6:] for version in versions)
    shared = next((a[:4] for a, b in itertools.pairwise(digits) if a[:4] == b[:4]), None)
    if shared is not None:
        with pytest.raises(UnknownVersion, match="is ambiguous"):
            store.version(shared)


def test_the_first_of_a_line(store: Either) -> None:
    """By first parents, whatever leads there."""
    _kept(store, *SAVED, RefMoved("best", THIRD.id, "made", 3))
    assert (VERSION, VERSION) == (store.first("best"), store.first(VERSION.id))


def test_a_pointer_follows_a_name(store: Either) -> None:
    """A pointer gives what ``version`` and ``first`` give now: after each move, for ``REF~N``, and
    where it is gone.
    """
    first = lf.init(PREDICT)
    second = first.put({"answer.instruction": "Be brief."})
    pointers = [pointer_to(PREDICT, store, name) for name in ("main", "main~1")]
    for pointer in pointers:
        with pytest.raises(UnknownVersion):
            pointer.now()
    lf.commit(store, "main", first, second)
    assert [(second, first), (first, first)] == [pointer.now() for pointer in pointers]
    assert pointers[0].now() == (store.version("main"), store.first("main"))
    lf.commit(store, "main", first)
    assert (first, first) == pointers[0].now()
    with pytest.raises(UnknownVersion):
        pointers[1].now()
    _kept(store, RefMoved("main", "", "", 1))
    with pytest.raises(UnknownVersion):
        pointers[0].now()
    for pointer in pointers:
        pointer.close()


def test_a_version_is_saved_with_what_stands_beside_it(store: Either) -> None:
    """Author and time of its first saving, its refs, and the mean of its scores by name."""
    _kept(
        store,
        *SAVED,
        RefMoved("a", VERSION.id, "", 3),
        RefMoved("b", VERSION.id, "", 3),
        VersionSaved(VERSION, 9),
    )
    _kept(store, *_events(_run("run", _trace("t"))))
    _kept(
        store,
        *(ScoreRecorded("t", "exact", value) for value in (1.0, 0.0, None)),
        ScoreRecorded("t", "short", 1.0),
    )
    saved = store.saved("a")
    assert (VERSION, 1, "ann", ("a", "b"), ()) == (
        saved.version,
        saved.at,
        saved.author,
        saved.refs,
        saved.absent,
    )
    assert {"exact": (0.5, 2), "short": (1.0, 1)} == saved.scores


def test_an_example_counts_once_in_the_means_of_a_version(store: Either) -> None:
    """Its latest score by a metric counts, whichever trace it is of; judgements of people all do."""
    again = attrs.evolve(_trace("again"), inputs=_trace("t").inputs)
    _kept(store, *_events(_run("run", _trace("t"), again, _trace("u"))))
    _kept(
        store,
        ScoreRecorded("again", "exact", 0.5, metric="m"),
        ScoreRecorded("t", "exact", 1.0, metric="m"),
        ScoreRecorded("t", "exact", None, metric="m"),
        ScoreRecorded("u", "exact", 0.0, metric="m"),
        ScoreRecorded("t", "liked", 1.0, who="ann"),
        ScoreRecorded("again", "liked", 0.0, who="bob"),
    )
    assert {"exact": (0.5, 2), "liked": (0.5, 2)} == store.saved(VERSION.id).scores


def test_scores_are_kept_in_order(store: Either) -> None:
    """Each score of a trace, none overwritten."""
    scores = [
        ScoreRecorded("t", "exact", 1.0, "fine", "m", "ann", 5),
        ScoreRecorded("t", "exact", None, "no: \ud800"),
        ScoreRecorded("t", "x", 0.0),
    ]
    _kept(store, *_events(_run("run", _trace("t"), _trace("u"))), *scores)
    assert (scores, []) == (list(store.scores("t")), list(store.scores("u")))


def test_a_score_of_nothing_is_refused(store: Either) -> None:
    """A trace that isn't there has no score."""
    assert _failure(store, ScoreRecorded("nothing", "exact", 1.0)) is not None


def test_a_pin_needs_a_version(store: Either) -> None:
    """What isn't kept can't be pinned; what is can, twice, and unpinned."""
    assert isinstance(_failure(store, Pinned(VERSION.id, "why", 1)), UnknownVersion)
    _kept(
        store,
        *SAVED,
        Pinned(VERSION.id, "why", 1),
        Pinned(VERSION.id, "", 2),
        Pinned(VERSION.id, "", 3, on=False),
    )


def test_events_that_belong_together_are_kept_together(store: Either) -> None:
    """Where a move is refused, the version beside it isn't kept either."""
    _kept(store, SAVED[0], RefMoved("best", VERSION.id, "made", 3))
    assert (
        store.append(SAVED[1], RefMoved("best", OTHER.id, "x", 4, before="")).exception(10)
        is not None
    )
    with pytest.raises(UnknownVersion):
        store.version(OTHER.id)


def test_a_bad_event_fails_alone(store: Either) -> None:
    """An event that makes no sense fails its own future; what stands around it is kept."""
    futures = [
        store.append(*_events(_run("r1"))),
        store.append(CallStarted("nowhere", _asked("a[0]"))),
        store.append(*_events(_run("r2"))),
    ]
    failures = [future.exception(10) is not None for future in futures]
    assert ([False, True, False], ["r2", "r1"]) == (failures, [run.id for run in store.runs()])


def test_saving_a_version_twice_is_once(store: Either) -> None:
    """A version is its content."""
    _kept(store, VersionSaved(VERSION, 1), VersionSaved(VERSION, 2))
    assert VERSION == store.version(VERSION.id[:12])


def test_nothing_to_append_is_done(store: Either) -> None:
    """An empty append waits for what stands before it."""
    store.append(*_events(_run("run")))
    store.append().result(10)
    assert 1 == len(store.runs())


def test_closing_twice_is_fine(store: Either) -> None:
    """Who closes need not know whether it is closed."""
    store.close()
    store.close()
    assert store.name


def test_many_threads_may_append(store: Either) -> None:
    """What eight threads append is all there, each thread's in its order."""
    futures: list[Future[None]] = []

    def work(name: str) -> None:
        for number in range(10):
            trace = _trace(f"{name}.{number}", _asked("a[0]", ChatReply(name), text=name))
            futures.append(store.append(*_events(_run(f"{name}-{number}", trace))))

    threads = [threading.Thread(target=work, args=(f"w{k}",)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [None] * 80 == [future.result(10) for future in futures]
    assert {1} == {len(store.run(run.id).traces[0].calls) for run in store.runs(100)}


def test_a_run_keeps_how_it_was_asked_for_and_what_it_came_to(store: Either) -> None:
    """Config and result come back as they were; those of other runs are empty."""
    config = lf.Record(
        {"command": {"options": ["k=1"], "split": [0.5, 0.5], "calls": None, "ref": "größer"}}
    )
    asked = Run("asked", "optimize", "x", target="app:x", started=1, config=config)
    _kept(
        store,
        RunOpened(asked),
        RunClosed("asked", "done", "", 2, "v1:b2:00"),
        RunOpened(Run("plain", "map", "x")),
    )
    assert (config, "v1:b2:00") == (store.run("asked").config, store.run("asked").result)
    assert (lf.Record(), "") == (store.run("plain").config, store.run("plain").result)


def test_groups_read_what_the_shortcuts_read(store: Either) -> None:
    """``store.runs`` and ``store.versions`` hold the reads; the methods beside them are the same."""
    run = _run("r1", _trace("t1", _asked("a[0]", ChatReply("yes"))))
    _kept(store, *_events(run), *SAVED, RefMoved("prod", OTHER.id, "made", 3))
    key = _asked("a[0]").key
    assert (store.run("r1"), store.trace("t1")) == (store.runs.get("r1"), store.runs.trace("t1"))
    assert (store.answer(key), store.scores("t1")) == (
        store.runs.answer(key),
        store.runs.scores("t1"),
    )
    assert (store.version("prod"), store.first("prod")) == (
        store.versions.get("prod"),
        store.versions.first("prod"),
    )
    assert (store.saved("prod"), store.refs()) == (
        store.versions.saved("prod"),
        store.versions.refs(),
    )
    assert list(store.reflog("prod")) == list(store.versions.reflog("prod"))


def test_a_version_that_a_run_is_for_is_saved(store: Either) -> None:
    """What ``RunOpened`` brings is stored like any version, with when."""
    _kept(store, RunOpened(Run("r1", "map", "answer", started=7), (VERSION,)))
    assert (VERSION, 7) == (store.saved(VERSION.id).version, store.saved(VERSION.id).at)
