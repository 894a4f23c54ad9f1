"""The laws of every trace store: one suite over memory, SQLite and PostgreSQL."""

import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_and_sounds import media
from postgres_server import emptied

import lmflow as lf
from lmflow.errors import BadRef, MissingParent, ModelFailed, NotFound, UnknownVersion
from lmflow.messages.messages import Attached, Message, ToolCall
from lmflow.messages.replies import ChatReply, EmbedReply, ToolReply, Usage, failure_of
from lmflow.messages.requests import ChatRequest, EmbedRequest, ToolRequest
from lmflow.serve.service import pointer_to
from lmflow.testing import STORE_LAWS, Law
from lmflow.testing.sample_runs import (
    OTHER,
    PROGRAM,
    SAVED,
    THIRD,
    VERSION,
    asked,
    events_of,
    failure_to_keep,
    keep,
    run_of,
    trace_of,
)
from lmflow.traces.events import (
    Pinned,
    RefMoved,
    RunOpened,
    ScoreRecorded,
    SearchSteered,
    VersionSaved,
)
from lmflow.traces.trace import CallAttempt, Failed, Run

Either = lf.MemoryStore | lf.SqliteStore | lf.PostgresStore
KINDS = ["memory", "sqlite", "postgres"]
PREDICT = lf.predict("answer", "question -> answer", "Answer.")


def _opened(kind: str, folder: Path, request: pytest.FixtureRequest) -> Either:
    if kind == "postgres":
        return lf.PostgresStore(emptied(request.getfixturevalue("postgres")))
    return lf.MemoryStore() if kind == "memory" else lf.SqliteStore(folder / "store.db")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Either]:
    """Each of the stores, empty."""
    found = _opened(request.param, tmp_path, request)
    yield found
    found.close()


@pytest.mark.parametrize("law", STORE_LAWS, ids=str)
async def test_a_store_keeps_the_laws(store: Either, law: Law) -> None:
    """The suite for stores of one's own holds of lmflow's."""
    checked = law(store)
    if checked is not None:
        await checked


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
            trace_of(f"t{name}", *calls, choices=choices, version=version, **draw(_results))
        )
    return run_of("run", *traces)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(run=_runs())
def test_what_was_appended_reads_back_equal(
    kind: str, run: Run, request: pytest.FixtureRequest
) -> None:
    """A run reads back as the value that it was, with its root."""
    with tempfile.TemporaryDirectory() as folder:
        store = _opened(kind, Path(folder), request)
        try:
            keep(store, *events_of(run))
            assert (run, run.root) == (store.run("run"), store.run("run").root)
        finally:
            store.close()


@pytest.mark.parametrize("short", ["abcde1", "abc", "e1"])
def test_an_id_may_be_short(store: Either, short: str) -> None:
    """A prefix or a suffix that fits one run names it."""
    keep(store, *events_of(run_of("abcde1")), *events_of(run_of("xyzde2")))
    assert "abcde1" == store.run(short).id


def test_a_trace_id_may_be_short(store: Either) -> None:
    """Traces too."""
    keep(store, *events_of(run_of("run", trace_of("abc1"), trace_of("abd2"))))
    assert ("abc1", "abd2") == (store.trace("abc").id, store.trace("d2").id)


@pytest.mark.parametrize("wanted", ["r", "9", "nothing", ""])
def test_an_ambiguous_or_unknown_id_is_not_found(store: Either, wanted: str) -> None:
    """More than one thing, or none, is ``NotFound``."""
    keep(store, *events_of(run_of("r19")), *events_of(run_of("r29")))
    with pytest.raises(NotFound):
        store.run(wanted)


def test_a_whole_id_wins_over_a_prefix(store: Either) -> None:
    """A run whose id begins another's can be named."""
    keep(store, *events_of(run_of("r1")), *events_of(run_of("r12")))
    assert "r1" == store.run("r1").id


def test_an_ambiguous_id_names_the_candidates(store: Either) -> None:
    """The words of the error hold what it could be."""
    keep(store, *events_of(run_of("r19")), *events_of(run_of("r29")))
    with pytest.raises(NotFound, match=r"r19.*r29|r29.*r19"):
        store.run("r")


@pytest.mark.parametrize("length", [4, 12, 64])
def test_a_version_has_short_ids(store: Either, length: int) -> None:
    """A version is named by its id or the beginning of its digits, with the scheme or without."""
    keep(store, VersionSaved(VERSION, 1))
    digits = VERSION.id.removeprefix("v1:b2:")[:length]
    assert (VERSION, VERSION) == (store.version(digits), store.version(f"v1:b2:{digits}"))


@pytest.mark.parametrize("name", ["bst", "abc", "", "v1:b2:0000", "nothing at all"])
def test_an_unknown_version_is_told_the_refs(store: Either, name: str) -> None:
    """``UnknownVersion`` lists the refs."""
    keep(store, VersionSaved(VERSION, 1), RefMoved("best", VERSION.id, "first", 3))
    with pytest.raises(UnknownVersion, match="best"):
        store.version(name)


def test_a_near_ref_is_guessed(store: Either) -> None:
    """A ref that is nearly right is suggested."""
    keep(store, VersionSaved(VERSION, 1), RefMoved("best", VERSION.id, "first", 3))
    with pytest.raises(UnknownVersion, match="Did you mean 'best'"):
        store.version("bets")


