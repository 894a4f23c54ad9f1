"""The laws of OpenAI's shapes: what a request becomes, and what a completion, whole or in chunks,
means.

Whole replies marked "llama.cpp" were recorded from its server (xllamacpp 2026.10), shortened to
what is read. The others follow the vendors' pages that each names.
"""

from typing import Any

import pytest
from fakes import ask
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import ModelFailed
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.models.providers.openai_chat import (
    PLAIN,
    REASONING,
    chat_body,
    chat_reply,
    dialect_of,
)
from lmflow.models.providers.openai_stream import ChunkAccumulator
from lmflow.values.record import Record, plain

CLOSED = Record(
    type="object", properties={"a": {"type": "integer"}}, required=["a"], additionalProperties=False
)
ADD = Record(name="add", description="Adds.", parameters={"type": "object", "properties": {}})

# llama.cpp, POST /v1/chat/completions with logprobs and top_logprobs.
LLAMA_LOGPROBS = {
    "content": [
        {
            "id": 19556,
            "token": "Hello",
            "bytes": [72, 101, 108, 108, 111],
            "logprob": -2.081272840499878,
            "top_logprobs": [
                {"id": 57, "token": "I", "bytes": [73], "logprob": -2.2841155529022217}
            ],
        }
    ]
}
LLAMA = {
    "choices": [
        {
            "finish_reason": "length",
            "index": 0,
            "message": {"role": "assistant", "content": "Hello"},
            "logprobs": LLAMA_LOGPROBS,
        }
    ],
    "model": "smollm2-135m",
    "usage": {
        "completion_tokens": 1,
        "prompt_tokens": 33,
        "total_tokens": 34,
        "prompt_tokens_details": {"cached_tokens": 32},
    },
}
# "Function calling", platform.openai.com/docs/guides/function-calling; "The chat completion
# object",
# platform.openai.com/docs/api-reference/chat/object.
TOOLS = {
    "model": "gpt-5-mini-2025-08-07",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {
                        "id": "call_abc",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 1}'},
                    },
                    {
                        "id": "call_def",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 2}'},
                    },
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 82,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 20},
    },
}


def _body(request: ChatRequest, wire: str = "m", *, schema: bool = True) -> dict[str, Any]:
    return plain(chat_body("openai/m", wire, request, dialect_of(wire), schema=schema))  # type: ignore[no-any-return]


def _said(message: dict[str, Any], **choice: Any) -> ChatReply:
    return chat_reply({"choices": [{"message": message, **choice}]})


def test_a_recorded_reply_of_llama_cpp_is_read() -> None:
    """Text, finish, model, tokens and logprobs are taken as the server gave them."""
    expected = ChatReply(
        "Hello", "length", "smollm2-135m", Usage(33, 1, 32), logprobs=LLAMA_LOGPROBS
    )
    assert expected == chat_reply(LLAMA)


def test_calls_have_positional_ids() -> None:
    """The provider's ids are replaced by the calls' places, so that equal conversations have equal
    keys.
    """
    calls = (ToolCall("add", '{"a": 1}', "call_0"), ToolCall("add", '{"a": 2}', "call_1"))
    assert ("", "tool_calls", calls) == (
        (reply := chat_reply(TOOLS)).text,
        reply.finish,
        reply.calls,
    )


def test_reasoning_and_cached_tokens_are_counted() -> None:
    """The details of the usage are kept beside the sums."""
    assert Usage(82, 40, 64, None, 20) == chat_reply(TOOLS).usage


