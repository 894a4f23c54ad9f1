"""Draws the diagrams of the parts.

Run it as ``python docs/pictures/diagrams.py``. Each has its own light ground, so that it is legible
on light and dark pages.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import attrs

HERE = Path(__file__).resolve().parent

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">
<style>
text {{ font-family: system-ui, sans-serif; font-size: 14px; fill: #1f2328; }}
.name {{ font-weight: 600; }}
.small {{ font-size: 12px; fill: #4d5560; }}
.code {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12.5px; }}
.line {{ stroke: #4d5560; stroke-width: 1.5; fill: none; }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z" fill="#4d5560"/></marker></defs>
<rect width="{width}" height="{height}" rx="10" fill="#ffffff" stroke="#d0d7de"/>
"""

VALUE, WORLD, KEPT = "#ddf4ff", "#fff1d6", "#dafbe1"
"""The grounds of values, of what is outside, and of what is kept."""


@attrs.frozen
class Box:
    """A named part with a line about it."""

    x: int
    y: int
    name: str
    about: str = ""
    fill: str = VALUE
    width: int = 170
    height: int = 56

    def draw(self) -> str:
        """The box as SVG."""
        middle = self.x + self.width / 2
        lines = [
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6" fill="{self.fill}" stroke="#8c959f"/>'
        ]
        top = self.y + self.height / 2 + (-3 if self.about else 5)
        lines.append(
            f'<text class="name" x="{middle}" y="{top}" text-anchor="middle">{escape(self.name)}</text>'
        )
        if self.about:
            lines.append(
                f'<text class="small" x="{middle}" y="{top + 18}" text-anchor="middle">{escape(self.about)}</text>'
            )
        return "\n".join(lines)


def arrow(path: str, *, both: bool = False) -> str:
    """A line with a tip at its end, or at both ends."""
    start = ' marker-start="url(#tip)"' if both else ""
    return f'<path class="line" d="{path}" marker-end="url(#tip)"{start}/>'


def words(x: int, y: int, text: str, kind: str = "small", anchor: str = "middle") -> str:
    """A text."""
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}" xml:space="preserve">{escape(text)}</text>'


def drawing(label: str, width: int, height: int, *parts: str) -> str:
    """A whole picture."""
    return "\n".join(
        [_HEAD.format(label=escape(label), width=width, height=height).rstrip(), *parts, "</svg>\n"]
    )


def parts() -> str:
    """What a run is made of, and where its record goes."""
    boxes = [
        Box(20, 30, "program", "immutable, does no I/O"),
        Box(20, 110, "version", "what can be tuned"),
        Box(20, 190, "example", "the inputs"),
        Box(285, 110, "executor", "makes every call"),
        Box(550, 40, "models", "over HTTP, or local", WORLD),
        Box(550, 120, "tools", "search, clock, files", WORLD),
        Box(285, 250, "trace store", "one SQLite file", KEPT),
        Box(550, 250, "replay, what-if", "no network", VALUE),
        Box(20, 330, "optimizer", "a pure function", VALUE),
    ]
    return drawing(
        "A program, a version and an example go into the executor, which calls models and tools and records each call in the trace store. "
        "Replays read the store; an optimizer reads traces and returns a new version.",
        740, 410,
        *[box.draw() for box in boxes],
        arrow("M190 58 H237 V130 H283"), arrow("M190 138 H283"), arrow("M190 218 H237 V146 H283"),
        arrow("M455 130 H502 V68 H548", both=True), arrow("M455 148 H548", both=True),
        arrow("M370 166 V248"), words(378, 205, "recorded before its answer is used", anchor="start"),
        arrow("M455 278 H548"), arrow("M370 306 V358 H192"), words(380, 352, "traces", anchor="start"),
        arrow("M60 330 V295 H10 V138 H18"), words(66, 318, "a new version", anchor="start"),
    )  # fmt: skip


