"""Fields and types written as syntax, such as ``n: int = 3`` in a signature's string."""

from __future__ import annotations

import ast
import typing
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union

from lmflow.errors import BadSignature, near
from lmflow.signatures.fields import REQUIRED, Confidence, Field, Reasoning
from lmflow.signatures.history import History
from lmflow.signatures.members import LIMITS
from lmflow.values.media import KINDS

_BUILTIN: dict[str, Any] = {
    "str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict,
    "tuple": tuple, "set": set, "None": None, "History": History,
    "Reasoning": Reasoning, "Confidence": Confidence, **KINDS,
}  # fmt: skip


OWN_TYPES = (*KINDS, "Reasoning", "Confidence", "History")
"""The types of lmflow that a signature may name."""


_SPECIAL: dict[str, Any] = {
    "Literal": Literal, "Optional": Optional, "Union": Union, "Annotated": typing.Annotated,
    "Any": Any,
}  # fmt: skip


def type_of_node(node: ast.expr, types: Mapping[str, Any]) -> Any:
    """Look up the type that an annotation's syntax stands for, never evaluating it.

    ``LookupError`` holds the unknown name.
    """
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _look_up(name, types)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return type_of_node(left, types) | type_of_node(right, types)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return Literal[tuple(ast.literal_eval(item) for item in _items(inner))]
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *extras])):
            return typing.Annotated[(type_of_node(inner, types), *map(_extra, extras))]
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            args = tuple(_argument(item, types) for item in _items(inner))
            return _look_up(name, types)[args[0] if len(args) == 1 else args]
    raise LookupError(ast.unparse(node))


def _extra(node: ast.expr) -> Any:
    """Read a description, or ``Field(ge=0)`` with literal arguments."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Call(
            func=ast.Name(id="Field") | ast.Attribute(attr="Field"), args=[], keywords=keywords
        ):
            values = {str(word.arg): ast.literal_eval(word.value) for word in keywords}
            if values.keys() <= {"description", *LIMITS}:
                return Field(**values)
    raise LookupError(ast.unparse(node))


def _look_up(name: str, types: Mapping[str, Any]) -> Any:
    for scope in (types, _BUILTIN, _SPECIAL):
        if name in scope:
            return scope[name]
    raise LookupError(name)


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _argument(node: ast.expr, types: Mapping[str, Any]) -> Any:
    is_ellipsis = isinstance(node, ast.Constant) and node.value is ...
    return ... if is_ellipsis else type_of_node(node, types)


def parse_arguments(side: str) -> list[tuple[ast.arg, ast.expr | None]]:
    """Parse one side of a signature into names with annotations, and their defaults.

    ``SyntaxError`` if it isn't a list of fields.
    """
    side = side.strip().strip(",")
    try:
        module = ast.parse(f"def _(*, {side}): ..." if side else "def _(): ...")
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:  # surrogates, nul, deep nesting
        msg = str(error)[:80] or "it is nested too deeply"
        raise SyntaxError(msg) from None
    tree = module.body[0]
    try:
        is_plain = len(module.body) == 1 and ast.unparse(tree).endswith("):\n    ...")
    except RecursionError:
        msg = "it is nested too deeply"
        raise SyntaxError(msg) from None
    if (
        not isinstance(tree, ast.FunctionDef)
        or not is_plain
        or tree.args.args
        or tree.args.kwarg
        or tree.args.vararg
    ):
        msg = "only names, types and defaults are read"
        raise SyntaxError(msg)
    return list(zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True))


def field_of_node(
    text: str, node: ast.arg, default: ast.expr | None, types: Mapping[str, Any]
) -> Field:
    """Build the field that a name with annotation and default stands for.

    ``text`` is the signature that it occurs in, for ``BadSignature``.
    """
    try:
        value = REQUIRED if default is None else ast.literal_eval(default)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise BadSignature(text, f"the default of {node.arg!r} is no literal") from None
    if node.annotation is None:
        return Field(name=node.arg, default=value)
    try:
        kind = type_of_node(node.annotation, types)
    except LookupError as error:
        raise BadSignature(
            text,
            f"{node.arg!r} has the type {error.args[0]!r}, which isn't known",
            _correction(error, types),
        ) from None
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        problem = f"the type of {node.arg!r} can't be read ({error!s:.80})"
        raise BadSignature(text, problem) from None
    return Field(name=node.arg, type=kind, default=value)


def _correction(error: LookupError, types: Mapping[str, Any]) -> str:
    name = str(error.args[0])
    guess = near(
        name,
        ["str", "int", "float", "bool", "list", "dict", "Literal", "Optional", *OWN_TYPES, *types],
    ).strip()
    own = f"A class of yours is given by name: types={{{name!r}: {name}}}."
    return f"{guess} {own}".strip()
