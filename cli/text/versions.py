"""Versions, their history and their differences as text for a terminal."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from lmflow.cli.text.terminal import line
from lmflow.errors import short
from lmflow.traces.events import RefMoved
from lmflow.traces.store import StoredVersion
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.values.text_diff import Piece, elide
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
_VECTORS = ".vectors"  # embeddings, which are summarized: nobody reads the numbers
_MARKS = {"insert": ("{+", "+}"), "delete": ("[-", "-]")}


def when(at: int) -> str:
    """Return a time in nanoseconds as local date and time; empty for 0."""
    if not at:
        return ""
    return dt.datetime.fromtimestamp(at / 1e9, tz=dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def log_lines(saved: StoredVersion) -> Iterator[str]:
    """Yield a version's log lines: id, refs, note; time, author, scores, missing parents."""
    version = saved.version
    refs = f"  ({', '.join(saved.refs)})" if saved.refs else ""
    yield f"{short(version.id)}{refs}  {line(version.note) or 'no note'}"
    facts = [when(saved.at), clean(saved.author), *_scores(saved)]
    if len(version.parents) > 1:
        facts.append(f"merges {' and '.join(map(short, version.parents))}")
    facts += [f"parent {short(parent)} is not in this store" for parent in saved.absent]
    yield f"   {' · '.join(fact for fact in facts if fact)}"


def version_text(saved: StoredVersion) -> str:
    """Return a version's metadata and each of its parameters."""
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
    lines = [f"{name:8} {value}" for name, value in head.items() if value]
    for path, value in version.params.items():
        lines += _param(path, value)
    return "\n".join(lines)


def reflog_line(moved: RefMoved) -> str:
    """Return a move of a ref on one line."""
    places = f"{short(moved.before or '') or 'nothing'} -> {short(moved.version) or 'removed'}"
    facts = (when(moved.at), clean(moved.name), places, clean(moved.who), line(moved.why))
    return "  ".join(fact for fact in facts if fact)


def stat_text(difference: Diff) -> str:
    """Return the changed paths with the amount of change in each, and their number."""
    rows = [f"{clean(change.path)}  {_stat(change)}" for change in difference]
    return "\n".join([*rows, f"{len(rows)} path{'' if len(rows) == 1 else 's'} changed"])


def diff_text(difference: Diff, *, colour: bool) -> str:
    """Return the changes one below the other, changed words in colour or as ``[-old-]{+new+}``."""
    paint = _painted if colour else _marked
    lines = [text for change in difference for text in _change(change, paint, colour=colour)]
    return "\n".join(lines) or "no difference"


def side_by_side(difference: Diff, names: tuple[str, str], width: int) -> str:
    """Return the changes in two columns, with ANSI colours on the changed words."""
    from rich.console import Console  # noqa: PLC0415 - needed for wide terminals only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=width, force_terminal=True)
    columns = Table(box=None, expand=True, show_header=True, padding=(0, 2, 0, 0))
    for name in names:
        columns.add_column(clean(name), ratio=1, overflow="fold")
    for change in difference:
        columns.add_row(Text(clean(change.path), style="bold"), "")
        for cells in _rows(change):
            columns.add_row(*(_cell(Text(), cell) for cell in cells))
    with console.capture() as captured:
        console.print(columns)
    return captured.get().rstrip("\n")


def _cell(text: Any, pieces: Iterable[tuple[str, str]]) -> Any:
    for kind, part in pieces:
        text.append(clean(part), style=_COLOURS.get(kind, ""))
    return text


def _rows(change: Change) -> Iterator[tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]]:
    """Yield the two cells of each row as (kind, text) pieces."""
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
            moved = part.kind == "moved"
            yield (
                _demo_cell("moved" if moved else "delete", part.was, part.before),
                _demo_cell("moved" if moved else "insert", part.now, part.after),
            )
        elif isinstance(part, Change):
            yield (
                [("delete", f"{part.path}: {value_text(part.before)}")],
                [("insert", f"{part.path}: {value_text(part.after)}")],
            )
    if not change.detail:
        yield [("delete", value_text(change.before))], [("insert", value_text(change.after))]


def _demo_cell(kind: str, position: int | None, demo: Any) -> list[tuple[str, str]]:
    return [] if position is None else [(kind, f"{position + 1}  {pretty(demo)}")]


def _change(change: Change, paint: Paint, *, colour: bool) -> Iterator[str]:
    yield click.style(clean(change.path), bold=True) if colour else clean(change.path)
    if change.path.endswith(_VECTORS):
        yield f"  {_stat(change)}"
        return
    pieces = [part for part in change.detail if isinstance(part, Piece)]
    if pieces:
        yield from _changed_words(pieces, paint)
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
    if colour:
        return f"{click.style(before, fg='red')} -> {click.style(after, fg='green')}"
    return f"{before} -> {after}"


def _changed_words(pieces: Sequence[Piece], paint: Paint) -> Iterator[str]:
    """Yield lines of text with the changed words painted; long unchanged stretches are cut."""
    last, text = len(pieces) - 1, ""
    for position, piece in enumerate(pieces):
        part = clean(piece.text)
        if piece.kind == "equal":
            text += elide(part, CONTEXT if position else 0, CONTEXT if position < last else 0)
        else:
            rows = part.split("\n")
            text += "\n".join(row and paint(piece.kind, row) for row in rows)
    yield from (f"  {row}" for row in text.split("\n"))


def _painted(kind: str, text: str) -> str:
    return click.style(text, fg=_COLOURS[kind], strikethrough=True if kind == "delete" else None)


def _marked(kind: str, text: str) -> str:
    before, after = _MARKS[kind]
    return f"{before}{text}{after}"


def _stat(change: Change) -> str:
    if change.path.endswith(_VECTORS):
        return _vectors_stat(_keys(change.before), _keys(change.after))
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
    kinds = [kind for kind in ("added", "removed", "moved", "edited") if counts[kind]]
    demos = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    return f"demos: {demos}" if demos else "changed"


def _vectors_stat(before: frozenset[str], after: frozenset[str]) -> str:
    added, removed = len(after - before), len(before - after)
    return f"{added} vectors more, {removed} fewer, {len(after)} in all"


def _keys(value: Any) -> frozenset[str]:
    return frozenset(value) if isinstance(value, Mapping) else frozenset()


def _scores(saved: StoredVersion) -> list[str]:
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
        yield from (f"  {clean(name)} = {clean(pretty(part))}" for name, part in value.items())
        if not value:
            yield "  (none)"
    else:
        yield f"  {clean(pretty(value))}"


def _demo(number: int, item: Any) -> Iterator[str]:
    if not isinstance(item, Mapping):
        yield f"  {number}  {clean(pretty(item))}"
        return
    for position, (name, value) in enumerate(item.items()):
        text = value if isinstance(value, str) else pretty(value)
        first, *rest = clean(text).splitlines() or [""]
        yield f"  {'' if position else number:<3}{clean(name)}: {first}"
        yield from (f"       {more}" for more in rest)


def params_data(version: Version, saved: StoredVersion) -> dict[str, Any]:
    """Return a version and its metadata as JSON values."""
    metadata = {"at": saved.at, "author": saved.author, "refs": saved.refs, "absent": saved.absent}
    scores = {name: {"mean": mean, "n": n} for name, (mean, n) in saved.scores.items()}
    return {
        "id": version.id,
        "tree": version.tree,
        **version.to_json(),
        **metadata,
        "scores": scores,
    }
