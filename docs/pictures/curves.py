"""Draws the curves of ``docs/performance.md`` from the figures that ``bench/curves.py`` wrote.

Run it as ``python docs/pictures/curves.py``. Both axes are logarithmic: a job whose time grows
with its rows is a straight line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from diagrams import drawing, words

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, TOP, LEFT, RIGHT, BOTTOM = 400, 420, 56, 56, 84, 48
PANELS = {
    "Jobs": ("record", "evaluate", "resume", "read", "replay"),
    "Commands": ("list", "search", "gc"),
}
COLOURS = ("#0550ae", "#953800", "#116329", "#8250df", "#a40e26")
MILLION = 1_000_000
LEAST_GAP = 15  # pixels between two names


def draw() -> str:
    """The picture of the figures that are kept."""
    found = json.loads((HERE / "performance.json").read_text(encoding="utf-8"))
    seconds = {int(size): times for size, times in found["seconds"].items()}
    label = "Seconds by rows, from a thousand to a million, of jobs and of commands"
    parts = [
        part
        for number, (title, jobs) in enumerate(PANELS.items())
        for part in panel(title, jobs, seconds, number * WIDTH)
    ]
    return drawing(label, WIDTH * len(PANELS), HEIGHT, *parts)


def panel(
    title: str, jobs: Sequence[str], seconds: Mapping[int, Mapping[str, float]], x: int
) -> list[str]:
    """One pair of axes with a line for each job, named at its end."""
    sizes = sorted(seconds)
    across = _Scale(sizes[0], sizes[-1], x + LEFT, x + WIDTH - RIGHT)
    times = [seconds[size][job] for size in sizes for job in jobs]
    low, high = 10 ** math.floor(math.log10(min(times))), 10 ** math.ceil(math.log10(max(times)))
    up = _Scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [words(x + LEFT, 28, f"{title}: seconds by rows", "name", "start")]
    parts += _grid(x, sizes, (low, high), across, up)
    ends = _apart([(up(seconds[sizes[-1]][job]), job) for job in jobs])
    for job, colour in zip(jobs, COLOURS, strict=False):
        points = " ".join(f"{across(size):.1f},{up(seconds[size][job]):.1f}" for size in sizes)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{across(size):.1f}" cy="{up(seconds[size][job]):.1f}" r="3" fill="{colour}"/>'
            for size in sizes
        ]
        parts.append(words(x + WIDTH - RIGHT + 10, round(ends[job]) + 4, job, "small", "start"))
    return parts


def _grid(
    x: int, sizes: Sequence[int], heights: tuple[float, float], across: _Scale, up: _Scale
) -> list[str]:
    parts = []
    for size in sizes:
        at = across(size)
        parts.append(_line(at, TOP, at, HEIGHT - BOTTOM))
        parts.append(words(round(at), HEIGHT - BOTTOM + 20, _short(size)))
    tick, high = heights
    while tick <= high * 1.01:
        at = up(tick)
        parts.append(_line(x + LEFT, at, x + WIDTH - RIGHT, at))
        parts.append(words(x + LEFT - 8, round(at) + 4, f"{tick:g}", "small", "end"))
        tick *= 10
    return parts


class _Scale:
    """A logarithmic axis: the place of a value in pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = math.log10(low), start
        self._unit = (end - start) / ((math.log10(high) - self._low) or 1)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self._start + (math.log10(value) - self._low) * self._unit


def _apart(ends: list[tuple[float, str]]) -> dict[str, float]:
    """The heights of names, moved until none covers another."""
    placed: dict[str, float] = {}
    least = 0.0
    for height, job in sorted(ends):
        placed[job] = max(height, least)
        least = placed[job] + LEAST_GAP
    return placed


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d7de"/>'


def _short(size: int) -> str:
    return f"{size // MILLION}M" if size >= MILLION else f"{size // 1000}k"


if __name__ == "__main__":
    target = HERE / "performance.svg"
    target.write_text(draw(), encoding="utf-8")
    print(target)
