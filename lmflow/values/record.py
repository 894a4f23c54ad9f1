"""Immutable values, their canonical form and their digests: what everything else is made of.

Canonical form v1 is JSON with keys sorted by code point, no spaces, ASCII escapes, floats by
``repr``. So ``1``, ``1.0`` and ``True`` differ, an absent key is not ``null``, and equal values
have equal bytes on every platform. A digest is ``v1:b2:`` and the BLAKE2b-256 hash, in hex, of the
kind, a NUL byte and the canonical form.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import hashlib
import json
import math
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import Any

import attrs

from lmflow.errors import BadValue

KEYED = "v1:hm:"  # what a keyed hash begins with
_PLAIN = (str, int, bool, type(None))
_DATES = (dt.date, dt.time, dt.datetime)
_WORDS = {True: "true", False: "false", None: "null"}
_quoted = json.encoder.encode_basestring_ascii


class Record(Mapping[str, Any]):
    """An immutable mapping of names to frozen values, read as ``record.answer`` or
    ``record["answer"]``.

    Two records are equal when their canonical forms are. Lists become tuples and mappings records;
    what can't be frozen is refused (``BadValue``).
    """

    __slots__ = ("_digest", "_items")
    _items: dict[str, Any]
    _digest: str | None

    def __init__(self, mapping: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        if type(mapping) is Record and not fields:  # both are immutable, so they may share
            object.__setattr__(self, "_items", mapping._items)  # noqa: SLF001 - its own class
            object.__setattr__(self, "_digest", mapping._digest)  # noqa: SLF001
            return
        items = {**(mapping or {}), **fields}
        for name, value in items.items():
            if type(value) not in _FROZEN:
                items[name] = freeze(value, str(name))
            if type(name) is not str:
                _check_key(name, "the record")
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_digest", None)

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __getattr__(self, name: str) -> Any:
        if name in Record.__slots__ or name.startswith(
            "__"
        ):  # never a field: a copy asks for them before it has any
            raise AttributeError(name, name=name, obj=self)
        try:
            return self._items[name]
        except KeyError:
            msg = f"the record has no field {name!r}; it has {', '.join(self._items) or 'none'}"
            raise AttributeError(msg, name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        msg = f"records are immutable: make another, `record | {{{name!r}: ...}}`"
        raise AttributeError(msg)

    def __delattr__(self, name: str) -> None:
        msg = f"records are immutable: make another without {name!r}, `record.only(...)`"
        raise AttributeError(msg)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def get(self, name: str, default: Any = None) -> Any:  # type: ignore[override, unused-ignore]
        """The value of a field, or the default where it has none."""
        return self._items.get(name, default)

    def keys(self) -> KeysView[str]:
        """The names of its fields."""
        return self._items.keys()

    def values(self) -> ValuesView[Any]:
        """The values of its fields."""
        return self._items.values()

    def items(self) -> ItemsView[str, Any]:
        """Its fields, each a name and a value."""
        return self._items.items()

    def __or__(self, other: Mapping[str, Any]) -> Record:
        return _sharing({**self._items, **record(other)._items})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        if self._digest and other._digest:
            return self._digest == other._digest
        return alike(self, other)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Record({', '.join(f'{name}={value!r}' for name, value in self._items.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (dict(self._items),)

    @property
    def digest(self) -> str:
        """The digest of the record's canonical form, computed once."""
        if self._digest is None:
            object.__setattr__(self, "_digest", digest("record", self))
        return self._digest or ""

    def only(self, *names: str) -> Record:
        """The record with the named fields that it has, in the given order."""
        return _sharing({name: self._items[name] for name in names if name in self._items})


_FROZEN = frozenset({str, int, bool, type(None), Record})


def _sharing(items: dict[str, Any]) -> Record:
    """A record of values that are frozen already."""
    made = object.__new__(Record)
    object.__setattr__(made, "_items", items)
    object.__setattr__(made, "_digest", None)
    return made


EMPTY = Record()
"""The record without fields."""


def record(mapping: Mapping[str, Any]) -> Record:
    """The mapping as a record: itself where it is one."""
    return mapping if type(mapping) is Record else Record(mapping)


def freeze(value: Any, where: str = "the value") -> Any:
    """``value`` made immutable: lists to tuples, mappings to records. ``BadValue`` where that is
    impossible.
    """
    if isinstance(value, (*_PLAIN, Record, *_DATES)):
        return value
    if isinstance(value, float):
        return _finite(value, where)
    if isinstance(value, Mapping):
        return Record(value)
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, AbstractSet):
        return frozenset(freeze(item, where) for item in value)
    if _is_frozen_object(value):
        return value
    fix = "Use JSON values, dates, enums or frozen classes (attrs, msgspec, pydantic)."
    raise BadValue(where, f"a {type(value).__qualname__}", fix)


class Leaf:
    """A value that stays as it is where it is used, and is written as the JSON values that it
    gives.
    """

    __slots__ = ()

    def json(self) -> dict[str, Any]:
        """What stands for it in canonical forms."""
        raise NotImplementedError


