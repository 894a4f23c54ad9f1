"""The laws of batches."""

from hypothesis import given
from hypothesis import strategies as st

from lmflow.values.batches import batches


@given(st.lists(st.integers()), st.integers(1, 9))
def test_batches_are_the_items_in_order(items: list[int], size: int) -> None:
    """Put together, the batches are the items; all but the last are full, and none is empty."""
    parts = list(batches(items, size))
    assert items == [item for part in parts for item in part]
    assert all(len(part) == size for part in parts[:-1])
    assert all(parts)
