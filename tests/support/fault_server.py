"""A model server on the loopback that answers each question with the fault that it names.

A question is ``NAME NUMBER``; ``FAULTS`` holds by provider and name the answers to its first,
second and later requests, whole and streamed, and what must come of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from typing import Any, Literal

import attrs
from aiohttp import web

Provider = Literal["openai", "anthropic"]
ANSWER = "Paris 😀"
SSE = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}


@attrs.frozen
class Answer:
    """One answer of the server: a body, or the pieces of a stream; then it may stall or hang up."""

    status: int = 200
    body: bytes = b""
    pieces: tuple[bytes, ...] = ()
    headers: Mapping[str, str] = attrs.field(factory=lambda: JSON)
    stall: float = 0.0
    drop: bool = False


@attrs.frozen
class Fault:
    """A fault: the answers in their order, the last one for ever, and what must come of them.

    ``outcome`` is the kind of the failure, or empty if the right answer must come.
    """

    answers: tuple[Answer, ...]
    outcome: str = ""


@attrs.define
class FaultServer:
    """The server; ``requests`` counts the requests of each question."""

    provider: Provider
    streamed: bool
    port: int = 0
    requests: Counter[str] = attrs.field(factory=Counter)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer by the fault that the last message names."""
        content = (await request.json())["messages"][-1]["content"]
        question = next(line for line in content.splitlines() if line.startswith("fault:"))
        fault = FAULTS[self.provider, self.streamed][question.split(":")[1]]
        answer = fault.answers[min(self.requests[question], len(fault.answers) - 1)]
        self.requests[question] += 1
        if answer.pieces:
            return await self._stream(request, answer)
        await asyncio.sleep(answer.stall)
        if answer.drop and request.transport is not None:
            request.transport.close()
        return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))

    async def _stream(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=SSE)
        await response.prepare(request)
        for piece in answer.pieces:
            await response.write(piece)
        await asyncio.sleep(answer.stall)
        if answer.drop and request.transport is not None:
            request.transport.close()
        return response


@contextlib.asynccontextmanager
async def faulty(provider: Provider, *, streamed: bool) -> AsyncIterator[FaultServer]:
    """A fault server while the block lasts."""
    server = FaultServer(provider, streamed)
    app = web.Application()
    app.router.add_post("/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        server.port = int(runner.addresses[0][1])
        yield server
    finally:
        await runner.cleanup()


def _json(value: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), headers={**JSON, **named})


def _refused(status: int, message: str = "no", **headers: str) -> Answer:
    return _json({"error": {"message": message, "type": "error"}}, status, **headers)


def _completion(content: Any, finish: Any = "stop", **message: Any) -> Answer:
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return _json({"model": "m", "choices": [choice], "usage": None})


def _message(*blocks: Any, stop: Any = "end_turn") -> Answer:
    return _json({"type": "message", "content": list(blocks), "stop_reason": stop})


def _choice_error(code: Any) -> Answer:
    error = {"code": code, "message": "Upstream lost."}
    choice = {"message": {"content": ""}, "error": error, "finish_reason": "error"}
    return _json({"choices": [choice]})


def _data(value: Any, end: str = "\n\n", *, ascii_only: bool = True) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=ascii_only)}{end}".encode()


def _chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _stream(*pieces: Any, done: bool = True, **more: Any) -> Answer:
    parts = [piece if isinstance(piece, bytes) else _data(piece) for piece in pieces]
    return Answer(pieces=(*parts, *([b"data: [DONE]\n\n"] if done else [])), **more)


def _event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\n".encode() + _data({"type": kind, **more})


def _block(index: int, block: dict[str, Any]) -> bytes:
    return _event("content_block_start", index=index, content_block=block)


def _block_delta(index: int, kind: str, **delta: Any) -> bytes:
    return _event("content_block_delta", index=index, delta={"type": kind, **delta})


def _stopped(reason: str) -> bytes:
    return _event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 3})


