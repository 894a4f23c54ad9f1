"""The laws of chats for fine-tuning: the prompt that is served, and a reply without mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from agents import Asked, asks, calling

import lmflow as lf
from lmflow.errors import NO_TOOLS, ModelFailed
from lmflow.interpreter.predict import read_outputs
from lmflow.messages.messages import ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest
from lmflow.replays.fine_tuning import chats

NUMBER = lf.predict("number", "question -> number: int", "How many?")
PAIR = lf.predict("pair", "question -> text, number: int", "Say it.")
LIST = lf.predict("list", "question -> parts: list[str], kind: Literal['a', 'b']", "List it.")


def in_turn(*replies: str) -> Callable[[ChatRequest], ChatReply]:
    """Give the replies one after the other."""
    remaining = list(replies)
    return lambda _: ChatReply(remaining.pop(0))


def acting(*steps: tuple[Asked, ...]) -> Callable[[ChatRequest], Any]:
    """Call the tools of each step in turn, then answer."""
    remaining = list(steps)

    def reply(request: ChatRequest) -> Any:
        return calling(request, *remaining.pop(0)) if asks(request) else "3"

    return reply


async def recorded(program: Any, model: Any, version: Any = None, **inputs: Any) -> lf.Trace:
    """A trace of the program."""
    async with lf.Executor(lf.scripted(model)) as ex:
        return await ex.run(program, version=version, **inputs)


@pytest.mark.parametrize("adapter", ["chat", "json"])
@pytest.mark.parametrize(
    ("step", "bad", "good"),
    [
        (NUMBER, "many", "7"),
        (PAIR, "[[text]]\nseven", '{"number": 7}'),
        (LIST, "no list", '{"parts": ["x", "y z"], "kind": "b"}'),
    ],
    ids=["one", "pair", "list"],
)
async def test_the_prompt_that_is_written_is_the_prompt_that_is_served(
    adapter: str, step: Any, bad: str, good: str
) -> None:
    """After a mended reply the chat is what the step sends first, and ends in readable outputs."""
    version = lf.init(step).put(
        {
            f"{step.name}.adapter": adapter,
            f"{step.name}.demos": ({"question": "two?", **_some_outputs(step)},),
        }
    )
    trace = await recorded(step, in_turn(bad, good), version, question="seven?")
    (chat,) = chats(trace, step)
    assert lf.render(step, {"question": "seven?"}, version) == chat.messages
    assert chat.messages == trace.answers[f"{step.name}[0]/call[0]"].request.messages  # type: ignore[union-attr]
    assert trace.outputs == read_outputs(step.signature, chat.reply.content, adapter)
    (raw,) = chats(trace, step, raw=True)
    assert [bad, good] == [raw.messages[-2].content, raw.reply.content]


def _some_outputs(step: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"number": 2, "text": "two", "parts": ["a"], "kind": "a"}
    return {field.name: values[field.name] for field in step.signature.outputs}


async def test_a_clean_reply_has_the_outputs_alone() -> None:
    """Thinking, fences and talk around the outputs are not taught."""
    reply = '<think>Let me see.</think>\n```json\n{"text": "x", "number": 3}\n```'
    trace = await recorded(PAIR, in_turn(reply), question="?")
    (chat,) = chats(trace, PAIR)
    assert "[[text]]\nx\n[[number]]\n3" == chat.reply.content
    assert reply == next(chats(trace, PAIR, raw=True)).reply.content


async def test_what_a_reply_carries_beside_its_text_is_not_taught() -> None:
    """An output that is filled from the reply's metadata stays out of the text."""
    step = lf.predict("answer", "question -> reasoning: Reasoning, answer", "Answer.")
    trace = await recorded(step, lambda _: ChatReply("Paris", reasoning="France."), question="?")
    (chat,) = chats(trace, step)
    assert "Paris" == chat.reply.content


async def test_steps_of_named_programs_and_samples_have_their_own_prompts() -> None:
    """Each step is written under its own name, with the instruction that it ran with."""
    program = lf.best_of_n(NUMBER.named("count"), lambda *_: 1, n=2, version="1").named("deep")
    version = lf.init(program).put({"deep.count.instruction": "Count them."})
    trace = await recorded(program, in_turn("1", "2"), version, question="?")
    found = list(chats(trace, program))
    assert ["deep.count"] * 2 == [chat.step for chat in found]
    assert all("Count them." in chat.messages[0].content for chat in found)
    assert {"1", "2"} == {chat.reply.content for chat in found}


@lf.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize("form", ["native", "chat", "json"])
async def test_a_step_of_an_agent_is_served_and_taught_in_one_form(
    form: Literal["native", "chat", "json"],
) -> None:
    """The chat of each step is the request that was answered, and its reply in that form."""
    agent = lf.react("question -> answer", [add], adapter=form)
    trace = await recorded(agent, acting((("add", {"a": 1, "b": 2}),), ()), question="?")
    found = list(chats(trace, agent, "react.act"))
    assert 2 == len(found)
    for number, chat in enumerate(found):
        request: Any = trace.answers[f"react[0]/act[{number}]/call[0]"].request
        assert (request.messages, request.tools) == (chat.messages, chat.tools)
    first = found[0].reply
    assert (form == "native") == bool(first.calls)
    assert "add" in (first.calls[0].name if first.calls else first.content)


async def test_a_form_that_an_endpoint_refuses_is_not_taught() -> None:
    """Where functions are refused, the chat is the request in text that was answered."""
    answers = acting((("add", {"a": 1, "b": 2}),), ())

    def refusing(request: ChatRequest) -> ChatReply:
        if request.tools:
            raise ModelFailed(NO_TOOLS, "functions aren't supported")
        return answers(request)  # type: ignore[no-any-return]

    agent = lf.react("question -> answer", [add])
    trace = await recorded(agent, refusing, question="?")
    first, *_ = chats(trace, agent, "react.act")
    assert ((), ()) == (first.tools, first.reply.calls)
    assert "[[calls]]" in first.reply.content


async def test_arguments_that_could_not_be_read_are_not_taught() -> None:
    """A native step whose arguments are no JSON has no chat, but a raw one."""
    broken = ChatReply("", calls=(ToolCall("add", "[1, 2]", "x"),))
    replies = [broken, ChatReply("", calls=(ToolCall("add", '{"a": 1, "b": 2}', "y"),))]
    replies += [ChatReply("done"), ChatReply("3")]
    agent = lf.react("question -> answer", [add], adapter="native")
    trace = await recorded(agent, lambda _: replies.pop(0), question="?")
    assert (2, 3) == tuple(
        len(list(chats(trace, agent, "react.act", raw=raw))) for raw in (False, True)
    )
