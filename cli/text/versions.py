"""Versions, their history and their differences as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from lmflow.cli.text.terminal import line
from lmflow.errors import short
from lmflow.traces.events import RefMoved
from lmflow.traces.store import StoredVersion
from lmflow.values.printing import clean
from lmflow.values.record import pretty
from lmflow.values.text_diff import Piece
from lmflow.versions.changes import VECTORS, Change, stat, value_text
from lmflow.versions.changes import diff_text as changes_text
from lmflow.versions.demos import DemoEdit
from lmflow.versions.diff import Diff
from lmflow.versions.version import Version
from lmflow.views.lines import when

_COLOURS = {
    "insert": "green",
    "delete": "red",
    "added": "green",
    "removed": "red",
    "edited": "yellow",
    "moved": "cyan",
}
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "path": {"bold": True},
    "before": {"fg": "red"},
    "after": {"fg": "green"},
    **{kind: {"fg": colour} for kind, colour in _COLOURS.items()},
    "delete": {"fg": "red", "strikethrough": True},
}


def log_lines(saved: StoredVersion) -> Iterator[str]:
    """Yield a version's log lines: id, refs, note; time, author, scores, missing parents."""
    yield from saved.log_text.splitlines()


def version_text(saved: StoredVersion) -> str:
    """Return a version's metadata and each of its parameters."""
    return str(saved)


def reflog_line(moved: RefMoved) -> str:
    """Return a move of a ref on one line."""
    places = f"{short(moved.before or '') or 'nothing'} -> {short(moved.version) or 'removed'}"
    facts = (when(moved.at), clean(moved.name), places, clean(moved.who), line(moved.why))
    return "  ".join(fact for fact in facts if fact)


def stat_text(difference: Diff) -> str:
    """Return the changed paths with the amount of change in each, and their number."""
    rows = [f"{clean(change.path)}  {stat(change)}" for change in difference]
    return "\n".join([*rows, f"{len(rows)} path{'' if len(rows) == 1 else 's'} changed"])


def diff_text(difference: Diff, *, colour: bool) -> str:
    """Return the changes one below the other, changed words in colour or as ``[-old-]{+new+}``."""
    return changes_text(difference, coloured if colour else None)


def coloured(kind: str, text: str) -> str:
    """Return a text of a difference in the colour of its kind."""
    style = _STYLES.get(kind)
    return click.style(text, **style) if style else text


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
    if change.path.endswith(VECTORS):
        yield [("equal", "")], [("insert", stat(change))]
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
