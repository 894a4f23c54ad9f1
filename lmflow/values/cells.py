"""Private copies of values that can be changed, so that nobody changes what a record holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, MutableSet
from typing import Any

from lmflow.errors import BadValue
from lmflow.values.attributes import is_frozen_class, is_object, written_names
from lmflow.values.canonical_text import Leaf
from lmflow.values.limits import DEEPEST, too_deep

_MUTABLE = (MutableSequence, MutableSet, MutableMapping)


class Cell:
    """A value that can be changed, as a record holds it: ``fresh`` gives a copy of its own.

    Neither the value that the cell was made of nor a fresh one is the cell's own, so a change of
    either never reaches the record, nor any trace or step that shares it.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def fresh(self) -> Any:
        """A copy of the value that its reader may change."""
        return copy.deepcopy(self.value)


def cell_of(value: Any, where: str, check: Callable[[Any, str], Any]) -> Cell:
    """Copy a value into a cell. ``BadValue`` if ``check`` refuses the value, or Python can't copy
    it.
    """
    check(value, where)
    try:
        return Cell(copy.deepcopy(value))
    except Exception as problem:  # noqa: BLE001 - a user's class may raise anything
        name = type(value).__qualname__
        fix = "Give its class fields that can be copied, or a __deepcopy__."
        raise BadValue(where, f"a {name} that can't be copied ({problem})", fix) from None


def is_immutable(value: Any, where: str, levels: int = DEEPEST) -> bool:
    """Tell whether neither a value nor anything in it can be changed."""
    if isinstance(value, (str, int, float, Leaf)) or value is None:
        return True
    if isinstance(value, _MUTABLE):
        return False
    if levels == 0:
        raise too_deep(where)
    if isinstance(value, Mapping):  # a record, or a view of one: its values are frozen or in cells
        return True
    if is_object(value):
        kind: Any = type(value)
        members = (getattr(value, name) for name in written_names(kind) or ())
        return is_frozen_class(kind) and all(
            is_immutable(member, where, levels - 1) for member in members
        )
    if isinstance(value, (tuple, frozenset)):
        return all(is_immutable(item, where, levels - 1) for item in value)
    return True


def gathered(collect: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    """Collect frozen items into one frozen value: a cell if one of the items is in a cell."""
    if not any(type(item) is Cell for item in items):
        return collect(items)
    return Cell(collect([item.value if type(item) is Cell else item for item in items]))


def has_cells(items: Mapping[str, Any]) -> bool:
    """Tell whether a value of a record's items is in a cell."""
    return any(type(value) is Cell for value in items.values())
