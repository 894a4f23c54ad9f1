"""Merging stores: what comes of it depends on what the stores hold, not on how they were merged."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from paths import ROOT
from pictures_and_sounds import PNG

import lmflow as lf
from lmflow.errors import (
    ModelFailed,
    RefsDisagree,
    RunsDisagree,
    StoreError,
    Tampered,
    UnknownVersion,
)
from lmflow.messages.replies import ChatReply, ToolReply, failure_of
from lmflow.messages.requests import ToolRequest
from lmflow.stores.sqlite.merging.merge import MergedCounts, merge_store
from lmflow.stores.sqlite.store import reading
from lmflow.testing.sample_runs import (
    OTHER,
    THIRD,
    VERSION,
    asked,
    events_of,
    keep,
    run_of,
    trace_of,
)
from lmflow.traces.calls import CallAttempt
from lmflow.traces.events import Event, Pinned, RefMoved, ScoreRecorded, TraceReused, VersionSaved
from lmflow.traces.trace import Failed, Run

_SEARCH = ToolRequest("search", "corpus", lf.Record(query="green tea"))
_RUNS: tuple[Run, ...] = (
    run_of(
        "r1",
        trace_of(
            "t1",
            asked("a[0]/call[0]", failure_of(ModelFailed("server", "gone")), text="how hot?"),
            asked("a[0]/call[0]", ChatReply("80 degrees"), attempt=1, text="how hot?"),
            asked("b[0]/call[0]", text="never ended?"),
            CallAttempt("c[0]/call[0]", _SEARCH, _SEARCH.key, 0, ToolReply("tea"), 5, 9, 0),
            choices=lf.Record({"a[0]": "first"}),
        ),
        trace_of("t2", outputs=None, failure=Failed("ModelFailed", "it is down"), version=OTHER),
    ),
    run_of("r2", *(trace_of(f"s{k}", asked("a[0]/call[0]", ChatReply("so"))) for k in range(3))),
)
_MOVES = (
    RefMoved("prod", VERSION.id, "first", 1, "ann", ""),
    RefMoved("prod", OTHER.id, "tuned", 2, "bob", VERSION.id),
    RefMoved("prod", VERSION.id, "back", 3, "", OTHER.id),
    RefMoved("prod", "", "gone", 4, "ann", VERSION.id),
    RefMoved("prod", THIRD.id, "again", 5, "ann", ""),
)
_SAVED = tuple(VersionSaved(version, 1, "ann") for version in (VERSION, OTHER, THIRD))
_SCORES = (
    ScoreRecorded("t1", "good", 1.0, "well said", "", "ann", 3),
    ScoreRecorded("t1", "good", 1.0, "well said", "", "ann", 3),
    ScoreRecorded("t1", "exact", None, "", "m", "", 4, "r1"),
)

Content = Mapping[str, Any]


@attrs.frozen
class _Part:
    """How much of the history of all stores one store knows: prefixes of it."""

    runs: tuple[int, ...]
    moves: int
    scores: int
    is_pinned: bool

    @property
    def known_scores(self) -> int:
        """The scores: a store that lacks the execution has none."""
        return self.scores if self.runs[0] > 1 else 0

    def joined(self, other: _Part) -> _Part:
        """What both know together."""
        return _Part(
            tuple(map(max, self.runs, other.runs)),
            max(self.moves, other.moves),
            max(self.known_scores, other.known_scores),
            self.is_pinned or other.is_pinned,
        )

    def events(self) -> list[Event]:
        """The events of a store that knows so much."""
        events: list[Event] = [*_SAVED]
        for run, count in zip(_RUNS, self.runs, strict=True):
            events += events_of(run)[:count]
        events += _MOVES[: self.moves]
        events += _SCORES[: self.known_scores]
        return [*events, *([Pinned(OTHER.id, "kept", 5)] if self.is_pinned else [])]


_PARTS = st.builds(
    _Part,
    st.tuples(*(st.integers(0, len(events_of(run))) for run in _RUNS)),
    st.integers(0, len(_MOVES)),
    st.integers(0, len(_SCORES)),
    st.booleans(),
)


def _written(path: Path, *events: Event) -> Path:
    with lf.SqliteStore(path) as store:
        keep(store, *events)
    return path


def content(path: Path) -> Content:
    """All that people read of a store; numbers of rows, which differ, are left out."""
    with reading(path) as reader:
        assert () == reader.check().problems
        runs = {run.id: reader.run(run.id) for run in reader.runs(100, "")}
        traces = {trace.id for run in runs.values() for trace in run}
        hits = reader.search(["degrees"]) + reader.search(["down"]) + reader.search(["so"])
        versions = {
            each.version.id: (each.version, each.at, each.author, each.refs, each.scores)
            for each in reader.versions.latest(100)
        }
        return {
            "runs": runs,
            "totals": {row["id"]: dict(row) for row in reader.summaries(100)},
            "scores": {trace: sorted(map(repr, reader.scores(trace))) for trace in traces},
            "hits": sorted((hit.trace, hit.address, hit.attempt, hit.snippet) for hit in hits),
            "versions": versions,
            "refs": reader.refs(),
            "reflog": reader.versions.reflog("prod", 100),
            "pins": reader.versions.pins(),
            "names": reader.datasets.names(),
        }


def _merged(folder: Path, *parts: Path) -> Content:
    """The content of a new store into which stores are merged one after the other."""
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        target = Path(inner) / "all.db"
        for part in parts:
            merge_store(part, target)
        return content(target)


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(_PARTS, min_size=3, max_size=3))
def test_a_merge_is_the_store_that_knows_what_all_know(parts: Sequence[_Part]) -> None:
    """Whatever the order and the grouping: the later state of each run, move and score."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        a, b, c = (_written(folder / f"{k}.db", *part.events()) for k, part in enumerate(parts))
        whole = parts[0].joined(parts[1]).joined(parts[2])
        expected = content(_written(folder / "whole.db", *whole.events()))
        assert expected == _merged(folder, a, b, c)
        assert expected == _merged(folder, c, b, a)
        merge_store(c, b)
        assert expected == _merged(folder, a, b)
        before = content(a)
        assert MergedCounts() == merge_store(shutil.copy(a, folder / "copy.db"), a)
        assert before == content(a)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores with a run each."""
    a = _written(tmp_path / "a.db", *_SAVED, *events_of(_RUNS[0]), *_SCORES)
    return a, _written(tmp_path / "b.db", *_SAVED, *events_of(_RUNS[1]), _MOVES[0])


def test_what_came_is_told(pair: tuple[Path, Path]) -> None:
    """Runs, executions, calls and the refs that moved; a second merge brings nothing."""
    source, target = pair
    assert MergedCounts(1, 2, 4, scores=3) == merge_store(source, target)
    assert MergedCounts() == merge_store(source, target)
    assert MergedCounts(1, 3, 3, moved=("prod",)) == merge_store(target, source)


def test_a_store_is_merged_into_itself_without_a_change(pair: tuple[Path, Path]) -> None:
    """Nothing is new, also through another name of the file."""
    link = pair[0].with_name("link.db")
    link.symlink_to(pair[0])
    assert MergedCounts() == merge_store(link, pair[0])


def test_stores_that_are_written_meanwhile_are_merged(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in the log of an open target, or source, is made into rows first."""
    monkeypatch.setattr("lmflow.stores.sqlite.writing.group_commit.IDLE", 60.0)
    monkeypatch.setattr("lmflow.stores.sqlite.merging.merge.settle", lambda *_: None)
    source, target = pair
    with lf.SqliteStore(source) as here, lf.SqliteStore(target) as there:
        for store, name in ((here, "w1"), (there, "w2")):
            keep(store, *events_of(run_of(name, trace_of(f"t{name}"))))
        merge_store(source, target)
        keep(there, *events_of(run_of("w3", trace_of("tw3"))))
    assert {"r1", "r2", "w1", "w2", "w3"} == set(content(target)["runs"])


