"""Fields and their types: how a type is written and read as syntax, what limits it carries, what it
is made of.
"""

from __future__ import annotations

import ast
import enum
import functools
import sys
import types as pytypes
import typing
from collections import abc
from collections.abc import Mapping
from typing import Any, Literal, NewType, Optional, Union, get_args, get_origin

import attrs
import msgspec

from lmflow.signatures.history import History
from lmflow.values.media import KINDS, Media
from lmflow.values.record import Record, freeze, pretty

LIMITS = ("ge", "gt", "le", "lt", "pattern", "min_length", "max_length")


Reasoning = NewType("Reasoning", str)
"""An output that is what the provider shows of the model's thinking; empty where it shows none."""


Confidence = NewType("Confidence", float)
"""An output that says how probable the model found its own reply, from 0 to 1, by the logprobs that
came with it.
"""


BESIDE: tuple[Any, ...] = (Reasoning, Confidence)

_BUILTIN: dict[str, Any] = {
    "str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "tuple": tuple, "set": set,
    "None": None, "History": History, "Reasoning": Reasoning, "Confidence": Confidence, **KINDS,
}  # fmt: skip


KNOWN = (*KINDS, "Reasoning", "Confidence", "History")
"""The types of our own that a signature may name."""


_SPECIAL: dict[str, Any] = {
    "Literal": Literal, "Optional": Optional, "Union": Union, "Annotated": typing.Annotated, "Any": Any,
}  # fmt: skip


_CONTAINERS = {
    abc.Sequence: list, abc.Collection: list, abc.Iterable: list, abc.Mapping: dict, abc.MutableMapping: dict,
    abc.Set: frozenset, Record: dict, Reasoning: str, Confidence: float,
}  # fmt: skip


class _Required:
    """The default of a field that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"


REQUIRED: Any = _Required()


def _default(value: Any) -> Any:
    return value if value is REQUIRED else freeze(value)


@attrs.frozen(kw_only=True)
class Field:
    """One input or output: name, type, description, default, and limits that a model is told and
    that are checked.

    In ``Annotated[int, lf.Field(description="stars", ge=0, le=5)]`` the name and the type come from
    where it stands. ``ge``, ``gt``, ``le``, ``lt`` bound numbers; ``min_length`` and ``max_length``
    texts, lists and mappings; ``pattern`` is a regular expression that occurs in a text.
    """

    name: str = ""
    type: Any = str
    description: str = ""
    default: Any = attrs.field(default=REQUIRED, converter=_default)
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None

    @property
    def required(self) -> bool:
        """Whether a caller must give it."""
        return self.default is REQUIRED

    def __str__(self) -> str:
        kind = "" if self.type is str else f": {type_text(self.type)}"
        default = "" if self.required else f" = {pretty(self.default)}"
        return f"{self.name}{kind}{default}"


def settled(field: Field) -> Field:
    """The field with its limits in its type, and the description that its type carries."""
    _, limits, description = peeled(field.type)
    inner = get_args(field.type)[0] if get_origin(field.type) is typing.Annotated else field.type
    limits |= _limits_of(field)
    kind = typing.Annotated[inner, Field(**limits)] if limits else inner
    free: dict[str, Any] = dict.fromkeys(LIMITS)
    return attrs.evolve(field, type=kind, description=field.description or description, **free)


def peeled(kind: Any) -> tuple[Any, dict[str, Any], str]:
    """The type without ``Annotated``, the limits and the description that stood there.

    Anything with the attributes ``ge``, ``pattern`` and so on counts as a limit: ``lf.Field``,
    ``msgspec.Meta`` and those of annotated-types.
    """
    if get_origin(kind) is not typing.Annotated:
        return _CONTAINERS.get(kind, kind), {}, ""
    inner, *extras = get_args(kind)
    limits: dict[str, Any] = {}
    for extra in extras:
        limits |= _limits_of(extra)
    texts = (
        extra if isinstance(extra, str) else getattr(extra, "description", "") for extra in extras
    )
    return _CONTAINERS.get(inner, inner), limits, next((text for text in texts if text), "")


def parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Origin and arguments of a type without ``Annotated``: abstract containers as the concrete
    ones, both unions as ``Union``.
    """
    origin = get_origin(kind)
    if origin is pytypes.UnionType:
        return Union, get_args(kind)
    return _CONTAINERS.get(origin, origin), get_args(kind)


