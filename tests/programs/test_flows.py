"""The laws of flows whose signature is the function's own."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
import pytest

import lmflow as lf
from lmflow.errors import BadSignature

answer = lf.predict("answer", "question -> answer")
MODEL = lf.scripted(lambda _: "yes")


class Named(NamedTuple):
    """Outputs as a named tuple."""

    answer: str
    sources: list[str] = []  # noqa: RUF012 - the field of a named tuple


@dataclasses.dataclass
class Data:
    """Outputs as a dataclass."""

    answer: str
    sources: list[str] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    """Outputs as a pydantic model."""

    answer: str = pydantic.Field(description="in a word")
    sources: list[str] = []


@attrs.frozen
class Frozen:
    """Outputs as an attrs class."""

    answer: str
    sources: list[str] = attrs.field(factory=list)


class Struct(msgspec.Struct):
    """Outputs as a struct."""

    answer: str
    sources: list[str] = []


class Keys(TypedDict):
    """Outputs as a typed dict."""

    answer: str
    sources: list[str]


def _flow_returning(kind: Any, **fields: Any) -> Any:
    async def rag(question: str, k: int = 3) -> Any:
        del k
        return kind(answer=(await answer(question=question)).answer, **fields)

    rag.__annotations__["return"] = kind
    return lf.flow(uses=[answer])(rag)


@pytest.mark.parametrize("kind", [Named, Data, Model, Frozen, Struct])
def test_the_fields_of_a_class_are_the_outputs(kind: Any) -> None:
    """Parameters are the inputs, with their defaults; each field of the result is an output."""
    rag = _flow_returning(kind)
    assert "question, k: int = 3 -> answer, sources: list[str]" == str(rag.signature)
    trace = lf.run(rag, model=MODEL, question="?")
    assert {"answer": "yes", "sources": ()} == dict(trace.outputs or {})
    assert trace.root == lf.replay(trace, rag).root


def test_the_keys_of_a_typed_dict_are_the_outputs() -> None:
    """So are those of a TypedDict."""
    rag = _flow_returning(Keys, sources=["a"])
    assert "question, k: int = 3 -> answer, sources: list[str]" == str(rag.signature)
    assert {"answer": "yes", "sources": ("a",)} == dict(
        lf.run(rag, model=MODEL, question="?").outputs or {}
    )


def test_any_other_result_is_named_after_the_function() -> None:
    """One text, number or list is one output."""

    @lf.flow(uses=[answer])
    async def both(question: str) -> list[str]:
        return [(await answer(question=question)).answer]

    assert "question -> both: list[str]" == str(both.signature)
    assert ("yes",) == lf.run(both, model=MODEL, question="?").outputs.both  # type: ignore[union-attr]


def test_a_stated_signature_takes_an_object_too() -> None:
    """A flow may return an object that has the outputs; a value of the output's type is the output."""

    @lf.flow("question -> answer, sources: list[str]", uses=[answer])
    async def by_fields(question: str) -> Any:
        return Data((await answer(question=question)).answer, ["a"])

    @lf.flow("question -> answer: Model", uses=[answer], types={"Model": Model})
    async def by_value(question: str) -> Any:
        return Model(answer=(await answer(question=question)).answer)

    fields = lf.run(by_fields, model=MODEL, question="?").outputs
    assert {"answer": "yes", "sources": ("a",)} == dict(fields or {})
    assert {"answer": Model(answer="yes")} == dict(
        lf.run(by_value, model=MODEL, question="?").outputs or {}
    )


def test_a_bare_decorator_shows_the_line() -> None:
    """``@lf.flow`` alone names the programs that the function awaits."""
    with pytest.raises(BadSignature, match=r"Write `@lf.flow\(uses=\[answer\]\)` above"):

        @lf.flow  # type: ignore[arg-type]
        async def rag(question: str) -> str:
            text: str = (await answer(question=question)).answer
            return text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("async def f(q): ...", "Write `async def f(q: str) -> str`"),
        (
            "async def f(q) -> str: ...",
            "parameter 'q' has no type. Annotate each parameter, `q: str`",
        ),
        ("async def f(q: str) -> dict: ...", "its result, dict, doesn't say the names"),
        ("async def f(q: str) -> dict[str, str]: ...", "Return a NamedTuple, TypedDict, dataclass"),
        ("async def f(q: str) -> None: ...", "its result, None, doesn't say the names"),
        ("async def f(q: str) -> 'Nope': ...", "its module has no type 'Nope'"),
        ("async def f(*q: str) -> str: ...", "*q takes any number of inputs"),
        ("def f(q: str) -> str: ...", "it is no async function"),
    ],
)
def test_what_is_needed_is_said(text: str, problem: str) -> None:
    """A function that doesn't say its inputs and outputs is refused with the line to write."""
    scope: dict[str, Any] = {}
    exec(text, scope)  # noqa: S102 - functions without annotations, which no test module may have
    with pytest.raises(BadSignature) as caught:
        lf.flow(uses=[answer])(scope["f"])
    assert problem in str(caught.value)
