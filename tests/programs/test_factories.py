"""The laws of the factories: what they accept and what they fill in."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import lmflow as lf
from lmflow.errors import BadSignature, Unidentified
from lmflow.programs.program import Predict
from lmflow.programs.tool import Tool
from lmflow.signatures.declaration import parse_signature
from lmflow.values.record import Record


@lf.predict
def answer(context: list[str], question: str) -> str:  # type: ignore[empty-body]
    """Answer from the context,
    in a few words.
    """


@lf.tool
def reverse(text: str) -> str:
    """Turn it round."""
    return text[::-1]


def helper(text: str) -> str:
    """Turn it round."""
    return text[::-1]


def test_a_stub_is_a_predictor() -> None:
    """A typed stub gives name, signature and instruction."""
    expected = lf.predict(
        "answer",
        "context: list[str], question -> answer",
        "Answer from the context,\nin a few words.",
    )
    assert expected == answer


def test_a_decorated_function_is_a_tool() -> None:
    """An annotated function gives name, signature and function."""
    assert isinstance(reverse, Tool)
    assert ("reverse", parse_signature("text -> reverse")) == (reverse.name, reverse.signature)


def test_a_predictor_without_instruction_has_one() -> None:
    """The default instruction says which fields are given and which are asked for."""
    assert (
        "Given long context, question, give answer, why."
        == lf.predict("p", "long_context, question -> answer, why").instruction
    )
    assert "Give answer." == lf.predict("p", " -> answer").instruction


def test_instructions_lose_their_indentation() -> None:
    """An instruction that is written indented is the same as one that isn't."""
    assert (
        "One.\n  Two."
        == lf.predict("p", "x -> y", "\n        One.\n          Two.\n    ").instruction
    )


def test_what_is_tuned_are_defaults() -> None:
    """Instruction, demos, options and model are the slots of a predictor."""
    step = lf.predict(
        "p", "x -> y", "Do.", demos=[{"x": "a", "y": "b"}], options={"temperature": 0}, model="a/b"
    )
    assert {
        "instruction": "Do.",
        "demos": (Record(x="a", y="b"),),
        "options": Record(temperature=0),
        "model": "a/b",
        "adapter": "",
    } == dict(step.slots)


def test_a_tool_has_nothing_to_tune() -> None:
    """A tool has no paths."""
    assert () == reverse.paths


def test_a_tool_takes_its_signature_from_the_function() -> None:
    """Without a signature the annotations are the signature."""
    assert parse_signature("text -> helper") == lf.tool("t", None, helper).signature


def test_a_tool_needs_a_function() -> None:
    """A tool without function is refused with the whole line."""
    with pytest.raises(TypeError, match=r'lf\.tool\(\'t\', "query'):
        lf.tool("t", "x -> y")  # type: ignore[call-overload]


@pytest.mark.parametrize("function", [lambda text: text + "", functools.partial(helper), "".join])
def test_a_tool_is_identified(function: Any) -> None:
    """A function whose source doesn't say what it does needs a version."""
    with pytest.raises(Unidentified):
        lf.tool("t", "text -> y", function)
    assert "version:1" == lf.tool("t", "text -> y", function, version="1").function.identity


def test_a_condition_is_identified() -> None:
    """A lambda is no condition."""
    with pytest.raises(Unidentified):
        lf.branch(lambda text: text == "a", reverse, reverse)


def test_a_flow_is_an_async_function() -> None:
    """A flow that is no coroutine function is refused."""
    with pytest.raises(BadSignature, match=r"no async function. Write `async def helper\(text\)`"):
        lf.flow("text -> y")(helper)


def test_a_flow_takes_its_inputs() -> None:
    """A flow's parameters are the inputs of its signature, or the right line is shown."""

    async def wrong(text: str) -> str:
        return text

    with pytest.raises(BadSignature, match=r"Write `async def wrong\(question\)`"):
        lf.flow("question -> y")(wrong)


def test_a_flow_may_close_over_its_programs() -> None:
    """A flow that is made in a function is known by its source."""

    @lf.flow("text -> y", uses=[reverse])
    async def inner(text: str) -> Any:
        return (await reverse(text=text)).reverse

    assert inner.function.identity.startswith("source:")


def test_types_are_given_by_name() -> None:
    """Every factory takes types that its signature names."""
    assert Record == lf.predict("p", "x: R -> y", types={"R": Record}).signature.inputs[0].type
    assert isinstance(lf.predict("p", "x -> y"), Predict)


def test_map_finds_its_item() -> None:
    """A program with one required input maps over that."""
    assert "texts: list[str], n: int = 1 -> y: list[str]" == str(
        lf.map(lf.predict("p", "text, n: int = 1 -> y"), "texts").signature
    )


def _measure(text: str) -> int:
    """The size of a text."""
    return len(text)


def test_a_tool_of_an_annotated_function_needs_no_signature() -> None:
    """Its name and the function: no ``None`` stands between them."""
    assert lf.tool("measure", None, _measure) == lf.tool("measure", _measure)


def test_the_function_is_no_name() -> None:
    """The line that was meant is named."""
    swapped: Any = lf.tool
    with pytest.raises(TypeError, match=r"Write lf\.tool\('len', 'text -> n: int', len\)"):
        swapped(len, "text -> n: int")
