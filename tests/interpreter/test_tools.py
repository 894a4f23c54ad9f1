"""The laws of what a model and a tool tell each other."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import attrs
import pytest
from agents import add, look_up
from hypothesis import given
from hypothesis import strategies as st

import lmflow as lf
from lmflow.errors import BadSignature, DuplicateStep
from lmflow.interpreter.tools import (
    Observation,
    ToolUse,
    Turn,
    arguments_of,
    as_tools,
    clip_observation,
    describe_tool,
    trajectory_text,
)
from lmflow.values.record import plain


class Size(enum.Enum):
    """A size."""

    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Place:
    """A place."""

    city: str
    zip_code: str | None = None


@lf.tool(mode="live")
def order(
    what: Annotated[str, "the dish"],
    size: Size,
    places: list[Place],
    count: Annotated[int, lf.Field(ge=1, le=9)] = 1,
    when: Literal["now", "later"] | None = None,
) -> dict[str, Any]:
    """Order a dish.

    It is brought to each place.
    """
    return {"what": what, "size": size, "places": places, "count": count, "when": when}


def test_a_function_is_a_tool() -> None:
    """A documented, typed function is a tool: its name, its docstring, its parameters as inputs,
    its mode.
    """
    assert ("order", "live", "Order a dish.\n\nIt is brought to each place.") == (
        order.name,
        order.mode,
        order.description,
    )
    assert ["what", "size", "places", "count", "when"] == [
        field.name for field in order.signature.inputs
    ]


def test_a_tool_is_told_by_its_schema() -> None:
    """The schema names each argument with type, description and limits; null stands for a default."""
    schema = plain(describe_tool(order).parameters)
    assert {"type": "string", "description": "the dish"} == schema["properties"]["what"]
    assert {"type": "string", "enum": ["small", "large"]} == schema["properties"]["size"]
    assert [{"type": "integer", "minimum": 1, "maximum": 9}, {"type": "null"}] == schema[
        "properties"
    ]["count"]["anyOf"]
    assert ["city", "zip_code"] == list(schema["properties"]["places"]["items"]["properties"])
    assert ["what", "size", "places", "count", "when"] == schema["required"]


def test_a_tool_is_told_in_a_text() -> None:
    """In a text it is a line with its description and one with its arguments, as JSON is sketched."""
    line = describe_tool(look_up).line("Find passages.")
    assert '- look_up: Find passages.\n  arguments: {"query": string, "k"?: integer}' == line


def test_another_description_can_be_given() -> None:
    """``description`` stands before the docstring, and the two forms of the decorator are one."""
    plain_form = lf.tool("add", None, add.function.call, description="  Sum two.  ")
    assert ("Sum two.", "Add two whole numbers.") == (plain_form.description, add.description)
    assert add.key == lf.tool(add.function.call).key == plain_form.key


def test_any_program_with_a_name_is_a_tool() -> None:
    """A predictor is told by its instruction, a flow by its docstring, a function by its own."""
    step = lf.predict("say", "text -> out", "Say it.")

    @lf.flow("text -> out", uses=[step], version="1")
    async def spoken(text: str) -> Any:
        """Say it twice."""
        return await step(text=text)

    def shout(text: str) -> str:
        """Say it aloud."""
        return text.upper()

    found = as_tools(
        [step, spoken, shout, (step >> lf.predict("end", "out -> done", "End.")).named("both")]
    )
    expected = [
        ("say", "Say it."),
        ("spoken", "Say it twice."),
        ("shout", "Say it aloud."),
        ("both", ""),
    ]
    assert expected == [(one.name, one.description) for one in map(describe_tool, found)]


@pytest.mark.parametrize(
    ("tools", "error"),
    [
        ([], BadSignature),
        ([lf.predict("a", "x -> y", "A.") >> lf.predict("b", "y -> z", "B.")], BadSignature),
        ([add, add], DuplicateStep),
    ],
)
def test_tools_without_a_name_of_their_own_are_refused(
    tools: list[lf.Program], error: type[Exception]
) -> None:
    """No tool, one without a name, two of one name: none can be offered."""
    with pytest.raises(error):
        as_tools(tools)


async def test_arguments_are_read_laxly_and_typed() -> None:
    """What a model writes is read as a reply is, and the function gets values of its types,
    defaults filled in.
    """
    found = arguments_of(
        order.signature,
        {"what": 3, "size": "LARGE", "places": [{"city": "Lima"}], "count": "2.0", "when": None},
    )
    expected = {
        "what": "3",
        "size": Size.LARGE,
        "places": (Place("Lima"),),
        "count": 2,
        "when": None,
    }
    assert lf.Record(expected) == found
    async with lf.Executor(lf.scripted([])) as ex:
        trace = await ex.run(
            order, **arguments_of(order.signature, {"what": "tea", "size": "small", "places": []})
        )
    assert trace.outputs is not None
    assert 1 == trace.outputs.order["count"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"a": 1}, "b is missing"),
        ({"a": 1, "b": None}, "b: expected `int`, got `null`"),
        ({"a": "one", "b": 2}, "a: 'one' is no whole number"),
        ({"a": 1, "b": 2, "bb": 3}, "there is no argument 'bb'. Did you mean 'b'?"),
        ({"a": "x", "c": 1}, "there is no argument 'c'"),
        ({"a": [[]], "b": {}}, "b: "),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: dict[str, Any], words: str) -> None:
    """Every argument that is unknown, missing or of another type is named."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are the law
        arguments_of(add.signature, arguments)
    assert words in str(caught.value)


