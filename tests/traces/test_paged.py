"""The laws of what is read in pages, and of the root and the labels of a run that grows."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmflow.execution.parts.labels import Labels
from lmflow.traces.paged import PAGE, Paged
from lmflow.traces.run_root import RunRoot
from lmflow.values.record import digest

SIZES = st.integers(0, 3 * PAGE)


def _paged(size: int, reads: list[tuple[int, int]] | None = None) -> Paged[int]:
    def read(start: int, stop: int) -> list[int]:
        if reads is not None:
            reads.append((start, stop))
        return list(range(start, stop))

    return Paged(read, size)


@settings(max_examples=40)
@given(SIZES, st.slices(3 * PAGE))
def test_it_is_the_tuple_of_its_members(size: int, part: slice) -> None:
    """Length, members, slices, equality, hash and pickle are those of a tuple."""
    paged, whole = _paged(size), tuple(range(size))
    assert whole == tuple(paged)
    assert paged == whole
    assert hash(paged) == hash(whole)
    assert whole[part] == tuple(paged[part])
    assert len(whole[part]) == len(paged[part])
    assert whole == pickle.loads(pickle.dumps(paged))  # noqa: S301 - its own
    assert [-n for n in whole] == list(paged.each(lambda n: -n))


@settings(max_examples=40)
@given(SIZES.filter(bool), st.data())
def test_a_member_is_that_of_its_place(size: int, data: st.DataObject) -> None:
    """Positions count from either end; beyond them there is nothing."""
    paged, at = _paged(size), data.draw(st.integers(-size, size - 1))
    assert range(size)[at] == paged[at]
    with pytest.raises(IndexError):
        paged[size]


def test_a_page_is_read_once_for_its_members() -> None:
    """Members that are looked at one by one don't read their page each time."""
    reads: list[tuple[int, int]] = []
    paged = _paged(2 * PAGE, reads)
    assert list(range(PAGE)) == [paged[at] for at in range(PAGE)]
    assert [(0, PAGE)] == reads


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5))), st.randoms())
def test_the_root_of_a_run_that_grows_is_the_digest_of_all(
    pairs: list[tuple[str, str]], random: Any
) -> None:
    """In whatever order executions end, the root is that of the list of labels and roots."""
    order = list(enumerate(pairs))
    random.shuffle(order)
    root = RunRoot()
    for position, (label, of_trace) in order:
        root.add(position, label, of_trace)
    assert digest("run", [list(pair) for pair in pairs]) == root.value()


def test_a_missing_execution_gives_no_root() -> None:
    """A root that left out an execution would prove nothing."""
    root = RunRoot()
    root.add(1, "b", "r")
    with pytest.raises(ValueError, match="position 0 is missing"):
        root.value()


@settings(max_examples=40)
@given(st.lists(st.none() | st.integers(0, 12) | st.sampled_from(["a", "07", "é"])))
def test_labels_are_ids_or_positions_and_differ(ids: list[Any]) -> None:
    """The first label that was given before is refused, as if all were held."""
    names = [str(at if id_ is None else id_) for at, id_ in enumerate(ids)]
    labels = Labels()
    for at, (id_, name) in enumerate(zip(ids, names, strict=True)):
        row = {} if id_ is None else {"id": id_}
        if name in names[:at]:
            with pytest.raises(ValueError, match="appears twice"):
                labels.label(row)
            return
        assert f"ex[{name}]" == labels.label(row)


def test_many_ids_are_told_apart() -> None:
    """Ids that were sorted in are still found."""
    labels = Labels()
    for number in range(20_000):
        labels.label({"id": f"e{number}"})
    for number in (0, 8191, 8192, 19_999):
        with pytest.raises(ValueError, match="appears twice"):
            labels.label({"id": f"e{number}"})
