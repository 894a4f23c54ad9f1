"""The laws of compact vectors: float32 in the fewest digits."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.messages.replies import EmbedReply, outcome_of, outcome_to
from lmflow.values.record import canonical, plain
from lmflow.values.vectors import compact

SINGLES = st.floats(allow_nan=False, allow_infinity=False, width=32)
DOUBLES = st.floats(-3.4e38, 3.4e38)


def _single(number: float) -> bytes:
    return struct.pack("<f", number)


@given(st.lists(DOUBLES, max_size=4))
def test_it_is_the_same_float32(vector: list[float]) -> None:
    """Each number is rounded to the same float32 as before."""
    assert [_single(number) for number in vector] == [_single(number) for number in compact(vector)]


@given(st.lists(DOUBLES, max_size=4))
def test_compact_vectors_stay(vector: list[float]) -> None:
    """A compact vector is compact."""
    assert compact(vector) == compact(compact(vector))


@given(SINGLES)
def test_nine_digits_are_enough(number: float) -> None:
    """No number has more than the 9 digits that tell all float32 apart."""
    shown = repr(compact([number])[0]).partition("e")[0].replace(".", "").strip("-0")
    assert len(shown) <= 9


@given(st.integers(-999_999, 999_999), st.integers(-30, 20))
def test_what_was_written_in_six_digits_is_kept(whole: int, exponent: int) -> None:
    """A decimal of 6 digits comes back as it was written."""
    number = float(f"{whole}e{exponent}")
    assert (number,) == compact([struct.unpack("<f", _single(number))[0]])


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.1, "0.1"),
        (0.10000000149011612, "0.1"),
        (1 / 3, "0.33333334"),
        (0.033296048641204834, "0.03329605"),
        (16777217, "16777216.0"),
        (3.4028234663852886e38, "3.4028235e+38"),
        (-0.0, "-0.0"),
        (1, "1.0"),
    ],
)
def test_the_form_is_fixed(number: float, expected: str) -> None:
    """The canonical form is the same on every platform."""
    assert f"[{expected}]" == canonical(compact([number]))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e39, -3.5e38])
def test_what_float32_lacks_is_refused(number: float) -> None:
    """NaN, infinities and what is beyond float32 are no numbers of a vector, nor of a reply."""
    with pytest.raises(ValueError, match="not a number that float32 holds"):
        EmbedReply(((0.0, number),))


@given(st.lists(st.lists(DOUBLES, max_size=3), max_size=3))
def test_replies_are_compact_and_read_back(vectors: list[list[float]]) -> None:
    """A reply holds compact vectors, and what is stored of it is that same reply."""
    reply = EmbedReply(vectors)
    assert tuple(map(compact, vectors)) == reply.vectors
    assert reply == outcome_of(json.loads(json.dumps(plain(outcome_to(reply)))))
