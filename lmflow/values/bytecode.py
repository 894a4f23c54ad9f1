"""Functions without source, identified by a hash of their bytecode."""

from __future__ import annotations

from types import CodeType
from typing import Any

from lmflow.values.record import digest

_PLAIN = (str, bytes, int, float, complex)


def code_digest(function: Any) -> str:
    """The hash of what a function does: its instructions, constants, names and defaults.

    Positions and file names are left out, so the same lines typed again have the same digest.
    Each version of Python has instructions of its own.
    """
    defaults = [_constant(function.__defaults__ or ()), _constant(_sorted(function))]
    return digest("code", [_shape(function.__code__), defaults])


def _sorted(function: Any) -> tuple[Any, ...]:
    """The defaults of parameters that are passed by name alone, by name."""
    return tuple(sorted((function.__kwdefaults__ or {}).items(), key=lambda item: item[0]))


def _shape(code: CodeType) -> list[Any]:
    return [
        code.co_name,
        code.co_code.hex(),
        code.co_exceptiontable.hex(),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
        [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars],
        [_constant(value) for value in code.co_consts],
    ]


def _constant(value: Any) -> Any:
    """A constant as JSON; the order of a set differs from process to process."""
    if isinstance(value, CodeType):
        return _shape(value)
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(map(repr, value))]
    # The text of any other object may hold its address, which differs from process to process.
    text = repr(value) if isinstance(value, _PLAIN) or value is None or value is ... else ""
    return [type(value).__qualname__, text]