def test_arguments_may_be_an_object() -> None:
    """Servers that give the arguments as an object are read as if they gave a text."""
    reply = _said({"tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]})
    assert '{"a": 1}' == reply.calls[0].arguments


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_apart_from_the_text(name: str) -> None:
    """What a provider shows of its thinking (DeepSeek, vLLM, llama.cpp; OpenRouter) is no part of
    the text.
    """
    assert ("6", "2 * 3") == (
        (reply := _said({"content": "6", name: "2 * 3"})).text,
        reply.reasoning,
    )


def test_a_refusal_is_kept() -> None:
    """A refusal ("Structured outputs", platform.openai.com/docs/guides/structured-outputs) is a
    reply without text.
    """
    assert ("", "I can't.") == (
        (reply := _said({"content": None, "refusal": "I can't."})).text,
        reply.refusal,
    )


@pytest.mark.parametrize(
    "finish", ["stop", "length", "content_filter", "tool_calls", "abort", "something_new"]
)
def test_any_finish_is_kept(finish: str) -> None:
    """Why it stopped is what the server says, also where nobody has heard of it."""
    assert finish == _said({"content": "x"}, finish_reason=finish).finish


def test_content_may_come_in_parts() -> None:
    """A list of parts is the text of all of them; parts that are no text add nothing."""
    assert (
        "ab"
        == _said(
            {"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}
        ).text
    )


def test_a_choice_that_is_an_error_is_none() -> None:
    """An error inside a choice ("Errors", openrouter.ai/docs/api/errors) is no reply."""
    with pytest.raises(ValueError, match="Provider disconnected"):
        _said(
            {"content": "x"},
            finish_reason="error",
            error={"code": 502, "message": "Provider disconnected"},
        )


def test_tools_are_told() -> None:
    """Tools are functions with their JSON schema."""
    assert [{"type": "function", "function": plain(ADD)}] == _body(ask(tools=(ADD,)))["tools"]


def test_a_conversation_with_calls_is_told() -> None:
    """Calls and their answers name each other by ids that are their places in the conversation."""
    one, two = (
        Message("assistant", "", (ToolCall("add", "{}"),)),
        Message("tool", "3", answers="call_0"),
    )
    turns = _body(ChatRequest((one, two, one, two)))["messages"]
    assert ["call_0", "call_0", "call_1", "call_1"] == [_id(turn) for turn in turns]
    function = {"name": "add", "arguments": "{}"}
    call = {"id": "call_0", "type": "function", "function": function}
    assert {"role": "assistant", "content": None, "tool_calls": [call]} == turns[0]
    assert {"role": "tool", "content": "3", "tool_call_id": "call_0"} == turns[1]


def _id(turn: dict[str, Any]) -> str:
    return str(turn["tool_calls"][0]["id"] if "tool_calls" in turn else turn["tool_call_id"])


def test_a_schema_is_a_response_format() -> None:
    """A schema is sent as `response_format`, strict where it is closed and requires everything."""
    wanted = {"name": "reply", "schema": plain(CLOSED), "strict": True}
    assert {"type": "json_schema", "json_schema": wanted} == _body(ask(schema=CLOSED))[
        "response_format"
    ]


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED | {"required": []},
        CLOSED | {"additionalProperties": True},
        CLOSED | {"properties": {"a": {"type": "object"}}},
        Record(anyOf=[CLOSED, {"type": "object"}]),
    ],
)
def test_an_open_schema_is_not_strict(schema: Record) -> None:
    """OpenAI's strict form would refuse objects that are open or have optional fields, at any
    depth.
    """
    assert False is _body(ask(schema=schema))["response_format"]["json_schema"]["strict"]


def test_without_its_schema_a_request_has_no_format() -> None:
    """Where the endpoint takes none, nothing of the schema is sent."""
    assert "response_format" not in _body(ask(schema=CLOSED), schema=False)


@pytest.mark.parametrize(("sample", "seed"), [(0, 7), (3, 10)])
def test_a_sample_moves_the_seed(sample: int, seed: int) -> None:
    """Sample k is sent with seed + k, so that samples differ and each can be had again."""
    assert seed == _body(ask(options=Record(seed=7), sample=sample))["seed"]


def test_a_sample_without_a_seed_sends_none() -> None:
    """No seed is made up."""
    assert "seed" not in _body(ask(sample=3))


@pytest.mark.parametrize("n", [2, 0, "many"])
def test_more_choices_than_one_are_refused(n: Any) -> None:
    """One request is one reply; the words say how samples are asked for."""
    with pytest.raises(ModelFailed, match=r"ex\.map\(\.\.\., samples=n\)") as caught:
        _body(ask(options=Record(n=n)))
    assert "request" == caught.value.kind


def test_one_choice_may_be_said() -> None:
    """An option that says what is anyway is no mistake."""
    assert 1 == _body(ask(options=Record(n=1)))["n"]


@pytest.mark.parametrize(
    "wire",
    [
        "gpt-5",
        "gpt-5-mini",
        "gpt-5.2-2025-12-11",
        "o3",
        "o4-mini",
        "o1-2024-12-17",
        "openai/gpt-5-mini",
    ],
)
def test_reasoning_models_have_their_dialect(wire: str) -> None:
    """The o-series and gpt-5 bound replies by `max_completion_tokens`, and take instructions as a
    developer's.
    """
    body = _body(ChatRequest((Message("system", "Be brief."),), options=Record(max_tokens=9)), wire)
    assert (9, "developer") == (body["max_completion_tokens"], body["messages"][0]["role"])
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    "wire", ["gpt-4o", "gpt-4.1", "o1x", "olmo", "gpt-50", "smollm2-135m", "gpt-oss-20b"]
)
def test_other_models_are_plain(wire: str) -> None:
    """What only looks like a reasoning model's name is none."""
    assert PLAIN == dialect_of(wire)


