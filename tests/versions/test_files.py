"""The laws of files of versions: export then import keeps ids; what was changed is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import records

from lmflow.errors import ForeignFile
from lmflow.versions.files import FORMAT, Bundle, bundle, from_text, to_text
from lmflow.versions.version import Version

ROOT = Version(params={"a.instruction": "É\ud800", "a.n": 1.0}, note="first")
CHILD = ROOT.put({"a.n": 1}, note="zweite", origin={"a.n": {"rollout": "r"}})
BOTH = bundle([CHILD, ROOT], {"prod": CHILD.id, "other": "v1:b2:00"})


@st.composite
def _bundles(draw: st.DrawFn) -> Bundle:
    found: list[Version] = []
    for _ in range(draw(st.integers(0, 5))):
        parents = draw(st.lists(st.sampled_from(found), max_size=2)) if found else []
        version = Version(
            params=draw(records), parents=tuple(p.id for p in parents), note=draw(st.text())
        )
        found.append(version)
    return bundle(draw(st.permutations(found)), {"prod": found[-1].id} if found else {})


@given(_bundles())
@settings(max_examples=60)
def test_export_then_import_keeps_ids(versions: Bundle) -> None:
    """What was written reads back equal, with the same ids and refs."""
    again = from_text(to_text(versions), "x.json")
    assert versions == again
    assert [version.id for version in versions.versions] == [
        version.id for version in again.versions
    ]


@given(_bundles())
@settings(max_examples=60)
def test_parents_come_before_children(versions: Bundle) -> None:
    """Whatever the order in which they are given; and the text is the same."""
    seen: set[str] = set()
    here = {version.id for version in versions.versions}
    for version in versions.versions:
        assert set(version.parents) & here <= seen
        seen.add(version.id)
    assert to_text(versions) == to_text(bundle(reversed(versions.versions), versions.refs))


def test_a_file_is_readable() -> None:
    """Letters are as they are, half characters are escaped, and it is UTF-8."""
    text = to_text(BOTH)
    assert "É\\ud800" in text
    assert text.encode("utf-8")
    assert {"prod": CHILD.id} == json.loads(text)["refs"]


def test_absent_parents_are_told() -> None:
    """A version without its parent says so, and is read back."""
    alone = bundle([CHILD], {})
    assert (ROOT.id,) == alone.absent
    assert alone == from_text(to_text(alone), "x.json")


def _changed(**changes: Any) -> str:
    return json.dumps(json.loads(to_text(BOTH)) | changes)


def _forged(**changes: Any) -> str:
    data = json.loads(to_text(BOTH))
    data["versions"][0] |= changes
    return json.dumps(data)


FOREIGN = [
    ("", "not JSON"),
    ("[1]", "not a JSON object"),
    ("{}", "its format is None"),
    ('{"metadata": {}, "answer": {}}', "--format dspy"),
    (_changed(format="lmflow-version/2"), "expected 'lmflow-version/1'"),
    (_changed(versions=None), "missing or malformed"),
    (_changed(versions=[{}]), "missing or malformed"),
    (_changed(versions=["x"]), "missing or malformed"),
    (_changed(refs={"a b": CHILD.id}), "can't be one"),
    (_changed(refs={"prod": "v1:b2:1234"}), "is referred to and isn't in it"),
    (_changed(versions=json.loads(to_text(BOTH))["versions"][1:]), "isn't in it"),
    (_forged(note="forged"), "it was changed"),
    (_forged(params={"a.n": 2}), "it was changed"),
    (_forged(parents=[CHILD.id]), "it was changed"),
    (_forged(params={"a.n": float("nan")}), "holds what no version can"),
    ("[" * 100_000, "not JSON"),
    (json.dumps({"format": FORMAT}), "missing or malformed"),
]


@pytest.mark.parametrize(("text", "words"), FOREIGN, ids=[words for _, words in FOREIGN])
def test_what_is_foreign_or_changed_is_refused(text: str, words: str) -> None:
    """One line names the file, what was found and what mends it."""
    with pytest.raises(ForeignFile, match=words) as caught:
        from_text(text, "x.json")
    assert str(caught.value).startswith("x.json: ")
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_content() -> None:
    """A file that an editor saved with a byte order mark is read."""
    assert BOTH == from_text(f"\ufeff{to_text(BOTH)}", "x.json")
