"""The changes from one map of parameters to another, as values and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from lmflow.values.printing import clean
from lmflow.values.record import canonical, plain, pretty
from lmflow.values.text_diff import Piece, mark_changes, word_diff
from lmflow.versions.demos import DemoEdit, demo_edits

Style = Callable[[str, str], str]
"""Writes a text of a kind: ``path``, ``equal``, ``insert``, ``delete``, ``before``, ``after``, or
the kind of a ``DemoEdit``.
"""

VECTORS = ".vectors"  # embeddings, which are counted: nobody reads the numbers
_CONTEXT = 60
_MARKS = {"insert": ("{+", "+}"), "delete": ("[-", "-]")}


class _Absent:
    """The value of a path that a version lacks, which isn't null."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


@attrs.frozen
class Change:
    """One path that differs: ``before`` or ``after`` is ``ABSENT`` if a version lacks the path.

    ``detail`` has the words of an instruction, the demonstrations of a list or the keys of a
    mapping that differ.
    """

    path: str
    before: Any
    after: Any

    @property
    def detail(self) -> tuple[Piece, ...] | tuple[DemoEdit, ...] | tuple[Change, ...]:
        """Word pieces, edits of demonstrations or changes of keys; empty if the values have no
        parts that could be compared.
        """
        before, after = self.before, self.after
        if isinstance(before, str) and isinstance(after, str) and self.path.endswith("instruction"):
            return word_diff(before, after)
        if _is_list(before) and _is_list(after):
            return demo_edits(before, after)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            return changes(before, after)
        return ()

    def to_json(self) -> dict[str, Any]:
        """The change as JSON values: the path, ``before`` and ``after`` unless absent, and the
        detail by its kind (``words``, ``demos`` or ``keys``).
        """
        sides = {"before": self.before, "after": self.after}
        data: dict[str, Any] = {
            name: plain(value) for name, value in sides.items() if value is not ABSENT
        }
        kinds = {Piece: "words", DemoEdit: "demos", Change: "keys"}
        detail = self.detail
        if detail:
            data[kinds[type(detail[0])]] = [_as_json(part) for part in detail]
        return {"path": self.path, **data}

    def __str__(self) -> str:
        return "\n".join(change_lines(self, marked))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The changes of names whose values differ, in order of the names."""
    pairs = (
        (name, before.get(name, ABSENT), after.get(name, ABSENT))
        for name in sorted({*before, *after})
    )
    return tuple(Change(name, a, b) for name, a, b in pairs if not same(a, b))


def same(a: Any, b: Any) -> bool:
    """Tell whether two values, either of which may be ``ABSENT``, have one canonical form."""
    return a is b or (a is not ABSENT and b is not ABSENT and canonical(a) == canonical(b))


def value_text(value: Any) -> str:
    """A value as a person reads it; ``ABSENT`` is "absent"."""
    return "absent" if value is ABSENT else pretty(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(item, Mapping) for item in value)


def _as_json(part: Piece | DemoEdit | Change) -> dict[str, Any]:
    if isinstance(part, Change):
        return part.to_json()
    data: dict[str, Any] = attrs.asdict(part, recurse=False)
    return {name: plain(value) for name, value in data.items() if value is not None}


def diff_text(changed: Iterable[Change], style: Style | None = None) -> str:
    """The changes one below the other, changed words as ``[-old-]{+new+}`` or as ``style`` writes
    them.
    """
    lines = [text for change in changed for text in change_lines(change, style or marked)]
    return "\n".join(lines) or "no difference"


def change_lines(change: Change, style: Style) -> Iterator[str]:
    """Yield a change as lines: its path, then what differs."""
    yield style("path", clean(change.path))
    if change.path.endswith(VECTORS):
        yield f"  {style('equal', stat(change))}"
        return
    detail = change.detail
    pieces = [part for part in detail if isinstance(part, Piece)]
    if pieces:
        yield from _changed_words(pieces, style)
    elif not detail:
        yield f"  {_sides(change, style)}"
    for part in detail:
        if isinstance(part, DemoEdit):
            yield f"  {style(part.kind, clean(edit_line(part)))}"
        elif isinstance(part, Change):
            yield f"  {style('equal', clean(part.path))}: {_sides(part, style)}"


def marked(kind: str, text: str) -> str:
    """Write inserted and deleted text between marks, and any other as it is."""
    before, after = _MARKS.get(kind, ("", ""))
    return f"{before}{text}{after}"


def stat(change: Change) -> str:
    """The amount of change: words, demonstrations, keys or vectors."""
    if change.path.endswith(VECTORS):
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


def edit_line(edit: DemoEdit) -> str:
    """One edit of a demonstration on one line; places count from 1, as a person does."""
    was, now = _number(edit.was), _number(edit.now)
    match edit.kind:
        case "added":
            return f"+ demo {now}: {pretty(edit.after)}"
        case "removed":
            return f"- demo {was}: {pretty(edit.before)}"
        case "moved":
            return f"> demo {was} -> {now}: {pretty(edit.after)}"
        case "edited":
            fields = changes(edit.before, edit.after)
            texts = "; ".join(f"{field.path}: {_before_after(field)}" for field in fields)
            place = was if was == now else f"{was} -> {now}"
            return f"~ demo {place}: {texts}"


def _number(place: int | None) -> str:
    return "" if place is None else str(place + 1)


def _before_after(change: Change) -> str:
    return f"{value_text(change.before)} -> {value_text(change.after)}"


def _sides(change: Change, style: Style) -> str:
    before, after = clean(value_text(change.before)), clean(value_text(change.after))
    return f"{style('before', before)}{style('equal', ' -> ')}{style('after', after)}"


def _changed_words(pieces: Sequence[Piece], style: Style) -> Iterator[str]:
    """Yield lines of text with the changed words styled; long unchanged stretches are cut."""

    def styled_rows(kind: str, text: str) -> str:
        return "\n".join(row and style(kind, row) for row in text.split("\n"))

    cleaned = [Piece(piece.kind, clean(piece.text)) for piece in pieces]
    text = mark_changes(cleaned, _CONTEXT, styled_rows)
    yield from (f"  {row}" for row in text.split("\n"))


def _vectors_stat(before: frozenset[str], after: frozenset[str]) -> str:
    added, removed = len(after - before), len(before - after)
    return f"{added} vectors more, {removed} fewer, {len(after)} in all"


def _keys(value: Any) -> frozenset[str]:
    return frozenset(value) if isinstance(value, Mapping) else frozenset()
