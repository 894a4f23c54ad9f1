"""What differs between two versions, and a difference applied to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import Conflict, check_kind
from lmflow.values.record import Record, canonical, plain, pretty
from lmflow.values.text_diff import Piece, marked, word_diff
from lmflow.versions.demos import DemoEdit, demo_edits
from lmflow.versions.version import Version


class _Absent:
    """The value of a path that isn't there: not null."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


@attrs.frozen
class Change:
    """One path that differs: ``before`` or ``after`` is ``ABSENT`` where a version lacks it.

    ``detail`` says it closer: the words of an instruction, the demonstrations of a list, the keys
    of a mapping.
    """

    path: str
    before: Any
    after: Any

    @property
    def detail(self) -> tuple[Piece, ...] | tuple[DemoEdit, ...] | tuple[Change, ...]:
        """Word pieces, edits of demonstrations or changes of keys; empty where only the whole
        values can be told.
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
        """The change as JSON values: ``before`` and ``after`` where there are such, and the detail
        by its kind.
        """
        sides = {"before": self.before, "after": self.after}
        found: dict[str, Any] = {
            name: plain(value) for name, value in sides.items() if value is not ABSENT
        }
        kinds = {Piece: "words", DemoEdit: "demos", Change: "keys"}
        if detail := self.detail:
            found[kinds[type(detail[0])]] = [_as_json(part) for part in detail]
        return {"path": self.path, **found}

    def __str__(self) -> str:
        return "\n".join(_lines(self))


@attrs.frozen
class Diff:
    """The changes from one version to another, in order of their paths; false where there are none."""

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def to_json(self) -> list[dict[str, Any]]:
        """The changes as JSON values."""
        return [change.to_json() for change in self.changes]

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes)) or "no difference"


def diff(a: Version, b: Version) -> Diff:
    """What leads from one version's parameters to another's; applied to ``a`` it gives the tree of
    ``b``.
    """
    for side in (a, b):
        check_kind("a version", side, Version, 'That of a ref is store.version("main").')
    return Diff(changes(a.params, b.params))


def apply(version: Version, difference: Diff, *, note: str = "") -> Version:
    """A child of ``version`` with the changes made. ``Conflict`` where it isn't what they were made
    from.
    """
    params: dict[str, Any] = dict(version.params)
    for change in difference:
        if not same(params.get(change.path, ABSENT), change.before):
            raise Conflict(change.path, said(change.before), said(params.get(change.path, ABSENT)))
        params.pop(change.path, None)
        if change.after is not ABSENT:
            params[change.path] = change.after
    return Version(params=Record(params), parents=(version.id,), note=note)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The names whose values differ, in order."""
    pairs = (
        (name, before.get(name, ABSENT), after.get(name, ABSENT))
        for name in sorted({*before, *after})
    )
    return tuple(Change(name, a, b) for name, a, b in pairs if not same(a, b))


def same(a: Any, b: Any) -> bool:
    """Whether two values, perhaps ``ABSENT``, have one canonical form."""
    return a is b or (a is not ABSENT and b is not ABSENT and canonical(a) == canonical(b))


def said(value: Any) -> str:
    """A value, or that there is none, as a person reads it."""
    return "absent" if value is ABSENT else pretty(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(item, Mapping) for item in value)


def _as_json(part: Piece | DemoEdit | Change) -> dict[str, Any]:
    if isinstance(part, Change):
        return part.to_json()
    data: dict[str, Any] = attrs.asdict(part, recurse=False)
    return {name: plain(value) for name, value in data.items() if value is not None}


def _lines(change: Change) -> Iterator[str]:
    yield change.path
    detail = change.detail
    pieces = [part for part in detail if isinstance(part, Piece)]
    if pieces:
        yield from (f"  {text}" for text in marked(pieces).splitlines())
    elif not detail:
        yield f"  {said(change.before)} -> {said(change.after)}"
    for part in detail:
        if isinstance(part, DemoEdit):
            yield f"  {edit_line(part)}"
        elif isinstance(part, Change):
            yield f"  {part.path}: {said(part.before)} -> {said(part.after)}"


def edit_line(edit: DemoEdit) -> str:
    """One edit of a demonstration on one line; places count from 1, as a person does."""
    was, now = (None if place is None else place + 1 for place in (edit.was, edit.now))
    match edit.kind:
        case "added":
            return f"+ demo {now}: {pretty(edit.after)}"
        case "removed":
            return f"- demo {was}: {pretty(edit.before)}"
        case "moved":
            return f"> demo {was} -> {now}: {pretty(edit.after)}"
        case "edited":
            inner = (
                f"{c.path}: {said(c.before)} -> {said(c.after)}"
                for c in changes(edit.before, edit.after)
            )
            return f"~ demo {was if was == now else f'{was} -> {now}'}: {'; '.join(inner)}"
