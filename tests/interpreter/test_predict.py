"""The laws of the chat adapter: what is rendered, what is read, what is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from driving import drive
from hypothesis import given
from hypothesis import strategies as st
from strategies import Pair, lines, texts, typed

import lmflow as lf
from lmflow.adapters.thinking import has_signs
from lmflow.errors import ModelFailed, ParseFailure
from lmflow.interpreter.predict import Unreadable, predict_messages, read_outputs
from lmflow.messages.messages import Message
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.programs.program import Predict
from lmflow.signatures.declaration import parse_signature as signature
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

KINDS: dict[str, st.SearchStrategy[Any]] = {
    "str": lines,
    "int": st.integers(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "Literal['a', 'b c', 3]": st.sampled_from(["a", "b c", 3]),
    "list[str]": st.lists(lines, max_size=4).map(tuple),
    "list[int]": st.lists(st.integers(), max_size=4).map(tuple),
    "list[bool]": st.lists(st.booleans(), max_size=4).map(tuple),
    "dict[str, int]": st.dictionaries(lines, st.integers(), max_size=3).map(Record),
    "int | None": st.none() | st.integers(),
}
SHAPES = [
    "q -> a",
    "q -> a: int",
    "q -> a: list[str]",
    "q -> a: list[int], b: dict[str, int]",
    "q -> a: bool, b: str = 'x', c",
]
ask = lf.predict("ask", "context: list[str], question -> answer", "Answer.")
count = lf.predict("count", "question -> n: int", "Count.")


def params(step: Predict, **slots: Any) -> dict[str, Any]:
    """The parameters of a step, without instruction and with these."""
    return {
        f"{step.name}.{slot}": value
        for slot, value in {**step.slots, "instruction": "", **slots}.items()
    }


def _demo(kind: str, value: Any, rest: str = "") -> tuple[Signature, str]:
    step = lf.predict("s", f"q -> a: {kind}{rest}")
    demo = {"q": "?", "a": value, **({"b": "why"} if rest else {})}
    return step.signature, predict_messages(step, params(step, demos=(Record(demo),)), {"q": "!"})[
        -2
    ].content


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rest", ["", ", b"])
@given(st.data())
def test_a_demonstration_is_read_back(kind: str, rest: str, data: st.DataObject) -> None:
    """What a demonstration shows as the answer is read as its value, alone and among others."""
    value = data.draw(KINDS[kind].filter(lambda value: not has_signs(str(value))))
    sig, shown = _demo(kind, value, rest)
    assert Record(a=value) == read_outputs(sig, shown).only("a")


@pytest.mark.parametrize("shape", SHAPES)
@given(texts)
def test_any_reply_is_read_or_refused(shape: str, text: str) -> None:
    """A reply is a record of the outputs, or Unreadable: nothing else."""
    sig = signature(shape)
    try:
        found = set(read_outputs(sig, text))
    except Unreadable as problem:
        assert str(problem)  # noqa: PT017
    else:
        assert {field.name for field in sig.outputs} == found


@given(
    st.sampled_from(SHAPES),
    st.lists(
        st.sampled_from(
            "[[a]] [[b]] [[ # c # ]]: \n 1 true {} [1,2] ``` NaN 1e999 , - x".split(" ")
        )
    ).map("\n".join),
)
def test_any_marked_reply_is_read_or_refused(shape: str, text: str) -> None:
    """A reply made of markers and scraps is a record of the outputs, or Unreadable."""
    try:
        assert isinstance(read_outputs(signature(shape), text), Record)
    except Unreadable as problem:
        assert str(problem)  # noqa: PT017


def test_the_messages_are_instruction_demos_and_inputs() -> None:
    """The system message is the instruction, each demo two turns, the inputs stand under their
    names.
    """
    demo = Record(context=("x",), question="Who?", answer="Ada")
    assert (
        Message("system", "Answer."),
        Message("user", "[[context]]\n[1] x\n[[question]]\nWho?"),
        Message("assistant", "Ada"),
        Message("user", "[[context]]\n[1] a\n[2] b\n[[question]]\nWhy?"),
    ) == predict_messages(
        ask,
        params(ask, instruction="Answer.", demos=(demo,)),
        Record(context=("a", "b"), question="Why?"),
    )


def test_rendering_reads_the_parameters_it_is_given() -> None:
    """The instruction is the parameter's, not the step's default."""
    assert (
        "Think."
        == predict_messages(
            ask, params(ask, instruction="Think."), Record(context=(), question="")
        )[0].content
    )


def test_one_output_asks_for_its_kind_alone() -> None:
    """A step with one typed output says what to reply with."""
    assert (
        "Count.\n\nReply with only a whole number."
        == lf.render(count, {"question": "?"})[0].content
    )


def test_several_outputs_ask_for_sections() -> None:
    """A step with several outputs shows the form of the reply."""
    step = lf.predict("s", "q -> why, label: Literal['a', 'b'], n: int", "Do.")
    form = (
        "Do.\n\nReply in this form:\n[[why]]\n...\n[[label]]\none of: a, b\n[[n]]\na whole number"
    )
    assert form == lf.render(step, {"q": "?"})[0].content


def test_several_outputs_are_named_again_below_the_inputs_alone() -> None:
    """A line below the inputs says which sections are wanted, not below those of demonstrations;
    other forms need none.
    """
    step = lf.predict("s", "q -> why, label", "Do.")
    first, demo, _, last = predict_messages(
        step, params(step, demos=(Record(q="?", why="w", label="a"),)), Record(q="!")
    )
    assert ("system", "[[q]]\n?") == (first.role, demo.content)
    assert "[[q]]\n!\n\nReply with the sections [[why]], then [[label]]." == last.content
    assert (
        "[[q]]\n!"
        == lf.render(lf.predict("s", "q -> why, label", adapter="json"), {"q": "!"})[-1].content
    )


def test_the_retry_names_the_sections_too() -> None:
    """What mends a reply ends as what was asked."""
    step = lf.predict("s", "q -> why, label", "Do.")
    seen: list[str] = []

    def model(request: ChatRequest) -> str:
        seen.append(request.messages[-1].content)
        return "no" if len(seen) == 1 else "[[why]]\nw\n[[label]]\na"

    assert Record(why="w", label="a") == lf.run(step, model=lf.scripted(model), q="?").outputs
    assert all(
        text.endswith("\n\nReply with the sections [[why]], then [[label]].") for text in seen[:1]
    )
    assert seen[1].endswith("\nReply with the sections [[why]], then [[label]].")


THREE = {"why": "w", "label": "a", "n": 3}


def _after(
    *replies: str, adapter: str = "", finish: str = "stop"
) -> tuple[lf.Trace, list[ChatRequest]]:
    """What a step with three outputs comes to with these replies, the first ended so, and what was
    asked.
    """
    step = lf.predict("s", "q -> why, label: Literal['a', 'b'], n: int", adapter=adapter)
    seen: list[ChatRequest] = []

    def model(request: ChatRequest) -> ChatReply:
        seen.append(request)
        return ChatReply(replies[len(seen) - 1], finish if len(seen) == 1 else "stop")

    async def run() -> lf.Trace:
        async with lf.Executor(lf.scripted(model)) as ex:
            return (await ex.map(step, [{"q": "?"}])).traces[0]

    return asyncio.run(run()), seen


@given(first=st.sets(st.sampled_from(list(THREE)), max_size=2), wrong=st.booleans())
def test_the_retry_asks_only_for_what_could_not_be_read(first: set[str], wrong: bool) -> None:  # noqa: FBT001
    """Whichever outputs the first reply has, the second needs only the others, and both together
    are the outputs.
    """
    told = {
        **{name: "no" for name in ("label", "n") if wrong},
        **{name: THREE[name] for name in first},
    }
    rest = {name: value for name, value in THREE.items() if name not in first}
    trace, (_, asked) = _after(sections_of(told), sections_of(rest))
    assert Record(THREE) == trace.outputs
    form, in_json = asked.messages[-1].content.partition("\n")[2], "why" not in rest
    assert in_json == (asked.schema is not None)
    sought = '"{}": ' if in_json else "[[{}]]"
    assert [sought.format(name) in form for name in THREE] == [
        name in rest and rest != {"why": "w"} for name in THREE
    ]
    assert list(trace.outputs or ()) == list(THREE)


def sections_of(values: Mapping[str, Any]) -> str:
    """A reply in sections."""
    return "\n".join(f"[[{name}]]\n{value}" for name, value in values.items())


@pytest.mark.parametrize(
    ("second", "expected"), [("3", 3), ("[[n]]\n3", 3), ("[[why]]\nw2\n[[n]]\n3", 3)]
)
def test_one_output_that_is_left_may_come_bare(second: str, expected: int) -> None:
    """It may stand alone, in its section, or beside one that is known, of which the first counts."""
    trace, (_, asked) = _after("[[why]]\nw\n[[label]]\na", second)
    assert Record(why="w", label="a", n=expected) == trace.outputs
    assert asked.messages[-1].content.endswith('\nReply with only a JSON object: {"n": integer}')


def test_a_known_section_alone_is_no_answer() -> None:
    """A retry that says again what is known fails, with both causes."""
    trace, _ = _after("[[label]]\na\n[[n]]\n3", "[[label]]\na")
    assert trace.outputs is None
    assert "why: it is missing" in trace.failure.text.partition("then")[2]  # type: ignore[union-attr]


def test_of_a_reply_that_was_cut_nothing_is_kept() -> None:
    """Its last section may lack its end, so all are asked for again."""
    whole = sections_of(THREE)
    trace, (_, asked) = _after("[[why]]\nso far", whole, finish="length")
    assert Record(THREE) == trace.outputs
    assert "[[why]]" in asked.messages[-1].content


def test_a_retry_in_json_has_the_schema_of_what_is_left() -> None:
    """The endpoint is held to the outputs that are asked for."""
    trace, (first, second) = _after(
        '{"why": "w", "label": "a", "n": "x"}', '{"n": 3}', adapter="json"
    )
    assert Record(THREE) == trace.outputs
    assert (list(THREE), ["n"]) == (list(first.schema["required"]), list(second.schema["required"]))  # type: ignore[index]


def test_a_step_without_inputs_says_go() -> None:
    """Where there are no inputs there is a user message all the same."""
    assert "Go." == lf.render(lf.predict("s", " -> y"), {})[-1].content


def test_a_part_of_a_demo_is_shown_as_one() -> None:
    """A demo that lacks fields says so and stands before the whole ones."""
    demos = (
        Record(context=("x",), question="whole", answer="A"),
        Record(question="part", answer="B"),
    )
    shown = predict_messages(ask, params(ask, demos=demos), Record(context=(), question=""))
    assert [
        "(An example with some fields left out.)\n[[question]]\npart",
        "[[context]]\n[1] x\n[[question]]\nwhole",
    ] == [message.content for message in shown[0:4:2]]


def test_a_demo_without_output_is_left_out() -> None:
    """A demo that shows no answer is not shown."""
    shown = predict_messages(
        ask, params(ask, demos=(Record(question="x"),)), Record(context=(), question="")
    )
    assert 1 == len(shown)


@pytest.mark.parametrize(
    "text",
    [
        "[[answer]]\n42",
        "[[ answer ]]: 42",
        "[[ ## answer ## ]]\n\n42\n",
        " 42 ",
        "[[answer]]\n42\n[[ ## completed ## ]]",
    ],
)
def test_one_output_is_read_with_or_without_marker(text: str) -> None:
    """The one output is the bare reply, or stands under its marker."""
    assert Record(answer="42") == read_outputs(ask.signature, text)


def test_the_first_section_of_a_name_counts() -> None:
    """A reply that repeats itself is read once."""
    assert Record(a="1", b="2") == read_outputs(
        signature("q -> a, b"), "[[a]]\n1\n[[b]]\n2\n[[a]]\n3"
    )


def test_a_section_may_be_left_out_where_it_has_a_default() -> None:
    """An output with a default may be left out."""
    assert Record(a="1", b=7) == read_outputs(signature("q -> a, b: int = 7"), "[[a]]\n1")


def test_every_problem_is_named() -> None:
    """What is wrong with each output is in one sentence."""
    with pytest.raises(Unreadable, match=r"a: 'x' is no whole number; b: it is missing"):
        read_outputs(signature("q -> a: int, b"), "[[a]]\nx")


def test_an_empty_section_is_named() -> None:
    """A typed output that is empty is refused."""
    with pytest.raises(Unreadable, match="a: it is empty"):
        read_outputs(signature("q -> a: int, b"), "[[a]]\n[[b]]\nx")


def test_a_reply_that_can_be_read_is_one_call() -> None:
    """A good reply needs no second."""
    seen: list[tuple[str, Call]] = []
    assert Record(n=3) == drive(count(question="?"), lambda _: "3", seen)
    assert ["count[0]/call[0]"] == [address for address, _ in seen]


def test_the_repair_names_the_problem() -> None:
    """The second call holds the first reply and what was wrong with it."""
    seen: list[tuple[str, Call]] = []
    assert Record(n=3) == drive(
        count(question="?"), lambda text: "3" if "could not be read" in text else "three", seen
    )
    first, second = (call.request for _, call in seen)
    assert isinstance(first, ChatRequest)
    assert isinstance(second, ChatRequest)
    problem = "That could not be read: n: 'three' is no whole number.\nReply with only a JSON object: {\"n\": integer}"
    assert (
        *first.messages,
        Message("assistant", "three"),
        Message("user", problem),
    ) == second.messages


def test_there_is_one_repair_only() -> None:
    """After two bad replies the step fails with both texts and both problems."""
    replies = iter(["three", "four"])
    seen: list[tuple[str, Call]] = []
    with pytest.raises(ParseFailure) as caught:
        drive(count(question="?"), lambda _: next(replies), seen)
    assert (("three", "four"), 2, "count", 2) == (
        caught.value.replies,
        len(caught.value.problems),
        caught.value.step,
        len(seen),
    )


def test_a_failed_call_is_not_repaired() -> None:
    """A model's failure is the step's failure, at once."""
    seen: list[tuple[str, Call]] = []
    with pytest.raises(ModelFailed):
        drive(count(question="?"), lambda _: ModelFailed("server", "down"), seen)
    assert 1 == len(seen)


def test_a_call_carries_options_model_and_timeout() -> None:
    """Options and model are the parameters', the timeout is the step's."""
    seen: list[tuple[str, Call]] = []
    step = lf.predict("s", "q -> a", "Do.", options={"temperature": 0.5}, model="a/b", timeout=7)
    drive(step(q="?").under({"s.model": "c/d"}), lambda _: "x", seen)
    request = seen[0][1].request
    assert isinstance(request, ChatRequest)
    assert (Record(temperature=0.5), "c/d", 7) == (
        request.options,
        request.model,
        seen[0][1].timeout,
    )


def test_a_tool_is_one_call_with_its_identity() -> None:
    """A tool's request holds name, identity and inputs; its result is a record of its outputs."""
    seen: list[tuple[str, Call]] = []
    double = lf.tool("double", "n: int -> n: int", lambda n: n * 2, version="2")
    assert Record(n=6) == drive(double(n=3), seen=seen)
    assert 'tool: double (version:2)\ninputs: {"n": 3}\nsample: 0' == str(seen[0][1])


