"""The laws of shards: each example is in one, whatever the order of the examples."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import records

import lmflow as lf
from lmflow.data.shards import places_of, shard_settings
from lmflow.errors import BadData


def _numbered(rows: list[lf.Record]) -> list[lf.Record]:
    return [row | lf.Record(at=at) for at, row in enumerate(rows)]


def _contents(shard: lf.Shard) -> list[int]:
    return [row["at"] for row in shard]


@settings(max_examples=25)
@given(st.lists(records, max_size=12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_each_example_is_in_one_shard(rows: list[lf.Record], of: int, order: random.Random) -> None:
    """Together the shards are all examples, in their order; another order changes no shard."""
    numbered = _numbered(rows)
    shards = [lf.shard(numbered, f"{k}/{of}") for k in range(1, of + 1)]
    parts = [_contents(shard) for shard in shards]
    assert list(range(len(rows))) == sorted(at for part in parts for at in part)
    assert all(part == sorted(part) for part in parts)
    shuffled = order.sample(numbered, len(numbered))
    others = [lf.shard(shuffled, f"{k}/{of}") for k in range(1, of + 1)]
    assert parts == [sorted(_contents(shard)) for shard in others]


@settings(max_examples=25)
@given(st.lists(records, max_size=20), st.integers(1, 4))
def test_the_settings_of_a_shard_name_its_examples(rows: list[lf.Record], of: int) -> None:
    """They are those that the run keeps: the digest of all examples, and a bit for each."""
    numbered = _numbered(rows)
    shard = lf.shard(numbered, f"1/{of}")
    kept = shard_settings(shard)["shard"]
    assert lf.Dataset("rows", numbered).digest == kept["data"]
    assert shard.places == places_of(kept)
    assert len(shard) == len(tuple(shard)) == len(shard[:])


def test_an_example_without_an_id_has_its_position() -> None:
    """So that its label is that of the run without shards; an id stays."""
    assert ["0", "own"] == [row["id"] for row in lf.shard([{"q": "a"}, {"id": "own"}], "1/1")]
    assert lf.Record(id="own") == lf.shard([{"q": "a"}, {"id": "own"}], "1/1")[-1]


@pytest.mark.parametrize("name", ["", "0/3", "4/3", "1/0", "1", "a/b", "1/3/5", "-1/3", "1 / 3"])
def test_a_name_that_is_no_shard_is_refused(name: str) -> None:
    """The error says how a shard is named."""
    with pytest.raises(BadData, match="Write k/n"):
        lf.shard([], name)


def test_settings_that_were_changed_are_refused() -> None:
    """Places that are too few, or no places at all."""
    kept = lf.shard([{"q": n} for n in range(20)], "1/2").settings
    with pytest.raises(ValueError, match="bytes of places"):
        places_of(kept | lf.Record(total=50))
    with pytest.raises(ValueError, match="while decompressing"):
        places_of(kept | lf.Record(places="AAAA"))
