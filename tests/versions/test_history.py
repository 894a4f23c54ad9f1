"""The laws of lineage, ancestors and blame."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import CyclicParent, ForeignPaths, MissingParent, UnknownVersion
from lmflow.values.record import Record
from lmflow.versions.blame import Attribution, blame
from lmflow.versions.history import ancestor, common_ancestor, lineage
from lmflow.versions.merge import merge, migrate
from lmflow.versions.version import Version

ROOT = Version(
    params={
        "a.instruction": "one\ntwo",
        "a.demos": [{"q": "1"}],
        "a.options": {"seed": 1},
        "a.model": "",
    }
)
LEFT = ROOT.put(
    {"a.instruction": "one\nTWO"},
    note="left",
    origin={"a.instruction": {"rollout": "r", "address": "p[0]"}},
)
RIGHT = ROOT.put({"a.demos": [{"q": "1"}, {"q": "2"}]}, note="right")
MERGED = merge(ROOT, LEFT, RIGHT)
NOTHING: dict[str, Version] = {}
KEPT = {version.id: version for version in (ROOT, LEFT, RIGHT, MERGED)}


@st.composite
def _graphs(draw: st.DrawFn) -> list[Version]:
    """Versions whose parents are among the earlier ones."""
    found = [ROOT]
    for k in range(draw(st.integers(0, 8))):
        parents = draw(st.lists(st.sampled_from(found), min_size=1, max_size=2, unique=True))
        found.append(Version(params=ROOT.params, parents=tuple(p.id for p in parents), note=str(k)))
    return found


@given(_graphs())
def test_a_lineage_has_each_ancestor_once(graph: list[Version]) -> None:
    """The version comes first, then all that its parents lead to, none twice."""
    kept = {version.id: version for version in graph}
    line = [version.id for version in lineage(graph[-1], kept.__getitem__)]
    reached, waiting = set[str](), [graph[-1].id]
    while waiting:
        reached.add(found := waiting.pop())
        waiting += kept[found].parents
    assert (graph[-1].id, sorted(reached)) == (line[0], sorted(line))


@given(_graphs(), st.data())
def test_the_common_ancestor_is_the_same_both_ways(
    graph: list[Version], data: st.DataObject
) -> None:
    """It is an ancestor of both, and no common ancestor descends from it."""
    kept = {version.id: version for version in graph}
    a, b = (data.draw(st.sampled_from(graph)) for _ in range(2))
    found, other = common_ancestor(a, b, kept.__getitem__), common_ancestor(b, a, kept.__getitem__)
    assert found is not None
    assert found == other
    shared = {v.id for v in lineage(a, kept.__getitem__)} & {
        v.id for v in lineage(b, kept.__getitem__)
    }
    assert found.id in shared
    assert not any(found.id in kept[one].parents for one in shared)


def test_strangers_have_no_common_ancestor() -> None:
    """Two lines that never met have none."""
    assert None is common_ancestor(ROOT, Version(note="other"), KEPT.__getitem__)


def test_a_missing_parent_is_named() -> None:
    """A parent that isn't kept is an error with both ids; or the line ends there."""
    with pytest.raises(MissingParent, match=ROOT.id[6:18]):
        list(lineage(LEFT, NOTHING.__getitem__))
    assert [LEFT] == list(lineage(LEFT, NOTHING.__getitem__, whole=False))


def test_a_cycle_is_an_error() -> None:
    """A store that leads back to where it came from is found out."""
    with pytest.raises(CyclicParent, match="a cycle or a changed version"):
        list(lineage(LEFT, lambda _: LEFT))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x", MERGED), ("x~0", MERGED), ("x~", LEFT), ("x~1", LEFT), ("x~2", ROOT)],
)
def test_a_name_may_count_parents_back(name: str, expected: Version) -> None:
    """``NAME~N`` is the N-th first parent."""
    assert expected == ancestor(name, lambda wanted: {**KEPT, "x": MERGED}[wanted])