@pytest.mark.parametrize(
    ("expected", "shape", "text"),
    [
        (Record(a="1", b=2), "q -> a, b: int", "a: 1\nb: 2"),
        (Record(a="1", b=2), "q -> a, b: int", '```json\n{"a": "1", "b": "2"}\n```'),
        (Record(a="1", b=2), "q -> a, b: int", "[[a]] 1 [[b]] 2"),
        (
            Record(a="1", b=2),
            "q -> a, b: int",
            "<think>\n[[a]] 9\n</think>\n[[a]]\n1\n[[b]]\n**2**",
        ),
        (Record(a="", b=2), "q -> a, b: int", "[[a]]\n[[b]]\n2"),
        (Record(n=3), "q -> n: int", "n: 3"),
        (Record(n=3), "q -> n: int", '{"n": 3}'),
        (Record(a="Note: x"), "q -> a", "Note: x"),
        (Record(a=""), "q -> a", ""),
        (Record(a=None), "q -> a: int | None", ""),
        (Record(a=(1, 2, 3)), "q -> a: list[int]", "1, 2, 3"),
        (Record(a=("x", "y [1]")), "q -> a: list[str]", "[1] x\n[2] y [1]"),
        (Record(a=42), "q -> a: int", "42.0"),
        (Record(a="1", b=None), "q -> a, b: int | None", "[[a]]\n1"),
    ],
)
def test_a_messy_reply_is_read_where_its_meaning_is_plain(
    expected: Record, shape: str, text: str
) -> None:
    """Labels for markers, JSON for sections, markers within a line and thinking before them are no
    obstacle.
    """
    assert expected == read_outputs(signature(shape), text)