START = _event("message_start", message={"model": "m", "usage": {"input_tokens": 3}})
TEXT = _block(0, {"type": "text", "text": ""})
PARIS = {"type": "text", "text": ANSWER}
LATER = formatdate(time.time() - 5, usegmt=True)
DEEP = b'{"choices": ' + b"[" * 3000 + b"]" * 3000 + b"}"
GEMINI = [{"error": {"code": 429, "message": "Quota", "details": [{"retryDelay": "0.01s"}]}}]
REJECTED: Mapping[str, Fault] = {
    "unauthorized": Fault((_refused(401),), "auth"),
    "unknown_model": Fault((_refused(404),), "unknown_model"),
    "no_credit": Fault((_refused(402),), "quota"),
    "bad_request": Fault((_refused(400),), "request"),
    "always_500": Fault((_refused(500),), "server"),
    "always_429": Fault((_refused(429, retry_after="0"),), "rate_limit"),
    "filtered_prompt": Fault(
        (_json({"error": {"code": "content_filter", "message": "no"}}, 400),), "content_filter"
    ),
    "too_long": Fault(
        (_refused(400, "maximum context length is 8 tokens, however you requested 9 tokens"),),
        "too_long",
    ),
    "page": Fault((Answer(200, b"<html>"),), "bad_reply"),
    "nothing": Fault((Answer(200, b""),), "bad_reply"),
    "half_json": Fault((Answer(200, b'{"choices": [{"mess'),), "bad_reply"),
    "deep_json": Fault((Answer(200, DEEP),), "bad_reply"),
    "number": Fault((Answer(200, b"7"),), "bad_reply"),
    "list": Fault((Answer(200, b"[]"),), "bad_reply"),
    "error_in_200": Fault((_json({"error": {"code": 400, "message": "no"}}),), "request"),
}


def _then(*first: Answer, right: Answer) -> Fault:
    return Fault((*first, right))


def _mended(right: Answer) -> dict[str, Fault]:
    """Faults that pass: the right answer comes after one or two others."""
    return {
        "right": _then(right=right),
        "once_500": _then(_refused(500), right=right),
        "once_page_502": _then(Answer(502, b"<html>"), right=right),
        "twice_503": _then(_refused(503), _refused(503), right=right),
        "429_date": _then(_refused(429, retry_after=LATER), right=right),
        "429_ms": _then(_refused(429, retry_after_ms="10"), right=right),
        "429_gemini": _then(_json(GEMINI, 429), right=right),
        "429_words": _then(_refused(429, "Please try again in 10ms."), right=right),
        "429_nonsense": _then(_refused(429, retry_after="9" * 400), right=right),
        "overloaded_in_200": _then(_json({"error": "overloaded"}), right=right),
        "hang_up": _then(Answer(drop=True), right=right),
        "stall": _then(Answer(stall=5.0), right=right),
    }