def nullable(kind: Any) -> bool:
    """Whether ``None`` is a value of the type."""
    inner = peeled(kind)[0]
    origin, args = parts(inner)
    if origin is Union:
        return any(nullable(arg) for arg in args)
    return inner in {None, type(None), Any} or (origin is Literal and None in args)


def is_history(field: Field) -> bool:
    """Whether a field holds the earlier turns of a conversation, or may hold them."""
    inner = peeled(field.type)[0]
    return inner is History or History in parts(inner)[1]


def is_media_type(kind: Any) -> bool:
    """Whether it is ``Image``, ``Audio`` or ``File``."""
    return isinstance(kind, type) and issubclass(kind, Media)


def holds_media(kind: Any, inside: tuple[Any, ...] = (), *, untyped: bool = False) -> bool:
    """Whether a picture, sound or file may stand in a value of the type, however deep; with
    ``untyped`` also where anything may.
    """
    inner = peeled(kind)[0]
    if inner in inside:
        return False
    if untyped and inner in {Any, dict, list, tuple, set, frozenset}:
        return True
    if is_media_type(inner) or get_origin(inner) is Literal:
        return is_media_type(inner)
    made_of = [field.type for field in fields_of(inner) or ()] or [
        arg for arg in get_args(inner) if arg is not ...
    ]
    return any(holds_media(part, (*inside, inner), untyped=untyped) for part in made_of)


def places_media(kind: Any) -> bool:
    """Whether all media in values of the type can be placed in a message: alone or in lists, not
    within objects.
    """
    inner = peeled(kind)[0]
    origin, args = parts(inner)
    if is_media_type(inner) or not holds_media(inner):
        return True
    return origin in {Union, list, tuple} and all(
        places_media(arg) for arg in args if arg is not ...
    )


def type_text(kind: Any, inside: tuple[Any, ...] = ()) -> str:  # noqa: PLR0911 - one return a kind
    """The type as it is written, the same on every Python: ``list[str]``, ``Literal['a', 'b']``,
    ``int | None``.
    """
    origin, args = get_origin(kind), get_args(kind)
    if kind is None or kind is type(None):
        return "None"
    if origin in {Union, pytypes.UnionType}:
        return " | ".join(type_text(arg, inside) for arg in args)
    if origin is Literal:
        return f"Literal[{', '.join(_member_text(arg) for arg in args)}]"
    if origin is typing.Annotated:
        limits = peeled(kind)[1]
        text = type_text(args[0], inside)
        return (
            f"Annotated[{text}, Field({', '.join(f'{n}={v!r}' for n, v in limits.items())})]"
            if limits
            else text
        )
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if arg is ... else type_text(arg, inside) for arg in args)}]"
    if kind is History:
        return "History"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"{kind.__name__}({', '.join(repr(member.value) for member in kind)})"
    if kind not in inside and (fields := fields_of(kind)) is not None:
        return f"{kind.__name__}({', '.join(f'{f.name}: {type_text(f.type, (*inside, kind))}' for f in fields)})"
    return getattr(kind, "__name__", str(kind))


def fields_of(kind: Any) -> tuple[Field, ...] | None:
    """What an object type is made of (an attrs class, a TypedDict, a msgspec Struct, a pydantic
    model), else ``None``.

    The default of a field that the class itself fills in is ``None``.
    """
    return _fields_of(kind) if isinstance(kind, type) else None


@functools.cache
def _fields_of(kind: Any) -> tuple[Field, ...] | None:
    if issubclass(kind, Media):
        return None
    if attrs.has(kind):
        return _of_attrs(kind)
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return tuple(
            _part(name, hint, name in kind.__required_keys__) for name, hint in hints.items()
        )
    if issubclass(kind, msgspec.Struct):
        return tuple(_part(f.name, f.type, f.required) for f in msgspec.structs.fields(kind))
    if is_pydantic(kind):
        return _of_pydantic(kind)
    return None


