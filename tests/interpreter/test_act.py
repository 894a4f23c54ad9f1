"""The laws of an agent's step: what is sent in each form, and what of a reply counts."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from agents import TOOLS, add
from driving import drive

import lmflow as lf
from lmflow.adapters.registry import ADAPTERS
from lmflow.errors import NO_TOOLS, FailureKind, ModelFailed, UnknownAdapter
from lmflow.interpreter.act import Act
from lmflow.interpreter.tools import CallForm, Observation, ToolUse, Turn
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.programs.effects import Call
from lmflow.values.record import plain

AGENT = lf.react("question -> answer", TOOLS, "Answer.", keep=2, longest=20)
ACT: Act = AGENT.act
LOOKED = Turn(
    "look", (ToolUse("look_up", {"query": "tea"}),), (Observation("look_up", "result", "x" * 30),)
)
BAD = Turn("[[calls]]\n{", problem="calls: it is no list")


async def said(reply: ChatReply | str, form: str = "native", trajectory: Any = ()) -> lf.Record:
    """What the step makes of one reply."""
    async with lf.Executor(lf.scripted([reply])) as ex:
        trace = await ex.run(ACT(question="q", trajectory=trajectory).under({"act.adapter": form}))
    assert trace.outputs is not None
    return trace.outputs


def sent(form: str, **inputs: Any) -> tuple[Message, ...]:
    """The messages in a form."""
    version = lf.init(AGENT).put({"react.act.adapter": form})
    return lf.render(AGENT, {"question": "q", **inputs}, version, step="react.act")


async def requests(form: str) -> list[ChatRequest]:
    """What is asked in a form."""
    async with lf.Executor(lf.scripted(["done"])) as ex:
        trace = await ex.run(ACT(question="q").under({"act.adapter": form}))
    return [call.request for call in trace.calls if isinstance(call.request, ChatRequest)]


async def test_native_requests_carry_the_tools() -> None:
    """Function calling sends each tool with description and schema, and no form in the text."""
    (request,) = await requests("native")
    assert ["look_up", "add", "breaks"] == [tool.name for tool in request.tools]
    assert ("Add two whole numbers.", "object") == (
        request.tools[1].description,
        request.tools[1].parameters.type,
    )
    assert "Tools:" not in request.messages[0].content
    assert None is request.schema


@pytest.mark.parametrize("form", ["chat", "json"])
async def test_text_requests_tell_the_tools(form: str) -> None:
    """In a text the tools are told in words, none is in the request; JSON has its schema."""
    (request,) = await requests(form)
    assert () == request.tools
    assert (
        '- add: Add two whole numbers.\n  arguments: {"a": integer, "b": integer}'
        in request.messages[0].content
    )
    assert (form == "json") == (request.schema is not None)


def test_a_native_trajectory_is_a_chat() -> None:
    """Turns are an assistant's calls and what answers each, the last of them, cut, after a note of
    what is left out.
    """
    system, user, assistant, tool, other, problem = sent("native", trajectory=[LOOKED, LOOKED, BAD])
    assert ("system", "[[question]]\nq\n(1 earlier step left out)") == (system.role, user.content)
    assert (ToolCall("look_up", '{"query": "tea"}', "call_0"),) == assistant.calls
    assert Message("tool", f"{'x' * 20}\n(10 more characters left out)", answers="call_0") == tool
    assert ("assistant", BAD.thought) == (other.role, other.content)
    assert Message("user", "That could not be read: calls: it is no list") == problem


def test_a_trajectory_in_text_is_a_field() -> None:
    """In the other forms the trajectory is a text above the inputs; there is none before the first
    step.
    """
    *_, user = sent("chat", trajectory=[LOOKED])
    assert user.content.startswith('[[trajectory]]\nStep 1: look\nlook_up {"query": "tea"}\n-> xxx')
    assert user.content.endswith("left out)\n[[question]]\nq")
    assert "[[question]]\nq" == sent("chat")[-1].content


@pytest.mark.parametrize("form", ["chat", "json"])
async def test_demonstrations_are_turns_in_text(form: str) -> None:
    """A demonstration is a turn in the form of a reply, and reads back as its calls."""
    demo = {
        "question": "d",
        "thought": "hm",
        "calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}],
    }
    version = lf.init(AGENT).put({"react.act.adapter": form, "react.act.demos": [demo]})
    _, user, assistant, _ = lf.render(AGENT, {"question": "q"}, version, step="react.act")
    outputs = await said(assistant.content, form)
    assert "[[question]]\nd" == user.content
    assert ("hm", (ToolUse("add", {"a": 1, "b": 2}),)) == (outputs.thought, outputs.calls)


def test_demonstrations_stand_in_the_system_message_natively() -> None:
    """Natively they are told in words: a turn with calls would have to be answered."""
    demos = [
        {
            "question": "d",
            "trajectory": [plain(LOOKED)],
            "thought": "hm",
            "calls": [{"name": "add"}],
        }
    ]
    version = lf.init(AGENT).put({"react.act.demos": [*demos, {"thought": "{", "problem": "no"}]})
    system, _ = lf.render(AGENT, {"question": "q"}, version, step="react.act")
    assert "An example of a step:\n[[trajectory]]\nStep 1: look" in system.content
    assert system.content.endswith("[[question]]\nd\nNext: hm\nadd {}")


def test_descriptions_are_parameters() -> None:
    """What a model is told of a tool can be tuned like an instruction."""
    version = lf.init(AGENT)
    assert "Add two whole numbers." == version["react.act.tools"]["add"]
    told = version.put({"react.act.adapter": "chat", "react.act.tools": {"add": "Sum."}})
    (system, _) = lf.render(AGENT, {"question": "q"}, told, step="react.act")
    assert "- add: Sum.\n" in system.content
    assert "- look_up: Find passages about something.\n" in system.content


async def test_native_calls_are_read() -> None:
    """Calls come in their order with their arguments; a broken one says what is wrong with it, and
    isn't mended.
    """
    broken = ChatReply(
        "hm",
        "tool_calls",
        calls=(ToolCall("add", '{"a": 1, "b": 2'), ToolCall("add", "[1]"), ToolCall("x", "")),
    )
    outputs = await said(broken)
    assert ("hm", "native", "") == (outputs.thought, outputs.form, outputs.problem)
    broken_call, listed, empty = outputs.calls
    assert ("add", {}) == (broken_call.name, dict(broken_call.arguments))
    assert "is no JSON" in broken_call.problem
    assert "'[1]' is no JSON object" == listed.problem
    assert ToolUse("x") == empty


CALL = '{"name": "add", "arguments": {"a": 1, "b": 2}}'


@pytest.mark.parametrize("form", ["native", "chat", "json"])
@pytest.mark.parametrize(
    ("text", "thought"),
    [
        (CALL, ""),
        (f"I add.\n<tool_call>\n{CALL}\n</tool_call>", "I add."),
        (f"```json\n{CALL}\n```", ""),
        (f"[{CALL}, {CALL}]", ""),
        ('{"name": "add", "parameters": {"a": 1, "b": 2}}', ""),
    ],
)
async def test_calls_in_a_text_count(form: str, text: str, thought: str) -> None:
    """Models write calls in a text, also where they were asked for natively: those count, each
    once.
    """
    outputs = await said(text, form)
    assert (thought, (ToolUse("add", {"a": 1, "b": 2}),)) == (outputs.thought, outputs.calls)


@pytest.mark.parametrize("form", ["native", "chat", "json"])
@pytest.mark.parametrize("calls", [(), (ToolCall("add", '{"a": 1, "b": 2}'),)])
async def test_no_call_of_a_cut_reply_is_run(form: str, calls: tuple[ToolCall, ...]) -> None:
    """Where a reply was cut, not even its whole calls count, and the model is told why."""
    outputs = await said(ChatReply(CALL, "length", calls=calls), form)
    assert () == outputs.calls
    assert "it was cut off at the token limit; no call in it was run" == outputs.problem


@pytest.mark.parametrize("form", ["native", "chat", "json"])
@pytest.mark.parametrize(
    "text",
    [
        CALL[:-2],
        CALL.replace('"', "'"),
        CALL[:-1] + ",}",
        f'{{"thought": "x", "calls": [{CALL[:-2]}',
        f"[[thought]]\nx\n[[calls]]\n[{CALL[:-1]}]",
        '{"thought": "x", "calls": [{"name": "add", "arguments": "{\\"a\\": 1, "}]}',
    ],
)
async def test_calls_in_a_text_are_not_mended(form: str, text: str) -> None:
    """A call in broken JSON isn't run, since what the model meant is a guess: it is told so."""
    outputs = await said(text, form)
    assert ((), True) == (outputs.calls, bool(outputs.problem))