def test_null_means_the_default() -> None:
    """A default that is given as null is the default; where null is a value of the type, it is
    that.
    """
    assert lf.Record(query="x") == arguments_of(look_up.signature, {"query": "x", "k": None})
    assert (
        None
        is arguments_of(
            order.signature, {"what": "a", "size": "small", "places": [], "when": None}
        )["when"]
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["what", "size", "places", "count", "when", "x"]), json_values)
)
def test_whatever_a_model_writes_is_inputs_or_a_problem(arguments: dict[str, Any]) -> None:
    """Any JSON object gives inputs that the tool takes, or a problem in words; nothing else comes
    out.
    """
    try:
        found = arguments_of(order.signature, arguments)
    except ValueError:
        return
    order(**found)


TURNS = (
    Turn(
        "look",
        (ToolUse("look_up", {"query": "tea"}),),
        (Observation("look_up", "result", ("a", "b")),),
    ),
    Turn("oops", problem="it is no JSON"),
    Turn("", (ToolUse("x"),), (Observation("x", "unknown_tool", text="there is no tool 'x'"),)),
    Turn("done"),
)


def test_a_story_tells_each_turn() -> None:
    """Thoughts, calls with what came of them, and problems, in order."""
    expected = [
        "Step 1: look",
        'look_up {"query": "tea"}',
        "-> [1] a",
        "[2] b",
        "Step 2: oops",
        "That could not be read: it is no JSON",
        "Step 3:",
        "x {}",
        "-> Error (unknown tool): there is no tool 'x'",
        "Step 4: done",
    ]
    assert expected == trajectory_text(TURNS, None, 100).splitlines()


@pytest.mark.parametrize(
    ("keep", "first"), [(1, "(3 earlier steps left out)"), (3, "(1 earlier step left out)")]
)
def test_a_story_says_what_it_leaves_out(keep: int, first: str) -> None:
    """Of many turns the last are kept, under their own numbers, after a note of how many are
    missing.
    """
    lines = trajectory_text(TURNS, keep, 100).splitlines()
    assert [first, f"Step {5 - keep}:"] == [lines[0], lines[1][:7]]


def test_long_observations_are_cut() -> None:
    """An observation has at most so many characters, and says how many are missing."""
    seen = Observation("x", "result", "abcdef")
    assert ("abcdef", "abc\n(3 more characters left out)") == (
        clip_observation(seen, 6),
        clip_observation(seen, 3),
    )


def test_turns_survive_being_stored() -> None:
    """A trajectory that is written as JSON values is read back as the same turns."""
    agent = lf.react("question -> answer", [add])
    assert TURNS == agent.signature.typed({"trajectory": plain(TURNS)}).trajectory


def test_the_last_turn_asks_for_nothing() -> None:
    """A turn is the last where it asks for no call and could be read."""
    assert [False, False, False, True] == [turn.last for turn in TURNS]
