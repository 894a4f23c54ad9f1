"""The laws of files of versions: export then import keeps ids; what was changed is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import records

import lmflow as lf
from lmflow.errors import ForeignFile, NoContent, StoreError
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


def test_a_version_is_saved_and_loaded(tmp_path: Path) -> None:
    """The same version comes back, alone or with its ancestors, and nothing else is left behind."""
    file = CHILD.save(tmp_path / "new" / "child.json")
    assert CHILD == lf.load(file)
    CHILD.save(file, ancestors=[ROOT])
    assert (CHILD, ROOT) == (lf.load(file), lf.load(file, ROOT.id[6:18]))
    assert [file] == list(file.parent.iterdir())


def test_a_saved_version_is_an_exported_one(tmp_path: Path) -> None:
    """The file is that of ``lmflow export``, byte for byte."""
    file = CHILD.save(tmp_path / "x.json", ancestors=[ROOT])
    assert to_text(bundle([CHILD, ROOT], {})) == file.read_text("utf-8")


def test_pictures_travel_with_their_content(tmp_path: Path) -> None:
    """What demonstrations show is in the file."""
    picture = lf.Image(b"GIF89a...")
    version = Version(params={"a.demos": [{"picture": picture, "answer": "grey"}]})
    (demo,) = lf.load(version.save(tmp_path / "x.json"))["a.demos"]
    assert picture.data == demo.picture.data


def test_a_version_of_several_is_named(tmp_path: Path) -> None:
    """A file with two latest versions needs a name: a ref or an id; others are told what it has."""
    other = ROOT.put({"a.n": 7})
    file = tmp_path / "x.json"
    file.write_text(to_text(bundle([CHILD, other, ROOT], {"prod": CHILD.id})), "utf-8")
    with pytest.raises(ForeignFile, match=r"2 latest versions. Name one, lf.load\(path, name\)"):
        lf.load(file)
    assert (CHILD, other) == (lf.load(file, "prod"), lf.load(file, other.id))
    with pytest.raises(ForeignFile, match=r"no versions in it are called 'prot'. Did you mean"):
        lf.load(file, "prot")
    with pytest.raises(ForeignFile, match=r"called 'zz'\. It has prod"):
        lf.load(file, "zz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"\xff\xfe", "it isn't UTF-8"),
        (b"SQLite format 3\0rest", "it is an SQLite file"),
        (b"\x80\x04\x95pickle", "it isn't UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format": "lmflow-version/2"}', "its format is 'lmflow-version/2'"),
        (b'{"format": "lmflow-version/1"}', "a part is missing"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever is in the file, the error is typed and names it."""
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(ForeignFile, match=words):
        lf.load(file)


def test_a_changed_version_is_refused(tmp_path: Path) -> None:
    """One letter in a parameter, and the id isn't that of the content."""
    file = CHILD.save(tmp_path / "x.json")
    file.write_text(file.read_text("utf-8").replace("zweite", "zweit3"), "utf-8")
    with pytest.raises(ForeignFile, match="it was changed"):
        lf.load(file)


def test_a_path_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A missing file, a folder, and a place where nobody may write have typed errors."""
    with pytest.raises(ForeignFile, match="it can't be read"):
        lf.load(tmp_path / "nothing.json")
    with pytest.raises(ForeignFile, match="it can't be read"):
        lf.load(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="it can't be written"):
        CHILD.save(tmp_path / "file" / "x.json")


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    """A version whose picture isn't here is not written, and the file stays."""
    file = CHILD.save(tmp_path / "x.json")
    absent = Version.from_dict(
        Version(params={"a.demos": [{"p": lf.Image(b"GIF89a...")}]}).to_dict()
    )
    with pytest.raises(NoContent):
        absent.save(file)
    assert (CHILD, [file]) == (lf.load(file), list(tmp_path.iterdir()))
