"""Whatever stands in a file of versions, it is read with its ids or is an ``LmflowError``."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from fuzz_inputs import dumped, hostile_texts, json_texts, json_values, mutations
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadRef, ForeignFile, LmflowError, NoContent
from lmflow.values.record import Record
from lmflow.versions.diff import apply, diff
from lmflow.versions.files import bundle, from_text, to_text
from lmflow.versions.history import revision
from lmflow.versions.merge import migrate
from lmflow.versions.version import Version, check_ref

FIRST = Version(
    params={"a.instruction": "Say.", "a.demos": [{"q": "x", "a": lf.File(b"y", "a/b")}]}
)
SECOND = FIRST.put({"a.instruction": "Say it."}, note="shorter", origin={"a.instruction": 1})
TEXT = to_text(bundle([SECOND, FIRST], {"main": SECOND.id}))
FILE = json.loads(TEXT)


def imported(text: str) -> None:
    """Read a text: versions that are written again as they are, or a ``ForeignFile``."""
    with contextlib.suppress(ForeignFile, NoContent):
        found = from_text(text, "x.json")
        assert found == from_text(to_text(found), "again.json")


@given(json_texts)
def test_texts(text: str) -> None:
    """Any text."""
    imported(text)


@given(mutations(FILE))
def test_changed_files(data: Any) -> None:
    """A file with a part replaced, dropped or renamed."""
    imported(dumped(data))


@given(st.integers(0, 3000), st.sampled_from(["params", "origin", "parents", "id", "note"]))
def test_nested_files(levels: int, name: str) -> None:
    """A file with a part that is nested so many levels deep."""
    data = json.loads(TEXT)
    data["versions"][0][name] = "NESTED"
    value = '{"a": [' * levels + "1" + "]}" * levels
    imported(json.dumps(data).replace('"NESTED"', value))


@given(st.integers(0, len(TEXT)), hostile_texts)
def test_cut_files(end: int, rest: str) -> None:
    """A file that was cut, and goes on with something else."""
    imported(TEXT[:end] + rest)


@given(hostile_texts, hostile_texts)
def test_names(name: str, other: str) -> None:
    """A name is one of a ref, or is a ``BadRef``; it has steps back, or none."""
    assert all(number > 0 for _, number in revision(f"{name}~{other}").moves)
    with contextlib.suppress(BadRef):
        assert name == check_ref(name)


@given(st.dictionaries(hostile_texts, json_values, max_size=3), json_values)
def test_differences(params: dict[str, Any], value: Any) -> None:
    """Versions of any parameters have a difference that leads from one to the other."""
    with contextlib.suppress(LmflowError):
        a, b = Version(params=params), Version(params=Record(params) | {"a.instruction": value})
        found = diff(a, b)
        assert b.tree == apply(a, found).tree
        assert json.dumps(found.to_json())
        assert str(found)


@given(
    st.dictionaries(hostile_texts, hostile_texts, max_size=2), st.lists(hostile_texts, max_size=2)
)
def test_migrations(rename: dict[str, str], drop: list[str]) -> None:
    """Any names are renamed and dropped, or are an ``LmflowError``."""
    with contextlib.suppress(LmflowError):
        assert migrate(SECOND, rename=rename, drop=drop).parents == (SECOND.id,)
