"""Charts without a dependency: lines as SVG, and histograms as text."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence

import attrs

_WIDTH, _HEIGHT, _MARGIN = 480, 280, 44
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#9a6700")

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Named lines of points (x, y)."""


def lines_svg(series: Series, title: str) -> str:
    """Draw lines as one SVG picture; the y axis covers at least 0 to 1. Names and title are
    escaped.
    """
    frame = _frame_of(series)
    lines = [_line(frame, at, name, points) for at, (name, points) in enumerate(series.items())]
    floor, right = _HEIGHT - _MARGIN, _WIDTH - _MARGIN
    axes = f"M{_MARGIN},{_MARGIN} V{floor} H{right}"
    texts = [
        _text(_MARGIN, 18, title),
        _text(4, _MARGIN + 4, f"{frame.high:g}"),
        _text(4, floor, f"{frame.low:g}"),
        _text(_MARGIN, _HEIGHT - 24, f"{frame.left:g}"),
        _text(right, _HEIGHT - 24, f"{frame.right:g}", "end"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' role="img" aria-label="{html.escape(title)}"'
        ' font-family="sans-serif" font-size="12" fill="currentColor">'
        f'<path d="{axes}" fill="none" stroke="currentColor"/>'
        f"{''.join(texts)}{''.join(lines)}</svg>"
    )


def histogram(values: Sequence[float], bins: int = 10, width: int = 40) -> str:
    """Draw values as bars, one line a bin, from the least to the greatest and at least from 0 to 1.

    Each bin but the last excludes its upper end. Values that are all 0 or 1 have two bins.
    """
    if not values:
        return "no scores"
    least, greatest = min(values), max(values)
    low, high = min(0.0, least), max(1.0, greatest)
    binary = all(value in {0.0, 1.0} for value in values)
    bins = 2 if binary else bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / (high - low) * bins))] += 1
    names = ["0", "1"]
    if not binary:
        edges = [low + (high - low) * at / bins for at in range(bins + 1)]
        names = [f"{start:.2f} to {end:.2f}" for start, end in itertools.pairwise(edges)]
    widest = max(map(len, names))
    return "\n".join(
        _bar(name.rjust(widest), count, width / max(counts))
        for name, count in zip(names, counts, strict=True)
    )


@attrs.frozen
class _Frame:
    """The ranges of values that a picture shows."""

    left: float
    right: float
    low: float
    high: float

    def position(self, x: float, y: float) -> tuple[str, str]:
        """Return the position of a point in the picture."""
        across = (x - self.left) / (self.right - self.left) if self.right > self.left else 0.5
        up = (y - self.low) / (self.high - self.low)
        return (
            f"{_MARGIN + across * (_WIDTH - 2 * _MARGIN):.1f}",
            f"{_HEIGHT - _MARGIN - up * (_HEIGHT - 2 * _MARGIN):.1f}",
        )


def _frame_of(series: Series) -> _Frame:
    points = [point for line in series.values() for point in line] or [(0.0, 0.0)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return _Frame(min(xs), max(xs), min(0.0, *ys), max(1.0, *ys))


def _line(frame: _Frame, at: int, name: str, points: Sequence[tuple[float, float]]) -> str:
    colour = _COLOURS[at % len(_COLOURS)]
    positions = [frame.position(x, y) for x, y in points]
    path = " ".join(f"{x},{y}" for x, y in positions)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in positions)
    return (
        f'<g fill="{colour}">'
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f"{dots}{_text(_WIDTH - _MARGIN, 18 + 16 * at, name, 'end')}</g>"
    )


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _bar(name: str, count: int, unit: float) -> str:
    parts = (f"{name} ", "█" * round(unit * count), str(count))
    return " ".join(part for part in parts if part)
