"""The laws of differences: words, demonstrations, options; applied they give the other version."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import json_values, records

from lmflow.errors import Conflict
from lmflow.values.record import Record, canonical, pretty
from lmflow.values.text_diff import LONGEST, Piece, changed_lines, mark_changes, side, word_diff
from lmflow.versions.changes import ABSENT, Change
from lmflow.versions.demos import common, demo_edits
from lmflow.versions.diff import Diff, apply, diff
from lmflow.versions.version import Version

demo = st.builds(
    lambda q, a: {"question": q, "answer": a}, st.sampled_from("abc"), st.sampled_from("xy")
)
demos = st.lists(demo, max_size=5)
instructions = st.lists(
    st.sampled_from(["Answer", "in", "one", "word", ".", "\n", "  "]), max_size=12
).map(" ".join)
params = st.fixed_dictionaries(
    {},
    optional={
        "a.instruction": instructions | st.text(),
        "a.demos": demos,
        "a.options": records,
        "a.model": json_values,
    },
)
versions = st.builds(Version, params=params.map(Record), note=st.text())


@given(versions, versions)
@settings(max_examples=200)
def test_a_difference_applied_gives_the_other(a: Version, b: Version) -> None:
    """``apply(a, diff(a, b))`` has the tree of ``b``, and ``a`` as its parent."""
    made = apply(a, diff(a, b))
    assert (b.tree, (a.id,)) == (made.tree, made.parents)


@given(versions)
def test_a_version_differs_in_nothing_from_itself(version: Version) -> None:
    """The difference of a version and itself is empty, false and says so."""
    same = diff(version, version)
    assert (Diff(), False, 0, "no difference") == (same, bool(same), len(same), str(same))


@given(versions, versions)
def test_a_difference_turned_round_swaps_its_sides(a: Version, b: Version) -> None:
    """The difference back is the difference with before and after swapped."""
    assert [Change(c.path, c.after, c.before) for c in diff(a, b)] == list(diff(b, a))


@given(versions, versions)
def test_a_difference_is_json(a: Version, b: Version) -> None:
    """A difference has JSON values, one entry a path, with both sides where there are such."""
    found = diff(a, b).to_json()
    assert [change.path for change in diff(a, b)] == [entry["path"] for entry in found]
    assert [{"after" in entry, "before" in entry} != {False} for entry in found] == [True] * len(
        found
    )
    assert canonical(found)


@given(versions, st.data())
def test_a_difference_says_what_put_did(version: Version, data: st.DataObject) -> None:
    """The paths that differ between a version and its child are the changed ones."""
    keys = st.sampled_from(list(version.params)) if version.params else st.nothing()
    changes = data.draw(st.dictionaries(keys, json_values))
    really = sorted(
        path
        for path, value in changes.items()
        if canonical(value) != canonical(version.params[path])
    )
    assert really == [change.path for change in diff(version, version.put(changes))]


def test_a_difference_compares_by_canonical_form() -> None:
    """1 and True are a difference."""
    a, b = Version(params={"a.n": 1}), Version(params={"a.n": True})
    assert [Change("a.n", 1, after=True)] == list(diff(a, b))


def test_an_absent_path_is_not_null() -> None:
    """A path that only one of two versions has is a difference, also where its value is null."""
    assert [Change("a", ABSENT, None)] == list(diff(Version(), Version(params={"a": None})))


@given(versions, versions, versions)
def test_a_difference_fits_only_what_it_was_made_from(a: Version, b: Version, c: Version) -> None:
    """Applied to a version that differs in a changed path it is refused; else each changed path has
    its value.
    """
    difference = diff(a, b)
    if {change.path for change in diff(a, c)} & {change.path for change in difference}:
        with pytest.raises(Conflict, match="the difference was made from"):
            apply(c, difference)
    else:
        assert not {change.path for change in diff(apply(c, difference), b)} & {
            change.path for change in difference
        }


@given(instructions | st.text(), instructions | st.text())
def test_pieces_hold_both_texts(a: str, b: str) -> None:
    """Without the inserts the pieces are the earlier text, without the deletes the later one."""
    pieces = word_diff(a, b)
    assert (a, b) == (side(pieces, "delete"), side(pieces, "insert"))


@given(st.text())
def test_equal_texts_are_one_piece(text: str) -> None:
    """Nothing is inserted or deleted between a text and itself."""
    assert {"equal"} >= {piece.kind for piece in word_diff(text, text)}


def test_words_differ_as_words() -> None:
    """A changed word is a delete and an insert; what stands around it is equal."""
    pieces = word_diff("Answer in a few words.", "Answer in one word.")
    assert (
        Piece("equal", "Answer in "),
        Piece("delete", "a few words"),
        Piece("insert", "one word"),
        Piece("equal", "."),
    ) == pieces
    assert "Answer in [-a few words-]{+one word+}." == mark_changes(pieces)


def test_only_lines_that_differ_are_compared_by_words() -> None:
    """However long a text is, a changed word in one of its lines is one change."""
    text = "\n".join(f"line {k} of many words" for k in range(2000))
    pieces = word_diff(text, text.replace("line 7 ", "row 7 "))
    changed = [(piece.kind, piece.text) for piece in pieces if piece.kind != "equal"]
    assert [("delete", "line"), ("insert", "row")] == changed


def test_longer_stretches_of_lines_are_not_compared_by_words() -> None:
    """Beyond the most words that are compared, lines that differ are one delete and one insert."""
    text = "word, " * LONGEST
    assert (Piece("delete", f"{text}a"), Piece("insert", f"{text}b")) == word_diff(
        f"{text}a", f"{text}b"
    )


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("Answer.", "Answer briefly.", "Answer{+ briefly+}."),
        ("Answer.", "Answer.\nBe brief.", "Answer.{+\nBe brief.+}"),
        ("Say a few words.", "Say one word.", "Say [-a few words-]{+one word+}."),
        ("a\nsame\nb", "x\nsame\ny", "[-a-]{+x+}\nsame\n[-b-]{+y+}"),
        ("one two", "two", "[-one -]two"),
    ],
)
def test_changes_are_as_small_as_words_allow(before: str, after: str, words: str) -> None:
    """Words that both texts have stay, and white space alone parts no two changes."""
    assert words == mark_changes(word_diff(before, after))


@given(instructions | st.text(), instructions | st.text())
def test_changed_lines_have_the_changes_of_the_whole_text(a: str, b: str) -> None:
    """The view of the lines that differ and the view of the whole text mark the same words."""
    marks = re.compile(r"\[-.*?-\]|\{\+.*?\+\}", re.DOTALL)

    def changes(text: str) -> str:
        bare = (mark.replace("\n", "") for mark in marks.findall(text))
        return "".join(mark for mark in bare if mark not in {"[--]", "{++}"})

    assert changes(mark_changes(word_diff(a, b))) == changes(changed_lines(a, b))


@given(demos, demos)
def test_edits_account_for_every_demonstration(
    a: list[dict[str, str]], b: list[dict[str, str]]
) -> None:
    """What stays is common, in order; each other demonstration is in one edit, with its content and
    place.
    """
    edits = demo_edits(a, b)
    was, now = (
        [edit.was for edit in edits if edit.was is not None],
        [edit.now for edit in edits if edit.now is not None],
    )
    stay_a, stay_b = (
        [item for at, item in enumerate(items) if at not in places]
        for items, places in ((a, was), (b, now))
    )
    assert stay_a == stay_b
    assert (len(set(was)), len(set(now))) == (len(was), len(now))
    assert all(edit.before == a[edit.was] for edit in edits if edit.was is not None)
    assert all(edit.after == b[edit.now] for edit in edits if edit.now is not None)
    assert all(edit.before == edit.after for edit in edits if edit.kind == "moved")


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_what_is_common_is_the_longest(a: list[str], b: list[str]) -> None:
    """No longer common subsequence exists, and both sides of each pair are equal and in order."""

    def longest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        return (
            longest(i + 1, j + 1) + 1 if a[i] == b[j] else max(longest(i + 1, j), longest(i, j + 1))
        )

    pairs = common(a, b)
    assert longest(0, 0) == len(pairs)
    assert sorted(pairs) == pairs
    assert all(a[i] == b[j] for i, j in pairs)


DEMOS = [{"q": "1", "a": "one"}, {"q": "2", "a": "two"}, {"q": "3", "a": "three"}]
EDITS: list[tuple[list[dict[str, str]], list[tuple[str, int | None, int | None]]]] = [
    ([*DEMOS, {"q": "4", "a": "four"}], [("added", None, 3)]),
    (DEMOS[1:], [("removed", 0, None)]),
    ([DEMOS[1], DEMOS[2], DEMOS[0]], [("moved", 0, 2)]),
    ([DEMOS[0], {"q": "2", "a": "deux"}, DEMOS[2]], [("edited", 1, 1)]),
    ([{"q": "9", "a": "nine"}, *DEMOS[1:]], [("removed", 0, None), ("added", None, 0)]),
    ([], [("removed", 0, None), ("removed", 1, None), ("removed", 2, None)]),
]


@pytest.mark.parametrize(
    ("later", "expected"), EDITS, ids=[str(expected[0][0]) for _, expected in EDITS]
)
def test_what_happened_to_demonstrations(
    later: list[dict[str, str]], expected: list[tuple[str, int | None, int | None]]
) -> None:
    """Added, removed, moved and edited are told apart by what demonstrations hold."""
    assert expected == [(edit.kind, edit.was, edit.now) for edit in demo_edits(DEMOS, later)]


def test_a_difference_reads_as_words() -> None:
    """Each path with what changed in it: words, demonstrations, keys, or both values."""
    a = Version(
        params={
            "a.instruction": "Answer briefly.",
            "a.demos": DEMOS,
            "a.options": {"temperature": 0},
            "a.model": "",
        }
    )
    changes = {
        "a.instruction": "Answer in one word.",
        "a.demos": DEMOS[:2],
        "a.options": {"seed": 1},
        "a.model": "x/y",
    }
    expected = """a.demos
  - demo 3: {"q": "3", "a": "three"}
a.instruction
  Answer [-briefly-]{+in one word+}.
a.model
  "" -> "x/y"
a.options
  seed: absent -> 1
  temperature: 0 -> absent"""
    assert expected == str(diff(a, a.put(changes)))
    assert "a.new\n  absent -> 1" == str(diff(Version(), Version(params={"a.new": 1})))


def test_absent_is_one_value() -> None:
    """It reads as a name, and pickles to itself."""
    assert ("ABSENT", "ABSENT") == (repr(ABSENT), ABSENT.__reduce__())
    assert "null" == pretty(None)
