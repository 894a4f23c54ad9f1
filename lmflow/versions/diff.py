"""The difference between two versions, and its application to another version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from lmflow.errors import Conflict, ForeignFile, check_kind
from lmflow.values.interchange import JsonValue
from lmflow.values.printing import printable
from lmflow.values.record import Record, freeze, plain
from lmflow.versions.changes import ABSENT, Change, changes, diff_text, same, value_text
from lmflow.versions.diff_page import diff_block
from lmflow.versions.version import Version
from lmflow.views.lines import counted
from lmflow.views.page import page_html, page_markdown


@attrs.frozen(repr=False)
class Diff(JsonValue):
    """The changes from one version to another, in order of their paths; false if there are none."""

    changes: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as new JSON values: its changes in order."""
        return {"changes": plain(self.to_json())}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Diff:
        """Make the difference from the JSON values of ``to_dict``. ``ForeignFile`` if they are
        not.
        """
        try:
            return cls(tuple(map(_change_of_json, data["changes"])))
        except (LookupError, TypeError, AttributeError) as problem:
            reason = f"a part is missing or malformed ({problem})"
            fix = "Give what to_dict() returned."
            raise ForeignFile("the JSON of a difference", reason, fix) from None

    def to_json(self) -> list[dict[str, Any]]:
        """The changes as JSON values."""
        return [change.to_json() for change in self.changes]

    def __repr__(self) -> str:
        return f"<{self._headline}>"

    def __str__(self) -> str:
        return diff_text(self.changes)

    def _repr_html_(self) -> str:
        return page_html((self._headline,), diff_block(self.changes))

    def _repr_markdown_(self) -> str:
        return page_markdown((self._headline,), diff_block(self.changes))

    @property
    def _headline(self) -> str:
        if not self.changes:
            return "Diff: no difference"
        paths = printable(", ".join(change.path for change in self.changes))
        return f"Diff: {counted(len(self), 'path')} changed: {paths}"


def _change_of_json(data: Mapping[str, Any]) -> Change:
    sides = {name: freeze(data[name]) for name in ("before", "after") if name in data}
    if not isinstance(data["path"], str):
        raise TypeError(f"a path is {data['path']!r:.80}, expected a text")
    return Change(data["path"], sides.get("before", ABSENT), sides.get("after", ABSENT))


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
