"""Declarations of signatures: strings such as ``"question -> answer"``, and annotated functions."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadSignature, clipped, safe_repr
from lmflow.signatures.fields import (
    REQUIRED,
    Field,
    fields_of,
    origin_and_args,
    type_text,
    unwrap_annotated,
)
from lmflow.signatures.signature import Signature
from lmflow.signatures.type_syntax import field_of_node, parse_arguments
from lmflow.values.attributes import is_named_tuple


def signature_of(
    source: str | Signature | Callable[..., Any], types: Mapping[str, Any] | None = None
) -> Signature:
    """Make a signature from a string or an annotated function; a signature is returned as it is.

    ``BadSignature`` if it can't be read.
    """
    if isinstance(source, Signature):
        return source
    if isinstance(source, str):
        return parse_signature(source, types)
    if isinstance(source, type) or not callable(source):
        raise TypeError(_no_signature(source))
    return from_function(source)


def _no_signature(source: object) -> str:
    """Say that something is no signature; a class's annotated fields are written as its string."""
    example = "question -> answer"
    if isinstance(source, type):
        names = list(getattr(source, "__annotations__", {}))
        if len(names) > 1:
            example = f"{', '.join(names[:-1])} -> {names[-1]}"
        shown = f"the class {source.__name__}"
    else:
        shown = f"{type(source).__name__} {clipped(safe_repr(source), 60)}"
    return f'a signature is a string or an annotated function, found {shown}. Write "{example}".'


def parse_signature(text: str, types: Mapping[str, Any] | None = None) -> Signature:
    """Parse ``"question, n: int = 3 -> label: Literal['a', 'b'], why"``.

    Types are builtins, ``Literal``, ``Optional``, ``Annotated`` with a description or ``Field(ge=0,
    ...)``, and those in ``types``, by name: they are looked up, never evaluated.
    """
    arrows = [match.start() for match in re.finditer("->", text)]
    if not arrows:
        raise BadSignature(text, "there is no '->' between inputs and outputs")
    problem: SyntaxError | None = None
    # An arrow may also occur in a default or a description: the first that splits the text into
    # two lists of fields counts.
    for arrow in arrows:
        try:
            inputs, outputs = parse_arguments(text[:arrow]), parse_arguments(text[arrow + 2 :])
        except SyntaxError as error:
            problem = error
            continue
        return Signature(
            tuple(field_of_node(text, node, default, types or {}) for node, default in inputs),
            tuple(field_of_node(text, node, default, types or {}) for node, default in outputs),
        )
    raise BadSignature(text, f"it can't be read ({problem.msg if problem else ''})")


def from_function(function: Callable[..., Any]) -> Signature:
    """Make the signature of an annotated function, whose parameters are the inputs.

    The result is one output named after the function or, if it is a ``TypedDict`` or a
    ``NamedTuple``, one output per field.
    """
    hints = _hints(function)
    result = hints["return"]
    has_fields = typing.is_typeddict(result) or is_named_tuple(result)
    return Signature(_inputs(function, hints), _outputs(function, result, has_fields=has_fields))


def flow_signature(function: Callable[..., Any]) -> Signature:
    """Make the signature of a flow's function, whose parameters are the inputs.

    The outputs are the fields of the class that it returns (NamedTuple, dataclass, TypedDict,
    pydantic, attrs, msgspec), or one output named after the function for any other type.
    """
    hints = _hints(function)
    result, name = hints["return"], getattr(function, "__name__", repr(function))
    inner = unwrap_annotated(result)[0]
    if inner in {dict, None, type(None), Any} or origin_and_args(inner)[0] is dict:
        problem = f"its result, {type_text(result)}, doesn't say the names of the outputs"
        raise BadSignature(f"def {name}", problem, _RESULT_FIX)
    has_fields = fields_of(inner) is not None
    return Signature(_inputs(function, hints), _outputs(function, result, has_fields=has_fields))


_RESULT_FIX = (
    "Return a NamedTuple, TypedDict, dataclass or pydantic model with a field for each output, or "
    "one text, number or list: `-> str`. Or write the names: "
    '`@lf.flow("question -> answer, sources: list[str]", uses=[...])`.'
)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function. ``BadSignature`` if one is missing or can't be looked up."""
    name = getattr(function, "__name__", repr(function))
    try:
        hints = typing.get_type_hints(function, localns=_closed_over(function), include_extras=True)
    except NameError as problem:
        text = f"its module has no type {problem.name!r}"
        fix = (
            "Define the class at the top of the module: annotations in quotes, or under `from "
            "__future__ import annotations`, are looked up there."
        )
        raise BadSignature(f"def {name}", text, fix) from None
    if "return" not in hints:
        keyword = "async def" if inspect.iscoroutinefunction(function) else "def"
        fix = f"Write `{keyword} {name}({_shown_parameters(function)}) -> str`."
        raise BadSignature(f"def {name}", "it has no return annotation", fix)
    return hints


def _closed_over(function: Callable[..., Any]) -> dict[str, Any]:
    """The values that a function closes over, among which may be classes of its annotations."""
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):  # no function of Python, or a variable that isn't bound yet
        return {}


def _shown_parameters(function: Callable[..., Any]) -> str:
    names = inspect.signature(function).parameters
    return ", ".join(f"{name}: str" for name in names)


def _inputs(function: Callable[..., Any], hints: Mapping[str, Any]) -> tuple[Field, ...]:
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        is_rest = parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
        name = f"def {getattr(function, '__name__', repr(function))}"
        if is_rest:
            problem = f"{str(parameter).partition(':')[0]} takes any number of inputs"
            fix = (
                "Name each input, `question: str`; several values are one list, `texts: list[str]`."
            )
            raise BadSignature(name, problem, fix)
        if parameter.name not in hints:
            raise BadSignature(
                name,
                f"parameter {parameter.name!r} has no type",
                f"Annotate each parameter, `{parameter.name}: str`.",
            )
    return tuple(Field(name=p.name, type=hints[p.name], default=_default_of(p)) for p in parameters)


def _outputs(function: Callable[..., Any], result: Any, *, has_fields: bool) -> tuple[Field, ...]:
    if not has_fields:
        return (Field(name=getattr(function, "__name__", repr(function)), type=result),)
    if typing.is_typeddict(result):
        types = typing.get_type_hints(result, include_extras=True)
        return tuple(Field(name=name, type=kind) for name, kind in types.items())
    # A class fills in its defaults itself, so that each field of an object has a value.
    fields = fields_of(unwrap_annotated(result)[0]) or ()
    return tuple(attrs.evolve(field, default=REQUIRED) for field in fields)


def _default_of(parameter: inspect.Parameter) -> Any:
    return REQUIRED if parameter.default is parameter.empty else parameter.default
