"""The graph of versions: in which lane each one stands, and the picture of a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
from markupsafe import Markup

MOST_LANES = 12
"""Lanes that a row has at most; a line of more side branches is not drawn."""

_WIDTH = 14  # of a lane, in pixels


@attrs.frozen
class GraphRow:
    """A row of the graph, by the numbers of lanes.

    Args:
        lane: The lane of the version.
        above: The lanes that come from above.
        below: The lanes that go on below.
        ends: The lanes from above that end in the version.
        parents: The lanes below that lead to its parents.
    """

    lane: int
    above: tuple[int, ...]
    below: tuple[int, ...]
    ends: tuple[int, ...]
    parents: tuple[int, ...]


@attrs.frozen
class Lanes:
    """What each lane waits for: the id of a version, empty if the lane is free."""

    awaited: tuple[str, ...] = ()

    def take(self, version: str, parents: Sequence[str]) -> tuple[GraphRow, Lanes]:
        """Place a version below the rows so far; return its row, and the lanes below it."""
        before = list(self.awaited)
        ends = [at for at, awaited in enumerate(before) if awaited == version]
        lane = ends[0] if ends else _free(before)
        after = ["" if awaited == version else awaited for awaited in before]
        after += [""] * (lane + 1 - len(after))
        places = [_place(after, parent, lane) for parent in parents]
        shown = [at for at in places if at is not None]
        row = GraphRow(lane, _busy(before), _busy(after), tuple(ends), tuple(shown))
        return row, Lanes(tuple(after))


def graph_rows(
    versions: Iterable[tuple[str, Sequence[str]]], lanes: Lanes
) -> Iterator[tuple[GraphRow, Lanes]]:
    """Yield the row of each version, a child before its parents, and the lanes below it.

    Args:
        versions: Ids with the ids of their parents.
        lanes: The lanes above the first one.
    """
    for version, parents in versions:
        row, lanes = lanes.take(version, parents)
        yield row, lanes


def draw_row(row: GraphRow) -> Markup:
    """Draw a row: lines from above to below, and a dot for the version.

    The picture is stretched to the height of its row, so a dot is a line without a length, whose
    round ends keep their shape.
    """
    lanes = 1 + max((row.lane, *row.above, *row.below))
    paths = [_line(at, 0, at, 10) for at in row.above if at in row.below and at not in row.ends]
    paths += [_line(at, 0, row.lane, 5) for at in row.ends]
    paths += [_line(row.lane, 5, at, 10) for at in row.parents]
    shape = Markup(
        '<svg class="graph" viewBox="0 0 {} 10" width="{}" preserveAspectRatio="none"'
        ' aria-hidden="true">{}<path class="dot" d="M{:g} 5h0"/></svg>'
    )
    width = min(lanes, MOST_LANES) * _WIDTH
    return shape.format(width, width, Markup("").join(paths), _x(row.lane))


def _line(start: int, top: int, end: int, bottom: int) -> Markup:
    middle = (top + bottom) / 2
    a, b = _x(start), _x(end)
    path = Markup('<path class="lane-{}" d="M{:g} {}C{:g} {:g} {:g} {:g} {:g} {}"/>')
    return path.format(max(start, end) % 4, a, top, a, middle, b, middle, b, bottom)


def _x(lane: int) -> float:
    return (min(lane, MOST_LANES - 1) + 0.5) * _WIDTH


def _free(lanes: Sequence[str]) -> int:
    return next((at for at, awaited in enumerate(lanes) if not awaited), len(lanes))


def _busy(lanes: Sequence[str]) -> tuple[int, ...]:
    return tuple(at for at, awaited in enumerate(lanes) if awaited)


def _place(lanes: list[str], parent: str, lane: int) -> int | None:
    """Return the lane that leads to a parent, a new one if none does yet; ``None`` beyond the last
    lane. The first parent stays in the lane of its child.
    """
    if parent in lanes:
        return lanes.index(parent)
    at = lane if lane < len(lanes) and not lanes[lane] else _free(lanes)
    if at >= MOST_LANES:
        return None
    lanes += [""] * (at + 1 - len(lanes))
    lanes[at] = parent
    return at