def addresses() -> str:
    """The tree of one execution, with an address and a key for each call."""
    rows = [
        ("rag[0]", 0, ""),
        ("rewrite[0]", 1, ""),
        ("call[0]", 2, "v1:b2:4c1f…   model, messages, options, sample"),
        ("search[0]", 1, ""),
        ("call[0]", 2, "v1:b2:90aa…   tool, inputs"),
        ("answer[0]", 1, ""),
        ("call[0]", 2, "v1:b2:e07d…   the first reply couldn't be read"),
        ("call[1]", 2, "v1:b2:77b3…   asked once more"),
    ]
    lines = [
        words(30, 32, "where it happened: the address", "name", "start"),
        words(330, 32, "what was asked: the key", "name", "start"),
    ]
    for number, (name, depth, key) in enumerate(rows):
        y = 62 + 26 * number
        lines.append(words(30 + 28 * depth, y, name, "code", "start"))
        if key:
            lines.append(words(330, y, key, "code", "start"))
            lines.append(
                f'<path class="line" stroke-dasharray="3 4" d="M{110 + 28 * depth} {y - 4} H320"/>'
            )
    lines.append(
        words(
            30,
            284,
            "rag[0]/answer[0]/call[1] is the same at concurrency 1 and 64: it counts what the program did, not when.",
            "small",
            "start",
        )
    )
    return drawing(
        "The tree of an execution: each call has an address, its place in the tree, and a key, the hash of its request.",
        740,
        305,
        *lines,
    )


def versions() -> str:
    """A chain of versions, the refs that point at them, and their reflog."""
    boxes = [
        Box(30, 90, "5271156c", "defaults of the code", width=150),
        Box(230, 90, "9c41e0b7", "demonstrations", width=150),
        Box(430, 90, "e2aa8f15", "instruction", width=150),
        Box(250, 190, "main", "", KEPT, 110, 34),
        Box(450, 190, "candidate", "", KEPT, 110, 34),
        Box(50, 190, "prod", "", KEPT, 110, 34),
    ]
    return drawing(
        "Three versions, each with the one before it as its parent; the refs prod, main and candidate point at them.",
        740, 260,
        *[box.draw() for box in boxes],
        words(30, 40, "versions never change; a parent is part of a version's id", "small", "start"),
        arrow("M230 118 H182"), arrow("M430 118 H382"),
        words(206, 80, "parent"), words(406, 80, "parent"),
        arrow("M105 190 V148"), arrow("M305 190 V148"), arrow("M505 190 V148"),
        words(590, 204, "refs move;", anchor="start"), words(590, 222, "the reflog", anchor="start"), words(590, 240, "keeps each move", anchor="start"),
    )  # fmt: skip


def what_if() -> str:
    """Which recorded calls stay valid under another version."""
    boxes = [
        Box(150, 60, "rewrite", "same request", KEPT, 140),
        Box(330, 60, "search", "same request", KEPT, 140),
        Box(510, 60, "answer", "another instruction", WORLD, 150),
    ]
    return drawing(
        "Under a version with another instruction for the last step, the first two calls are reused from the store and only the last is sent.",
        740, 200,
        *[box.draw() for box in boxes],
        words(30, 92, "the recording", "name", "start"),
        arrow("M290 88 H328"), arrow("M470 88 H508"),
        words(220, 145, "from the store, free"), words(400, 145, "from the store, free"), words(585, 145, "sent: the only cost"),
        words(30, 178, "The plan says so before anything is sent, with the least and the most that it would cost.", "small", "start"),
    )  # fmt: skip


DIAGRAMS = {"parts": parts, "addresses": addresses, "versions": versions, "what-if-calls": what_if}

if __name__ == "__main__":
    for name, draw in DIAGRAMS.items():
        (HERE / f"{name}.svg").write_text(draw(), encoding="utf-8")
        print(HERE / f"{name}.svg")