def test_the_source_is_only_read(pair: tuple[Path, Path]) -> None:
    """Its bytes stay, also in a folder where nothing can be written, and with a journal beside."""
    source, target = pair
    folder = source.parent / "read-only"
    folder.mkdir()
    copy = Path(shutil.copy(source, folder / "a.db"))
    before = copy.read_bytes()
    copy.chmod(stat.S_IRUSR)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        merge_store(copy, target)
    finally:
        folder.chmod(stat.S_IRWXU)
    assert before == copy.read_bytes()


def _of_moves(path: Path, *moves: RefMoved) -> Path:
    return _written(path, *_SAVED, *moves)


def test_a_ref_that_both_moved_is_refused_until_somebody_decides(tmp_path: Path) -> None:
    """Nothing is merged and the error names the decision; once taken, both stores agree again."""
    ours = _of_moves(tmp_path / "a.db", *_MOVES[:2])
    theirs = _of_moves(tmp_path / "b.db", _MOVES[0], RefMoved("prod", THIRD.id, "mine", 3, "cid"))
    before = content(ours)
    with pytest.raises(RefsDisagree, match="--take theirs prod takes") as problem:
        merge_store(theirs, ours)
    assert (("prod", OTHER.id, THIRD.id),) == problem.value.names
    assert before == content(ours)
    merge_store(theirs, ours, take={"prod": "theirs"}, at=9, who="eve")
    last, *earlier = content(ours)["reflog"]
    assert (THIRD.id, OTHER.id, "eve") == (last.version, last.before, last.who)
    assert ["mine", "tuned", "first"] == [move.why for move in earlier]
    assert {"prod": THIRD.id} == content(ours)["refs"]
    merge_store(ours, theirs)
    assert content(ours) == content(theirs)


