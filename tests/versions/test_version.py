"""The laws of versions: content hashes, children, names of refs, environments."""

from __future__ import annotations

import json
import pickle

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import records

from lmflow.errors import BadRef, ForeignPaths
from lmflow.programs.environment import Env
from lmflow.values.record import Record, canonical
from lmflow.versions.version import Version, check_ref, version_of

versions = st.builds(
    Version, params=records, parents=st.lists(st.text()).map(tuple), note=st.text(), origin=records
)
BASE = Version(params=Record({"a.instruction": "Do.", "a.model": ""}), note="first")


@given(versions)
@settings(max_examples=40)
def test_a_version_round_trips_by_json(version: Version) -> None:
    """A version that is stored as JSON is read back with its id."""
    again = version_of(json.loads(canonical(version.to_json())))
    assert (version, version.id, version.tree) == (again, again.id, again.tree)


@given(versions)
@settings(max_examples=40)
def test_a_version_pickles(version: Version) -> None:
    """A pickled version is equal and has the id."""
    again = pickle.loads(pickle.dumps(version))  # noqa: S301
    assert (version, version.id) == (again, again.id)


@given(versions, versions)
@settings(max_examples=40)
def test_equal_trees_are_equal_params(a: Version, b: Version) -> None:
    """Two versions have one tree exactly when their parameters are equal."""
    assert (a.params == b.params) == (a.tree == b.tree)


@pytest.mark.parametrize(
    "change", [{"parents": ("v",)}, {"note": "other"}, {"origin": {"a.model": "why"}}]
)
def test_the_tree_is_the_parameters_alone(change: dict[str, object]) -> None:
    """Parents, note and origin change the id and not the tree."""
    other = attrs.evolve(BASE, **change)  # type: ignore[arg-type]
    assert BASE.tree == other.tree
    assert BASE.id != other.id


def test_the_parameters_change_the_id() -> None:
    """Another parameter is another tree and another id."""
    other = attrs.evolve(BASE, params=BASE.params | {"a.model": "x/y"})
    assert (BASE.tree, BASE.id) != (other.tree, other.id)
    assert BASE.id != other.id


def test_the_order_of_parents_is_in_the_id() -> None:
    """A merge of a and b is another version than a merge of b and a."""
    assert attrs.evolve(BASE, parents=("a", "b")).id != attrs.evolve(BASE, parents=("b", "a")).id


def test_a_parent_is_no_note() -> None:
    """What stands in one field can't be mistaken for another's."""
    assert Version(parents=("x",)).id != Version(note="x").id


@given(versions)
@settings(max_examples=40)
def test_a_version_is_a_map_to_walk_through(version: Version) -> None:
    """Its paths are walked through and asked for like a map's, and each has a value."""
    assert Record({path: version[path] for path in version}) == version.params
    assert all(path in version for path in version.params)
    assert "no.such" not in version


def test_a_path_that_is_no_text_is_told() -> None:
    """The error of a number as a path can be read."""
    with pytest.raises(
        ForeignPaths, match=r"there is no `0` in the version; it has `a\.instruction`"
    ):
        BASE[0]  # type: ignore[index]


def test_put_makes_a_child() -> None:
    """A child has the changes, its parent's id, a note and an origin; the parent stays."""
    child = BASE.put({"a.instruction": "Think."}, note="why", origin={"a.instruction": "trace"})
    assert ("Think.", "Do.") == (child["a.instruction"], BASE["a.instruction"])
    assert ((BASE.id,), "why", Record({"a.instruction": "trace"})) == (
        child.parents,
        child.note,
        child.origin,
    )


def test_put_refuses_unknown_paths() -> None:
    """A path that the version lacks is refused with the near one."""
    with pytest.raises(ForeignPaths, match=r"Did you mean 'a.instruction'"):
        BASE.put({"a.instructon": "Think."})


def test_reading_an_unknown_path_names_the_near_one() -> None:
    """A path that the version lacks can't be read."""
    with pytest.raises(ForeignPaths, match=r"Did you mean 'a.model'"):
        _ = BASE["a.modle"]


def test_an_environment_reads_under_its_prefix() -> None:
    """A prefix leads to the parameters of the renamed program."""
    env = Env(Record({"b.a.model": "x", "a.model": "y"}))
    assert ("y", "x") == (env["a.model"], env.under("b.", {})["a.model"])


def test_an_overlay_is_seen_below_only() -> None:
    """An overlay replaces values in its frame and leaves the outer one as it is."""
    outer = Env(Record({"a.model": "x"}))
    assert ("y", "x") == (outer.under("", {"a.model": "y"})["a.model"], outer["a.model"])


def test_prefixes_add_up() -> None:
    """A named program in a named program has the parameters under both names."""
    env = Env(Record({"c.b.a.model": "x"})).under("c.", {}).under("b.", {"b.a.model": "y"})
    assert "y" == env["a.model"]


@pytest.mark.parametrize("name", ["prod", "team/candidate", "v1.2-rc_3", "A"])
def test_a_ref_may_be_called_so(name: str) -> None:
    """Letters, digits and a few marks."""
    assert name == check_ref(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "a b",
        "prod~1",
        "1st",
        "a\x1b[31m",
        "deadbeefcafe",
        "DEADBEEFCAFE",
        "a..b",
        "a/",
        "é",
        "a" * 101,
    ],
)
def test_a_ref_may_not_be_called_so(name: str) -> None:
    """What would read as an option, an id, a ``REF~N`` or as nothing is refused."""
    with pytest.raises(BadRef, match="can't be the name of a ref"):
        check_ref(name)
