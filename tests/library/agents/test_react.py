"""The laws of agents: what comes of each call, how they end, what they are told, and what is known
of it afterwards.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from agents import TOOLS, add, asks, calling, look_up, native, textual
from fakes import Reply, chat, refused, serving

import lmflow as lf
from lmflow.errors import BadSignature, Unanswered
from lmflow.interpreter.tools import Observation
from lmflow.messages.replies import ChatReply
from lmflow.messages.requests import ChatRequest, ToolRequest
from lmflow.models.providers.anthropic import Anthropic
from lmflow.models.providers.openai import OpenAI
from lmflow.replays.fine_tuning import chats
from lmflow.replays.provenance import why
from lmflow.stores.sqlite.store import reading

LOOK = ("look_up", {"query": "tea"})
SUM = ("add", {"a": 20, "b": 22})


def scripted(*steps: Any, answer: str = "42") -> Any:
    """A model that takes these steps, one after the other, then gives the answer."""
    left = iter(steps)

    def script(request: ChatRequest) -> ChatReply | str:
        if not asks(request):
            return answer
        step = next(left)
        return calling(request, *step) if isinstance(step, tuple) else step

    return lf.scripted(script)


async def ran(agent: lf.Program, model: Any, **inputs: Any) -> lf.Trace:
    """A run of an agent."""
    async with lf.Executor(model) as ex:
        return await ex.run(agent, **(inputs or {"question": "20 + 22?"}))


async def observed(*calls: Any, tools: Any = TOOLS, **options: Any) -> tuple[Observation, ...]:
    """What comes of calls of one step."""
    trace = await ran(lf.react("question -> answer", tools, **options), scripted(calls, ()))
    assert trace.outputs is not None
    seen: tuple[Observation, ...] = trace.outputs.trajectory[0].observations
    return seen


@pytest.mark.parametrize("adapter", ["native", "chat", "json"])
async def test_an_agent_calls_reads_and_answers(adapter: str) -> None:
    """Steps with calls, a step without, the answer: each is a call with an address, the outputs are
    the signature's.
    """
    agent = lf.react("question -> answer: int", TOOLS, adapter=adapter)
    trace = await ran(agent, scripted((LOOK, SUM), ()))
    assert trace.outputs is not None
    assert (42, [False, True]) == (
        trace.outputs.answer,
        [turn.last for turn in trace.outputs.trajectory],
    )
    assert {adapter} == {turn.form for turn in trace.outputs.trajectory}
    expected = [
        "act[0]",
        "use[0]/branch[0]/look_up[0]",
        "use[0]/branch[1]/add[0]",
        "act[1]",
        "answer[0]",
    ]
    assert {f"react[0]/{at}/call[0]" for at in expected} == set(trace.answers)


async def test_each_call_has_its_observation() -> None:
    """Results, failures, unknown tools and bad arguments come back in the order of the calls, each
    of its kind.
    """
    seen = await observed(SUM, ("breaks", {"text": "x"}), ("lok_up", {}), ("add", {"a": 1}), LOOK)
    assert ["result", "failed", "unknown_tool", "bad_arguments", "result"] == [
        one.kind for one in seen
    ]
    assert 42 == seen[0].value
    assert "tool 'breaks' raised LookupError: nothing is known of x" == seen[1].text
    assert (
        "there is no tool 'lok_up'; there are look_up, add, breaks. Did you mean 'look_up'?"
        == seen[2].text
    )
    assert "b is missing" == seen[3].text
    assert ("tea is number 0", "tea is number 1") == seen[4].value


async def test_calls_that_are_not_made_are_not_asked() -> None:
    """A call of an unknown tool, or with bad arguments, reaches no tool."""
    trace = await ran(
        lf.react("question -> answer", TOOLS), scripted((("nope", {}), ("add", {"a": "x"})), ())
    )
    assert [] == [call for call in trace.calls if isinstance(call.request, ToolRequest)]


async def test_more_calls_than_may_run_are_said() -> None:
    """Of more calls than ``width`` the first run; the others are told that they weren't."""
    seen = await observed(SUM, SUM, SUM, width=2)
    assert ["result", "result", "too_many"] == [one.kind for one in seen]
    assert "at most 2 calls run in one step" == seen[2].text


async def test_a_slow_tool_is_an_observation() -> None:
    """A tool that takes too long failed like any other; the agent goes on."""

    async def never() -> str:
        """Never end."""
        await asyncio.Event().wait()
        return ""

    (seen,) = await observed(
        ("never", {}), tools=[lf.tool("never", None, never, version="1", timeout=0.01)]
    )
    assert ("failed", True) == (seen.kind, "took longer than 0.01 s" in seen.text)


