"""The laws of packed numbers: they are the numbers that were appended."""

from __future__ import annotations

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from lmflow.evaluation.packed import Numbers

FEW = st.sampled_from([0.0, -0.0, 1.0, 0.25, math.nan])


@given(
    st.lists(FEW), st.integers(0, 300), st.lists(st.floats(allow_infinity=False, allow_nan=False))
)
def test_they_are_what_was_appended(few: list[float], more: int, others: list[float]) -> None:
    """Few or many different ones: each is found by its position, in slices, and in order."""
    values = [*few, *map(float, range(more)), *others]
    numbers = Numbers()
    for value in values:
        numbers.append(value)
    expected = array("d", values).tobytes()
    assert expected == array("d", numbers).tobytes() == array("d", numbers[:]).tobytes()
    assert expected == array("d", (numbers[at] for at in range(len(numbers)))).tobytes()
    assert len(values) == len(numbers)
