"""The laws of the JSON adapter: one object, asked for in few words, held to a schema, read however
it comes.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import attrs
import pydantic
import pytest
from driving import drive
from hypothesis import given
from hypothesis import strategies as st
from strategies import Pair, json_values, texts, typed

import lmflow as lf
from lmflow.errors import ParseFailure, UnknownAdapter
from lmflow.interpreter.driver import drive_pure
from lmflow.interpreter.predict import Unreadable, predict_messages, read_outputs
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.signatures.declaration import parse_signature as signature
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, plain


@attrs.frozen
class Ticket:
    """What is extracted."""

    title: str
    urgency: Annotated[int, Field(ge=0, le=5)] = 0
    tags: tuple[str, ...] = ()


SHAPES = [
    "q -> a",
    "q -> a: int",
    "q -> a: list[str], b: int = 3",
    "q -> a: dict[str, int], b: bool",
]
extract = lf.predict(
    "extract", "text -> ticket: Ticket", "Extract.", adapter="json", types={"Ticket": Ticket}
)


def _shown(step: Any, adapter: str, demo: dict[str, Any]) -> str:
    slots = {**step.slots, "demos": (Record(demo),), "adapter": adapter}
    params = {f"{step.name}.{slot}": value for slot, value in slots.items()}
    return predict_messages(step, params, {"q": "?"})[-2].content


@given(typed, st.data())
def test_a_demonstration_is_read_back(pair: Pair, data: st.DataObject) -> None:
    """What a demonstration shows as JSON is read as its value, of its type, whatever the type."""
    kind, values = pair
    value = data.draw(values)
    step = lf.predict(
        "s", Signature((Field(name="q"),), (Field(name="a", type=kind), Field(name="b")))
    )
    shown = _shown(step, "json", {"q": "", "a": value, "b": " x\n"})
    assert Record(a=value, b=" x\n") == read_outputs(step.signature, shown, "json")
    assert type(value) is type(read_outputs(step.signature, shown, "json").a)


@given(typed, st.data())
def test_a_stored_demonstration_is_shown_as_the_live_one(pair: Pair, data: st.DataObject) -> None:
    """A demo of typed values and the JSON that is stored of it make the same messages, with any
    adapter.
    """
    kind, values = pair
    demo = {"q": "", "a": data.draw(values), "b": "x"}
    step = lf.predict(
        "s", Signature((Field(name="q"),), (Field(name="a", type=kind), Field(name="b")))
    )
    stored = json.loads(json.dumps(plain(demo)))
    assert [_shown(step, name, demo) for name in ("chat", "json")] == [
        _shown(step, name, stored) for name in ("chat", "json")
    ]


@pytest.mark.parametrize("shape", SHAPES)
@given(
    st.one_of(
        texts,
        json_values.map(json.dumps),
        st.dictionaries(st.sampled_from("abc"), json_values, max_size=3).map(json.dumps),
        st.text(alphabet="{}[]\"':,ab 10\n`", max_size=40),
    ),
    st.booleans(),
)
def test_any_reply_is_read_or_refused(shape: str, text: str, whole: bool) -> None:  # noqa: FBT001
    """A reply is a record of all outputs, or Unreadable with a sentence: nothing else."""
    sig = signature(shape)
    try:
        found = read_outputs(sig, text, "json", whole=whole)
    except Unreadable as problem:
        assert str(problem)  # noqa: PT017
    else:
        assert [field.name for field in sig.outputs] == list(found)


def test_the_form_is_one_line() -> None:
    """The system message says the JSON form, with limits."""
    ticket = '{"title": string, "urgency"?: integer from 0 to 5, "tags"?: [string, ...]}'
    form = f'Reply with only a JSON object: {{"ticket": {ticket}}}'
    assert f"Extract.\n\n{form}" == lf.render(extract, {"text": "?"})[0].content


def test_the_value_is_the_users_own_type() -> None:
    """A step whose one output is a class gives that class."""
    reply = '{"ticket": {"title": "Fire", "urgency": 5, "tags": ["hot"]}}'
    assert Ticket("Fire", 5, ("hot",)) == drive(extract(text="?"), lambda _: reply).ticket


@pytest.mark.parametrize(
    "text",
    [
        '{"ticket": {"title": "Fire", "urgency": 5}}',
        '```json\n{"ticket": {"title": "Fire", "urgency": 5}}\n```',
        'Sure! {"ticket": {"title": "Fire", "urgency": 5}} Anything else?',
        "{'ticket': {'title': 'Fire', 'urgency': 5}}",
        '{"ticket": {"title": "Fire", "urgency": 5}',
        '{"title": "Fire", "urgency": 5}',
        '{"ticket": {"title": "Fire", "urgency": "5"}}',
        '{"ticket": {"title": "Fire", "urgency": 5.0}}',
        '{"ticket": {"title": "Fire", "urgency": 5, "tags": null}}',
        '{"note": "x", "ticket": {"title": "Fire", "urgency": 5}}',
        '{"note": 1} {"ticket": {"title": "Fire", "urgency": 5}}',
        '{"ticket": "{\\"title\\": \\"Fire\\", \\"urgency\\": 5}"}',
        '[[ticket]]\n{"title": "Fire", "urgency": 5}',
        '<think>{"ticket": 1}</think>{"ticket": {"title": "Fire", "urgency": 5}}',
    ],
)
def test_a_reply_is_read_where_its_meaning_is_plain(text: str) -> None:
    """Fences, prose, quotes, a missing brace or name, numbers in quotes, null for a default are no
    obstacle.
    """
    assert Ticket("Fire", 5) == read_outputs(extract.signature, text, "json").ticket


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        ("ticket: urgency: expected `int` <= 5", '{"ticket": {"title": "Fire", "urgency": 6}}'),
        (
            "'1,000' has a thousands separator, write 1000",
            '{"ticket": {"title": "Fire", "urgency": "1,000"}}',
        ),
        ("ticket: Ticket needs 'title'", '{"ticket": {}}'),
        ("ticket: Ticket has no field 'titel'", '{"ticket": {"titel": "Fire"}}'),
        ("is no JSON", "I can't."),
        ("is no JSON", ""),
    ],
)
def test_what_is_wrong_is_named(problem: str, text: str) -> None:
    """A reply that doesn't fit is refused with its place and reason."""
    with pytest.raises(Unreadable) as caught:
        read_outputs(extract.signature, text, "json")
    assert problem in str(caught.value)