OPENAI_RIGHT = _completion(ANSWER)
OPENAI_WHOLE: dict[str, Fault] = {
    **REJECTED,
    **_mended(OPENAI_RIGHT),
    "refusal": Fault((_completion(None, refusal="I can't."),), "refusal"),
    "filter": Fault((_completion("", "content_filter"),), "content_filter"),
    "filter_in_the_middle": Fault((_completion("Par", "SAFETY"),), "content_filter"),
    "length_without_text": Fault((_completion(None, "length"),), "empty"),
    "length_in_thinking": Fault((_completion("", "MAX_TOKENS", reasoning_content="Hm"),), "empty"),
    "finish_error": Fault((_completion("Par", "error"),), "server"),
    "once_finish_error": _then(_completion("Par", "error"), right=OPENAI_RIGHT),
    "once_choice_502": _then(_choice_error(502), right=OPENAI_RIGHT),
    "choice_400": Fault((_choice_error(400),), "request"),
    "no_choices": Fault((_json({"choices": []}),), "bad_reply"),
    "null_choices": Fault((_json({"choices": None}),), "bad_reply"),
    "no_message": Fault((_json({"choices": [{}]}),), "bad_reply"),
    "parts": _then(
        right=_completion([{"type": "text", "text": "Paris "}, {"type": "text", "text": "😀"}])
    ),
    "byte_order_mark": _then(right=Answer(200, b"\xef\xbb\xbf" + OPENAI_RIGHT.body)),
    "text_as_type": _then(right=attrs.evolve(OPENAI_RIGHT, headers={"Content-Type": "text/plain"})),
}
OPENAI_STREAM: dict[str, Fault] = {
    **REJECTED,
    **_mended(_stream(_chunk(content="Paris "), _chunk(content="😀"), _chunk("stop"))),
    "whole_body": _then(right=OPENAI_RIGHT),
    "halves_of_a_pair": _then(
        right=_stream(
            _chunk(content="Paris "),
            b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
            b'data: {"choices": [{"delta": {"content": "\\ude00"}}]}\n\n',
            _chunk("stop"),
        )
    ),
    "bytes_of_a_character": _then(
        right=_stream(
            *(bytes([byte]) for byte in _data(_chunk(content=ANSWER), ascii_only=False)),
            _chunk("stop"),
        )
    ),
    "crlf": _then(
        right=_stream(_data(_chunk(content=ANSWER), "\r\n\r\n"), _data(_chunk("stop"), "\r\n\r\n"))
    ),
    "no_done": _then(right=_stream(_chunk(content=ANSWER), _chunk("stop"), done=False)),
    "comments": _then(right=_stream(b": wait\n\n", _chunk(content=ANSWER), _chunk("stop"))),
    "refusal": Fault((_stream(_chunk(refusal="I can't."), _chunk("stop")),), "refusal"),
    "filter": Fault((_stream(_chunk("content_filter")),), "content_filter"),
    "filter_in_the_middle": Fault(
        (_stream(_chunk(content="Par"), _chunk("content_filter")),), "content_filter"
    ),
    "length_in_thinking": Fault(
        (_stream(_chunk(reasoning_content="Hm"), _chunk("length")),), "empty"
    ),
    "once_error_first": _then(
        _stream({"error": {"code": 502, "message": "lost"}}),
        right=_stream(_chunk(content=ANSWER), _chunk("stop")),
    ),
    "once_choice_error": _then(
        _stream({"choices": [{"delta": {}, "error": {"code": 502, "message": "lost"}}]}),
        right=_stream(_chunk(content=ANSWER), _chunk("stop")),
    ),
    "error_after_text": Fault(
        (_stream(_chunk(content="Par"), {"error": {"code": 502, "message": "lost"}}),), "bad_reply"
    ),
    "never_ends": Fault((_stream(_chunk(content="Par")),), "bad_reply"),
    "only_done": Fault((_stream(),), "bad_reply"),
    "broken_event": Fault((_stream(_chunk(content="Par"), b"data: {\n\n"),), "bad_reply"),
    "hang_up_in_the_middle": Fault(
        (_stream(_chunk(content="Par"), done=False, drop=True),), "bad_reply"
    ),
    "stall_in_the_middle": Fault(
        (_stream(_chunk(content="Par"), done=False, stall=5.0),), "bad_reply"
    ),
}
ANTHROPIC_RIGHT = _message(PARIS)
ANTHROPIC_WHOLE: dict[str, Fault] = {
    **REJECTED,
    **_mended(ANTHROPIC_RIGHT),
    "overloaded": _then(_json({"type": "error", "error": {"type": "overloaded_error"}}, 529),
                        right=ANTHROPIC_RIGHT),
    "refusal": Fault((_message(stop="refusal"),), "refusal"),
    "refusal_in_the_middle": Fault((_message(PARIS, stop="refusal"),), "refusal"),
    "pause_turn": Fault((_message(PARIS, stop="pause_turn"),), "paused"),
    "length_without_text": Fault((_message(stop="max_tokens"),), "empty"),
    "length_in_thinking": Fault(
        (_message({"type": "thinking", "thinking": "Hm"}, stop="max_tokens"),), "empty"
    ),
    "no_content": Fault((_json({"type": "message", "stop_reason": "end_turn"}),), "bad_reply"),
    "unknown_blocks": _then(right=_message({"type": "server_tool_use", "id": "x"}, PARIS)),
}  # fmt: skip
ANTHROPIC_STREAM: dict[str, Fault] = {
    **REJECTED,
    **_mended(
        _stream(
            START,
            _event("ping"),
            TEXT,
            _block_delta(0, "text_delta", text="Paris "),
            _block_delta(0, "text_delta", text="😀"),
            _event("content_block_stop", index=0),
            _stopped("end_turn"),
            _event("message_stop"),
            done=False,
        )
    ),
    "whole_body": _then(right=ANTHROPIC_RIGHT),
    "refusal": Fault((_stream(START, _stopped("refusal"), done=False),), "refusal"),
    "pause_turn": Fault((_stream(START, _stopped("pause_turn"), done=False),), "paused"),
    "length_in_thinking": Fault(
        (
            _stream(
                START,
                _block(0, {"type": "thinking", "thinking": ""}),
                _block_delta(0, "thinking_delta", thinking="Hm"),
                _stopped("max_tokens"),
                done=False,
            ),
        ),
        "empty",
    ),
    "once_error_first": _then(
        _stream(_event("error", error={"type": "overloaded_error"}), done=False),
        right=_stream(START, _block(0, PARIS), _stopped("end_turn"), done=False),
    ),
    "error_after_text": Fault(
        (
            _stream(
                START,
                _block(0, PARIS),
                _event("error", error={"type": "overloaded_error"}),
                done=False,
            ),
        ),
        "bad_reply",
    ),
    "never_ends": Fault((_stream(START, _block(0, PARIS), done=False),), "bad_reply"),
    "delta_without_block": Fault(
        (_stream(START, _block_delta(3, "text_delta", text="x"), done=False),), "bad_reply"
    ),
}
FAULTS: Mapping[tuple[Provider, bool], Mapping[str, Fault]] = {
    ("openai", False): OPENAI_WHOLE,
    ("openai", True): OPENAI_STREAM,
    ("anthropic", False): ANTHROPIC_WHOLE,
    ("anthropic", True): ANTHROPIC_STREAM,
}
