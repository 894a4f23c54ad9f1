"""Types of fields: their names, their conversion from JSON values, and the lax reading of model text."""

from __future__ import annotations

import ast
import enum
import json
import re
import types as pytypes
import typing
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union, get_args, get_origin

import attrs
import msgspec

from lmflow.values import freeze, plain

_BUILTIN: dict[str, Any] = {
    "str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "tuple": tuple, "None": None,
}  # fmt: skip
_SPECIAL: dict[str, Any] = {
    "Literal": Literal, "Optional": Optional, "Union": Union, "Annotated": typing.Annotated, "Any": Any,
}  # fmt: skip
_BULLET = re.compile(r"^\s*(?:[-*•]|\[?\d+[.)\]])\s+")
_QUOTES = "\"'` "


def type_text(kind: Any) -> str:  # noqa: PLR0911 - one return a kind
    """The type as it is written, the same on every Python: ``list[str]``, ``Literal['a', 'b']``, ``int | None``."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is None or kind is type(None):
        return "None"
    if origin in {Union, pytypes.UnionType}:
        return " | ".join(type_text(arg) for arg in args)
    if origin is Literal:
        return f"Literal[{', '.join(repr(arg) for arg in args)}]"
    if origin is typing.Annotated:
        return type_text(args[0])
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if arg is ... else type_text(arg) for arg in args)}]"
    if isinstance(kind, type) and attrs.has(kind):
        return f"{kind.__name__}({', '.join(f'{f.name}: {type_text(f.type)}' for f in _resolved(kind))})"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"{kind.__name__}({', '.join(repr(member.value) for member in kind)})"
    return getattr(kind, "__name__", str(kind))


def type_of_node(node: ast.expr, types: Mapping[str, Any]) -> Any:
    """The type that an annotation's syntax stands for. ``LookupError`` with the name that isn't known."""
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _named(name, types)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return type_of_node(left, types) | type_of_node(right, types)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[tuple(ast.literal_eval(item) for item in _items(inner))]
        case ast.Subscript(
            value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, ast.Constant(value=str(text))])
        ):
            return typing.Annotated[type_of_node(inner, types), text]
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            return _named(name, types)[tuple(_argument(item, types) for item in _items(inner))]
    raise LookupError(ast.unparse(node))


def convert(value: Any, kind: Any) -> Any:
    """``value`` as an immutable value of the type. ``ValueError`` says what doesn't fit."""
    if kind is str and isinstance(value, str):
        return value
    value = plain(value)
    if isinstance(kind, type) and attrs.has(kind):
        return _built(value, kind)
    try:
        return freeze(msgspec.convert(value, kind))
    except msgspec.ValidationError as error:
        raise ValueError(_first_lower(str(error))) from None


def default_of(value: Any, kind: Any) -> Any:
    """A default as the type says, or as it is where it doesn't fit (``None`` for a field that may be left out)."""
    return value if value is None else convert(value, kind)


def read(text: str, kind: Any) -> Any:  # noqa: PLR0911 - one return a kind
    """What a model or a person meant by ``text``, as a value of the type. ``ValueError`` says what doesn't fit."""
    kind = get_args(kind)[0] if get_origin(kind) is typing.Annotated else kind
    origin, args = get_origin(kind), get_args(kind)
    bare = text.strip()
    if kind is str:
        return bare
    if origin in {Union, pytypes.UnionType}:
        return _read_union(bare, args)
    if origin is Literal:
        return _choice(bare, {str(arg): arg for arg in args})
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _choice(bare, {m.name: m for m in kind} | {str(m.value): m for m in kind})
    if kind in {int, float, bool}:
        return _read_scalar(bare, kind)
    if (origin or kind) in {list, tuple, set, frozenset}:
        return _read_list(bare, kind)
    return convert(_json(bare), kind)


def _named(name: str, types: Mapping[str, Any]) -> Any:
    for known in (types, _BUILTIN, _SPECIAL):
        if name in known:
            return known[name]
    raise LookupError(name)


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _argument(node: ast.expr, types: Mapping[str, Any]) -> Any:
    return ... if isinstance(node, ast.Constant) and node.value is ... else type_of_node(node, types)


def _resolved(kind: type) -> tuple[attrs.Attribute[Any], ...]:
    attrs.resolve_types(kind)
    return tuple(attrs.fields(kind))


def _built(value: Any, kind: type) -> Any:
    if not isinstance(value, dict):
        msg = f"expected an object with {', '.join(f.name for f in _resolved(kind))}"
        raise ValueError(msg)  # noqa: TRY004 - one kind of problem for who reads a reply
    fields = {f.name: f for f in _resolved(kind)}
    if unknown := [name for name in value if name not in fields]:
        msg = f"{kind.__name__} has no field {unknown[0]!r}"
        raise ValueError(msg)
    try:
        return kind(**{fields[name].alias or name: convert(item, fields[name].type) for name, item in value.items()})
    except TypeError as error:
        raise ValueError(str(error)) from None


def _read_union(text: str, kinds: tuple[Any, ...]) -> Any:
    if type(None) in kinds and text.lower() in {"", "null", "none", "n/a"}:
        return None
    problems = []
    for kind in sorted((k for k in kinds if k is not type(None)), key=lambda k: k is str):
        try:
            return read(text, kind)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems))


def _choice(text: str, known: dict[str, Any]) -> Any:
    wanted = text.strip(_QUOTES).removesuffix(".").strip(_QUOTES)
    folded = [value for name, value in known.items() if name.casefold() == wanted.casefold()]
    if wanted in known:
        return known[wanted]
    if len(set(folded)) == 1:
        return folded[0]
    msg = f"{text[:80]!r} is none of {', '.join(known)}"
    raise ValueError(msg)


def _read_scalar(text: str, kind: type) -> Any:
    bare = text.strip(_QUOTES)
    if kind is bool:
        return _choice(bare, {"true": True, "false": False, "yes": True, "no": False})
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", bare):
        msg = f"{bare!r} has a thousands separator, write {bare.replace(',', '')}"
        raise ValueError(msg)
    pattern = r"[+-]?\d+(\.0+)?" if kind is int else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
    if not re.fullmatch(pattern, bare):
        msg = f"{bare[:80]!r} is no {'whole number' if kind is int else 'number'}"
        raise ValueError(msg)
    return kind(bare.partition(".")[0]) if kind is int else freeze(float(bare))


def _read_list(text: str, kind: Any) -> Any:
    args = get_args(kind)
    item = args[0] if args else Any
    try:
        value = _json(text)
    except ValueError:
        value = None
    if isinstance(value, list):
        return convert(value, kind)
    lines = [_BULLET.sub("", line) for line in text.splitlines() if line.strip()]
    parts = lines if len(lines) > 1 or item is str else [part for part in text.split(",") if part.strip()]
    return tuple(part.strip() if item is Any else read(part, item) for part in parts)


def _json(text: str) -> Any:
    fenced = re.fullmatch(r"```\w*\s*(.*?)\s*```", text, re.DOTALL)
    try:
        return json.loads(fenced.group(1) if fenced else text)
    except json.JSONDecodeError as error:
        msg = f"{text[:80]!r} is no JSON ({error.msg.lower()})"
        raise ValueError(msg) from None


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
