"""The factory of flows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lmflow.errors import BadSignature, check_kind
from lmflow.programs.flow import Flow
from lmflow.programs.program import NamedProgram, Program, check_programs
from lmflow.signatures.declaration import flow_signature, signature_of
from lmflow.signatures.signature import Signature
from lmflow.values.functions import function_of


def flow(
    signature: str | Signature | None = None,
    *,
    uses: Iterable[Program] = (),
    version: str | None = None,
    types: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Flow]:
    """Make a program of an async function: ``@lf.flow("question -> answer", uses=[search])``.

    The function may await the programs in ``uses``, compositions of them, and ``lf.gather``,
    ``lf.first`` and ``lf.samples``; it returns the outputs as a record, a mapping or an object, or
    the only output's value.

    Args:
        signature: A string or ``Signature``; its inputs are the function's parameters. ``None`` for
            that of the annotated function: its parameters are the inputs, and the fields of the
            class that it returns (NamedTuple, TypedDict, dataclass, pydantic) are the outputs. Any
            other result is one output, named after the function.
        uses: The programs that the function awaits.
        version: Identifies a function whose source doesn't.
        types: Types that the signature's string names.

    Returns:
        A decorator that makes the program.

    Raises:
        BadSignature: The signature can't be read, the function isn't async, its parameters differ
            from the inputs, or it isn't annotated and there is no signature.
        TypeError: An item of ``uses`` isn't a program.
        Unidentified: The function is a lambda, and no ``version`` is named.
    """
    if callable(signature):
        raise _bare_decorator(signature)
    check_kind("a list of programs", uses, Iterable, _list_line(uses))
    parts = tuple(uses)
    check_programs(*parts)
    stated = None if signature is None else signature_of(signature, types)

    def make(function: Callable[..., Any]) -> Flow:
        _check_plain(function)
        sig = flow_signature(function) if stated is None else stated
        _check_function(function, sig)
        code = function_of(function, version, closures=True)
        return Flow(name=function.__name__, signature=sig, function=code, uses=parts)

    return make


def _check_plain(function: Callable[..., Any]) -> None:
    """Raise ``BadSignature`` if a function is a generator, or an object that is called."""
    if not inspect.isroutine(function):
        kind = type(function).__name__
        fix = "Write `async def` under @lf.flow; what it needs besides are inputs with defaults."
        raise BadSignature(f"a {kind}", "it is no function with a name", fix)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        fix = "A flow returns its outputs once: write `return`."
        raise BadSignature(f"def {function.__name__}", "it yields", fix)


def _check_function(function: Callable[..., Any], signature: Signature) -> None:
    """Raise ``BadSignature`` if a function isn't async or takes other inputs."""
    name = function.__name__
    expected = [field.name for field in signature.inputs]
    fix = f"Write `async def {name}({', '.join(expected)})`."
    if not inspect.iscoroutinefunction(function):
        raise BadSignature(f"def {name}", "it is no async function", fix)
    parameters = list(inspect.signature(function).parameters)
    if set(expected) != set(parameters):
        raise BadSignature(str(signature), _difference(expected, parameters), fix)


def _difference(expected: list[str], parameters: list[str]) -> str:
    """Say which parameters of a flow's function the signature lacks, and which inputs it lacks."""
    more = [name for name in parameters if name not in expected]
    less = [name for name in expected if name not in parameters]
    text = f"the function takes {', '.join(parameters) or 'nothing'}"
    if more:
        line = ", ".join([*expected, *more])
        text += f'; {", ".join(more)} is no input of the signature: add it, "{line} -> ...", or'
        return f"{text} leave it out"
    return f"{text} and not the input {', '.join(less)}"


def _list_line(uses: object) -> str:
    """The line for ``uses=qa`` without brackets."""
    return f"Write `uses=[{uses.frame if isinstance(uses, NamedProgram) else '...'}]`."


def _bare_decorator(function: Callable[..., Any]) -> BadSignature:
    """The error for ``@lf.flow`` without parentheses, with the line to write."""
    name = getattr(function, "__name__", "the function")
    programs = ", ".join(_programs_named_in(function)) or "..."
    problem = "@lf.flow stands alone: a flow declares the programs that its function awaits"
    fix = f"Write `@lf.flow(uses=[{programs}])` above `async def {name}`."
    return BadSignature(f"def {name}", problem, fix)


def _programs_named_in(function: Any) -> list[str]:
    """The names in a function's code that stand for programs, in order."""
    code = getattr(function, "__code__", None)
    if code is None:
        return []
    cells = zip(code.co_freevars, function.__closure__ or (), strict=False)
    values = dict(function.__globals__)
    for name, cell in cells:
        try:
            values[name] = cell.cell_contents
        except ValueError:  # a variable of the function around it that isn't bound yet
            continue
    names = (*code.co_names, *code.co_freevars)
    return [name for name in names if isinstance(values.get(name), Program)]
