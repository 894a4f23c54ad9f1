"""The factories of programs: the leaves ``predict``, ``embed``, ``tool``; ``flow``; and the
combinators.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

from lmflow.adapters.registry import adapter_of
from lmflow.errors import BadSignature, near
from lmflow.messages.requests import CACHED, MODES, ToolMode
from lmflow.programs.combinators import Branch, Map, Parallel, Repeat
from lmflow.programs.embedding import Embed, check_signature
from lmflow.programs.program import Flow, Predict, Program, Tool, check_programs
from lmflow.signatures.signature import Field, Signature, from_function, signature_of
from lmflow.values.functions import Function, function_of
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
    adapter: str = "",
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Predict: ...


def predict(  # noqa: PLR0913 - each is a default of one parameter
    name: str | Callable[..., Any],
    signature: str | Signature | Callable[..., Any] = "",
    instruction: str = "",
    *,
    demos: Iterable[Mapping[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
    model: str = "",
    adapter: str = "",
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Predict:
    """A step that asks a model: ``predict("answer", "context, question -> answer", "Answer in a few
    words.")``.

    As a decorator it makes the step from a typed stub, whose docstring is the default instruction.
    ``demos`` are records of inputs and outputs; ``options`` decoding options by their wire names;
    ``model`` is ``provider/model`` (empty: the executor's); ``adapter`` is ``chat`` (the default)
    or ``json``; ``timeout`` is in seconds a call.
    """
    if not isinstance(name, str):
        stub = name
        return predict(stub.__name__, from_function(stub), inspect.cleandoc(stub.__doc__ or ""))
    sig = signature_of(signature, types)
    _ = adapter_of(adapter)
    text = textwrap.dedent(instruction).strip() or _default_instruction(sig.asked)
    return Predict(
        name=name,
        signature=sig,
        instruction=text,
        demos=tuple(Record(demo) for demo in demos),
        options=Record(options or {}),
        model=model,
        adapter=adapter,
        timeout=timeout,
    )


def embed(
    name: str, signature: str | Signature, *, model: str = "", timeout: float | None = None
) -> Embed:
    """A step that asks an embedding model: ``embed("embed", "text -> vector: list[float]",
    model="openai/...")``.

    ``"texts: list[str] -> vectors: list[list[float]]"`` asks for many, 64 a call. ``model`` is the
    default of its one parameter; it has to be named there or in a version, since an executor's own
    model is one for chats. ``timeout`` is in seconds a call.
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
    signature: str | Signature | None,
    function: Callable[..., Any],
    *,
    mode: ToolMode = CACHED,
    description: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Tool: ...


def tool(  # noqa: PLR0913 - the three forms share one name
    name: str | Callable[..., Any] | None = None,
    signature: str | Signature | None = None,
    function: Callable[..., Any] | None = None,
    *,
    mode: ToolMode = CACHED,
    description: str | None = None,
    version: str | None = None,
    timeout: float | None = None,
    types: Mapping[str, Any] | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """A step that runs a function outside: ``tool("search", "query -> context: list[str]",
    corpus.search)``.

    As a decorator, with or without options, it takes an annotated function. Sync functions run in a
    bounded thread pool. ``mode`` says how recorded answers may be used beyond exact replay and
    resume: ``cached`` where the same is asked at the same place, ``pure`` wherever the same is
    asked, ``live`` nowhere. ``description`` is what a model is told of the tool, by default the
    function's docstring. ``version`` identifies a function whose source doesn't (``Unidentified``
    asks for it).
    """
    _ = checked(mode)

    def made(given: Callable[..., Any], called: str, signed: Signature) -> Tool:
        text = _documented(given) if description is None else textwrap.dedent(description).strip()
        code = function_of(given, version)
        return Tool(
            name=called,
            signature=signed,
            function=code,
            timeout=timeout,
            mode=mode,
            description=text,
        )

    if name is None:
        return lambda given: made(given, given.__name__, from_function(given))
    if not isinstance(name, str):
        return made(name, name.__name__, from_function(name))
    if function is None:
        msg = f'give the function: lf.tool({name!r}, "query -> context: list[str]", function)'
        raise TypeError(msg)
    return made(
        function,
        name,
        from_function(function) if signature is None else signature_of(signature, types),
    )


def checked(mode: str) -> ToolMode:
    """A tool's mode. ``ValueError`` where there is no such mode."""
    for known in MODES:
        if mode == known:
            return known
    msg = f"a tool is one of {', '.join(MODES)}, found mode={mode!r}.{near(mode, MODES)}"
    raise ValueError(msg)


def flow(
    signature: str | Signature,
    *,
    uses: Iterable[Program] = (),
    version: str | None = None,
    types: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Flow]:
    """Make an async function a program: ``@lf.flow("question -> answer", uses=[search, answer])``.

    The function may await the programs in ``uses``, compositions of them, and ``lf.gather``; it
    returns a record of the outputs or, where there is one output, its value. ``version`` identifies
    a function without source (one typed at a prompt).
    """
    sig, parts = signature_of(signature, types), tuple(uses)
    check_programs(*parts)

    def declared(function: Callable[..., Any]) -> Flow:
        name = function.__name__
        expected = [field.name for field in sig.inputs]
        fix = f"Write `async def {name}({', '.join(expected)})`."
        if not inspect.iscoroutinefunction(function):
            raise BadSignature(f"def {name}", "it is no async function", fix)
        found = list(inspect.signature(function).parameters)
        if set(expected) != set(found):
            text = f"the function takes {', '.join(found) or 'nothing'}"
            raise BadSignature(str(sig), text, fix)
        code = function_of(function, version, closures=True)
        return Flow(name=name, signature=sig, function=code, uses=parts)

    return declared


def parallel(*programs: Program) -> Parallel:
    """Several programs on one record, side by side. Their outputs must have different names."""
    check_programs(*programs)
    return Parallel(programs)


def map(program: Program, over: str, *, item: str | None = None, key: str | None = None) -> Map:  # noqa: A001 - lf.map
    """One program over the list ``over``, side by side; each of its outputs becomes a list.

    ``item`` is the input that takes an element (may be left out where the program has one required
    input); ``key`` names the field of an element that labels its branch in addresses (position
    otherwise).
    """
    check_programs(program)
    required = [field.name for field in program.signature.inputs if field.required]
    names = [field.name for field in program.signature.inputs]
    if item is None and len(required) == 1:
        item = required[0]
    if item not in names:
        found = "no item" if item is None else f"item {item!r}"
        raise BadSignature(
            str(program.signature),
            f"{found} to map over {over!r}",
            f"Say which input takes an element, item=one of {names}.",
        )
    return Map(program, over, item, key)


def branch(when: str | Callable[..., Any], then: Program, otherwise: Program) -> Branch:
    """``then`` or ``otherwise``, as the field ``when`` or the function ``when`` of the record's
    fields says.
    """
    check_programs(then, otherwise)
    return Branch(*_condition(when), then, otherwise)


def repeat(program: Program, *, until: str | Callable[..., Any], times: int) -> Repeat:
    """The program again and again, its outputs fed back as inputs, until a field or function of the
    record holds.
    """
    check_programs(program)
    if times < 1:
        msg = f"times must be at least 1, found {times}"
        raise ValueError(msg)
    return Repeat(program, *_condition(until), times)


def _condition(when: str | Callable[..., Any]) -> tuple[str | Function, tuple[Field, ...]]:
    if isinstance(when, str):
        return when, (Field(name=when, type=Any),)
    return function_of(when), from_function(when).inputs


def _documented(function: Callable[..., Any]) -> str:
    """The docstring of a function or method; other objects have that of their class, which says
    nothing of them.
    """
    return inspect.cleandoc(function.__doc__ or "") if inspect.isroutine(function) else ""


def _default_instruction(signature: Signature) -> str:
    inputs, outputs = (
        ", ".join(f.name.replace("_", " ") for f in side)
        for side in (signature.sectioned, signature.outputs)
    )
    return f"Given {inputs}, give {outputs}." if inputs else f"Give {outputs}."