TWICE = '{"a": 1, "b": 2, "a": 3}'


async def test_an_argument_that_is_given_twice_is_a_problem() -> None:
    """Which of two values was meant is a guess, so the call isn't run; the same value is plain."""
    calls = (ToolCall("add", TWICE), ToolCall("add", '{"a": 1, "b": 2, "a": 1}'))
    twice, same = (await said(ChatReply("hm", "tool_calls", calls=calls))).calls
    assert "it has the member 'a' twice, with different values" == twice.problem
    assert ToolUse("add", {"a": 1, "b": 2}) == same


@pytest.mark.parametrize("form", ["native", "chat", "json"])
@pytest.mark.parametrize("arguments", [TWICE, json.dumps(TWICE)])
async def test_an_argument_that_a_text_gives_twice_is_a_problem(form: str, arguments: str) -> None:
    """A call in a text isn't run either."""
    call = f'{{"name": "add", "arguments": {arguments}}}'
    for text in (
        call,
        f'{{"thought": "x", "calls": [{call}]}}',
        f"[[thought]]\nx\n[[calls]]\n[{call}]",
    ):
        outputs = await said(text, form)
        assert ((), True) == (outputs.calls, bool(outputs.problem)), text


@pytest.mark.parametrize("form", ["native", "chat", "json"])
async def test_words_alone_are_the_end(form: str) -> None:
    """A reply without calls asks for nothing more, in every form; thinking is no part of it."""
    outputs = await said("<think>hm</think>It is 3.", form)
    assert ("It is 3.", (), "") == (outputs.thought, outputs.calls, outputs.problem)


