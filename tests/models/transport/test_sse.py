"""The laws of streams: told as they come, the same reply in the end, and never half a reply that
passes for a whole.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from fakes import Reply, ask, chat, refused, serving, stream
from hypothesis import given
from hypothesis import strategies as st

from lmflow.errors import ModelFailed
from lmflow.messages.replies import ChatReply, Usage
from lmflow.models.providers.openai import OpenAI
from lmflow.models.transport.sse import NotEvents, TextRelay, read_events
from lmflow.testing.models import Door

KEY = "sk-canary-4f9d2c7e81b3"


def _chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk as llama.cpp sends it (recorded from its server, xllamacpp 2026.10)."""
    delta = {} if text is None else {"content": text}
    return {
        "choices": [{"finish_reason": finish, "index": 0, "delta": delta}],
        "model": "smollm2-135m",
        **more,
    }


USAGE = {
    "completion_tokens": 3,
    "prompt_tokens": 33,
    "prompt_tokens_details": {"cached_tokens": 32},
}
OPENING = {
    "choices": [
        {"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}
    ]
}
CLOSING = {"choices": [], "model": "smollm2-135m", "usage": USAGE}
LLAMA = [OPENING, _chunk("Hello"), _chunk(" there"), _chunk("!"), _chunk(finish="length"), CLOSING]


async def _heard(*replies: Reply, **settings: Any) -> tuple[ChatReply, list[str], Any]:
    told: list[str] = []
    async with serving(*replies) as server:
        model = OpenAI("openai/m", "m", server.url, "127.0.0.1", KEY, settings.pop("timeout", 5.0))
        reply = await model(ask(), Door(told.append))
    assert isinstance(reply, ChatReply)
    return reply, told, server.seen[0].body


async def _failure(reply: Reply, **settings: Any) -> ModelFailed:
    with pytest.raises(ModelFailed) as caught:
        await _heard(reply, **settings)
    return caught.value


async def test_a_recorded_stream_is_told_and_joined() -> None:
    """The pieces are told as they come; the reply is that of the whole body, with the pieces'
    lengths.
    """
    reply, told, _ = await _heard(stream(*LLAMA))
    assert ["Hello", " there", "!"] == told
    assert (
        ChatReply("Hello there!", "length", "smollm2-135m", Usage(33, 3, 32), chunks=(5, 6, 1))
        == reply
    )


async def test_usage_is_asked_for() -> None:
    """A stream is asked for with its usage; without a listener nothing is streamed."""
    _, _, body = await _heard(stream(*LLAMA))
    assert (True, {"include_usage": True}) == (body["stream"], body["stream_options"])
    async with serving() as server:
        await OpenAI("openai/m", "m", server.url, "h")(ask(), Door())
    assert "stream" not in server.seen[0].body


async def test_a_streamed_reply_is_the_whole_one() -> None:
    """What a replay must reproduce is the same, streamed or not."""
    streamed, _, _ = await _heard(stream(_chunk("fi"), _chunk("ne", "stop")))
    whole, told, _ = await _heard(chat("fine"))
    assert (whole.content, ["fine"]) == (streamed.content, told)


@pytest.mark.parametrize("content", ["text/plain", "application/json", "application/octet-stream"])
async def test_the_content_type_is_not_trusted(content: str) -> None:
    """A stream is known by its lines, a body by its braces, whatever they are called."""
    assert "Hello there!" == (await _heard(stream(*LLAMA, content=content)))[0].text
    assert (
        "fine"
        == (await _heard(Reply(200, chat("fine").body, {"Content-Type": "text/event-stream"})))[
            0
        ].text
    )


async def test_comments_and_other_fields_are_passed_over() -> None:
    """Comments ("Streaming", openrouter.ai/docs/api-reference/streaming), ids and event names are
    no data.
    """
    noise = [": OPENROUTER PROCESSING\n\n", "id: 1\nevent: message\nretry: 3\n\n"]
    assert "x" == (await _heard(stream(*noise, _chunk("x", "stop"))))[0].text


async def test_the_end_needs_no_mark() -> None:
    """A stream that says why the model stopped is whole, also without [DONE]."""
    assert "x" == (await _heard(stream(_chunk("x", "stop"), done=False)))[0].text


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_stops_in_the_middle_is_a_bad_reply(cut: bool) -> None:  # noqa: FBT001 - dropped, or ended
    """What had come is kept in the error, and is no reply."""
    error = await _failure(stream(_chunk("Hel"), _chunk("lo"), done=False, cut=cut))
    assert ("bad_reply", "Hello") == (error.kind, error.raw)
    assert "stopped in the middle" in str(error)


async def test_a_stream_that_stalls_is_left() -> None:
    """Nothing for the model's time in the middle of a reply ends it, with what had come."""
    error = await _failure(attrs.evolve(stream(_chunk("Hello"), done=False), stall=30), timeout=0.1)
    assert ("bad_reply", "Hello", True) == (error.kind, error.raw, "within 0.1 s" in str(error))


async def test_a_mark_without_an_end_is_the_middle() -> None:
    """[DONE] alone doesn't say that the model had finished."""
    assert "bad_reply" == (await _failure(stream(_chunk("Hello")))).kind


@pytest.mark.parametrize(
    "broken",
    ['data: {"choices": [\n\n', "data: {}x\n\n", 'data: {"choices": [7]}\n\n', "data: 7\n\n"],
)
async def test_a_broken_event_is_a_bad_reply(broken: str) -> None:
    """An event that can't be read ends the stream, with what had come."""
    error = await _failure(stream(_chunk("Hello"), broken, _chunk(" there", "stop")))
    assert ("bad_reply", "Hello") == (error.kind, error.raw)


async def test_an_error_in_a_stream_is_named() -> None:
    """An error event after some text ("Errors during streaming", openrouter.ai/docs/api/errors) is
    no reply.
    """
    failed = {
        "error": {"code": 502, "message": "Provider disconnected"},
        "choices": [{"delta": {"content": ""}}],
    }
    error = await _failure(stream(_chunk("Hello"), failed))
    assert ("bad_reply", "Hello", True) == (
        error.kind,
        error.raw,
        "Provider disconnected" in str(error),
    )


async def test_an_error_before_any_text_keeps_its_kind() -> None:
    """Where nothing was told yet, the failure is as it would be without streaming, and may be asked
    again.
    """
    assert (
        "rate_limit"
        == (await _failure(stream({"error": {"code": 429, "message": "slow down"}}))).kind
    )


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(refused(429), "rate_limit"), (refused(500), "server"), (Reply(400), "request")],
)
async def test_a_refused_stream_is_a_refusal(reply: Reply, kind: str) -> None:
    """A status is heeded before any line is read."""
    assert kind == (await _failure(reply)).kind


