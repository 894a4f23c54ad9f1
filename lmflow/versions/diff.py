"""The difference between two versions, and its application to another version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import Conflict, check_kind
from lmflow.values.record import Record, canonical, plain, pretty
from lmflow.values.text_diff import Piece, mark_changes, word_diff
from lmflow.versions.demos import DemoEdit, demo_edits
from lmflow.versions.version import Version


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
        return "\n".join(_lines(self))


@attrs.frozen
class Diff:
    """The changes from one version to another, in order of their paths; false if there are none."""

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
    """The difference between the parameters of two versions.

    Args:
        a: The earlier version.
        b: The later version.

    Returns:
        The changes. ``apply(a, diff(a, b))`` has the tree of ``b``; ``str`` is a text for people.

    Raises:
        TypeError: A side isn't a version.

    Example:
        >>> a = lf.Version(params={"answer.instruction": "Answer."})
        >>> print(lf.diff(a, a.put({"answer.instruction": "Answer briefly."})))
        answer.instruction
          Answer{+ briefly+}.
    """
    for side in (a, b):
        check_kind("a version", side, Version, 'That of a ref is store.version("main").')
    return Diff(changes(a.params, b.params))


def apply(version: Version, difference: Diff, *, note: str = "") -> Version:
    """A child of ``version`` with the changes of a difference.

    Args:
        version: A version that has the values from which the difference was made.
        difference: The changes.
        note: The note of the child.

    Raises:
        Conflict: The version has another value at a changed path.
    """
    params: dict[str, Any] = dict(version.params)
    for change in difference:
        if not same(params.get(change.path, ABSENT), change.before):
            current = value_text(params.get(change.path, ABSENT))
            raise Conflict(change.path, value_text(change.before), current)
        params.pop(change.path, None)
        if change.after is not ABSENT:
            params[change.path] = change.after
    return Version(params=Record(params), parents=(version.id,), note=note)


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


def _lines(change: Change) -> Iterator[str]:
    yield change.path
    detail = change.detail
    pieces = [part for part in detail if isinstance(part, Piece)]
    if pieces:
        yield from (f"  {text}" for text in mark_changes(pieces).splitlines())
    elif not detail:
        yield f"  {_before_after(change)}"
    for part in detail:
        if isinstance(part, DemoEdit):
            yield f"  {edit_line(part)}"
        elif isinstance(part, Change):
            yield f"  {part.path}: {_before_after(part)}"


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
