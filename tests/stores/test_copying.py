"""Copying between stores of any kind: what comes of it is what both know, as it is of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from postgres_server import emptied

import lmflow as lf
from lmflow.errors import ModelFailed, RefsDisagree, RunsDisagree
from lmflow.exchange.moves import Side
from lmflow.messages.replies import ChatReply, failure_of
from lmflow.stores import copying
from lmflow.stores.copying import copy_store
from lmflow.stores.opened import AnyStore, open_store
from lmflow.stores.sqlite.merging.merge import MergedCounts
from lmflow.stores.sqlite.reader import Reader
from lmflow.testing.sample_runs import (
    OTHER,
    SAVED,
    THIRD,
    VERSION,
    asked,
    events_of,
    keep,
    run_of,
    trace_of,
)
from lmflow.traces.events import Event, Pinned, RefMoved, ScoreRecorded, TraceReused

_RUN = run_of(
    "r1",
    trace_of(
        "t1",
        asked("a[0]", failure_of(ModelFailed("server", "gone"))),
        asked("a[0]", ChatReply("80 degrees"), attempt=1),
        asked("b[0]", text="never ended?"),
        choices=lf.Record({"a[0]": "first"}),
    ),
    trace_of("t2", version=OTHER),
)
_MOVES = (
    RefMoved("prod", VERSION.id, "first", 1, "ann", ""),
    RefMoved("prod", OTHER.id, "tuned", 2, "bob", VERSION.id),
)
_SCORES = (
    ScoreRecorded("t1", "good", 1.0, "well said", "", "ann", 3),
    ScoreRecorded("t2", "exact", None, "", "m", "", 4, "r1"),
)
_ALL: tuple[Event, ...] = (*SAVED, *events_of(_RUN), *_MOVES, *_SCORES, Pinned(THIRD.id, "x", 5))


@pytest.fixture(params=["file", "database"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyStore]:
    """An empty store of each kind."""
    name = str(tmp_path / "target.db")
    if request.param == "database":
        name = emptied(request.getfixturevalue("postgres"))
    with open_store(name) as store:
        yield store


@pytest.fixture
def source(tmp_path: Path) -> Iterator[AnyStore]:
    """A store that knows all."""
    with lf.SqliteStore(tmp_path / "source.db") as store:
        keep(store, *_ALL)
        yield store


def content(store: AnyStore) -> dict[str, object]:
    """What people read of a store."""
    with store.reading() as reader:
        return {
            "runs": {run.id: reader.run(run.id) for run in reader.runs(100, "")},
            "roots": {run.id: reader.root(run.id) for run in reader.runs(100, "")},
            "scores": {uid: sorted(map(repr, reader.scores(uid))) for uid in ("t1", "t2")},
            "refs": reader.refs(),
            "reflog": reader.versions.reflog("prod", 100),
            "pins": reader.versions.pins(),
            "versions": {saved.version.id: saved.at for saved in reader.versions.latest(100)},
        }


@pytest.mark.parametrize("known", [0, 4, 6, 9, len(_ALL)])
def test_the_target_knows_what_both_know(source: AnyStore, target: AnyStore, known: int) -> None:
    """Whatever part of it was there before; and a second copy brings nothing."""
    keep(target, *_ALL[:known])
    copy_store(source, target)
    assert content(source) == content(target)
    assert MergedCounts() == copy_store(source, target)
    assert MergedCounts() == copy_store(target, source)


def test_a_run_that_another_process_brings_meanwhile_is_no_error(
    source: AnyStore,
    target: AnyStore,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The copy goes on behind it, in silence."""
    copy_store(source, target)
    known, hidden = copying._known, [None, None]

    def late(there: Reader, run: str) -> lf.Run | None:
        return hidden.pop() if hidden else known(there, run)

    monkeypatch.setattr(copying, "_known", late)
    assert MergedCounts() == copy_store(source, target)
    assert content(source) == content(target)
    assert ("", "") == capfd.readouterr()


def test_references_and_data_sets_come_too(source: AnyStore, target: AnyStore) -> None:
    """A run that refers to executions of another, and named data sets with their splits."""
    opened, *_, closed = events_of(run_of("r3", _RUN.traces[1]))
    keep(source, opened, TraceReused("r3", "ex[0]", 0, "t2"), closed)
    source.put_dataset("dev", {"train": [{"q": "a"}], "held": [{"q": "b"}]})
    assert ("dev", "prod") == copy_store(source, target).moved
    assert content(source) == content(target)
    assert dict(source.splits("dev")) == dict(target.splits("dev"))


def _moved(store: AnyStore, *moves: RefMoved) -> None:
    keep(store, *SAVED, *moves)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_ref_that_both_moved_is_refused_until_somebody_decides(
    tmp_path: Path, target: AnyStore, side: Side
) -> None:
    """And once decided both stores agree again, without another decision."""
    kept = {"ours": THIRD.id, "theirs": OTHER.id}[side]
    with lf.SqliteStore(tmp_path / "other.db") as other:
        _moved(other, *_MOVES)
        _moved(target, _MOVES[0], RefMoved("prod", THIRD.id, "mine", 3, "cid", VERSION.id))
        with pytest.raises(RefsDisagree, match="--take theirs prod"):
            copy_store(other, target)
        assert THIRD.id == target.refs()["prod"]
        copy_store(other, target, take={"prod": side}, at=9, who="eve")
        assert kept == target.refs()["prod"]
        assert ("eve", "tuned") == (target.reflog()[0].who, target.reflog()[1].why)
        assert MergedCounts() == copy_store(other, target)
        copy_store(target, other)
        assert dict(target.refs()) == dict(other.refs())


def _answered(text: str) -> Sequence[Event]:
    return events_of(run_of("r1", trace_of("t1", asked("a[0]", ChatReply(text)))))


def test_copies_of_a_run_that_were_gone_on_with_apart_are_refused(
    tmp_path: Path, target: AnyStore
) -> None:
    """Two answers to one call can't be one run again."""
    with lf.SqliteStore(tmp_path / "other.db") as other:
        keep(other, *_answered("so"))
        keep(target, *_answered("or so"))
        with pytest.raises(RunsDisagree, match="its call a"):
            copy_store(other, target)