def test_a_decision_for_ours_keeps_the_ref(tmp_path: Path) -> None:
    """The ref stays, and the other store takes it without a question."""
    ours = _of_moves(tmp_path / "a.db", *_MOVES[:2])
    theirs = _of_moves(tmp_path / "b.db", _MOVES[0], RefMoved("prod", THIRD.id, "mine", 3, "cid"))
    merge_store(theirs, ours, take={"prod": "ours"}, at=9)
    assert {"prod": OTHER.id} == content(ours)["refs"]
    merge_store(ours, theirs)
    assert {"prod": OTHER.id} == content(theirs)["refs"]


def test_a_decision_about_no_ref_is_an_error(pair: tuple[Path, Path]) -> None:
    """The name of a ref that neither store has is told."""
    with pytest.raises(UnknownVersion, match="prud"):
        merge_store(*pair, take={"prud": "ours"})


def test_copies_of_a_run_that_were_gone_on_with_apart_are_refused(tmp_path: Path) -> None:
    """Two answers to one call, or two executions at one place, can't be one run again."""
    begun = events_of(_RUNS[1])[:3]
    stores = [_written(tmp_path / f"{name}.db", *begun) for name in "ab"]
    for path, text in zip(stores, ("so", "other"), strict=True):
        trace = trace_of("s0", asked("a[0]/call[0]", ChatReply(text)))
        _written(path, *events_of(run_of("r2", trace))[3:])
    with pytest.raises(RunsDisagree, match=r"execution s0 .* its call a\[0\]/call\[0\] differs"):
        merge_store(*stores)
    other = _written(tmp_path / "c.db", *events_of(run_of("r2", trace_of("x"))))
    with pytest.raises(RunsDisagree, match="run r2"):
        merge_store(other, stores[0])
    assert ["s0"] == [trace.id for trace in content(stores[0])["runs"]["r2"]]


