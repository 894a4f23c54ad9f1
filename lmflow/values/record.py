"""Records, which are immutable mappings, and the canonical form and digest of every value.

Canonical form v1 is JSON with keys sorted by code point, no spaces, ASCII escapes, floats by
``repr``. So ``1``, ``1.0`` and ``True`` differ, an absent key is not ``null``, and equal values
have equal bytes on every platform.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any

from lmflow.errors import BadValue
from lmflow.values.attributes import is_object, written_fields
from lmflow.values.canonical_text import Form, Leaf, Unusual, hash_text, sorted_names, text_form
from lmflow.values.cells import Cell, cell_of, gathered, has_cells, is_immutable
from lmflow.values.immutable import Immutable
from lmflow.values.interchange import JsonValue
from lmflow.values.limits import DEEPEST, check_key, check_number, too_deep

_DATES = (dt.date, dt.time, dt.datetime)
_WORDS = {True: "true", False: "false", None: "null"}


class Record(Immutable, JsonValue, Mapping[str, Any]):
    """An immutable mapping of names to frozen values, read as ``record.answer`` or
    ``record["answer"]``.

    Lists become tuples and mappings records. Two records are equal if their canonical forms are.

    Args:
        mapping: Names and values; ``fields`` take precedence.

    Raises:
        BadValue: A value can't be frozen, or a name isn't a text.

    Example:
        >>> Record(question="Why?", tags=["a", "b"]).tags
        ('a', 'b')
    """

    __slots__ = ("_digest", "_form", "_items")
    _items: dict[str, Any]
    _digest: str | None
    _form: str

    def __init__(self, mapping: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        if type(mapping) is Record and not fields:  # both are immutable, so they can share items
            object.__setattr__(self, "_items", mapping._items)  # noqa: SLF001 - its own class
            object.__setattr__(self, "_digest", mapping._digest)  # noqa: SLF001
            return
        items = _frozen_items({**(mapping or {}), **fields}, DEEPEST)
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_digest", None)

    def __getitem__(self, name: str) -> Any:
        value = self._items[name]
        return value.fresh() if type(value) is Cell else value

    def __getattr__(self, name: str) -> Any:
        # copy and pickle look these names up before the record has its items: without the check
        # that would recurse without end.
        if name in Record.__slots__ or name.startswith("__"):
            raise AttributeError(name, name=name, obj=self)
        try:
            return self[name]
        except KeyError:
            msg = f"the record has no field {name!r}; it has {', '.join(self._items) or 'none'}"
            raise AttributeError(msg, name=name, obj=self) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def get(self, name: str, default: Any = None) -> Any:  # type: ignore[override, unused-ignore]
        """The value of a field, or the default if the record has no such field."""
        return self[name] if name in self._items else default

    def keys(self) -> KeysView[str]:
        """The names of the record's fields."""
        return self._items.keys()

    def values(self) -> ValuesView[Any]:
        """The values of the record's fields."""
        return ValuesView(self) if has_cells(self._items) else self._items.values()

    def items(self) -> ItemsView[str, Any]:
        """The record's fields, each a name and a value."""
        return ItemsView(self) if has_cells(self._items) else self._items.items()

    def __or__(self, other: Mapping[str, Any]) -> Record:
        return _sharing({**self._items, **record(other)._items})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        if self._digest and other._digest:
            return self._digest == other._digest
        return same_form(self, other)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (dict(self._items),)

    @property
    def digest(self) -> str:
        """The digest of the record's canonical form, computed once."""
        if self._digest is None:
            object.__setattr__(self, "_digest", digest("record", self))
        return self._digest or ""

    def only(self, *names: str) -> Record:
        """A record of the named fields, in the order of the names; names that the record lacks are
        left out.
        """
        return _sharing({name: self._items[name] for name in names if name in self._items})

    def to_dict(self) -> dict[str, Any]:
        """The record as new JSON values: dicts, lists, dates as texts, media as descriptions."""
        return {name: plain(item, name) for name, item in self._items.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """The record of JSON values; it equals the one that they were made of."""
        return record(data)


_FROZEN = frozenset({str, bool, type(None), Record})
_UNCHANGED = (str, bool, type(None), Record, Cell, *_DATES)


def _frozen_items(items: dict[str, Any], levels: int, where: str = "") -> dict[str, Any]:
    for name, value in items.items():
        if type(value) not in _FROZEN:
            items[name] = _freeze(value, f"{where}.{name}" if where else str(name), levels)
        if type(name) is not str:
            check_key(name, "the record")
    return items


def _sharing(items: dict[str, Any]) -> Record:
    """A record of values that are frozen already."""
    record = object.__new__(Record)
    object.__setattr__(record, "_items", items)
    object.__setattr__(record, "_digest", None)
    return record


EMPTY = Record()


def record(mapping: Mapping[str, Any]) -> Record:
    """The mapping as a record; a record is returned unchanged."""
    return mapping if type(mapping) is Record else Record(mapping)


def freeze(value: Any, where: str = "the value") -> Any:
    """``value`` made immutable: lists become tuples, mappings records.

    Args:
        value: JSON values, dates, sets, enums, or objects of classes with fields. One that can be
            changed becomes a record of its fields; within a record it stays an object.

    Raises:
        BadValue: The value or a value in it can't be frozen.
    """
    frozen = _freeze(value, where, DEEPEST)
    return freeze(plain(frozen, where, kept=True), where) if type(frozen) is Cell else frozen


def _freeze(value: Any, where: str, levels: int) -> Any:  # noqa: PLR0911 - one return a kind
    if isinstance(value, _UNCHANGED):
        return value
    if isinstance(value, (int, float)):
        return check_number(value, where)
    if levels == 0:
        raise too_deep(where)
    if isinstance(value, Mapping):
        return _sharing(_frozen_items(dict(value), levels - 1, where))
    if isinstance(value, enum.Enum):
        return value
    if is_object(value):
        return value if is_immutable(value, where) else cell_of(value, where, plain)
    if isinstance(value, (list, tuple)):
        pairs = enumerate(value)
        frozen = [_freeze(item, f"{where}[{place}]", levels - 1) for place, item in pairs]
        return gathered(tuple, frozen)
    if isinstance(value, AbstractSet):
        return gathered(frozenset, [_freeze(item, where, levels - 1) for item in value])
    fix = "Use JSON values, dates, enums, or classes with fields (attrs, dataclass, pydantic)."
    raise BadValue(where, f"a {type(value).__qualname__}", fix)


def plain(value: Any, where: str = "the value", *, kept: bool = False) -> Any:
    """``value`` as new JSON values (dict, list, str, int, float, bool, None).

    Args:
        value: A frozen value, or one that could be frozen.
        kept: Whether to leave each ``Leaf`` in the value as it is.

    Raises:
        BadValue: The value or a value in it has no JSON form.
    """
    try:
        return _plain(value, where, kept=kept)
    except RecursionError:
        raise too_deep(where) from None


def _plain(value: Any, where: str, *, kept: bool) -> Any:  # noqa: C901, PLR0911 - one return a kind
    if isinstance(value, enum.Enum):
        return _plain(value.value, where, kept=False)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return check_number(value, where)
    if isinstance(value, Cell):
        return _plain(value.value, where, kept=kept)
    if isinstance(value, Mapping):
        pairs = value._items.items() if type(value) is Record else value.items()  # noqa: SLF001
        return {
            check_key(key, where): _plain(item, f"{where}.{key}", kept=kept) for key, item in pairs
        }
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [_plain(item, f"{where}[{i}]", kept=kept) for i, item in enumerate(value)]
    if isinstance(value, AbstractSet):
        return sorted((_plain(item, where, kept=kept) for item in value), key=canonical)
    if isinstance(value, _DATES):
        return value.isoformat()
    if isinstance(value, Leaf):
        return value if kept else value.json()
    fields = written_fields(value)
    if fields is not None:
        return _plain(fields, where, kept=kept)
    fix = "Use JSON values, dates, enums or attrs classes."
    raise BadValue(where, f"a {type(value).__qualname__}", fix)


def canonical(value: Any) -> str:
    """The canonical form v1 of ``value``.

    Raises:
        BadValue: The value has no canonical form: a key that isn't a text, NaN, a live object, a
            number of more than 4,300 digits, nesting without end.

    Example:
        >>> canonical({"b": 1, "a": [True, 1.0]})
        '{"a":[true,1.0],"b":1}'
    """
    try:
        return _canonical(value)
    except _UNUSUAL:
        return _long_form(value)


def write_form(value: Any) -> tuple[str, bool]:
    """The canonical form of ``value``, and whether the value is made of JSON values alone."""
    try:
        return _canonical(value), True
    except _UNUSUAL:
        return _long_form(value), False


def same_form(a: Any, b: Any) -> bool:
    """Tell whether two frozen values have the same canonical form. The form is written only if
    comparing the values themselves can't decide.
    """
    kind = type(a)
    if a is b:
        return True
    if kind is not type(b):
        return canonical(a) == canonical(b)
    if kind is str or kind is int:
        return bool(a == b)
    if kind is Record:
        ours, theirs = a._items, b._items  # noqa: SLF001 - beside its class
        return ours is theirs or (
            len(ours) == len(theirs)
            and all(name in theirs and same_form(item, theirs[name]) for name, item in ours.items())
        )
    if kind is tuple:
        return len(a) == len(b) and all(map(same_form, a, b))
    return canonical(a) == canonical(b)


# A number that is too long is a ValueError; the long form refuses it, and deep nesting, by name.
_UNUSUAL = (Unusual, ValueError, RecursionError)


def _long_form(value: Any) -> str:
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def _canonical(value: Any) -> str:
    """The canonical form of a value that is made of JSON values alone, in one pass."""
    # Each key and digest is made here, so types are compared by identity; subclasses (an IntEnum)
    # take the long form. Sorted names and repr of floats give the same bytes on every platform,
    # and any change of the bytes makes each recording unfindable.
    kind = type(value)
    if kind is str:
        return text_form(value)
    if kind is dict or kind is Record:
        items = value._items if kind is Record else value  # noqa: SLF001 - beside its class
        return "{" + ",".join([_pair(name, items[name]) for name in sorted_names(items)]) + "}"
    if kind is tuple or kind is list:
        return "[" + ",".join([_canonical(item) for item in value]) + "]"
    if kind is Form:
        return str(value)
    if kind is bool or value is None:
        return _WORDS[value]
    if kind is int or (kind is float and math.isfinite(value or 0.0)):
        return repr(value)
    raise Unusual


def _pair(name: str, value: Any) -> str:
    return f"{text_form(name)}:{text_form(value) if type(value) is str else _canonical(value)}"


def digest(kind: str, value: Any) -> str:
    """The digest of a value: ``v1:b2:`` and a BLAKE2b-256 hash in hex.

    Args:
        kind: The sort of the value ("record", "chat", "version"): equal values of two kinds have
            two digests. The hash is of the kind, a NUL byte and the canonical form.
        value: Any value that has a canonical form; ``BadValue`` if it has none.
    """
    return hash_text(kind, canonical(value))


def pretty(value: Any) -> str:
    """JSON as people and models read it: with spaces, few escapes, each ``Leaf`` as its text."""
    return json.dumps(plain(value, kept=True), ensure_ascii=False, allow_nan=False, default=str)
