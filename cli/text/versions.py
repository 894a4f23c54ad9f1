"""Versions, their history and their differences as words for a terminal."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from lmflow.cli.text.terminal import line
from lmflow.errors import short
from lmflow.traces.events import RefMoved
from lmflow.traces.store import Saved
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.values.text_diff import Piece, elided
from lmflow.versions.demos import DemoEdit
from lmflow.versions.diff import Change, Diff, edit_line, value_text
from lmflow.versions.version import Version

Paint = Callable[[str, str], str]

CONTEXT = 60
_COLOURS = {
    "insert": "green",
    "delete": "red",
    "added": "green",
    "removed": "red",
    "edited": "yellow",
    "moved": "cyan",
}
_VECTORS = ".vectors"  # numbers as text, which nobody reads
_MARKS = {"insert": ("{+", "+}"), "delete": ("[-", "-]")}


def when(at: int) -> str:
    """A time as a person reads it, in this place's time."""
    return (
        dt.datetime.fromtimestamp(at / 1e9, tz=dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        if at
        else ""
    )


def log_lines(saved: Saved) -> Iterator[str]:
    """A version in a log: id, refs, note; who and when; scores; parents that aren't kept."""
    version = saved.version
    refs = f"  ({', '.join(saved.refs)})" if saved.refs else ""
    yield f"{short(version.id)}{refs}  {line(version.note) or 'no note'}"
    facts = [when(saved.at), clean(saved.author), *_scores(saved)]
    if len(version.parents) > 1:
        facts.append(f"merges {' and '.join(map(short, version.parents))}")
    facts += [f"parent {short(parent)} isn't kept here" for parent in saved.absent]
    yield f"   {' · '.join(fact for fact in facts if fact)}"


def version_text(saved: Saved) -> str:
    """A version whole: what stands beside it, then each parameter as a person reads it."""
    version = saved.version
    head = {
        "version": version.id,
        "refs": ", ".join(saved.refs),
        "tree": short(version.tree),
        "parents": ", ".join(map(short, version.parents)),
        "kept": " by ".join(part for part in (when(saved.at), clean(saved.author)) if part),
        "note": line(version.note),
        "scores": ", ".join(_scores(saved)),
    }
    facts = [f"{name:8} {value}" for name, value in head.items() if value]
    return "\n".join(
        [*facts, *(text for path, value in version.params.items() for text in _param(path, value))]
    )


def reflog_line(moved: RefMoved) -> str:
    """A move of a ref on one line."""
    places = f"{short(moved.before or '') or 'nothing'} -> {short(moved.version) or 'removed'}"
    facts = (when(moved.at), clean(moved.name), places, clean(moved.who), line(moved.why))
    return "  ".join(fact for fact in facts if fact)


def stat_text(difference: Diff) -> str:
    """The changed paths with how much changed in each, and a last line with their number."""
    rows = [f"{clean(change.path)}  {_stat(change)}" for change in difference]
    return "\n".join([*rows, f"{len(rows)} path{'' if len(rows) == 1 else 's'} changed"])


def diff_text(difference: Diff, *, colour: bool) -> str:
    """The changes one below the other; words that differ in colour, else marked
    ``[-gone-]{+new+}``.
    """
    paint = _painted if colour else _marked
    lines = [text for change in difference for text in _changed(change, paint, colour=colour)]
    return "\n".join(lines) or "no difference"


def side_by_side(difference: Diff, names: tuple[str, str], width: int) -> str:
    """The changes in two columns, ANSI colours for what differs."""
    from rich.console import Console  # noqa: PLC0415 - only wide terminals pay for it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=width, force_terminal=True)
    tables = Table(box=None, expand=True, show_header=True, padding=(0, 2, 0, 0))
    for name in names:
        tables.add_column(clean(name), ratio=1, overflow="fold")
    for change in difference:
        tables.add_row(Text(clean(change.path), style="bold"), "")
        for left, right in _rows(change):
            tables.add_row(*(_cell(Text(), cell) for cell in (left, right)))
    with console.capture() as captured:
        console.print(tables)
    return captured.get().rstrip("\n")


def _cell(text: Any, pieces: Iterable[tuple[str, str]]) -> Any:
    for kind, part in pieces:
        text.append(clean(part), style=_COLOURS.get(kind, ""))
    return text


def _rows(change: Change) -> Iterator[tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]]:
    """The two cells of each row, as (kind, text) pieces."""
    if change.path.endswith(_VECTORS):
        yield [("equal", "")], [("insert", _stat(change))]
        return
    pieces = [part for part in change.detail if isinstance(part, Piece)]
    if pieces:
        yield (
            [(p.kind, p.text) for p in pieces if p.kind != "insert"],
            [(p.kind, p.text) for p in pieces if p.kind != "delete"],
        )
    for part in change.detail:
        if isinstance(part, DemoEdit):
            left = (
                []
                if part.was is None
                else [(_left(part.kind), f"{part.was + 1}  {pretty(part.before)}")]
            )
            right = (
                []
                if part.now is None
                else [(_right(part.kind), f"{part.now + 1}  {pretty(part.after)}")]
            )
            yield left, right
        elif isinstance(part, Change):
            yield (
                [("delete", f"{part.path}: {value_text(part.before)}")],
                [("insert", f"{part.path}: {value_text(part.after)}")],
            )
    if not change.detail:
        yield [("delete", value_text(change.before))], [("insert", value_text(change.after))]


