"""The laws of looking for words in versions: which version introduced them, in which parameter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import ForeignPaths
from lmflow.versions.pickaxe import WordsChange, changed_in, paths_named, words_changes

FIRST = lf.Version(
    params={"a.instruction": "Be brief. Be kind.", "a.options": {"seed": 7}, "b.demos": []}
)
SECOND = FIRST.put({"a.instruction": "Be kind.", "b.demos": [{"question": "brief", "answer": "x"}]})


def test_words_that_come_and_go_are_found() -> None:
    """Each parameter is counted, in texts at any depth."""
    assert [
        WordsChange("a.instruction", 2, 1),
    ] == words_changes(SECOND, FIRST, "Be ")
    assert ["-1 a.instruction", "+1 b.demos"] == [
        str(change) for change in words_changes(SECOND, FIRST, "brief")
    ]
    assert [] == words_changes(SECOND, FIRST, "kind")


def test_a_version_without_a_parent_introduces_what_it_holds() -> None:
    """A number is its JSON, a key of a mapping counts."""
    assert [WordsChange("a.options", 0, 1)] == words_changes(FIRST, None, "7")
    assert [WordsChange("a.options", 0, 1)] == words_changes(FIRST, None, "seed")


def test_paths_limit_the_search() -> None:
    """A path, or a step with all its paths."""
    assert ["b.demos"] == [c.path for c in words_changes(SECOND, FIRST, "brief", ["b"])]
    assert changed_in(SECOND, FIRST, ["a.instruction"])
    assert not changed_in(SECOND, FIRST, ["a.options"])


def test_a_step_stands_for_its_paths() -> None:
    """A name that no path has is told with those that there are."""
    assert ["a.instruction", "a.options"] == paths_named(FIRST, ["a"])
    assert ["b.demos"] == paths_named(FIRST, ["b.demos"])
    with pytest.raises(ForeignPaths, match=r"Did you mean 'a.instruction'\?"):
        paths_named(FIRST, ["a.instructon"])


@given(st.text(max_size=8), st.text(min_size=1, max_size=2))
def test_a_change_is_counted_from_both_sides(text: str, words: str) -> None:
    """What one version adds, the way back removes."""
    other = FIRST.put({"a.instruction": text})
    there = words_changes(other, FIRST, words)
    back = words_changes(FIRST, other, words)
    assert [(c.path, c.before, c.after) for c in there] == [
        (c.path, c.after, c.before) for c in back
    ]