BAD_NAMES = [
    "", "prod~1", "a b", "-x", "deadbeefdeadbeef", "DEADBEEFDEADBEEF", "x\n", "a..b", "a//b", "a/", "a.", "a/.b", "a./b",
    "a^", "a:b", "v1:b2:00", "a\x00b", "a\u202eb", "é", "1st", "a" * 101,
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_ref_has_a_decent_name(store: Either, name: str) -> None:
    """A name that reads as something else is refused, and what is allowed is said."""
    keep(store, *SAVED)
    error = failure_to_keep(store, RefMoved(name, VERSION.id, "made", 3))
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
        assert isinstance(failure_to_keep(store, RefMoved("a..b", OTHER.id, "moved", 3)), BadRef)
        keep(store, RefMoved("a..b", "", "gone", 4))
        assert {} == store.refs()


def test_beyond_the_first_there_is_no_version(store: Either) -> None:
    """A line that ends is ``UnknownVersion``, one whose parent isn't kept ``MissingParent``."""
    keep(store, *SAVED, RefMoved("best", THIRD.id, "made", 3))
    with pytest.raises(UnknownVersion):
        store.version("best~3")
    orphan = attrs.evolve(VERSION, parents=(PROGRAM,))
    keep(store, VersionSaved(orphan, 4), RefMoved("lost", orphan.id, "made", 5))
    with pytest.raises(MissingParent):
        store.version("lost~1")
    assert (orphan, (PROGRAM,)) == (store.first("lost"), store.saved("lost").absent)


def test_an_ambiguous_version_names_the_candidates(store: Either) -> None:
    """A beginning that fits several ids is an error with those."""
    versions = [attrs.evolve(VERSION, note=str(k)) for k in range(400)]
    keep(store, *(VersionSaved(version, 1) for version in versions))
    digits = sorted(version.id[6:] for version in versions)
    shared = next((a[:4] for a, b in itertools.pairwise(digits) if a[:4] == b[:4]), None)
    if shared is not None:
        with pytest.raises(UnknownVersion, match="is ambiguous"):
            store.version(shared)


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
    keep(store, RefMoved("main", "", "", 1))
    with pytest.raises(UnknownVersion):
        pointers[0].now()
    for pointer in pointers:
        pointer.close()


def test_a_version_is_saved_with_what_stands_beside_it(store: Either) -> None:
    """Author and time of its first saving, its refs, and the mean of its scores by name."""
    keep(
        store,
        *SAVED,
        RefMoved("a", VERSION.id, "", 3),
        RefMoved("b", VERSION.id, "", 3),
        VersionSaved(VERSION, 9),
    )
    keep(store, *events_of(run_of("run", trace_of("t"))))
    keep(
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
    again = attrs.evolve(trace_of("again"), inputs=trace_of("t").inputs)
    keep(store, *events_of(run_of("run", trace_of("t"), again, trace_of("u"))))
    keep(
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
    keep(store, *events_of(run_of("run", trace_of("t"), trace_of("u"))), *scores)
    assert (scores, []) == (list(store.scores("t")), list(store.scores("u")))


def test_a_score_of_nothing_is_refused(store: Either) -> None:
    """A trace that isn't there has no score."""
    assert failure_to_keep(store, ScoreRecorded("nothing", "exact", 1.0)) is not None


def test_a_pin_needs_a_version(store: Either) -> None:
    """What isn't kept can't be pinned; what is can, twice, and unpinned."""
    assert isinstance(failure_to_keep(store, Pinned(VERSION.id, "why", 1)), UnknownVersion)
    keep(
        store,
        *SAVED,
        Pinned(VERSION.id, "why", 1),
        Pinned(VERSION.id, "", 2),
        Pinned(VERSION.id, "", 3, on=False),
    )


def test_groups_read_what_the_shortcuts_read(store: Either) -> None:
    """``store.runs`` and ``store.versions`` hold the reads; the methods beside them are the same."""
    run = run_of("r1", trace_of("t1", asked("a[0]", ChatReply("yes"))))
    keep(store, *events_of(run), *SAVED, RefMoved("prod", OTHER.id, "made", 3))
    key = asked("a[0]").key
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


def test_acts_reach_the_search_that_they_steer(store: Either) -> None:
    """Acts of a run are kept in order and numbered; an unknown version or run takes none."""
    search = Run("r1", "optimize", "gepa", config=lf.Record(version=VERSION.id))
    act = SearchSteered("r1", "veto", OTHER.id, "no: \ud800", "ann", 5)
    assert [] == list(store.acts("r1"))
    keep(store, *SAVED, RunOpened(search, (VERSION,)), RunOpened(attrs.evolve(search, id="r2")))
    assert failure_to_keep(store, SearchSteered("r1", "pin", "v1:b2:" + "0" * 64)) is not None
    assert failure_to_keep(store, SearchSteered("nothing", "stop")) is not None
    keep(store, act, SearchSteered("r2", "stop"), SearchSteered("r1", "note", note="hm"))
    first, second = store.acts("r1")
    assert act == first.event
    assert [second] == list(store.acts("r1", first.id))
    assert (False, []) == (store.acts_taken("r1")[0], list(store.acts_taken("r1")[1]))
    assert store.acts_taken("nothing")[0]