def test_beyond_the_first_version_there_is_none() -> None:
    """More parents than the line has is an error that says so."""
    with pytest.raises(UnknownVersion, match="isn't that long"):
        ancestor("x~3", lambda wanted: {**KEPT, "x": MERGED}[wanted])


def test_lines_are_blamed_on_who_introduced_them() -> None:
    """A line that a parent has is the parent's; the one that differs is the version's, with its
    origin.
    """
    one, two = blame(MERGED, "a.instruction", KEPT.__getitem__)
    assert (("one", ROOT), ("TWO", LEFT)) == ((one.part, one.version), (two.part, two.version))
    assert (None, Record(rollout="r", address="p[0]")) == (one.origin, two.origin)


def test_demonstrations_are_blamed_through_merges() -> None:
    """A demonstration that only the second parent has is that parent's."""
    assert [ROOT, RIGHT] == [part.version for part in blame(MERGED, "a.demos", KEPT.__getitem__)]


def test_moved_demonstrations_stay_with_who_introduced_them() -> None:
    """Another order changes no one's part."""
    moved = RIGHT.put({"a.demos": [{"q": "2"}, {"q": "1"}, {"q": "3"}]})
    assert [RIGHT, ROOT, moved] == [
        part.version for part in blame(moved, "a.demos", KEPT.__getitem__)
    ]


def test_keys_and_whole_values_are_blamed() -> None:
    """Options go by key, other values whole."""
    child = ROOT.put({"a.options": {"seed": 1, "stop": "."}, "a.model": "x/y"})
    assert [ROOT, child] == [part.version for part in blame(child, "a.options", KEPT.__getitem__)]
    assert (Attribution("x/y", child, "a.model"),) == blame(child, "a.model", KEPT.__getitem__)


def test_blame_follows_a_renamed_step() -> None:
    """A path that was renamed is followed to its old name."""
    moved = migrate(LEFT, rename={"a": "b"})
    parts = blame(moved, "b.instruction", KEPT.__getitem__)
    assert [(ROOT, "a.instruction"), (LEFT, "a.instruction")] == [
        (part.version, part.path) for part in parts
    ]


def test_blame_says_where_its_knowledge_ends() -> None:
    """Where a parent isn't kept, an older version may have introduced it."""
    parts = blame(LEFT, "a.instruction", NOTHING.__getitem__)
    assert {(LEFT, False)} == {(part.version, part.whole) for part in parts}


def test_blame_refuses_an_unknown_path() -> None:
    """The near name is suggested."""
    with pytest.raises(ForeignPaths, match=r"Did you mean 'a.model'"):
        blame(ROOT, "a.modle", KEPT.__getitem__)


@given(
    st.lists(
        st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=4), min_size=1, max_size=5
    )
)
def test_blame_tells_every_part_of_the_latest(texts: list[list[str]]) -> None:
    """The parts are the value, in order, and each is in the version that it is blamed on."""
    version = Version(params={"a.instruction": "\n".join(texts[0])})
    kept = {version.id: version}
    for text in texts[1:]:
        version = attrs.evolve(version.put({"a.instruction": "\n".join(text)}), note=str(len(kept)))
        kept[version.id] = version
    parts = blame(version, "a.instruction", kept.__getitem__)
    assert texts[-1] == [part.part for part in parts]
    assert all(part.part in part.version["a.instruction"].split("\n") for part in parts)


def test_a_demonstration_has_its_own_origin() -> None:
    """Of a list of origins each demonstration has the one at its place in the version."""
    chosen = ROOT.put(
        {"a.demos": [{"q": "2"}, {"q": "1"}, {"q": "3"}]},
        origin={"a.demos": [{"example": "e2"}, {"example": "e1"}, {"example": "e3"}]},
    )
    known = {version.id: version for version in (ROOT, chosen)}
    origins = [part.origin for part in blame(chosen, "a.demos", known.__getitem__)]
    assert [Record(example="e2"), None, Record(example="e3")] == origins