def _left(kind: str) -> str:
    return "moved" if kind == "moved" else "delete"


def _right(kind: str) -> str:
    return "moved" if kind == "moved" else "insert"


def _changed(change: Change, paint: Paint, *, colour: bool) -> Iterator[str]:
    yield click.style(clean(change.path), bold=True) if colour else clean(change.path)
    if change.path.endswith(_VECTORS):
        yield f"  {_stat(change)}"
        return
    pieces = [part for part in change.detail if isinstance(part, Piece)]
    if pieces:
        yield from _worded(pieces, paint)
    for part in change.detail:
        if isinstance(part, DemoEdit):
            text = clean(edit_line(part))
            yield f"  {click.style(text, fg=_COLOURS[part.kind]) if colour else text}"
        elif isinstance(part, Change):
            yield f"  {clean(part.path)}: {_sides(part, colour=colour)}"
    if not change.detail:
        yield f"  {_sides(change, colour=colour)}"


def _sides(change: Change, *, colour: bool) -> str:
    before, after = clean(value_text(change.before)), clean(value_text(change.after))
    return (
        f"{click.style(before, fg='red')} -> {click.style(after, fg='green')}"
        if colour
        else f"{before} -> {after}"
    )


def _worded(pieces: Sequence[Piece], paint: Paint) -> Iterator[str]:
    """Lines of text with the changed words painted; long stretches without a change are cut."""
    last, text = len(pieces) - 1, ""
    for at, piece in enumerate(pieces):
        part = clean(piece.text)
        if piece.kind == "equal":
            text += elided(part, CONTEXT if at else 0, CONTEXT if at < last else 0)
        else:
            text += "\n".join(paint(piece.kind, row) if row else "" for row in part.split("\n"))
    yield from (f"  {row}" for row in text.split("\n"))


def _painted(kind: str, text: str) -> str:
    return click.style(text, fg=_COLOURS[kind], strikethrough=True if kind == "delete" else None)


def _marked(kind: str, text: str) -> str:
    before, after = _MARKS[kind]
    return f"{before}{text}{after}"


def _stat(change: Change) -> str:
    if change.path.endswith(_VECTORS):
        before, after = (
            dict(side) if isinstance(side, Mapping) else {}
            for side in (change.before, change.after)
        )
        return f"{len(after.keys() - before)} vectors more, {len(before.keys() - after)} fewer, {len(after)} in all"
    counts: Counter[str] = Counter()
    keys = []
    for part in change.detail:
        if isinstance(part, Change):
            keys.append(clean(part.path))
        else:
            counts[part.kind] += len(part.text.split()) if isinstance(part, Piece) else 1
    if keys:
        return f"keys: {', '.join(keys)}"
    if counts.keys() & _MARKS.keys():
        return f"+{counts['insert']} -{counts['delete']} words"
    demos = [
        f"{counts[kind]} {kind}" for kind in ("added", "removed", "moved", "edited") if counts[kind]
    ]
    return f"demos: {', '.join(demos)}" if demos else "changed"


def _scores(saved: Saved) -> list[str]:
    return [f"{clean(name)} {mean:.3g} (n={n})" for name, (mean, n) in sorted(saved.scores.items())]


def _param(path: str, value: Any) -> Iterator[str]:
    yield ""
    yield clean(path)
    if path.endswith(_VECTORS) and isinstance(value, Mapping):
        yield f"  {len(value)} vectors"
    elif isinstance(value, str):
        yield from (f"  {text}" for text in clean(value).splitlines() or ["(empty)"])
    elif isinstance(value, (tuple, list)):
        for number, item in enumerate(value, 1):
            yield from _demo(number, item)
        if not value:
            yield "  (none)"
    elif isinstance(value, Mapping):
        yield from (f"  {clean(name)} = {clean(pretty(held))}" for name, held in value.items())
        if not value:
            yield "  (none)"
    else:
        yield f"  {clean(pretty(value))}"


def _demo(number: int, item: Any) -> Iterator[str]:
    if not isinstance(item, Mapping):
        yield f"  {number}  {clean(pretty(item))}"
        return
    for at, (name, held) in enumerate(item.items()):
        first, *rest = clean(held if isinstance(held, str) else pretty(held)).splitlines() or [""]
        yield f"  {'' if at else number:<3}{clean(name)}: {first}"
        yield from (f"       {text}" for text in rest)


def params_data(version: Version, saved: Saved) -> dict[str, Any]:
    """A version with what stands beside it, as JSON values."""
    beside = {"at": saved.at, "author": saved.author, "refs": saved.refs, "absent": saved.absent}
    scores = {name: {"mean": mean, "n": n} for name, (mean, n) in saved.scores.items()}
    return {"id": version.id, "tree": version.tree, **version.to_json(), **beside, "scores": scores}
