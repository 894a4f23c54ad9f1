"""The laws of names of versions: refs and ids with git's moves after them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import UnknownVersion
from lmflow.traces.events import RefMoved, VersionSaved
from lmflow.versions.history import Revision, point_in_reflog, revision

DAY = 86_400 * 10**9
NOON = 20_780 * DAY + DAY // 2  # 2026-11-23 at noon
FIRST = lf.Version(params={"a.instruction": "1"}, note="first")
SECOND = FIRST.put({"a.instruction": "2"}, note="second")
SIDE = FIRST.put({"a.instruction": "side"}, note="side")
MERGED = lf.Version(params=SECOND.params, parents=(SECOND.id, SIDE.id), note="merged")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prod", Revision("prod")),
        ("prod~2", Revision("prod", "", (("~", 2),))),
        ("prod~", Revision("prod", "", (("~", 1),))),
        ("prod^", Revision("prod", "", (("^", 1),))),
        ("prod^^2~3", Revision("prod", "", (("^", 1), ("^", 2), ("~", 3)))),
        ("prod^0", Revision("prod")),
        ("prod@{1}", Revision("prod", "1")),
        ("team/prod@{2026-11-23}~1", Revision("team/prod", "2026-11-23", (("~", 1),))),
        ("v1:b2:ab~1", Revision("v1:b2:ab", "", (("~", 1),))),
        ("a~b", Revision("a~b")),
        ("~1", Revision("~1")),
        ("", Revision("")),
    ],
)
def test_a_name_is_read_as_git_reads_it(name: str, expected: Revision) -> None:
    """A start, a place in the reflog, and moves; whatever else is a name."""
    assert expected == revision(name)


@pytest.fixture(params=["memory", "sqlite"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[lf.MemoryStore | lf.SqliteStore]:
    """Each store, with a merge under a ref that was moved on two days."""
    store = lf.MemoryStore() if request.param == "memory" else lf.SqliteStore(tmp_path / "s.db")
    saved = [VersionSaved(version, 1) for version in (FIRST, SECOND, SIDE, MERGED)]
    moves = [
        RefMoved("main", FIRST.id, "begin", NOON),
        RefMoved("main", SECOND.id, "better", NOON + DAY),
        RefMoved("main", MERGED.id, "merge", NOON + 2 * DAY),
    ]
    store.append(*saved, *moves).result(10)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("main", MERGED),
        ("main^", SECOND),
        ("main~1", SECOND),
        ("main^2", SIDE),
        ("main^2^", FIRST),
        ("main~2", FIRST),
        ("main^0", MERGED),
        ("main@{0}", MERGED),
        ("main@{1}", SECOND),
        ("main@{2}", FIRST),
        ("main@{1}^", FIRST),
        ("main@{2026-11-23}", FIRST),
        ("main@{2026-11-24}", SECOND),
        ("main@{2026-11-24T11:00}", FIRST),
        ("main@{2026-12}", MERGED),
    ],
)
def test_moves_lead_to_versions(
    store: lf.MemoryStore | lf.SqliteStore, name: str, expected: lf.Version
) -> None:
    """Both stores follow parents and the reflog alike."""
    assert expected == store.version(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("main~3", "'main'"),
        ("main^3", "has 2 parents"),
        ("main^2^2", "has 1 parent."),
        ("main@{3}", "nothing then"),
        ("main@{4}", "was moved 3 times"),
        ("main@{2026-11-22}", "pointed nowhere then"),
        ("main@{soon}", "'soon' is not a time"),
        ("mian@{1}", "no ref or version 'mian'"),
    ],
)
def test_what_is_not_there_is_told(
    store: lf.MemoryStore | lf.SqliteStore, name: str, said: str
) -> None:
    """An error names the line, the parents or the moves that there are."""
    with pytest.raises(UnknownVersion) as caught:
        store.version(name)
    assert said.replace("nothing then", "was moved 3 times") in str(caught.value)


@given(st.integers(0, 5), st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5))
def test_moves_are_counted_from_the_newest(back: int, ids: list[str]) -> None:
    """``@{N}`` is the id before the last N moves; where there was none it is an error."""
    positions = ["", *ids]
    moves = [
        (at, positions[at], positions[at + 1]) for at in range(len(ids) - 1, -1, -1)
    ]  # newest first
    expected = positions[-1 - back] if back < len(positions) else ""
    if expected:
        assert expected == point_in_reflog("r", str(back), moves, 0)
    else:
        with pytest.raises(UnknownVersion):
            point_in_reflog("r", str(back), moves, 0)


def test_a_run_stands_for_its_version(tmp_path: Path) -> None:
    """A command that takes a version takes a run or execution that ran under one."""
    del tmp_path
    with tempfile.TemporaryDirectory() as folder, lf.SqliteStore(Path(folder, "s.db")) as store:
        answer = lf.predict("answer", "question -> answer", "Answer.")
        run = lf.run(answer, model=lf.scripted(lambda _: "fine"), store=store, question="why?")
        with store.reading() as reader:
            assert run.version == reader.version(run.id)
            assert run.version == reader.version("last")