@pytest.mark.parametrize(
    "reply", [stream(), stream(done=False), Reply(200, "<html>"), Reply(200, "")]
)
async def test_nothing_is_no_reply(reply: Reply) -> None:
    """A stream without events, a page or nothing at all is a bad reply."""
    assert "bad_reply" == (await _failure(reply)).kind


async def test_a_key_is_masked_over_the_borders_of_pieces() -> None:
    """A key that comes back in pieces is in nothing that is told, nor in the reply."""
    pieces = ["a ", KEY[:4], KEY[4:9], KEY[9:], " b", KEY[:3]]
    reply, told, _ = await _heard(stream(*map(_chunk, pieces), _chunk(finish="stop")))
    assert (f"a *** b{KEY[:3]}", reply.text) == (reply.text, "".join(told))


@given(st.lists(st.text("ab*c", max_size=4)))
def test_what_is_told_is_the_text(pieces: list[str]) -> None:
    """Whatever is held back for a while, in the end the pieces are the text without the key, and
    their lengths fit.
    """
    told: list[str] = []
    text = TextRelay(told.append, "abababab")
    for piece in pieces:
        text.add(piece)
    text.end()
    assert "".join(pieces).replace("abababab", "***") == text.passed == "".join(told)
    assert tuple(map(len, told)) == text.chunks


async def _lines(text: str) -> AsyncIterator[bytes]:
    for line in text.split("\n"):
        yield line.encode()


async def test_several_data_lines_are_one_event() -> None:
    """As the standard has it (html.spec.whatwg.org, server-sent events)."""
    text = 'data: {"a":\ndata: 1}\n\ndata:{"a":2}\n\ndata: {"a": 3}'
    assert [{"a": 1}, {"a": 2}, {"a": 3}] == [event async for event in read_events(_lines(text))]


async def test_a_body_is_handed_back_whole() -> None:
    """What is no stream keeps all its lines."""
    body = json.dumps(json.loads(str(chat("fine").body)), indent=1)
    with pytest.raises(NotEvents) as caught:
        [event async for event in read_events(_lines(f"\n{body}"))]
    assert body == caught.value.body.decode()
