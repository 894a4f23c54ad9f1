"""The law of streams of any bytes: a reply, or a failure of the closed set; never another error."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply
from lmflow.models.base import Response, Stream
from lmflow.models.providers.anthropic_messages import EventAccumulator, message_reply
from lmflow.models.providers.openai_chat import chat_reply
from lmflow.models.providers.openai_stream import ChunkAccumulator
from lmflow.models.transport.responses import Server
from lmflow.models.transport.sse import TextRelay, read_stream

KEY = "sk-canary-4f9d"
SERVER = Server("m/m", "host", KEY)
NAMES = st.sampled_from(
    [
        *("choices", "delta", "content", "tool_calls", "index", "function", "name", "arguments"),
        *("finish_reason", "error", "code", "message", "id", "usage", "logprobs", "refusal"),
        *("reasoning_content", "reasoning_details", "extra_content", "model", "function_call"),
        *("type", "content_block", "partial_json", "text", "thinking", "signature", "input"),
        *("stop_reason", "stop_details", "input_tokens"),
    ]
)
WORDS = st.sampled_from(
    [
        *("stop", "length", "tool_calls", "error", "SAFETY", KEY, KEY[:5], "{", '{"a": 1}', "\ud83d"),
        *("message_start", "content_block_start", "content_block_delta", "message_delta"),
        *("text", "thinking", "tool_use", "end_turn", "max_tokens", "refusal", "\ude00"),
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 600) | st.floats() | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


EVENTS = st.lists(VALUES.map(_event) | st.binary(max_size=20), max_size=6).map(b"".join)
# Events that are shaped as they ought to be, but for their leaves.
CHUNKS = st.lists(
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries(
                    {"delta": st.dictionaries(NAMES, VALUES, max_size=4)},
                    optional={"finish_reason": VALUES, "error": VALUES, "logprobs": VALUES},
                ),
                max_size=2,
            )
        }
    ).map(_event),
    max_size=5,
).map(b"".join)


@contextlib.asynccontextmanager
async def _opening(body: bytes) -> AsyncIterator[Stream]:
    async def lines() -> AsyncIterator[bytes]:
        for line in body.split(b"\n"):
            yield line.removesuffix(b"\r")

    yield Stream(200, {}, lines())


def _read(body: bytes, provider: str) -> tuple[ChatReply | ModelFailed, str]:
    passed: list[str] = []
    accumulator, parse = (
        (ChunkAccumulator(), chat_reply)
        if provider == "openai"
        else (EventAccumulator(), message_reply)
    )
    text = TextRelay(passed.append, KEY)
    try:
        reply = asyncio.run(read_stream(_opening(body), text, accumulator, SERVER, parse))
    except ModelFailed as failure:
        return failure, "".join(passed)
    return reply, "".join(passed)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@given(EVENTS | CHUNKS)
def test_any_stream_is_a_reply_or_a_failure(provider: str, body: bytes) -> None:
    """What was told is the reply's text, and the key is in neither."""
    outcome, told = _read(body, provider)
    told.encode()
    assert KEY not in told
    if isinstance(outcome, ChatReply):
        assert told == outcome.text
    else:
        assert KEY not in str(outcome) + outcome.raw
        assert "host" in str(outcome)


@pytest.mark.parametrize("parse", [chat_reply, message_reply])
@given(status=st.sampled_from([200, 400, 429, 500, 529]), value=VALUES, raw=st.binary(max_size=30))
def test_any_body_is_a_reply_or_a_failure(parse: Any, status: int, value: Any, raw: bytes) -> None:
    """Whatever a server answers, it is read or named."""
    for body in (raw, json.dumps(value).encode(), json.dumps({"choices": [value]}).encode()):
        try:
            words = SERVER.read(Response(status, {}, body), parse).text
        except ModelFailed as failure:
            words = str(failure) + failure.raw
        assert KEY not in words