def test_the_first_reasoning_models_knew_no_instructions() -> None:
    """o1-mini and o1-preview take neither system nor developer, so instructions are a user's turn."""
    assert "user" == _body(ChatRequest((Message("system", "x"),)), "o1-mini")["messages"][0]["role"]


def _chunk(delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, **choice}], "model": "m"}


@given(st.lists(st.text(max_size=5), max_size=6))
def test_joined_chunks_are_the_whole(pieces: list[str]) -> None:
    """A text in any pieces is the text, and the pieces are what was told."""
    chunks = ChunkAccumulator()
    told = [chunks.add(_chunk({"content": piece})) for piece in pieces]
    chunks.add(_chunk({}, finish_reason="stop"))
    reply = chat_reply(chunks.body())
    assert ("".join(pieces), "stop", pieces) == (reply.text, reply.finish, told)


def test_calls_in_pieces_are_joined_by_index() -> None:
    """The pieces of several calls are told apart by their index ("Streaming", same page as function
    calling).
    """
    chunks = ChunkAccumulator()
    for index, name, arguments in (
        (0, "add", ""),
        (1, "sub", ""),
        (0, None, '{"a"'),
        (1, None, "{}"),
        (0, None, ":1}"),
    ):
        chunks.add(
            _chunk(
                {
                    "tool_calls": [
                        {"index": index, "function": {"name": name, "arguments": arguments}}
                    ]
                }
            )
        )
    assert (ToolCall("add", '{"a":1}', "call_0"), ToolCall("sub", "{}", "call_1")) == chat_reply(
        chunks.body()
    ).calls


def test_calls_without_an_index_are_calls_of_their_own() -> None:
    """Servers that send whole calls without an index are understood."""
    chunks = ChunkAccumulator()
    for name in ("add", "sub"):
        chunks.add(_chunk({"tool_calls": [{"function": {"name": name, "arguments": "{}"}}]}))
    assert ["add", "sub"] == [call.name for call in chat_reply(chunks.body()).calls]


def test_logprobs_in_pieces_are_joined() -> None:
    """The logprobs of all chunks stand in their order."""
    chunks = ChunkAccumulator()
    for token in ("a", "b"):
        chunks.add(
            _chunk({"content": token}, logprobs={"content": [{"token": token}], "refusal": None})
        )
    assert {"content": [{"token": "a"}, {"token": "b"}], "refusal": []} == chat_reply(
        chunks.body()
    ).logprobs


def test_a_dialect_is_a_value() -> None:
    """Dialects are compared by what they say."""
    assert REASONING == dialect_of("gpt-5")