def test_references_and_data_sets_and_pictures_come_too(tmp_path: Path) -> None:
    """A run that refers to executions of another, data sets by digest with their names and origins,
    and the content of a picture.
    """
    picture = lf.Image(PNG)
    first = run_of("r1", trace_of("t1", inputs=lf.Record(question="what?", picture=picture)))
    opened, *_, closed = events_of(run_of("r3", *first.traces))
    path = tmp_path / "a.db"
    _written(path, *events_of(first), opened, TraceReused("r3", "ex[0]", 0, "t1"), closed)
    with lf.SqliteStore(path) as store:
        store.put_dataset("dev", {"train": [{"q": "a"}], "held": [{"q": "b"}]})
        store.put_dataset("dev", [{"q": "c"}])
    target = tmp_path / "b.db"
    assert 2 == merge_store(path, target).datasets
    assert content(path) == content(target)
    with lf.SqliteStore(target) as store:
        assert picture.data == store.trace("t1").inputs.picture.data
        assert ["c"] == [row.q for row in store.dataset("dev")]


def test_where_examples_come_from_is_known_if_one_store_knows_it(tmp_path: Path) -> None:
    """Whichever store is merged into which."""
    rows = [{"q": "a"}, {"q": "b"}]
    knowing, other = tmp_path / "a.db", tmp_path / "b.db"
    for path, origins in ((knowing, {lf.example_id(rows[1]): "t1"}), (other, {})):
        with lf.SqliteStore(path) as store:
            digest = store.put_dataset("dev", rows, origins=origins)
    merge_store(knowing, other, take={"dev": "ours"})
    with reading(other) as reader:
        assert {lf.example_id(rows[1]): "t1"} == reader.datasets.origins(digest)