def plain(value: Any, where: str = "the value", *, kept: bool = False) -> Any:  # noqa: PLR0911 - one return a kind
    """``value`` as JSON values (dict, list, str, int, float, bool, None), made anew; with ``kept``
    a ``Leaf`` in it stays as it is.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value, where)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, float):
        return _finite(value, where)
    if isinstance(value, Mapping):
        return {
            _check_key(key, where): plain(item, f"{where}.{key}", kept=kept)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]", kept=kept) for i, item in enumerate(value)]
    if isinstance(value, AbstractSet):
        return sorted((plain(item, where, kept=kept) for item in value), key=canonical)
    if isinstance(value, _DATES):
        return value.isoformat()
    if isinstance(value, Leaf):
        return value if kept else value.json()
    if (names := _names_of(type(value))) is not None:
        return {name: plain(getattr(value, name), f"{where}.{name}", kept=kept) for name in names}
    raise BadValue(
        where, f"a {type(value).__qualname__}", "Use JSON values, dates, enums or attrs classes."
    )


def canonical(value: Any) -> str:
    """The canonical form v1 of ``value``. ``BadValue`` where it has none."""
    try:
        return _canonical(value)
    except _Unusual:
        return _long_form(value)


def formed(value: Any) -> tuple[str, bool]:
    """The canonical form of ``value``, and whether it is made of plain values alone."""
    try:
        return _canonical(value), True
    except _Unusual:
        return _long_form(value), False


def alike(a: Any, b: Any) -> bool:
    """Whether two frozen values have the same canonical form; it is written only where a look at
    them can't tell.
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
            and all(name in theirs and alike(value, theirs[name]) for name, value in ours.items())
        )
    if kind is tuple:
        return len(a) == len(b) and all(map(alike, a, b))
    return canonical(a) == canonical(b)


class Form(str):
    """A text that is canonical already, which stands for its value: it is written as it is."""

    __slots__ = ()


def text_form(text: str) -> str:
    """The canonical form of a text."""
    return _quoted(text)


class _Unusual(Exception):
    """A value that is none of the plain ones: it takes the long way, which also words what is wrong
    with it.
    """


def _long_form(value: Any) -> str:
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def _canonical(value: Any) -> str:
    """The canonical form of plain values in one pass, which is what nearly all of them are."""
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is dict or kind is Record:
        items = value._items if kind is Record else value  # noqa: SLF001 - beside its class
        return "{" + ",".join([_pair(name, items[name]) for name in _sorted(items)]) + "}"
    if kind is tuple or kind is list:
        return "[" + ",".join([_canonical(item) for item in value]) + "]"
    if kind is Form:
        return str(value)
    if (known := _WORDS.get(value) if kind is bool or value is None else None) is not None:
        return known
    if kind is int or (kind is float and math.isfinite(value or 0.0)):
        return repr(value)
    raise _Unusual


def _pair(name: str, value: Any) -> str:
    return f"{_quoted(name)}:{_quoted(value) if type(value) is str else _canonical(value)}"


def _sorted(names: Mapping[Any, Any]) -> list[str]:
    for name in names:
        if type(name) is not str:
            raise _Unusual
    return sorted(names)


def digest(kind: str, value: Any) -> str:
    """``v1:b2:`` and the BLAKE2b-256 of ``kind``, a NUL byte and the canonical form of ``value``."""
    return hash_text(kind, canonical(value))


def hash_text(kind: str, text: str) -> str:
    """The digest of a text that is canonical already."""
    return "v1:b2:" + hash_bytes(kind, text).hex()


def hash_bytes(kind: str, text: str) -> bytes:
    """The hash alone."""
    return hashlib.blake2b(f"{kind}\0{text}".encode("ascii"), digest_size=32).digest()


def uncached(value: Any) -> dict[str, Any]:
    """The state that is pickled of an object: its fields, not what ``functools.cached_property``
    computed of them.
    """
    kind = type(value)
    return {
        name: held
        for name, held in vars(value).items()
        if not isinstance(getattr(kind, name, None), functools.cached_property)
    }


def lean(value: Any) -> dict[str, Any]:
    """The fields of an attrs value that differ from their defaults: a field that is added later
    changes no digest.

    Fields that don't count in its equality are left out.
    """
    kind: Any = type(value)
    found = {}
    for name, default in _defaults(kind):
        held = getattr(value, name)
        if held is not default and held != default:
            found[name] = held
    return found


def pretty(value: Any) -> str:
    """JSON as a person or a model reads it: spaces, no escapes but where there must be, a ``Leaf``
    as its text.
    """
    return json.dumps(plain(value, kept=True), ensure_ascii=False, allow_nan=False, default=str)


@functools.cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    """The fields of an attrs class with their defaults, ``NOTHING`` for none."""
    found: list[tuple[str, Any]] = [
        (field.name, field.default) for field in attrs.fields(kind) if field.eq
    ]
    return tuple(
        (name, it.factory() if isinstance(it, attrs.Factory) else it)  # type: ignore[arg-type]
        for name, it in found
    )


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise BadValue(where, repr(value), "Use a finite number, or null for none.")
    return value


def _check_key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise BadValue(where, f"a mapping with the key {key!r}", "Use text as keys, str(key).")
    return key


def _names_of(kind: Any) -> tuple[str, ...] | None:
    """The fields of an attrs class, a msgspec Struct or a pydantic model, which are told by what
    they carry.
    """
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    if hasattr(kind, "__struct_fields__"):
        return tuple(kind.__struct_fields__)
    return tuple(kind.model_fields) if hasattr(kind, "__pydantic_fields__") else None


def _is_frozen_object(value: Any) -> bool:
    if isinstance(value, enum.Enum):
        return True
    kind: Any = type(value)
    if attrs.has(kind):
        return kind.__setattr__ is not object.__setattr__ and kind.__hash__ is not None
    if hasattr(kind, "__struct_config__"):
        return bool(kind.__struct_config__.frozen)
    return hasattr(kind, "__pydantic_fields__") and bool(kind.model_config.get("frozen"))
