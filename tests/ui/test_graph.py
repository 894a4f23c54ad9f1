"""The graph of versions joins each child with its parents, on any page of the log."""

from hypothesis import given
from hypothesis import strategies as st

from lmflow.ui.graph import MOST_LANES, GraphRow, Lanes, draw_row, graph_rows

History = list[tuple[str, list[str]]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Versions, children first, each with up to two parents among the later ones."""
    count = draw(st.integers(1, 12))
    names = [f"v{number}" for number in range(count)]
    rows = []
    for at, name in enumerate(names):
        parents = st.lists(st.sampled_from(names[at + 1 :] or ["gone"]), max_size=2, unique=True)
        rows.append((name, draw(parents)))
    return rows


def test_a_line_stays_in_its_lane() -> None:
    """A version and its only parent stand below each other."""
    rows = [row for row, _ in graph_rows([("b", ["a"]), ("a", [])], Lanes())]
    assert [GraphRow(0, (), (0,), (), (0,)), GraphRow(0, (0,), (), (0,), ())] == rows


def test_branches_meet_in_their_parent() -> None:
    """Two children of one parent stand in two lanes, and both lead to it."""
    rows = [row for row, _ in graph_rows([("c", ["a"]), ("b", ["a"]), ("a", [])], Lanes())]
    assert [0, 1, 0] == [row.lane for row in rows]
    assert (0,) == rows[1].parents == rows[2].ends


@given(histories(), st.integers(0, 12))
def test_pages_draw_what_the_whole_draws(history: History, cut: int) -> None:
    """A log that goes on with the lanes of its first page is drawn like one on a single page."""
    whole = [row for row, _ in graph_rows(history, Lanes())]
    first = list(graph_rows(history[:cut], Lanes()))
    carried = Lanes(tuple(",".join(first[-1][1].awaited).split(","))) if first else Lanes()
    second = list(graph_rows(history[cut:], carried))
    assert whole == [row for row, _ in first + second]


@given(histories())
def test_each_parent_has_a_line(history: History) -> None:
    """What leaves a version below is what enters below it: no line ends in the air."""
    above: tuple[int, ...] = ()
    for (_, parents), (row, _) in zip(history, graph_rows(history, Lanes()), strict=True):
        assert above == row.above
        assert len(parents) == len(row.parents)
        assert set(row.parents) <= set(row.below)
        assert set(row.above) - set(row.ends) <= set(row.below)
        assert "<svg" in draw_row(row)
        above = row.below


def test_wide_graphs_are_bounded() -> None:
    """More side branches than there are lanes leave lines out, not rows."""
    wide = [(f"c{at}", [f"p{at}"]) for at in range(3 * MOST_LANES)]
    rows = [row for row, _ in graph_rows(wide, Lanes())]
    assert 3 * MOST_LANES == len(rows)
    assert MOST_LANES >= max(len(row.below) for row in rows)