def test_a_list_of_lists_is_no_marker() -> None:
    """``[[null]]`` is a value."""
    shape = signature("q -> a: list[list[str | None]]")
    assert Record(a=((None,),)) == read_outputs(shape, "[[null]]")


@given(typed, st.data())
def test_a_demonstration_of_any_type_is_read_back(pair: Pair, data: st.DataObject) -> None:
    """In chat too: what a demonstration shows is read as its value, but for texts with markers or
    space around them.
    """
    kind, values = pair
    value = data.draw(values.filter(lambda value: not _lossy(value)))
    step = lf.predict(
        "s", Signature((Field(name="q"),), (Field(name="a", type=kind), Field(name="b")))
    )
    demo = Record(q="", a=value, b="x")
    shown = predict_messages(step, params(step, demos=(demo,)), {"q": "?"})[-2].content
    assert Record(a=value, b="x") == read_outputs(step.signature, shown)


def _lossy(value: Any) -> bool:
    """What a section can't say: space around a text, markers, tags of thinking, a null's words."""
    words = value if isinstance(value, tuple) else (value,)
    texts_in = [word for word in words if isinstance(word, str)]
    said = {"", "null", "none", "n/a"}
    return any(
        text != text.strip()
        or "[[" in text
        or text.lower() in said
        or "\r" in text
        or has_signs(text)
        for text in texts_in
    )