def test_a_cut_reply_is_not_completed() -> None:
    """A reply that ended at the token limit is asked for again, not mended, and the retry says so."""
    seen: list[Call] = []
    cut = '{"ticket": {"title": "Fi'

    def recall(call: Call, _: str) -> ChatReply:
        seen.append(call)
        return ChatReply(cut, "length") if len(seen) == 1 else ChatReply(cut + '"}}')

    outputs = drive_pure(extract(text="?"), Env(extract.defaults), recall)
    assert Ticket("Fi") == outputs.ticket
    assert "cut off at the token limit" in seen[1].request.messages[-1].content  # type: ignore[union-attr]


def test_every_call_carries_the_schema() -> None:
    """The request and its retry hold the schema of the outputs; a chat step's holds none."""
    seen: list[tuple[str, Call]] = []
    with pytest.raises(ParseFailure):
        drive(extract(text="?"), lambda _: "no", seen)
    drive(lf.predict("p", "q -> a", "Do.")(q="?"), lambda _: "x", seen)
    schemas = [call.request.schema for _, call in seen if isinstance(call.request, ChatRequest)]
    assert [extract.signature.schema, extract.signature.schema, None] == schemas


def test_the_adapter_is_a_parameter() -> None:
    """A version may ask for another form than the program's default."""
    step = lf.predict("p", "q -> a: int", "Do.")
    shown = lf.render(step, {"q": "?"}, lf.init(step).put({"p.adapter": "json"}))[0].content
    assert 'Do.\n\nReply with only a JSON object: {"a": integer}' == shown


def test_an_unknown_adapter_names_the_known() -> None:
    """An adapter that there isn't is refused where the step is made, and where a version names it."""
    with pytest.raises(
        UnknownAdapter, match=r"there are `chat`, `json`, `xml`, `two_step`\. Did you mean 'json'"
    ):
        lf.predict("p", "q -> a", adapter="jsn")
    with pytest.raises(UnknownAdapter, match="no adapter 'yaml'"):
        lf.render(extract, {"text": "?"}, lf.init(extract).put({"extract.adapter": "yaml"}))


def test_several_problems_are_one_sentence() -> None:
    """All outputs that are wrong are named at once."""
    with pytest.raises(Unreadable, match=r"a: 'x' is no whole number; b: it is missing"):
        read_outputs(signature("q -> a: int, b"), '{"a": "x"}', "json")


def test_a_missing_optional_output_is_null_or_its_default() -> None:
    """An output that may be null is null where the reply lacks it, one with a default has that."""
    assert Record(a="x", b=None, c=7) == read_outputs(
        signature("q -> a, b: int | None, c: int = 7"), '{"a": "x"}', "json"
    )


ROW = {"reason": "r", "tags": ["x"], "n": 1}


@pytest.mark.parametrize("adapter", ["chat", "json"])
@pytest.mark.parametrize(
    "value",
    [
        ROW,
        {"outputs": ROW},
        {"answer": ROW},
        {"json_input": {"data": ROW}},
        [ROW],
        {"result": [ROW]},
        {"type": "object", "properties": ROW},
        {"status": "ok", "response": ROW},
        {"status": "ok", "payload": ROW},
        {"reason": ROW},
        {**ROW, "comment": "more"},
    ],
)
def test_outputs_may_be_wrapped(adapter: str, value: Any) -> None:
    """An object or a list around the outputs, and members that nobody asked for, don't matter."""
    sig = signature("q -> reason, tags: list[str], n: int")
    assert Record(ROW) == read_outputs(sig, json.dumps(value), adapter)


