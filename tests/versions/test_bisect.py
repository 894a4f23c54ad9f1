"""The laws of the binary search over versions."""

from __future__ import annotations

from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import NotBisectable, UnknownVersion
from lmflow.versions.bisect import FirstBad, NextProbe, between, search


def line(count: int) -> tuple[lf.Version, ...]:
    """Versions, each the first parent of the next."""
    versions = [lf.Version(params={"a.instruction": "0"})]
    while len(versions) < count:
        versions.append(versions[-1].put({"a.instruction": str(len(versions))}))
    return tuple(versions)


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))))
def test_it_finds_the_first_bad_version(shape: tuple[int, int]) -> None:
    """Wherever it broke, it is found with no more judgements than the first question said."""
    count, broke = shape
    versions = line(count)
    scores: dict[int, float | None] = {}
    first = search(versions, scores)
    while isinstance(answer := search(versions, scores), NextProbe):
        assert answer.position not in scores
        scores[answer.position] = float(answer.position < broke)
    assert FirstBad(versions[broke - 1], versions[broke]) == answer
    assert isinstance(first, NextProbe)
    assert len(scores) <= first.most == 2 + ceil(log2(count - 1))


def test_what_is_known_is_not_asked() -> None:
    """Recorded scores narrow the search before anything is judged."""
    assert NextProbe(3, 1) == search(line(6), {0: 1.0, 5: 0.0, 2: 1.0, 4: 0.0})


def test_a_failure_is_worse_than_any_score() -> None:
    """A failed execution is bad, also against a score of nothing."""
    versions = line(3)
    assert FirstBad(versions[1], versions[2]) == search(versions, {0: 0.0, 1: 0.0, 2: None})


def test_scores_are_split_halfway() -> None:
    """A version is good where it scores more than halfway from the bad end to the good end."""
    versions = line(4)
    assert FirstBad(versions[1], versions[2]) == search(versions, {0: 0.9, 1: 0.7, 2: 0.4, 3: 0.1})


@pytest.mark.parametrize("scores", [{0: 1.0, 2: 1.0}, {0: 0.0, 2: 1.0}, {0: None, 2: None}])
def test_ends_that_don_t_differ_are_refused(scores: dict[int, float | None]) -> None:
    """Without a good end that scores more than the bad one there is nothing to search."""
    with pytest.raises(NotBisectable, match="scores"):
        search(line(3), scores)


def test_the_line_goes_by_first_parents() -> None:
    """From good to bad, both included."""
    versions = line(5)
    known = {version.id: version for version in versions}
    assert versions[1:4] == between(versions[1], versions[3], known.__getitem__)


def test_versions_apart_are_refused() -> None:
    """A bad version that doesn't come of the good one, or whose line isn't kept, can't be searched."""
    versions = line(3)

    def lost(name: str) -> lf.Version:
        raise UnknownVersion(name)

    with pytest.raises(NotBisectable, match="doesn't come of"):
        between(versions[2], versions[0], {v.id: v for v in versions}.__getitem__)
    with pytest.raises(NotBisectable, match="isn't in the store"):
        between(versions[0], versions[2], lost)
