"""The laws of names that move: the later state counts, and it doesn't matter who asks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmflow.exchange.moves import Decision, Move, MovedName, disagreements, merged_name

_LOG = tuple(Move(at, str(at), str(at + 1), "why", "ann") for at in range(6))


def _state(count: int) -> MovedName:
    return MovedName("prod", _LOG[count - 1].after if count else "", _LOG[:count])


@given(st.integers(0, 6), st.integers(0, 6))
def test_the_side_that_knows_more_moves_is_later(ours: int, theirs: int) -> None:
    """Whichever side asks, and again: the same state."""
    a, b = _state(ours), _state(theirs)
    later = _state(max(ours, theirs))
    assert later == merged_name(a, b) == merged_name(b, a)
    assert later == merged_name(later, a)


@given(st.integers(0, 6), st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3))
def test_sides_that_moved_apart_agree_on_the_target_or_not_at_all(
    count: int, one: str, other: str
) -> None:
    """With one target the moves are joined by time; with two a decision is needed."""
    base = _state(count)
    ours, theirs = (
        MovedName("prod", target, (*base.moves, Move(at, base.target, target)))
        for at, target in ((8, one), (9, other))
    )
    merged = merged_name(ours, theirs)
    if one == other:
        assert MovedName("prod", one, (*base.moves, ours.moves[-1], theirs.moves[-1])) == merged
        return
    assert merged is None is merged_name(theirs, ours)
    assert [(ours, theirs)] == disagreements({"prod": ours}, {"prod": theirs})
    decided = merged_name(ours, theirs, Decision("theirs", "so", 10, "eve"))
    assert decided is not None
    assert (other, Move(10, one, other, "so", "eve")) == (decided.target, decided.moves[-1])
    assert decided == merged_name(decided, ours) == merged_name(theirs, decided)


def test_a_name_without_moves_on_record_is_not_forgotten() -> None:
    """Two such names disagree if they point at different things."""
    ours, theirs = MovedName("prod", "a"), MovedName("prod", "b")
    assert merged_name(ours, theirs) is None
    assert ours == merged_name(ours, ours)
    assert ours == merged_name(ours, MovedName("prod")) == merged_name(MovedName("prod"), ours)