async def test_tools_run_side_by_side() -> None:
    """The calls of one reply are open at once: each waits for the other here."""
    both = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        """Meet."""
        await asyncio.wait_for(both.wait(), 30)
        return name

    tool = lf.tool("meet", None, meet, version="1")
    seen = await observed(("meet", {"name": "a"}), ("meet", {"name": "b"}), tools=[tool])
    assert ["a", "b"] == [one.value for one in seen]


async def test_a_mapping_of_outputs_is_one_value() -> None:
    """A tool with several outputs gives them all; with one its value."""
    tool = lf.tool("both", "x: int -> y: int, z: int", lambda x: {"y": x, "z": x}, version="1")
    (seen,) = await observed(("both", {"x": 1}), tools=[tool])
    assert lf.Record(y=1, z=1) == seen.value


async def test_an_agent_is_a_tool_of_another() -> None:
    """A program with a name is a tool: its calls stand below the call of it."""
    inner = lf.react("question -> answer", [add], "Reckon.", name="reckon")
    outer = lf.react("question -> answer", [inner], "Ask.", name="boss")

    def script(request: ChatRequest) -> ChatReply | str:
        if not asks(request):
            return "42"
        first = len(request.messages) == 2
        asked = first and request.tools[0].name == "reckon"
        return native(("reckon", {"question": "?"})) if asked else native(text="It is 42.")

    trace = await ran(outer, lf.scripted(script))
    assert "boss[0]/use[0]/branch[0]/reckon[0]/act[0]/call[0]" in trace.answers
    assert "boss.reckon.act.instruction" in outer.paths


@pytest.mark.parametrize("adapter", ["native", "chat", "json"])
async def test_thoughts_stream(adapter: str) -> None:
    """Who listens hears each thought and the answer as they come, and a replay of the stream says
    the same.
    """
    agent = lf.react("question -> answer", TOOLS, adapter=adapter)
    heard: dict[str, str] = {}
    async with lf.Executor(scripted((SUM,), ())) as ex:
        stream = ex.stream(agent, question="20 + 22?")
        async for part in stream:
            if part.field in {"thought", "answer"}:
                heard[part.address] = ("" if part.anew else heard.get(part.address, "")) + part.text
    assert {"react[0]/act[0]": "so", "react[0]/act[1]": "so", "react[0]/answer[0]": "42"} == heard
    assert [
        part.text for part in lf.replay_stream(stream.trace, agent) if part.field == "answer"
    ] == ["42"]


async def test_a_reply_that_can_not_be_read_is_a_step() -> None:
    """It is shown to the model with what is wrong with it, and the agent goes on."""
    agent = lf.react("question -> answer", TOOLS, adapter="chat")
    trace = await ran(agent, scripted("[[thought]]\nx\n[[calls]]\n{", (SUM,), ()))
    assert trace.outputs is not None
    assert [True, False, False] == [bool(turn.problem) for turn in trace.outputs.trajectory]
    request = trace.answers["react[0]/act[1]/call[0]"].request
    assert isinstance(request, ChatRequest)
    assert "That could not be read: calls: " in request.messages[-1].content


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (("[[calls]]\n{",) * 3, "no tool gave anything; the last step: calls: "),
        (((("nope", {}),),) * 3, "no tool gave anything; the last step: there is no tool 'nope'"),
        (
            ((("breaks", {"text": "x"}),),) * 3,
            "no tool gave anything; the last step: tool 'breaks' raised LookupError",
        ),
        ((native(),), "no tool gave anything; the last step: the reply is empty"),
    ],
)
async def test_nothing_is_no_answer(steps: Any, problem: str) -> None:
    """Where no step brought anything there is nothing to answer from: an error that says why, and
    no made-up answer.
    """
    agent = lf.react(
        "question -> answer",
        TOOLS,
        max_steps=3,
        adapter="native" if steps == (native(),) else "chat",
    )
    with pytest.raises(Unanswered) as caught:
        await ran(agent, scripted(*steps))
    assert caught.value.problem.startswith(problem)
    assert "max_steps=" in str(caught.value)


async def test_an_empty_answer_is_none() -> None:
    """An answer that is empty is no answer, and replays as such; one that is false or 0 is one."""
    agent = lf.react("question -> answer", [add])
    async with lf.Executor(scripted((), answer="")) as ex:
        run = await ex.map(agent, [{"question": "?"}])
    assert ["Unanswered"] == [failure.kind for _, failure in run.failures]
    assert run.root == lf.replay(run, agent).root
    for kind, said in (("int", "0"), ("bool", "false")):
        trace = await ran(lf.react(f"question -> answer: {kind}", [add]), scripted((), answer=said))
        assert not trace.outputs["answer"]  # type: ignore[index]


