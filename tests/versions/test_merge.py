"""The laws of merge, rebase and migrate."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmflow.errors import ForeignPaths, MergeConflict
from lmflow.values.record import Record
from lmflow.versions.demos import Overlap, merge_lists
from lmflow.versions.diff import diff
from lmflow.versions.merge import merge, migrate, rebase
from lmflow.versions.version import Version

ONE, TWO, THREE = ({"q": str(k), "a": str(k)} for k in (1, 2, 3))
items = st.sampled_from([ONE, TWO, THREE, {"q": "4"}])
params = st.fixed_dictionaries(
    {},
    optional={
        "a.instruction": st.sampled_from(["Answer.", "Sing.", "Think."]),
        "a.demos": st.lists(items, max_size=4),
        "a.options": st.dictionaries(st.sampled_from(["temperature", "seed"]), st.integers(0, 1)),
        "a.model": st.sampled_from(["", "x/y"]),
    },
)
versions = st.builds(Version, params=params.map(Record))
BASE = Version(
    params={
        "a.instruction": "Answer.",
        "a.demos": [ONE, TWO],
        "a.options": {"seed": 1, "top_p": 0.5},
        "a.model": "",
    }
)


def _merged(base: Version, ours: Version, theirs: Version) -> Version | tuple[str, ...]:
    """The merged version, or the paths of the conflict."""
    try:
        return merge(base, ours, theirs)
    except MergeConflict as conflict:
        return tuple(clash.path for clash in conflict.clashes)


@given(versions, versions, versions)
@settings(max_examples=300)
def test_merge_commutes_in_tree(base: Version, ours: Version, theirs: Version) -> None:
    """Whichever side comes first, the tree is the same, or the same paths are in conflict."""
    one, other = _merged(base, ours, theirs), _merged(base, theirs, ours)
    if isinstance(one, Version) and isinstance(other, Version):
        assert one.tree == other.tree
    else:
        assert one == other


@given(versions, versions)
def test_a_side_without_changes_gives_the_other(base: Version, ours: Version) -> None:
    """Merged with the base itself, a version keeps its tree, and its parents are both sides."""
    merged = merge(base, ours, base)
    assert (ours.tree, (ours.id, base.id)) == (merged.tree, merged.parents)


@given(versions, versions)
def test_equal_changes_are_no_conflict(base: Version, ours: Version) -> None:
    """Both sides with one tree give that tree."""
    assert ours.tree == merge(base, ours, ours).tree


@given(versions, versions, versions)
def test_a_path_that_one_side_changed_has_its_value(
    base: Version, ours: Version, theirs: Version
) -> None:
    """What only one side changed is in the merge as that side has it."""
    merged = _merged(base, ours, theirs)
    if isinstance(merged, Version):
        only = {c.path for c in diff(base, ours)} - {c.path for c in diff(base, theirs)}
        assert not only & {c.path for c in diff(ours, merged)}


def test_different_paths_come_together() -> None:
    """One side's instruction and the other's model are both in the merge."""
    merged = merge(BASE, BASE.put({"a.instruction": "Sing."}), BASE.put({"a.model": "x/y"}))
    assert ("Sing.", "x/y") == (merged["a.instruction"], merged["a.model"])


def test_options_are_merged_by_key() -> None:
    """Keys that one side added, changed or removed are so in the merge."""
    ours, theirs = (
        BASE.put({"a.options": {"seed": 2, "top_p": 0.5}}),
        BASE.put({"a.options": {"seed": 1, "stop": "."}}),
    )
    assert Record(seed=2, stop=".") == merge(BASE, ours, theirs)["a.options"]


def test_demonstrations_are_merged_by_element() -> None:
    """One side dropped the first, the other added one at the end."""
    merged = merge(BASE, BASE.put({"a.demos": [TWO]}), BASE.put({"a.demos": [ONE, TWO, THREE]}))
    assert (Record(TWO), Record(THREE)) == merged["a.demos"]


CLASHES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"a.instruction": "Sing."}, {"a.instruction": "Think."}, "a.instruction"),
    ({"a.options": {"seed": 2}}, {"a.options": {"seed": 3}}, "a.options.seed"),
    ({"a.demos": [ONE, TWO, THREE]}, {"a.demos": [ONE, TWO, {"q": "9"}]}, "a.demos"),
    ({"a.demos": [THREE, TWO]}, {"a.demos": [TWO]}, "a.demos"),
    ({"a.model": "x/y"}, {"a.model": "z/w"}, "a.model"),
]


@pytest.mark.parametrize(("ours", "theirs", "path"), CLASHES)
def test_a_conflict_names_the_path_and_both_sides(
    ours: dict[str, Any], theirs: dict[str, Any], path: str
) -> None:
    """What both changed differently is an error with the path and both values."""
    with pytest.raises(MergeConflict) as caught:
        merge(BASE, BASE.put(ours), BASE.put(theirs))
    assert [path] == [clash.path for clash in caught.value.clashes]
    assert f"`{path}`: ours " in str(caught.value)
    assert ", theirs " in str(caught.value)


def test_every_conflict_is_named() -> None:
    """Two paths in conflict are both in one error, which is one line."""
    ours, theirs = ({"a.instruction": f"{k}\nmore", "a.model": f"{k}/m"} for k in ("x", "y"))
    with pytest.raises(MergeConflict, match=r"`a\.instruction`.*`a\.model`") as caught:
        merge(BASE, BASE.put(ours), BASE.put(theirs))
    assert "\n" not in str(caught.value)


def test_a_path_removed_on_one_side_and_changed_on_the_other_is_a_conflict() -> None:
    """Removing isn't lost, nor is the change."""
    ours = Version(params={name: value for name, value in BASE.params.items() if name != "a.model"})
    with pytest.raises(MergeConflict, match="ours absent, theirs"):
        merge(BASE, ours, BASE.put({"a.model": "x/y"}))


