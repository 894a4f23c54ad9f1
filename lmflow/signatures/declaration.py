"""Declarations of signatures: strings such as ``"question -> answer"``, and annotated functions."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from lmflow.errors import BadSignature
from lmflow.signatures.fields import REQUIRED, Field
from lmflow.signatures.signature import Signature
from lmflow.signatures.type_syntax import field_of_node, parse_arguments


def signature_of(
    source: str | Signature | Callable[..., Any], types: Mapping[str, Any] | None = None
) -> Signature:
    """Make a signature from a string or an annotated function; a signature is returned as it is.

    ``BadSignature`` if it can't be read.
    """
    if isinstance(source, Signature):
        return source
    return parse_signature(source, types) if isinstance(source, str) else from_function(source)


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

    The result is one output named after the function or, if it is a ``TypedDict``, one output per
    key.
    """
    name = getattr(function, "__name__", repr(function))
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    if "return" not in hints:
        raise BadSignature(
            f"def {name}", "it has no return annotation", "Write `def f(question: str) -> str`."
        )
    for parameter in parameters:
        if parameter.name not in hints or parameter.kind in {
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        }:
            raise BadSignature(
                f"def {name}",
                f"parameter {parameter.name!r} has no type",
                "Annotate each parameter.",
            )
    result = hints["return"]
    outputs = (
        typing.get_type_hints(result, include_extras=True)
        if typing.is_typeddict(result)
        else {name: result}
    )
    inputs = [Field(name=p.name, type=hints[p.name], default=_default_of(p)) for p in parameters]
    return Signature(
        tuple(inputs), tuple(Field(name=key, type=kind) for key, kind in outputs.items())
    )


def _default_of(parameter: inspect.Parameter) -> Any:
    return REQUIRED if parameter.default is parameter.empty else parameter.default