async def test_who_has_something_answers_from_it() -> None:
    """An agent that was cut off at its last step still answers from what its tools gave."""
    trace = await ran(lf.react("question -> answer", TOOLS, max_steps=1), scripted((SUM,)))
    assert trace.outputs is not None
    assert ("42", False) == (trace.outputs.answer, trace.outputs.trajectory[-1].last)


async def test_the_model_is_shown_the_last_steps() -> None:
    """With ``keep`` a request holds so many turns, whatever has gone before; the outputs have all."""
    agent = lf.react("question -> answer", TOOLS, max_steps=6, keep=2, longest=10)
    trace = await ran(agent, scripted(*[(LOOK,)] * 5, ()))
    assert trace.outputs is not None
    assert 6 == len(trace.outputs.trajectory)
    for address, call in trace.answers.items():
        if isinstance(call.request, ChatRequest) and "act" in address:
            assert 2 >= sum(message.role == "assistant" for message in call.request.messages)
            assert all(len(m.content) <= 10 + 40 for m in call.request.messages if m.role == "tool")
    last = trace.answers["react[0]/answer[0]/call[0]"].request
    assert isinstance(last, ChatRequest)
    assert "(4 earlier steps left out)\nStep 5:" in last.messages[-1].content


def test_a_stub_is_a_task() -> None:
    """A typed function gives signature and instruction; a string may have its own."""

    def weather(city: str) -> str:
        """Say how the weather is."""
        raise NotImplementedError

    agent = lf.react(weather, [look_up])
    assert agent.act.instruction.startswith("Say how the weather is.\n\nWork towards it")
    assert agent.answer.instruction.startswith("Say how the weather is.\n\nAnswer from")
    assert ["city"] == [field.name for field in agent.signature.inputs]


@pytest.mark.parametrize("signature", ["question, trajectory -> answer", "question -> trajectory"])
def test_the_trajectory_is_its_own(signature: str) -> None:
    """A task has no field of that name."""
    with pytest.raises(BadSignature, match="trajectory"):
        lf.react(signature, [add])


@pytest.mark.parametrize("option", ["max_steps", "width", "keep", "longest"])
def test_bounds_are_positive(option: str) -> None:
    """A bound is at least 1."""
    with pytest.raises(ValueError, match=f"{option} must be at least 1"):
        lf.react("question -> answer", [add], **{option: 0})  # type: ignore[arg-type]


async def test_it_can_be_tuned() -> None:
    """Few-shot tuning shows the steps of examples that went well, in every form."""
    rows = lf.dataset({"question": f"{n} + 22?", "answer": "42"} for n in range(4))
    agent = lf.react("question -> answer", TOOLS, max_steps=2, adapter="chat")
    few = lf.bootstrap_few_shot(max_bootstrapped=1, max_labeled=0)

    def script(request: ChatRequest) -> str:
        if not asks(request):
            return "42"
        return "Done." if "-> 42" in request.messages[-1].content else textual(request, SUM)

    async with lf.Executor(lf.scripted(script)) as ex:
        tuned = await ex.optimize(few, agent, lf.Data(train=rows), lf.exact_match("answer"))
    (demo,) = tuned.version["react.act.demos"]
    assert "question" in demo
    for form in ("native", "chat", "json"):
        version = tuned.version.put({"react.act.adapter": form})
        assert "22?" in str(lf.render(agent, {"question": "?"}, version, step="react.act"))


async def test_its_steps_can_be_fine_tuned_on() -> None:
    """A native step is a chat with its functions and the calls that were right; what nobody could
    read is left out.
    """
    agent = lf.react("question -> answer", [add])
    trace = await ran(agent, scripted(ChatReply("It", "length"), (SUM,), ()))
    found = [chat.to_json() for chat in chats(trace, agent, "react.act")]
    assert 2 == len(found)
    assert "add" == found[0]["tools"][0]["function"]["name"]
    assert "add" == found[0]["messages"][-1]["tool_calls"][0]["function"]["name"]
    assert "tools" not in next(chats(trace, agent, "react.answer")).to_json()


async def test_what_a_model_calls_is_found(tmp_path: Path) -> None:
    """A search of recorded calls finds the arguments that a model wrote."""
    agent = lf.react("question -> answer", [look_up])
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with lf.Executor(scripted((("look_up", {"query": "oolong"}),), ()), store) as ex:
            await ex.run(agent, question="Which?")
    with reading(tmp_path / "s.db") as reader:
        assert "react[0]/act[0]/call[0]" in {hit.address for hit in reader.search(["oolong"])}