numbers = st.lists(st.integers(0, 3), max_size=5)


@given(numbers, numbers, numbers)
@settings(max_examples=300)
def test_lists_merge_the_same_both_ways(
    base: list[int], ours: list[int], theirs: list[int]
) -> None:
    """The merge of lists commutes, also in whether it is possible."""

    def merged(a: list[int], b: list[int]) -> tuple[int, ...] | None:
        try:
            return merge_lists(base, a, b)
        except Overlap:
            return None

    assert merged(ours, theirs) == merged(theirs, ours)


def test_rebase_keeps_changes_on_new_defaults() -> None:
    """What was tuned stays, what wasn't is as the code says now."""
    tuned = BASE.put({"a.instruction": "Sing."})
    new = Version(params=BASE.params | {"a.model": "x/y"})
    rebased = rebase(BASE, tuned, new)
    assert ("Sing.", "x/y", (tuned.id,)) == (
        rebased["a.instruction"],
        rebased["a.model"],
        rebased.parents,
    )


def test_rebase_refuses_what_both_changed() -> None:
    """A default that was tuned and has changed in the code is a conflict."""
    with pytest.raises(MergeConflict, match=r"a\.instruction"):
        rebase(BASE, BASE.put({"a.instruction": "Sing."}), BASE.put({"a.instruction": "Think."}))


def test_migrate_renames_a_step() -> None:
    """All paths of a step go with it; the origin says where they came from."""
    moved = migrate(BASE, rename={"a": "b"})
    assert ["b.instruction", "b.demos", "b.options", "b.model"] == list(moved.params)
    assert ((BASE.id,), "migrate: a -> b") == (moved.parents, moved.note)
    assert Record({"from": "a.demos"}) == moved.origin["b.demos"]


def test_migrate_renames_a_path_and_drops_another() -> None:
    """A single path may be renamed, and what has no home may be dropped by name."""
    moved = migrate(BASE, rename={"a.instruction": "b.instruction"}, drop=["a"])
    assert {"b.instruction": "Answer."} == dict(moved.params) or "a.demos" not in moved.params


def test_migrate_renames_fields_of_demonstrations() -> None:
    """A field is named by its step; other fields stay."""
    moved = migrate(BASE, rename={"a.q": "a.question"})
    assert (Record(question="1", a="1"), Record(question="2", a="2")) == moved["a.demos"]
    assert BASE["a.options"] == moved["a.options"]


@pytest.mark.parametrize(
    ("rename", "drop", "words"),
    [
        ({"b": "c"}, (), "no `b` in the version"),
        ({}, ("a.modle",), "Did you mean 'a.model'"),
        ({"a.model": "a.options"}, (), "there twice"),
        ({"a.w": "a.q"}, (), "no `a.w`"),
    ],
)
def test_migrate_refuses_what_is_not_there(
    rename: dict[str, str], drop: tuple[str, ...], words: str
) -> None:
    """Unknown names, and two paths with one name, are errors."""
    with pytest.raises(ForeignPaths, match=words):
        migrate(BASE, rename=rename, drop=drop)