def is_pydantic(kind: Any) -> bool:
    """Whether it is a pydantic model; pydantic itself is never imported here."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def type_of_node(node: ast.expr, types: Mapping[str, Any]) -> Any:
    """The type that an annotation's syntax stands for. ``LookupError`` with the name that isn't
    known.
    """
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _named(name, types)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return type_of_node(left, types) | type_of_node(right, types)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[tuple(ast.literal_eval(item) for item in _items(inner))]
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *extras])):
            return typing.Annotated[(type_of_node(inner, types), *map(_extra, extras))]
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            given = tuple(_argument(item, types) for item in _items(inner))
            return _named(name, types)[given[0] if len(given) == 1 else given]
    raise LookupError(ast.unparse(node))


def _limits_of(extra: Any) -> dict[str, Any]:
    return {name: held for name in LIMITS if (held := getattr(extra, name, None)) is not None}


def _member_text(member: Any) -> str:
    return repr(member.value) if isinstance(member, enum.Enum) else repr(member)


def _part(name: str, kind: Any, required: bool, description: str = "", **limits: Any) -> Field:  # noqa: FBT001
    default = REQUIRED if required else None
    while get_origin(kind) in {typing.Required, typing.NotRequired}:
        kind = get_args(kind)[0]
    return settled(Field(name=name, type=kind, description=description, default=default, **limits))


def _of_attrs(kind: type) -> tuple[Field, ...]:
    """The fields of an attrs class; limits and a description may also stand in their metadata."""
    attrs.resolve_types(kind, include_extras=True)
    found = []
    for field in attrs.fields(kind):
        if field.type is None or not field.init:
            problem = (
                "has init=False, so it couldn't be built again" if field.type else "has no type"
            )
            msg = f"{kind.__name__}.{field.name} {problem}"
            raise TypeError(msg)
        said = {
            name: field.metadata[name]
            for name in ("description", *LIMITS)
            if name in field.metadata
        }
        found.append(_part(field.name, field.type, field.default is attrs.NOTHING, **said))
    return tuple(found)


def _of_pydantic(kind: Any) -> tuple[Field, ...]:
    found = []
    for name, info in kind.model_fields.items():
        if info.alias or info.validation_alias or info.serialization_alias:
            msg = f"{kind.__name__}.{name} has an alias, so it would be stored under a name that can't be read"
            raise TypeError(msg)
        limits: dict[str, Any] = {}
        for extra in info.metadata:
            limits |= _limits_of(extra)
        found.append(
            _part(name, info.annotation, info.is_required(), info.description or "", **limits)
        )
    return tuple(found)


def _extra(node: ast.expr) -> Any:
    """A description, or ``Field(ge=0)`` with literal arguments."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Call(
            func=ast.Name(id="Field") | ast.Attribute(attr="Field"), args=[], keywords=keywords
        ):
            given = {str(word.arg): ast.literal_eval(word.value) for word in keywords}
            if given.keys() <= {"description", *LIMITS}:
                return Field(**given)
    raise LookupError(ast.unparse(node))


def _named(name: str, types: Mapping[str, Any]) -> Any:
    for known in (types, _BUILTIN, _SPECIAL):
        if name in known:
            return known[name]
    raise LookupError(name)


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _argument(node: ast.expr, types: Mapping[str, Any]) -> Any:
    return (
        ... if isinstance(node, ast.Constant) and node.value is ... else type_of_node(node, types)
    )


def beside(kind: Any) -> Any:
    """Which of these a field's type is, ``None`` for none; ``Annotated`` and ``Optional`` are
    looked through.
    """
    if kind in BESIDE:
        return kind
    args = [arg for arg in get_args(kind) if arg is not type(None)]
    return beside(args[0]) if len(args) == 1 or hasattr(kind, "__metadata__") else None