async def test_why_follows_calls_to_the_answer() -> None:
    """Provenance leads from the answer over what the tools gave to who asked for them."""
    agent = lf.react("question -> answer", [look_up], adapter="native")
    trace = await ran(
        agent, scripted((LOOK, ("look_up", {"query": "milk"})), ()), question="Which?"
    )
    found = {reason.address: reason for reason in why(trace, lambda _: trace.version).reasons}
    act, *tools = (
        f"react[0]/{at}/call[0]"
        for at in ("act[0]", "use[0]/branch[0]/look_up[0]", "use[0]/branch[1]/look_up[0]")
    )
    assert 'look_up {"query": "tea"}' in found[act].gave
    assert [(act,), (act,)] == [found[tool].reads for tool in tools]
    assert set(tools) <= set(found["react[0]/act[1]/call[0]"].reads)


def completion(*calls: Any, text: str | None = None) -> Reply:
    """A completion with calls, as servers write it."""
    told = [
        {
            "id": f"x{n}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for n, (name, given) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": text, "tool_calls": told}
    return chat(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])


async def test_a_real_endpoint_is_called_natively() -> None:
    """Over HTTP: functions out, calls in, each answered under its own id."""
    async with serving(completion(LOOK, SUM), chat("It is 42."), chat("42")) as server:
        trace = await ran(
            lf.react("question -> answer", TOOLS), OpenAI("o/m", "m", server.url, "o")
        )
    assert trace.outputs is not None
    assert "42" == trace.outputs.answer
    first, second, third = (seen.body for seen in server.seen)
    assert ["look_up", "add", "breaks"] == [tool["function"]["name"] for tool in first["tools"]]
    *_, asked, looked, added = second["messages"]
    assert [call["id"] for call in asked["tool_calls"]] == [
        looked["tool_call_id"],
        added["tool_call_id"],
    ]
    assert ("42", True) == (added["content"], "tools" not in third)


async def test_the_messages_api_is_called_natively() -> None:
    """Over Anthropic's API too: calls are blocks, and one turn answers them all."""
    uses = [
        {"type": "tool_use", "id": f"toolu_{n}", "name": f, "input": given}
        for n, (f, given) in enumerate((LOOK, SUM))
    ]
    said: list[dict[str, Any]] = [
        {"stop_reason": "tool_use", "content": uses},
        *({"content": [{"type": "text", "text": "42"}]} for _ in range(2)),
    ]
    async with serving(
        *(Reply(body=json.dumps({"type": "message", **body})) for body in said)
    ) as server:
        trace = await ran(lf.react("question -> answer", TOOLS), Anthropic("a/m", "m", server.url))
    assert trace.outputs is not None
    assert "42" == trace.outputs.answer
    first, second, _ = (seen.body for seen in server.seen)
    assert {"name", "description", "input_schema"} == set(first["tools"][0])
    *_, asked, answered = second["messages"]
    assert ["tool_use", "tool_use"] == [block["type"] for block in asked["content"]]
    assert [block["id"] for block in asked["content"]] == [
        block["tool_use_id"] for block in answered["content"]
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        (404, "No endpoints found that support tool use. To learn more"),
        (500, "tools param requires --jinja flag"),
        (
            400,
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        ),
        (400, "deepseek-reasoner does not support Function Calling"),
        (422, "tool calling is not supported with this model"),
        (400, "`tools` is unsupported"),
    ],
)
async def test_a_refusal_of_functions_is_recorded_and_asked_once(status: int, words: str) -> None:
    """The refused attempt is on record, the agent goes on in chat; the endpoint isn't asked for
    functions again.
    """
    agent = lf.react("question -> answer", [add])
    async with serving(refused(status, words), chat("42")) as server:
        model = OpenAI("o/m", "m", server.url, "o")
        async with lf.Executor(model) as ex:
            run = await ex.map(agent, [{"question": "1?"}])
            again = await ex.map(agent, [{"question": "1?"}])
    assert [1, 0, 0, 0, 0] == [int("tools" in seen.body) for seen in server.seen]
    assert ["chat"] == [turn.form for turn in run.traces[0].outputs.trajectory]  # type: ignore[union-attr]
    assert run.traces[0].root == again.traces[0].root == lf.replay(run, agent).traces[0].root


@pytest.mark.parametrize(
    "words", ["Invalid schema for function 'add'", "tool_calls must be followed by tool messages"]
)
async def test_another_refusal_is_no_refusal_of_functions(words: str) -> None:
    """A mistake in a request is a failure, and no reason to ask in another form."""
    async with serving(refused(400, words)) as server:
        with pytest.raises(lf.LmflowError, match=words[:20]):
            await ran(lf.react("question -> answer", [add]), OpenAI("o/m", "m", server.url, "o"))
    assert 1 == len(server.seen)
