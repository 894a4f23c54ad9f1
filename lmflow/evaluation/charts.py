"""Lines as small SVG pictures, which need nothing but a browser."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence

_WIDE, _HIGH, _EDGE = 480, 280, 44


_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#9a6700")


def lines_svg(series: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """Named lines of points (x, y) as one SVG, y from 0 to 1 at least. Names and title are escaped."""
    points = [point for line in series.values() for point in line] or [(0.0, 0.0)]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(0.0, *(y for _, y in points)), max(1.0, *(y for _, y in points))

    def place(x: float, y: float) -> str:
        across = (x - left) / (right - left) if right > left else 0.5
        up = (y - low) / (high - low)
        return f"{_EDGE + across * (_WIDE - 2 * _EDGE):.1f},{_HIGH - _EDGE - up * (_HIGH - 2 * _EDGE):.1f}"

    lines = [
        _line(name, [place(x, y) for x, y in line], _COLOURS[at % len(_COLOURS)], at)
        for at, (name, line) in enumerate(series.items())
    ]
    floor, wall = _HIGH - _EDGE, _WIDE - _EDGE
    axes = f'<path d="M{_EDGE},{_EDGE} V{floor} H{wall}" fill="none" stroke="#57606a"/>'
    words = [
        _text(_EDGE, 18, title), _text(4, _EDGE + 4, f"{high:g}"), _text(4, floor, f"{low:g}"),
        _text(_EDGE, _HIGH - 24, f"{left:g}"), _text(wall, _HIGH - 24, f"{right:g}", "end"),
    ]  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-family="sans-serif" '
        f'font-size="12">{axes}{"".join(words)}{"".join(lines)}</svg>'
    )


def _line(name: str, places: Sequence[str], colour: str, at: int) -> str:
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="3"/>' for x, y in (place.split(",") for place in places)
    )
    legend = (
        f'<text x="{_WIDE - _EDGE}" y="{18 + 16 * at}" text-anchor="end">{html.escape(name)}</text>'
    )
    return (
        f'<g fill="{colour}"><polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f"{dots}{legend}</g>"
    )


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(words)}</text>'


def histogram(values: Sequence[float], bins: int = 10, width: int = 40) -> str:
    """Values as bars, a line a bin from the least to the greatest (at least 0 to 1); each bin but
    the last excludes its upper end.
    """
    if not values:
        return "no scores"
    low, high = min(0.0, *values), max(1.0, *values)
    certain = all(value in {0.0, 1.0} for value in values)
    bins = 2 if certain else bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / (high - low) * bins))] += 1
    edges = [low + (high - low) * at / bins for at in range(bins + 1)]
    names = ["0", "1"] if certain else [f"{a:.2f} to {b:.2f}" for a, b in itertools.pairwise(edges)]
    wide = max(map(len, names))
    return "\n".join(
        _bar(name.rjust(wide), count, width / max(counts))
        for name, count in zip(names, counts, strict=True)
    )


def _bar(name: str, count: int, unit: float) -> str:
    return " ".join(part for part in (f"{name} ", "█" * round(unit * count), str(count)) if part)
