"""The laws of Anthropic's Messages API: what is sent, what is read, whole and streamed.

The shapes follow the vendor's pages at platform.claude.com/docs: "Messages" (en/api/messages),
"Streaming messages" (en/build-with-claude/streaming), "Stop reasons and fallback"
(en/build-with-claude/handling-stop-reasons), "Structured outputs"
(en/build-with-claude/structured-outputs), "Prompt caching" (en/build-with-claude/prompt-caching),
"Claude API errors" (en/api/errors).
"""

import json
from typing import Any

import pytest
from fakes import Reply, ask, serving, stream

from lmflow.errors import ModelFailed
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest, EmbedRequest
from lmflow.models.providers.anthropic import Anthropic
from lmflow.models.providers.anthropic_messages import MAX_TOKENS, message_body, message_reply
from lmflow.testing.models import Door
from lmflow.values.record import Record, plain

KEY = "key-ant-canary-4f9d2c7e81b3"
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "output_tokens": 7,
}
WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [
        {"type": "thinking", "thinking": "Two and two.", "signature": "EqQB"},
        {"type": "text", "text": "It is 4."},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 2}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}
REPLY = ChatReply(
    "It is 4.", "tool_calls", "claude-sonnet-4-5-20250929", Usage(130, 7, 100, 20), "Two and two.",
    (ToolCall("add", '{"a": 2}'),),
)  # fmt: skip
START = {**WHOLE, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": START},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Two and "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "two."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "It is"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " 4."}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": USE},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ": 2}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]  # fmt: skip


def _body(request: ChatRequest, *, schema: bool = True) -> dict[str, Any]:
    return plain(message_body("anthropic/c", "c", request, schema=schema))  # type: ignore[no-any-return]


def _text(text: str = "fine", **changes: Any) -> Reply:
    body = {
        **WHOLE,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        **changes,
    }
    return Reply(body=json.dumps(body))


def _events(*events: dict[str, Any], cut: bool = False) -> Reply:
    return stream(
        *(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events), done=False, cut=cut
    )


async def _asked(
    *replies: Reply, request: ChatRequest | None = None, told: list[str] | None = None
) -> tuple[Any, Any]:
    async with serving(*replies) as server:
        model = Anthropic("anthropic/c", "c", server.url, "anthropic", KEY, 5.0)
        door = Door(told.append if told is not None else None)
        return await model(request or ask(), door), server


def test_a_message_is_read() -> None:
    """Text, thinking, calls, why it stopped and all tokens; cached and written ones are parts of
    the prompt.
    """
    assert REPLY == message_reply(WHOLE)


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("something_new", "something_new"),
        (None, ""),
    ],
)
def test_stop_reasons_have_the_common_names(stop: str | None, finish: str) -> None:
    """Why it stopped is said as the others say it; what has no common name is kept."""
    assert finish == message_reply({**WHOLE, "stop_reason": stop}).finish


@pytest.mark.parametrize(
    ("details", "words"), [({"explanation": "Not that."}, "Not that."), (None, "refusal")]
)
def test_a_refusal_says_why(details: Any, words: str) -> None:
    """A refusal has its explanation where there is one."""
    assert (
        words == message_reply({**WHOLE, "stop_reason": "refusal", "stop_details": details}).refusal
    )


async def test_a_request_is_sent_as_the_api_wants() -> None:
    """One POST to /v1/messages with key and version as headers; instructions stand apart, the
    length is bounded.
    """
    request = ChatRequest(
        (Message("system", "Be brief."), Message("user", "why?")), options=Record(stop="\n")
    )
    reply, server = await _asked(_text(), request=request)
    seen = server.seen[0]
    assert ("fine", "/v1/messages") == (reply.text, seen.path)
    assert (KEY, "2023-06-01") == (seen.headers["x-api-key"], seen.headers["anthropic-version"])
    turns = [{"role": "user", "content": "why?"}]
    assert {
        "model": "c",
        "max_tokens": MAX_TOKENS,
        "system": "Be brief.",
        "messages": turns,
        "stop_sequences": ["\n"],
    } == seen.body


@pytest.mark.parametrize("end", ["", "/v1", "/v1/", "/"])
async def test_a_base_url_may_end_in_v1_or_not(end: str) -> None:
    """Both forms that people write lead to the same path."""
    async with serving(_text()) as server:
        await Anthropic("anthropic/c", "c", server.url.removesuffix("/v1") + end)(ask(), Door())
    assert "/v1/messages" == server.seen[0].path


def test_a_conversation_with_calls_is_told() -> None:
    """Calls are blocks of the assistant's turn, their answers together blocks of one user's turn."""
    calls = (ToolCall("add", '{"a": 1}', "call_0"), ToolCall("add", "not json", "call_1"))
    turns = (
        Message("user", "Add."),
        Message("assistant", "Well.", calls),
        Message("tool", "1", answers="call_0"),
        Message("tool", "2", answers="call_1"),
    )
    told = [
        {"type": "text", "text": "Well."},
        {"type": "tool_use", "id": "call_0", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "call_1", "name": "add", "input": {"arguments": "not json"}},
    ]
    results = [
        {"type": "tool_result", "tool_use_id": f"call_{n}", "content": str(n + 1)} for n in range(2)
    ]
    assert [
        {"role": "user", "content": "Add."},
        {"role": "assistant", "content": told},
        {"role": "user", "content": results},
    ] == _body(ChatRequest(turns))["messages"]