def test_a_name_of_a_data_set_moves_as_a_ref_does(tmp_path: Path) -> None:
    """The later state counts; names that both moved are refused until somebody decides."""
    stores = [tmp_path / "a.db", tmp_path / "b.db"]
    for path, rows in zip(stores, ("one", "two"), strict=True):
        with lf.SqliteStore(path) as store:
            store.put_dataset("dev", [{"q": rows}])
    with pytest.raises(RefsDisagree, match="'dev'"):
        merge_store(*stores)
    merge_store(*stores, take={"dev": "theirs"}, at=10**19 // 2)
    with lf.SqliteStore(stores[1]) as store:
        assert ["one"] == [row.q for row in store.dataset("dev")]


class _Killed(Exception):
    """The merge ends here."""


@pytest.mark.parametrize("after", range(1, 9))
def test_a_merge_that_was_killed_is_done_again_and_goes_on(
    tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each transaction: what is there is sound, and the second merge comes to the same."""
    monkeypatch.setattr("lmflow.stores.sqlite.merging.merge._MOST", 2)
    source = _written(
        tmp_path / "a.db",
        *_SAVED,
        *(event for run in _RUNS for event in events_of(run)),
        *_SCORES,
        *_MOVES,
    )
    target = tmp_path / "b.db"
    _kill_after(monkeypatch, after)
    with contextlib.suppress(_Killed):
        merge_store(source, target)
    monkeypatch.undo()
    with reading(target) as reader:
        assert () == reader.check().problems
    merge_store(source, target)
    assert content(source) == content(target)


def _kill_after(monkeypatch: pytest.MonkeyPatch, commits: int) -> None:
    """Let the connection of a merge fail before one of its commits."""
    connect, left = sqlite3.connect, [commits]

    class Dying(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql == "COMMIT":
                left[0] -= 1
                if not left[0]:
                    raise _Killed
            return sqlite3.Connection.execute(self, sql, *parameters)

    def dying(*names: Any, **options: Any) -> sqlite3.Connection:
        return connect(*names, factory=Dying, **options)

    monkeypatch.setattr("lmflow.stores.sqlite.merging.merge.sqlite3.connect", dying)


def test_a_damaged_blob_is_never_taken_over(pair: tuple[Path, Path]) -> None:
    """A value that doesn't match its hash ends the merge, and what was there before stays."""
    source, target = pair
    before = content(target)
    with contextlib.closing(sqlite3.connect(source)) as db:
        db.execute("UPDATE blob SET data = x'7b7d', enc = 0 WHERE kind = 'reply'")
        db.commit()
    with pytest.raises(Tampered, match="doesn't match its hash"):
        merge_store(source, target)
    assert before == content(target)


def test_a_view_under_the_name_of_a_table_is_refused(pair: tuple[Path, Path]) -> None:
    """A file from elsewhere could run what its author wrote."""
    with contextlib.closing(sqlite3.connect(pair[0])) as db:
        db.executescript("ALTER TABLE pin RENAME TO pins; CREATE VIEW pin AS SELECT * FROM pins;")
    with pytest.raises(Tampered, match="its table 'pin' isn't one"):
        merge_store(*pair)


def test_a_store_that_is_not_there_is_an_error(pair: tuple[Path, Path]) -> None:
    """And nothing is made, neither it nor the target."""
    absent, new = (pair[0].with_name(name) for name in ("none.db", "new.db"))
    with pytest.raises(StoreError, match="there is no such store"):
        merge_store(absent, new)
    assert [] == [path for path in (absent, new) if path.exists()]
    with pytest.raises(StoreError, match="Does its folder exist"):
        merge_store(pair[0], pair[0].with_name("none") / "new.db")


@pytest.mark.parametrize("place", ["cut", "changed"])
def test_a_damaged_source_is_named_with_what_rescues_it(
    pair: tuple[Path, Path], place: str
) -> None:
    """The target isn't blamed, and nothing of the batch comes into it."""
    source, target = pair
    written = source.read_bytes()
    damage = {"cut": written[: len(written) // 2], "changed": _spoiled(source, written)}
    source.write_bytes(damage[place])
    before = content(target)
    with pytest.raises(StoreError, match="store salvage") as problem:
        merge_store(source, target)
    assert str(source) in str(problem.value)
    assert before == content(target)


def _spoiled(source: Path, written: bytes) -> bytes:
    """The file with nonsense at the root of a table that a merge reads late."""
    with contextlib.closing(sqlite3.connect(source)) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'trace'"
        page = int(db.execute(query).fetchone()[0])
        size = int(db.execute("PRAGMA page_size").fetchone()[0])
    start = (page - 1) * size
    return written[:start] + b"\xff" * size + written[start + size :]


def test_garbage_that_is_swept_meanwhile_takes_nothing(pair: tuple[Path, Path]) -> None:
    """What a merge refers to is noted while garbage is swept."""
    source, target = pair
    with contextlib.closing(sqlite3.connect(target)) as db:
        db.execute("UPDATE meta SET value = '1' WHERE key = 'gc'")
        db.commit()
    merge_store(source, target)
    with contextlib.closing(sqlite3.connect(target)) as db:
        touched = db.execute("SELECT count(*) FROM touched WHERE kind = 'blob'").fetchone()
        versions = db.execute("SELECT count(*) FROM touched WHERE kind = 'version'").fetchone()
    assert touched[0] > 0 < versions[0]
    assert content(source)["runs"].items() <= content(target)["runs"].items()


def test_a_store_of_an_earlier_version_is_merged_as_it_is(tmp_path: Path) -> None:
    """Its requests name their messages by number; the file itself stays as it was."""
    source, target = tmp_path / "old.db", tmp_path / "new.db"
    source.write_bytes(
        gzip.decompress((ROOT / "tests" / "fixtures" / "recorded" / "store.db.gz").read_bytes())
    )
    before = source.read_bytes()
    merge_store(source, target)
    assert before == source.read_bytes()
    with reading(source) as old, reading(target) as new:
        assert () == new.check().problems
        assert [old.root(run.id) for run in old.runs(99, "")] == [
            new.root(run.id) for run in new.runs(99, "")
        ]
        assert all(old.run(run.id) == new.run(run.id) for run in old.runs(99, ""))
