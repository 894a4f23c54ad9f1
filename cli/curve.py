"""A learning curve, the best score after so many calls: as text for a terminal, and as an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Points = Sequence[tuple[int, float]]

_STEPS = "▁▂▃▄▅▆▇█"
_W, _H, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 360, 64, 40, 24, 48


def curve_text(points: Points, width: int = 60) -> str:
    """The curve as bars on one line, and where it begins and ends."""
    if not points:
        return "no scores"
    last = points[-1][0]
    low, high = min(score for _, score in points), max(score for _, score in points)
    marks = [_at(points, last * (place + 1) / width) for place in range(width)]
    bars = "".join(" " if mark is None else _STEPS[_step(mark, low, high)] for mark in marks)
    return f"{low:.3f} {bars} {high:.3f}  after {last:,} calls"


def curve_svg(points: Points, title: str) -> str:
    """The curve as a picture of 640 by 360 pixels: steps, since the best so far stays until it is beaten."""
    last = max([calls for calls, _ in points], default=0) or 1
    low, high = _range([score for _, score in points])

    def x(calls: float) -> float:
        return _LEFT + (_W - _LEFT - _RIGHT) * calls / last

    def y(score: float) -> float:
        return _H - _BOTTOM - (_H - _TOP - _BOTTOM) * (score - low) / (high - low)

    ticks = [low + (high - low) * part / 4 for part in range(5)]
    rows = [
        f'<line x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>'
        f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
        for tick in ticks
    ]
    marks = [
        f'<text x="{x(calls):.1f}" y="{_H - _BOTTOM + 20}" text-anchor="middle">{calls:,.0f}</text>'
        for calls in (0, last / 2, last)
    ]
    path = " ".join(
        f"{'H' if at else 'M'}{x(calls):.1f}{_to(at, y(score))}" for at, (calls, score) in enumerate(points)
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_W} {_H}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_W}" height="{_H}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="14">{escape(title)}</text>',
        *rows, *marks,
        f'<text x="{(_LEFT + _W - _RIGHT) / 2:.0f}" y="{_H - 8}" text-anchor="middle">model calls</text>',
        f'<path d="{path}" fill="none" stroke="#1f6feb" stroke-width="2"/>',
        "</svg>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _to(at: int, y: float) -> str:
    return f"V{y:.1f}" if at else f",{y:.1f}"


def _range(scores: Sequence[float]) -> tuple[float, float]:
    """The scores' range with some room; a unit wide where they are all alike."""
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    room = (high - low) / 10 or 0.5
    return low - room, high + room


def _at(points: Points, calls: float) -> float | None:
    """The best score after so many calls, ``None`` before the first."""
    return next((score for after, score in reversed(points) if after <= calls), None)


def _step(score: float, low: float, high: float) -> int:
    return len(_STEPS) - 1 if high == low else round((score - low) / (high - low) * (len(_STEPS) - 1))
