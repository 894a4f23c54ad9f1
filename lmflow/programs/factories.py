"""Factories of programs: the steps ``predict``, ``embed`` and ``tool``."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from lmflow.adapters.registry import AnyAdapter, adapter_of, own_adapters
from lmflow.errors import near
from lmflow.errors.options import PREDICT_OPTIONS, explains_options
from lmflow.messages.requests import CACHED, MODES, ToolMode
from lmflow.programs.embedding import Embed, check_signature
from lmflow.programs.first_arguments import (
    check_function,
    check_name,
    check_parameters,
    checked_demos,
)
from lmflow.programs.program import Predict
from lmflow.programs.tool import Tool
from lmflow.signatures.declaration import from_function, signature_of
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.functions import function_of
from lmflow.values.record import Record


@overload
def predict(name: Callable[..., Any], /) -> Predict: ...
@overload
def predict(
    name: str,
    signature: str | Signature | Callable[..., Any],
    instruction: str = "",
    *,
    demos: Iterable[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    model: str = "",
    adapter: AnyAdapter = "",
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Predict: ...


@explains_options(PREDICT_OPTIONS)
def predict(  # noqa: PLR0913 - each is a default of one parameter
    name: str | Callable[..., Any],
    signature: str | Signature | Callable[..., Any] = "",
    instruction: str = "",
    *,
    demos: Iterable[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    model: str = "",
    adapter: AnyAdapter = "",
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Predict:
    """Make a step that asks a model.

    All but name, signature and timeout are the defaults of the step's parameters. As a decorator it
    makes the step of a typed stub, whose docstring is the default instruction.

    Args:
        name: The step's name, or the decorated function.
        signature: A string such as ``"context, question -> answer"``, a ``Signature``, or an
            annotated function.
        instruction: What the model is asked to do; empty for "Given ..., give ...".
        demos: Demonstrations: records of inputs and outputs.
        options: Decoding options by their wire names.
        model: ``provider/model``; empty for the executor's own model.
        adapter: ``chat`` (the default), ``json``, ``xml``, ``two_step``, or an ``lf.Adapter``.
        timeout: Seconds per call, ``None`` for the executor's.
        types: Types that the signature's string names.

    Returns:
        The step.

    Raises:
        BadSignature: The name or the signature can't be read, or a model can't fill it.
        UnknownAdapter: There is no such adapter.
        TypeError: A parameter is of another kind.

    Example:
        >>> predict("answer", "question -> answer", "Answer in a few words.")
        <Predict answer: question -> answer>
    """
    if not isinstance(name, str):
        stub = name
        check_function(stub)
        return predict(stub.__name__, from_function(stub), inspect.cleandoc(stub.__doc__ or ""))
    check_name(name, signature, instruction)
    check_parameters(instruction, options, model)
    sig = signature_of(signature, types)
    adapter_of(adapter)
    text = textwrap.dedent(instruction).strip() or _default_instruction(sig.for_model)
    return Predict(
        name=name,
        signature=sig,
        instruction=text,
        demos=checked_demos(demos),
        options=Record(options or {}),
        model=model,
        adapter=str(adapter),
        timeout=timeout,
        own_adapters=own_adapters([adapter]),
    )


def embed(
    name: str, signature: str | Signature, *, model: str = "", timeout: float | None = None
) -> Embed:
    """Make a step that asks an embedding model for the vector of a text, or of each text in a list.

    Args:
        name: The step's name.
        signature: ``"text -> vector: list[float]"``, or ``"texts: list[str] -> vectors:
            list[list[float]]"``, which sends 64 texts per call.
        model: The default of the only parameter, ``provider/model``. It must be named here or in a
            version, since an executor's own model is for chats.
        timeout: Seconds per call, ``None`` for the executor's.

    Returns:
        The step.

    Raises:
        BadSignature: The signature is of another shape.

    Example:
        >>> embed("embed", "text -> vector: list[float]", model="local/all-minilm-l6-v2")
        <Embed embed: text -> vector: list[float]>
    """
    return Embed(
        name=name, signature=check_signature(signature_of(signature)), model=model, timeout=timeout
    )


@overload
def tool(name: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    mode: ToolMode = CACHED,
    description: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
) -> Callable[[Callable[..., Any]], Tool]: ...
@overload
def tool(
    name: str,
    signature: Callable[..., Any],
    *,
    mode: ToolMode = CACHED,
    description: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
) -> Tool: ...
@overload
def tool(
    name: str,
    signature: str | Signature | None,
    function: Callable[..., Any],
    *,
    mode: ToolMode = CACHED,
    description: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Tool: ...


def tool(  # noqa: PLR0913 - the four forms share one name
    name: str | Callable[..., Any] | None = None,
    signature: str | Signature | Callable[..., Any] | None = None,
    function: Callable[..., Any] | None = None,
    *,
    mode: ToolMode = CACHED,
    description: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a step that runs a function with effects, such as a search.

    As a decorator, with or without options, it takes an annotated function. Functions that aren't
    async run in a bounded thread pool.

    Args:
        name: The step's name, or the decorated function.
        signature: A string or ``Signature``; or the annotated function itself, whose signature it
            is then.
        function: The function, which takes the inputs by name.
        mode: How recorded answers may be used beyond exact replay and resume: ``cached`` for the
            same inputs at the same address, ``pure`` for the same inputs anywhere, ``live`` never.
        description: What a model is told of the tool; ``None`` for the function's docstring.
        version: Identifies a function whose source doesn't.
        timeout: Seconds per call, ``None`` for the executor's.
        types: Types that the signature's string names.

    Returns:
        The step, or a decorator that makes it.

    Raises:
        BadSignature: The signature can't be read.
        Unidentified: The function has no source, and no ``version`` is named.
        ValueError: There is no such mode.
        TypeError: The function is missing, or stands in the place of the name.

    Example:
        >>> tool("count", "text -> n: int", len, version="1")
        <Tool count: text -> n: int>
    """
    tool_mode = check_mode(mode)

    def make(code: Callable[..., Any], step_name: str, sig: Signature) -> Tool:
        text = _docstring(code) if description is None else textwrap.dedent(description).strip()
        return Tool(
            name=step_name,
            signature=sig,
            function=function_of(code, version),
            timeout=timeout,
            mode=tool_mode,
            description=text,
        )

    if name is None:
        return lambda decorated: make(decorated, decorated.__name__, from_function(decorated))
    if not isinstance(name, str):
        if signature is not None:
            line = f"lf.tool({name.__name__!r}, {signature!r}, {name.__name__})"
            msg = f"the name of the tool comes first, found the function. Write {line}."
            raise TypeError(msg)
        return make(name, name.__name__, from_function(name))
    if callable(signature):
        function, signature = signature, None
    if function is None:
        msg = f'give the function: lf.tool({name!r}, "query -> context: list[str]", function)'
        raise TypeError(msg)
    sig = from_function(function) if signature is None else signature_of(signature, types)
    return make(function, name, sig)


def check_mode(mode: str) -> ToolMode:
    """Return a tool's mode, or raise ``ValueError`` if there is no such mode."""
    for tool_mode in MODES:
        if mode == tool_mode:
            return tool_mode
    msg = f"a tool is one of {', '.join(MODES)}, found mode={mode!r}.{near(mode, MODES)}"
    raise ValueError(msg)


def _docstring(function: Callable[..., Any]) -> str:
    """The docstring of a function or method.

    Any other callable has its class's docstring, which says nothing of the object.
    """
    return inspect.cleandoc(function.__doc__ or "") if inspect.isroutine(function) else ""


def _default_instruction(signature: Signature) -> str:
    inputs, outputs = _names_in_words(signature.marked_inputs), _names_in_words(signature.outputs)
    return f"Given {inputs}, give {outputs}." if inputs else f"Give {outputs}."


def _names_in_words(fields: tuple[Field, ...]) -> str:
    return ", ".join(field.name.replace("_", " ") for field in fields)
