"""Anthropic's shapes: a request as the body of the Messages API, and messages, whole or streamed,
as replies.

As documented at platform.claude.com/docs: "Messages" (api/messages), "Streaming messages", "Stop
reasons and fallback", "Structured outputs", "Prompt caching", "Vision", "PDF support".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from lmflow.errors import ModelFailed, NoContent
from lmflow.messages.messages import Message, ToolCall
from lmflow.messages.replies import ChatReply, Usage
from lmflow.messages.requests import ChatRequest
from lmflow.models.transport.responses import numbered, token_count
from lmflow.values.media import Audio, Image, Media

MAX_TOKENS = 4096
"""How long a reply may be where the step sets no ``max_tokens``: the API must be told."""
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def message_body(name: str, wire: str, request: ChatRequest, *, schema: bool) -> dict[str, Any]:
    """The body that asks for a request: instructions apart, tools' turns as blocks, ``stop`` as
    ``stop_sequences``.

    ``ModelFailed`` (request) for options that the API doesn't have, (media) for sounds, which it
    doesn't take, and content that isn't here.
    """
    options = {"max_tokens": MAX_TOKENS, **request.options}
    if options.get("n", 1) != 1:
        fix = "One request is one reply: samples are rows of their own, ex.map(..., samples=n)."
        raise ModelFailed("request", f"{name}: the option n is {options['n']!r}. {fix}")
    options.pop("n", None)
    if "stop" in options:
        stop = options.pop("stop")
        options["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if "seed" in options:
        raise ModelFailed(
            "request", f"{name}: the API takes no seed. Leave `seed` out of the step's options."
        )
    turns = numbered(request.messages)
    try:
        said = _turns([turn for turn in turns if turn.role != "system"])
    except (NoContent, _NoSounds) as problem:
        raise ModelFailed("media", f"{name}: {problem}") from None
    body = {**options, "model": wire, "messages": said}
    if system := "\n\n".join(turn.content for turn in turns if turn.role == "system"):
        body["system"] = system
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if schema and request.schema is not None:
        told = {"type": "json_schema", "schema": request.schema}
        body["output_config"] = {**(options.get("output_config") or {}), "format": told}
    return body


def message_reply(data: Mapping[str, Any]) -> ChatReply:
    """A message as a reply. Raises ``LookupError``, ``TypeError`` or ``ValueError`` where it is
    none.
    """
    blocks: Sequence[Mapping[str, Any]] = data["content"]
    stop, uses = (
        str(data.get("stop_reason") or ""),
        [block for block in blocks if block["type"] == "tool_use"],
    )
    details = data.get("stop_details") or {}
    return ChatReply(
        text="".join(str(block["text"]) for block in blocks if block["type"] == "text"),
        finish=_FINISH.get(stop, stop),
        model=str(data.get("model") or ""),
        usage=_usage(data.get("usage") or {}),
        reasoning="".join(
            str(block["thinking"]) for block in blocks if block["type"] == "thinking"
        ),
        calls=tuple(
            ToolCall(str(use["name"]), json.dumps(use["input"]), f"call_{n}")
            for n, use in enumerate(uses)
        ),
        refusal=str(details.get("explanation") or stop) if stop == "refusal" else "",
    )


class Joined:
    """The events of a streamed message, joined into the message that would have come whole."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._stopped = False

    @property
    def ended(self) -> bool:
        """Whether the message said why it stopped."""
        return self._stopped

    def add(self, event: Mapping[str, Any]) -> str:
        """Take an event; the text that it adds. Events of unknown types add nothing."""
        match event["type"]:
            case "message_start":
                self._message = dict(event["message"])
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
                return str(event["content_block"].get("text") or "")
            case "content_block_delta":
                return self._delta(self._blocks[event["index"]], event["delta"])
            case "message_delta":
                self._message |= event["delta"]
                self._message["usage"] = {
                    **(self._message.get("usage") or {}),
                    **(event.get("usage") or {}),
                }
                self._stopped = bool(self._message.get("stop_reason"))
        return ""

    def whole(self) -> dict[str, Any]:
        """The message as if it had not been streamed."""
        blocks = [block for _, block in sorted(self._blocks.items())]
        for block in blocks:
            if "partial_json" in block:
                block["input"] = msgspec.json.decode(block.pop("partial_json") or "{}")
        return {**self._message, "content": blocks}

    def _delta(self, block: dict[str, Any], delta: Mapping[str, Any]) -> str:
        for name in ("text", "thinking", "partial_json"):
            if name in delta:
                block[name] = block.get(name, "") + delta[name]
        return str(delta.get("text") or "")


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The turns, those that follow each other in one role joined: the answers to several calls are
    one turn.
    """
    sides = groupby(
        messages, lambda message: "assistant" if message.role == "assistant" else "user"
    )
    return [_joined(role, list(turns)) for role, turns in sides]


def _joined(role: str, turns: list[Message]) -> dict[str, Any]:
    if len(turns) == 1 and not (turns[0].calls or turns[0].answers or turns[0].attached):
        return {"role": role, "content": turns[0].content}
    return {"role": role, "content": [block for turn in turns for block in _blocks(turn)]}


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.answers:
        return [{"type": "tool_result", "tool_use_id": message.answers, "content": message.content}]
    told = [
        _media(part) if isinstance(part, Media) else {"type": "text", "text": part}
        for part in message.parts
    ]
    return [
        *told,
        *(
            {"type": "tool_use", "id": c.id, "name": c.name, "input": _input(c)}
            for c in message.calls
        ),
    ]


class _NoSounds(ValueError):
    """The API has no block for it."""


def _media(media: Media) -> dict[str, Any]:
    """A picture or a document as a block: by its URL, as text where it is one, else as base64."""
    if isinstance(media, Audio):
        msg = f"the Messages API takes no sounds, found {media}. Transcribe it first, or ask another model."
        raise _NoSounds(msg)
    block: dict[str, Any] = {"type": "image" if isinstance(media, Image) else "document"}
    if media.url:
        block["source"] = {"type": "url", "url": media.url}
    elif media.media_type.startswith("text/"):
        text = media.data.decode("utf-8", "replace")
        block["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        data = base64.b64encode(media.data).decode("ascii")
        block["source"] = {"type": "base64", "media_type": media.media_type, "data": data}
    return block | ({"title": media.name} if media.name else {})


def _input(call: ToolCall) -> Any:
    """The arguments as an object, which the API wants; what the model wrote that is none stays as a
    text in one.
    """
    try:
        found = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        found = None
    return found if isinstance(found, dict) else {"arguments": call.arguments}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool under the API's names. What is in its own form already (``input_schema``,
    ``cache_control``) is kept.
    """
    return {"input_schema" if name == "parameters" else name: value for name, value in tool.items()}


def _usage(data: Mapping[str, Any]) -> Usage:
    """The tokens. The API counts what is read from and written to the cache apart from the other
    input.
    """
    fresh, read, written = (
        token_count(data.get(name))
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(prompt, token_count(data.get("output_tokens")), read, written)
