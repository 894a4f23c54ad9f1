"""The laws of provider state: what a provider wants back with a turn's calls is recorded, and goes
back unchanged to the endpoint that gave it, and to no other.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from fakes import Reply, Server, chat, serving, stream

import lmflow as lf
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, outcome_of, outcome_to
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.anthropic_messages import message_body
from lmflow.models.providers.openai_chat import PLAIN, chat_body
from lmflow.values.record import plain


@lf.tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sun in {city}"


AGENT = lf.react("question -> answer", [weather], "Help.", max_steps=3)
CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "A"}'},
}
# Gemini: "Thought signatures", ai.google.dev/gemini-api/docs/thought-signatures (OpenAI form)
SIGNATURE = {"extra_content": {"google": {"thought_signature": "CiQB0e2K"}}}
# DeepSeek: "Thinking mode", api-docs.deepseek.com; OpenRouter: "Preserving reasoning blocks"
REASONING = {"reasoning_content": "The user asks for the weather."}
DETAILS = {
    "reasoning_details": [
        {"type": "reasoning.text", "text": "Look.", "signature": "S", "index": 0},
        {"type": "reasoning.encrypted", "data": "QUJD", "index": 1},
    ]
}
# Anthropic: "Extended thinking", platform.claude.com/docs: signed and redacted blocks go back as
# they came, before the tool_use that they led to
THINKING = {"type": "thinking", "thinking": "Look it up.", "signature": "EqQBCgIYAh"}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgB"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "A"}}


def _completion(call: dict[str, Any], **message: Any) -> Reply:
    whole = {"role": "assistant", "content": None, **message, "tool_calls": [call]}
    return chat(choices=[{"index": 0, "message": whole, "finish_reason": "tool_calls"}])


def _chunks(call: dict[str, Any], **message: Any) -> Reply:
    parts: list[dict[str, Any]] = []
    for name, value in message.items():
        pieces: Iterable[Any] = [[part] for part in value] if isinstance(value, list) else value
        parts += [{name: piece} for piece in pieces]
    parts.append({"tool_calls": [{"index": 0, **call}]})
    deltas = [{"choices": [{"delta": part, "finish_reason": None}]} for part in parts]
    return stream(*deltas, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})


def _said(text: str) -> Reply:
    return stream(
        {"choices": [{"delta": {"content": text}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    )


def _message(*blocks: dict[str, Any], stop: str = "tool_use") -> Reply:
    return Reply(body=json.dumps({"type": "message", "content": list(blocks), "stop_reason": stop}))


def _events(*blocks: dict[str, Any], stop: str = "tool_use") -> Reply:
    """The blocks as a stream: texts in pieces, signatures and inputs as deltas."""
    events: list[dict[str, Any]] = [{"type": "message_start", "message": {"usage": {}}}]
    for index, block in enumerate(blocks):
        begun, deltas = dict(block), []
        for name, delta in (
            ("text", "text_delta"),
            ("thinking", "thinking_delta"),
            ("signature", "signature_delta"),
        ):
            if name in block:
                begun[name] = ""
                deltas += [{"type": delta, name: piece} for piece in block[name]]
        if block["type"] == "tool_use":
            begun["input"] = {}
            deltas.append({"type": "input_json_delta", "partial_json": json.dumps(block["input"])})
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}})
    return stream(*events, done=False)


async def _turn_sent_back(server: Server, provider: str, *, streamed: bool, store: Any) -> Any:
    """The assistant's turn of the second request; the run replays to its root."""
    async with lf.Executor(lf.model(f"{provider}/m", base_url=server.url), store) as ex:
        if streamed:
            async with ex.stream(AGENT, question="How is it?") as parts:
                async for _ in parts:
                    pass
                trace = parts.trace
        else:
            trace = await ex.run(AGENT, question="How is it?")
    stored = store.trace(trace.id)
    assert trace.root == lf.replay(stored, AGENT).root == stored.root
    (turn,) = [m for m in server.seen[1].body["messages"] if m["role"] == "assistant"]
    return turn


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("message", [REASONING, DETAILS, {}])
@pytest.mark.parametrize("extra", [SIGNATURE, {}])
async def test_an_agents_turn_goes_back_with_its_state(
    streamed: bool,  # noqa: FBT001 - a parameter
    message: dict[str, Any],
    extra: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Whole or streamed, DeepSeek, OpenRouter and Gemini get back what they gave, and nothing else."""
    first = (_chunks if streamed else _completion)({**CALL, **extra}, **message)
    then = _said("Sunny.") if streamed else chat("Sunny.")
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with serving(first, then) as server:
            turn = await _turn_sent_back(server, "openai", streamed=streamed, store=store)
    (call,) = turn.pop("tool_calls")
    assert message == {name: turn[name] for name in turn if name not in {"role", "content"}}
    assert extra == {name: call[name] for name in call if name == "extra_content"}
    assert {"id", "type", "function", *extra} == set(call)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "blocks",
    [
        [THINKING, USE],
        [REDACTED, THINKING, {"type": "text", "text": "I look."}, USE],
        [THINKING, USE, THINKING, {**USE, "id": "toolu_2"}],
        [{"type": "text", "text": "I look."}, USE],
        [USE],
    ],
)
async def test_signed_thinking_goes_back_before_its_call(
    streamed: bool,  # noqa: FBT001 - a parameter
    blocks: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """Anthropic gets back its blocks, signed, unchanged and in their order."""
    make = _events if streamed else _message
    text = {"type": "text", "text": "Sunny."}
    with lf.SqliteStore(tmp_path / "s.db") as store:
        async with serving(make(*blocks), make(text, stop="end_turn")) as server:
            turn = await _turn_sent_back(server, "anthropic", streamed=streamed, store=store)
    sent = [{**block, "id": "toolu"} if "id" in block else block for block in turn["content"]]
    assert [{**block, "id": "toolu"} if "id" in block else block for block in blocks] == sent


async def test_another_endpoint_gets_no_state() -> None:
    """After a fallback the turn goes to the second endpoint without what the first one gave."""
    first = _completion({**CALL, **SIGNATURE}, **REASONING)
    async with serving(first, Reply(503)) as one, serving(chat("Sunny.")) as other:
        models = [
            lf.retrying(lf.model("openai/m", base_url=server.url).model, attempts=1)  # type: ignore[attr-defined]
            for server in (one, other)
        ]
        async with lf.Executor(lf.fallback(*models)) as ex:
            await ex.run(AGENT, question="How is it?")
    kept, bare = (
        next(m for m in server.body["messages"] if m["role"] == "assistant")
        for server in (one.seen[1], other.seen[0])
    )
    assert REASONING["reasoning_content"] == kept["reasoning_content"]
    assert "reasoning_content" not in bare
    assert {"id", "type", "function"} == set(bare["tool_calls"][0])


STATE = {"origin": "x", "message": {"reasoning_content": "r"}, "thinking": [THINKING]}


def _request(state: Any) -> ChatRequest:
    call = ToolCall("weather", '{"city": "A"}', "call_0", state)
    turns = (
        Message("user", "How is it?"),
        Message("assistant", "", (call,)),
        Message("tool", "sun", answers="call_0"),
    )
    return ChatRequest(turns)


@pytest.mark.parametrize("origin", ["", "openai other", "anthropic x"])
def test_a_state_of_another_origin_is_not_sent(origin: str) -> None:
    """The body to another endpoint is that of a call without state."""
    bare, kept = _request(None), _request(STATE)
    chats = [chat_body("m", "m", it, PLAIN, schema=False, origin=origin) for it in (bare, kept)]
    messages = [message_body("m", "m", it, schema=False, origin=origin) for it in (bare, kept)]
    assert (plain(chats[0]), plain(messages[0])) == (plain(chats[1]), plain(messages[1]))


def test_a_call_without_state_is_as_before() -> None:
    """Keys and stored forms of calls without state don't mention it."""
    reply = ChatReply("", "tool_calls", calls=_request(None).messages[1].calls)
    stored = outcome_to(reply)
    assert [{"name": "weather", "arguments": '{"city": "A"}', "id": "call_0"}] == stored["calls"]
    assert "state" not in str(_request(None).messages[1].form)
    assert _request(None).key != _request(STATE).key


def test_a_state_is_stored_and_read_back() -> None:
    """A recorded reply has the state of its calls; what a replay must reproduce is without it."""
    reply = ChatReply("", "tool_calls", calls=_request(STATE).messages[1].calls)
    again = outcome_of(json.loads(json.dumps(plain(outcome_to(reply)))))
    assert isinstance(again, ChatReply)
    assert STATE == plain(again.calls[0].state)
    bare = attrs.evolve(reply, calls=_request(None).messages[1].calls)
    assert plain(bare.content) == plain(reply.content)


async def test_one_call_with_another_state_each_turn_is_stored_as_it_was(tmp_path: Path) -> None:
    """Equal calls whose states differ are stored each with its own, and replay."""
    replies = [_completion(CALL, reasoning_content=f"Thought {n}.") for n in range(3)]
    agent = lf.react("question -> answer", [weather], "Help.", max_steps=4)
    async with serving(*replies, chat("Sun.")) as server:
        model = lf.model("openai/m", base_url=server.url)
        with lf.SqliteStore(tmp_path / "s.db") as store:
            async with lf.Executor(model, store) as ex:
                trace = await ex.run(agent, question="Weather?")
            assert trace.root == lf.replay(store.trace(trace.id), agent).root
