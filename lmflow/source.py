"""Functions as values: identified by a version-neutral hash of their source, pickled by reference."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import attrs

from lmflow.errors import Unidentified
from lmflow.values import digest

_POSITION = {"lineno", "col_offset", "end_lineno", "end_col_offset", "ctx", "type_comment", "decorator_list", "kind"}


@attrs.frozen
class Function:
    """A function with an identity. Two are equal when their names and identities are."""

    name: str
    identity: str
    call: Callable[..., Any] = attrs.field(eq=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        owner = getattr(self.call, "__self__", None)
        if owner is not None:
            return _method_of, (owner, self.call.__name__, self.name, self.identity)
        return _function_at, (self.call.__module__, self.call.__qualname__, self.name, self.identity)


def function_of(call: Callable[..., Any], version: str | None = None, *, closures: bool = False) -> Function:
    """The function with its identity: ``version``, its owner's ``digest``, or the hash of its source.

    Raises ``Unidentified`` for a lambda, partial, callable object, bound method or closure that gives neither version
    nor digest: closures are never chased (``closures`` accepts them, for flows, whose programs are declared).
    """
    name = getattr(call, "__qualname__", type(call).__qualname__)
    if version is not None:
        return Function(name, f"version:{version}", call)
    owner = getattr(call, "__self__", None)
    if isinstance(getattr(owner, "digest", None), str):
        return Function(name, f"owner:{owner.digest}.{call.__name__}", call)  # type: ignore[union-attr]
    if problem := _unidentified(call, closures=closures):
        raise Unidentified(name, problem)
    return Function(name, f"source:{source_digest(call)}", call)


def source_digest(call: Callable[..., Any]) -> str:
    """The hash of a function's syntax tree without docstrings, positions, decorators and empty fields: the same on
    every Python. ``Unidentified`` where there is no source.
    """
    try:
        text = inspect.getsource(call)
    except (OSError, TypeError):
        raise Unidentified(getattr(call, "__qualname__", repr(call)), "has no source to read") from None
    return tree_digest(text)


@functools.lru_cache(maxsize=1024)
def tree_digest(text: str) -> str:
    """The hash of a source text by the same walk."""
    return digest("source", _walk(ast.parse(textwrap.dedent(text)).body))


def _unidentified(call: Callable[..., Any], *, closures: bool) -> str:
    if not inspect.isfunction(call):
        kind = "a bound method whose owner has no digest" if inspect.ismethod(call) else f"a {type(call).__qualname__}"
        return f"is {kind}"
    if call.__name__ == "<lambda>":
        return "is a lambda"
    if call.__closure__ and not closures:
        return f"closes over {', '.join(call.__code__.co_freevars)}"
    return ""


def _walk(node: Any) -> Any:
    if isinstance(node, list):
        return [_walk(item) for item in _undocumented(node)]
    if isinstance(node, ast.Constant):
        return ["Constant", type(node.value).__name__, repr(node.value)]
    if isinstance(node, ast.AST):
        fields = {name: _walk(value) for name, value in ast.iter_fields(node) if name not in _POSITION}
        return [type(node).__name__, {name: value for name, value in fields.items() if value not in (None, [])}]
    return node


def _undocumented(nodes: list[Any]) -> list[Any]:
    match nodes:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return nodes


def _function_at(module: str, qualname: str, name: str, identity: str) -> Function:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    inner = getattr(found, "function", None)
    return inner if isinstance(inner, Function) else Function(name, identity, found)


def _method_of(owner: Any, method: str, name: str, identity: str) -> Function:
    return Function(name, identity, getattr(owner, method))