@pytest.mark.parametrize("adapter", ["chat", "json", "xml"])
@pytest.mark.parametrize(
    "value",
    [json.dumps(ROW), {"output": json.dumps(ROW)}, {"ok": "yes", "result": json.dumps(ROW)}],
)
def test_outputs_may_be_written_twice(adapter: str, value: Any) -> None:
    """JSON in a text in JSON is what it holds, for outputs that are in it by name."""
    sig = signature("q -> reason, tags: list[str], n: int")
    assert Record(ROW) == read_outputs(sig, json.dumps(value), adapter)
    one = json.dumps(json.dumps({"answer": "Paris"}))
    assert Record(answer="Paris") == read_outputs(signature("q -> answer"), one, adapter)


@pytest.mark.parametrize("text", ['{"code": "x"}', '{"answer": 5}', "[1]", '{"answer": '])
def test_a_text_that_is_json_stays(text: str) -> None:
    """A text output is JSON as it stands, unless that is the output's own object."""
    whole = json.dumps({"answer": text})
    assert Record(answer=text) == read_outputs(signature("q -> answer"), whole, "json")


@pytest.mark.parametrize(
    ("shape", "value", "answer"),
    [
        ("q -> answer", {"answer": {"answer": "Paris"}}, "Paris"),
        ("q -> answer", {"answer": '{"answer": "Paris"}'}, "Paris"),
        ("q -> answer: int", {"answer": '{"answer": 3}'}, 3),
        ("q -> answer", {"value": "Paris"}, "Paris"),
        ("q -> answer: int", {"result": {"value": "3"}}, 3),
        ("q -> answer: list[str]", {"items": ["a"]}, ("a",)),
        ("q -> answer: dict[str, int]", {"answer": {"answer": 1}}, Record(answer=1)),
        ("q -> answer: dict[str, int]", {"value": 1}, Record(value=1)),
    ],
)
def test_the_only_output_may_be_wrapped(shape: str, value: Any, answer: Any) -> None:
    """The first value that fits counts, from the outside in."""
    assert answer == read_outputs(signature(shape), json.dumps(value), "json").answer


@pytest.mark.parametrize(
    "value",
    [
        [ROW, ROW],
        {"a": ROW, "b": ROW},
        {"type": "object", "properties": {"reason": {"type": "string"}}},
        {"reson": "r", "tags": [], "n": 1},
    ],
)
def test_what_could_mean_two_things_is_refused(value: Any) -> None:
    """Several objects, a schema and misspelt names are no outputs."""
    with pytest.raises(Unreadable):
        read_outputs(signature("q -> reason, tags: list[str], n: int"), json.dumps(value), "json")


@pytest.mark.parametrize("adapter", ["chat", "json"])
def test_unknown_members_are_dropped_at_any_depth(adapter: str) -> None:
    """As at the top; a name that is nearly a missing one is refused by name, at any depth."""
    sig = lf.Signature((Field(name="q"),), (Field(name="ticket", type=Ticket),))
    text = json.dumps({"ticket": {"title": "Fire", "urgency": 5, "color": "red"}, "more": 1})
    assert Ticket("Fire", 5) == read_outputs(sig, text, adapter).ticket
    with pytest.raises(Unreadable, match="urgncy"):
        read_outputs(sig, json.dumps({"ticket": {"title": "Fire", "urgncy": 5}}), adapter)
    with pytest.raises(Unreadable, match="nte"):
        read_outputs(signature("q -> a, note: str = ''"), '{"a": "x", "nte": "y"}', "json")


class Part(pydantic.BaseModel):
    """An object within another."""

    count: int = 0


class Whole(pydantic.BaseModel):
    """An object whose member may be called as the output is."""

    part: Part | None = None


@pytest.mark.parametrize("name", ["part", "count", "whole"])
@pytest.mark.parametrize("adapter", ["chat", "json"])
def test_an_object_is_read_whole_whatever_the_output_is_called(name: str, adapter: str) -> None:
    """A reply that is an object of the only output's class isn't taken for a wrapper around it."""
    step = lf.predict("step", f"text -> {name}: Whole", types={"Whole": Whole}, adapter=adapter)
    for reply in ('{"part": {"count": 5}}', f'{{"{name}": {{"part": {{"count": 5}}}}}}'):
        trace = lf.run(step, model=lf.scripted([reply]), text="a")
        assert trace.outputs is not None
        assert Whole(part=Part(count=5)) == trace.outputs.get(name)