@pytest.mark.parametrize(
    ("form", "reply", "problem"),
    [
        ("native", ChatReply("It is", "length"), "it was cut off at the token limit"),
        ("chat", "[[thought]]\nx\n[[calls]]\nadd(1, 2) {", "calls: "),
        ("json", '{"calls": 3}', "calls: "),
        ("chat", ChatReply("It is", "length"), "it was cut off at the token limit"),
    ],
)
async def test_what_can_not_be_read_is_a_problem(
    form: str, reply: ChatReply | str, problem: str
) -> None:
    """The reply stays as the thought, with what is wrong with it: it costs one call, and no
    exception.
    """
    outputs = await said(reply, form)
    text = reply if isinstance(reply, str) else reply.text
    assert (text, ()) == (outputs.thought, outputs.calls)
    assert outputs.problem.startswith(problem)


async def test_unknown_tools_are_read_too() -> None:
    """In the form that was asked for a call counts whatever its tool is called: who runs it says
    that there is none.
    """
    outputs = await said('[[thought]]\nx\n[[calls]]\n[{"name": "nope", "arguments": {}}]', "chat")
    assert (ToolUse("nope"),) == outputs.calls


async def test_an_endpoint_without_functions_is_asked_in_chat() -> None:
    """Where no form was chosen a refusal is on record and the step asks once more; later steps stay
    with chat.
    """
    refusal = ModelFailed(NO_TOOLS, "no tools", 400)
    async with lf.Executor(lf.scripted([refusal, "done", "done"])) as ex:
        trace = await ex.run(ACT(question="q"))
        later = await ex.run(ACT(question="q", trajectory=[Turn("x", form="chat")]))
    assert trace.outputs is not None
    assert ("chat", 2, 1) == (trace.outputs.form, len(trace.calls), len(later.calls))
    assert trace.root == lf.replay(trace, ACT).root


@pytest.mark.parametrize(
    ("form", "kind"), [("native", NO_TOOLS), ("", "server"), ("native", "server")]
)
async def test_nothing_else_changes_the_form(form: str, kind: FailureKind) -> None:
    """A form that was chosen stays, and another failure is a failure."""
    async with lf.Executor(lf.scripted([ModelFailed(kind, "no", 400), "done"])) as ex:
        with pytest.raises(ModelFailed):
            await ex.run(ACT(question="q").under({"act.adapter": form}))


def test_calls_are_written_in_few_forms() -> None:
    """A turn is asked natively, or in the text of chat and json: all of them are adapters."""
    forms = set(get_args(CallForm))
    assert {"native", "chat", "json"} == forms
    assert forms - {"native"} <= {adapter.name for adapter in ADAPTERS}


def test_an_unknown_form_is_refused() -> None:
    """A form that there isn't names those that there are."""
    with pytest.raises(UnknownAdapter, match="`native`, `chat`, `json`"):
        lf.react("question -> answer", [add], adapter="xml")


def test_the_identity_is_not_what_is_told() -> None:
    """Descriptions, instruction and form are parameters: they change no key; tools and what is
    shown of turns do.
    """
    other = lf.react("question -> answer", TOOLS, "Say it.", keep=2, longest=20, adapter="chat")
    assert AGENT.key == other.key
    assert AGENT.key != lf.react("question -> answer", TOOLS[:2], "Answer.", keep=2, longest=20).key
    assert AGENT.key != lf.react("question -> answer", TOOLS, "Answer.", keep=3, longest=20).key


def test_a_step_can_be_driven_by_hand() -> None:
    """It is a pure coroutine over one call, like any predictor."""
    seen: list[tuple[str, Call]] = []
    drive(AGENT(question="q"), lambda _: "done", seen)
    assert ["react[0]/act[0]/call[0]", "react[0]/answer[0]/call[0]"] == [
        address for address, _ in seen
    ]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("chat", "[[thought]]\nAs in\n```\n[[calls]]\n[{}]\n```\n[[calls]]\n[]"),
        ("chat", "[[thought]]\nNot {}\n[[calls]]\n[]"),
        ("json", '{{"thought": "Not `{}`", "calls": []}}'),
    ],
)
async def test_calls_that_are_shown_are_not_made(form: str, text: str) -> None:
    """A reply that states that it makes no call makes none, whatever its thought or a fence shows."""
    call = '{"name": "look_up", "arguments": {"query": "tea"}}'
    if form == "json":
        call = call.replace('"', '\\"')
    outputs = await said(text.format(call), form)
    assert ((), "") == (outputs.calls, outputs.problem)