def test_tools_are_told() -> None:
    """A tool's parameters are its `input_schema`; what is in the API's own form, such as
    `cache_control`, stays.
    """
    tool = Record(
        name="add",
        description="Adds.",
        parameters={"type": "object"},
        cache_control={"type": "ephemeral"},
    )
    expected = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
    assert [{**expected, "cache_control": {"type": "ephemeral"}}] == _body(ask(tools=(tool,)))[
        "tools"
    ]


def test_a_schema_is_an_output_format() -> None:
    """A schema is sent as `output_config.format`, beside what else is in `output_config`."""
    schema, options = Record(type="object"), Record(output_config={"effort": "low"})
    told = {"type": "json_schema", "schema": {"type": "object"}}
    assert {"effort": "low", "format": told} == _body(ask(schema=schema, options=options))[
        "output_config"
    ]
    assert "output_config" not in _body(ask(schema=schema), schema=False)


async def test_a_model_without_structured_outputs_is_asked_without() -> None:
    """The refusal is learned, and the reply says so."""
    refusal = {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "output_config.format: not supported",
        },
    }
    reply, server = await _asked(
        Reply(400, json.dumps(refusal)), _text("{}"), request=ask(schema=Record(type="object"))
    )
    assert ([True, False], False) == (
        ["output_config" in seen.body for seen in server.seen],
        reply.structured,
    )


@pytest.mark.parametrize(
    ("option", "words"), [({"n": 2}, "samples=n"), ({"seed": 3}, "takes no seed")]
)
def test_what_the_api_lacks_is_refused(option: dict[str, Any], words: str) -> None:
    """Options that would be silently without effect are refused, with what mends it."""
    with pytest.raises(ModelFailed, match=words) as caught:
        _body(ask(options=Record(option)))
    assert "request" == caught.value.kind


async def test_there_are_no_vectors() -> None:
    """The API doesn't embed; the refusal is an attempt like any other."""
    door = Door()
    with pytest.raises(ModelFailed, match="gives no vectors"):
        await Anthropic("anthropic/c", "c")(EmbedRequest(("x",)), door)
    assert 1 == len(door.attempts)


async def test_a_stream_is_told_and_joined() -> None:
    """The text is told as it comes; the reply is that of the whole message. Unknown events and
    pings add nothing.
    """
    told: list[str] = []
    reply, server = await _asked(_events(*EVENTS, {"type": "something_new"}), told=told)
    assert (["It is", " 4."], (5, 3), True) == (told, reply.chunks, server.seen[0].body["stream"])
    assert (REPLY.content, REPLY.usage, REPLY.reasoning) == (
        reply.content,
        reply.usage,
        reply.reasoning,
    )


@pytest.mark.parametrize("events", [EVENTS[:9], EVENTS[:-2]])
async def test_a_stream_that_stops_in_the_middle_is_a_bad_reply(
    events: list[dict[str, Any]],
) -> None:
    """Before it says why it stopped, a message is half; what had come is kept."""
    with pytest.raises(ModelFailed) as caught:
        await _asked(_events(*events, cut=True), told=[])
    assert ("bad_reply", True) == (caught.value.kind, caught.value.raw.startswith("It is"))


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize(("before", "kind"), [(0, "server"), (9, "bad_reply")])
async def test_an_error_in_a_stream_is_named(before: int, kind: str) -> None:
    """Overloaded before anything came may pass; afterwards it is a reply that broke off."""
    with pytest.raises(ModelFailed, match="Overloaded") as caught:
        await _asked(_events(*EVENTS[:before], OVERLOADED), told=[])
    assert kind == caught.value.kind


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_request_error", "request"),
        (401, "authentication_error", "auth"),
        (402, "billing_error", "quota"),
        (403, "permission_error", "auth"),
        (404, "not_found_error", "unknown_model"),
        (413, "request_too_large", "request"),
        (429, "rate_limit_error", "rate_limit"),
        (500, "api_error", "server"),
        (504, "timeout_error", "server"),
        (529, "overloaded_error", "server"),
    ],
)
async def test_an_error_has_its_kind(status: int, error: str, kind: str) -> None:
    """Every documented error has its kind, and the wait that is asked for."""
    body = {
        "type": "error",
        "error": {"type": error, "message": f"It is {KEY}"},
        "request_id": "req_1",
    }
    with pytest.raises(ModelFailed, match=r"It is \*\*\*") as caught:
        await _asked(Reply(status, json.dumps(body), {"retry-after": "3"}))
    assert (kind, 3.0) == (caught.value.kind, caught.value.retry_after)


@pytest.mark.parametrize("body", ["{}", "[]", '{"content": null}', '{"content": [{}]}', "<html>"])
async def test_what_is_no_message_is_a_bad_reply(body: str) -> None:
    """A success without a message is a bad reply."""
    with pytest.raises(ModelFailed) as caught:
        await _asked(Reply(200, body))
    assert "bad_reply" == caught.value.kind
