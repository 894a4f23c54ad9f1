"""Curves as SVG that the pages' style sheet colours: no inline styles, numbers beside the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_WIDTH, _HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _FLOOR = 40, 12, 12, 190


def curve_plot(points: Sequence[Mapping[str, Any]], by: str, end: float, limit: float) -> Markup:
    """Draw the best score so far with its 95 % interval, by what was spent.

    Args:
        points: The improvements in their order: ``score``, ``low``, ``high`` and ``by``.
        by: The key of what was spent: ``calls`` or ``usd``.
        end: What was spent by now; the line goes on until there.
        limit: The budget, drawn as a line; 0 for none.
    """
    if not points:
        return Markup("")
    widest = max(end, limit, *(float(point[by]) for point in points)) or 1.0

    def x(value: float) -> float:
        return _LEFT + value / widest * (_WIDTH - _LEFT - _RIGHT)

    return Markup(
        '<svg class="plot curve" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(
        _WIDTH,
        _HEIGHT,
        _label(points, by),
        Markup("").join(
            [*_axes(widest, by), _band(points, by, end, x), _line(points, by, end, x)]
            + [_dot(point, by, x) for point in points]
            + ([_budget(x(limit))] if limit else [])
        ),
    )


def _label(points: Sequence[Mapping[str, Any]], by: str) -> str:
    first, last = points[0]["score"], points[-1]["score"]
    return f"best score {last:.3f} after {_amount(points[-1][by], by)}, from {first:.3f}"


def _axes(widest: float, by: str) -> list[Markup]:
    marks = []
    for value in (0.0, 0.5, 1.0):
        line = Markup('<path class="grid" d="M{} {:g}H{}"/><text x="34" y="{:g}">{:g}</text>')
        marks.append(line.format(_LEFT, _y(value), _WIDTH - _RIGHT, _y(value) + 4, value))
    end = Markup('<text x="{}" y="{}">{}</text>')
    marks.append(end.format(_LEFT, _FLOOR + 18, "0"))
    marks.append(end.format(_WIDTH - _RIGHT, _FLOOR + 18, _amount(widest, by)))
    return marks


def _amount(value: float, by: str) -> str:
    return f"{value:,.0f} calls" if by == "calls" else f"${value:.4g}"


def _y(score: float) -> float:
    return _FLOOR - min(max(score, 0.0), 1.0) * (_FLOOR - _TOP)


def _steps(points: Sequence[Mapping[str, Any]], key: str, by: str, end: float, x: Any) -> list[str]:
    """Return the corners of a line that stays until the next point."""
    corners: list[str] = []
    for place, point in enumerate(points):
        value = point["score"] if point[key] is None else point[key]
        until = float(points[place + 1][by]) if place + 1 < len(points) else max(end, point[by])
        corners += [f"{x(float(point[by])):.1f} {_y(value):.1f}", f"{x(until):.1f} {_y(value):.1f}"]
    return corners


def _line(points: Sequence[Mapping[str, Any]], by: str, end: float, x: Any) -> Markup:
    return Markup('<path class="best" d="M{}"/>').format(
        "L".join(_steps(points, "score", by, end, x))
    )


def _band(points: Sequence[Mapping[str, Any]], by: str, end: float, x: Any) -> Markup:
    upper, lower = _steps(points, "high", by, end, x), _steps(points, "low", by, end, x)
    return Markup('<path class="band" d="M{}Z"/>').format("L".join([*upper, *reversed(lower)]))


def _dot(point: Mapping[str, Any], by: str, x: Any) -> Markup:
    shape = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>')
    text = f"{point['score']:.3f} after {_amount(point[by], by)}"
    return shape.format(x(float(point[by])), _y(point["score"]), text)


def _budget(at: float) -> Markup:
    line = Markup('<path class="limit" d="M{:.1f} {}V{}"/><text x="{:.1f}" y="{}">budget</text>')
    return line.format(at, _TOP, _FLOOR, at - 4, _TOP + 8)
