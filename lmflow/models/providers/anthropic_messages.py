"""Anthropic's wire format: a request as the body of the Messages API, and messages, whole or
streamed, as replies.

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
from lmflow.models.providers.turn_state import state_of, state_part
from lmflow.models.transport.capabilities import number_calls
from lmflow.models.transport.finish import finish_reason
from lmflow.models.transport.json_text import is_cut_json, token_count
from lmflow.values.media import Audio, Image, Media

MAX_TOKENS = 4096
"""The length of a reply, in tokens, if the step sets no ``max_tokens``: the API demands one."""
_THINKING = frozenset({"thinking", "redacted_thinking"})


def message_body(
    name: str, wire: str, request: ChatRequest, *, schema: bool, origin: str = ""
) -> dict[str, Any]:
    """The body of a request: instructions as ``system``, tool calls and results as blocks,
    ``stop`` as ``stop_sequences``, and the signed thinking that ``origin`` gave before its calls.

    ``ModelFailed`` (request) for options that the API doesn't have, (media) for sounds, which the
    API doesn't take, and for attached content that isn't available.
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
    turns = number_calls(request.messages)
    try:
        messages = _turns([turn for turn in turns if turn.role != "system"], origin)
    except (NoContent, _NoSounds) as problem:
        raise ModelFailed("media", f"{name}: {problem}") from None
    body = {**options, "model": wire, "messages": messages}
    if system := "\n\n".join(turn.content for turn in turns if turn.role == "system"):
        body["system"] = system
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if schema and request.schema is not None:
        format_ = {"type": "json_schema", "schema": request.schema}
        body["output_config"] = {**(options.get("output_config") or {}), "format": format_}
    return body


def message_reply(data: Mapping[str, Any], origin: str = "") -> ChatReply:
    """A message as a reply, with provider state marked as ``origin``'s. Raises ``LookupError``,
    ``TypeError`` or ``ValueError`` if the data isn't a message.
    """
    blocks: Sequence[Mapping[str, Any]] = data["content"]
    stop = str(data.get("stop_reason") or "")
    calls = _calls(blocks, origin)
    cut = any(is_cut_json(call.arguments) for call in calls)
    details = data.get("stop_details") or {}
    return ChatReply(
        text=_joined_text(blocks, "text"),
        finish="length" if cut else finish_reason(stop),
        model=str(data.get("model") or ""),
        usage=_usage(data.get("usage") or {}),
        reasoning=_joined_text(blocks, "thinking"),
        calls=calls,
        refusal=str(details.get("explanation") or stop) if stop == "refusal" else "",
    )


def _calls(blocks: Sequence[Mapping[str, Any]], origin: str) -> tuple[ToolCall, ...]:
    """The calls, each with the thinking before it: the API checks that thinking's signature."""
    calls: list[ToolCall] = []
    thinking: list[Mapping[str, Any]] = []
    for block in blocks:
        if block["type"] in _THINKING:
            thinking.append(block)
        elif block["type"] == "tool_use":
            arguments = block["input"]
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments)
            state = state_of(origin, thinking=thinking)
            calls.append(ToolCall(str(block["name"]), arguments, f"call_{len(calls)}", state))
            thinking = []
    return tuple(calls)


class EventAccumulator:
    """Accumulates the events of a streamed message into the message that would have come whole."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        # Pieces are joined once, in `body`: adding each to the text before is quadratic.
        self._pieces: dict[int, dict[str, list[str]]] = {}

    @property
    def finished(self) -> bool:
        """True once the message said why it stopped."""
        return bool(self._message.get("stop_reason"))

    def add(self, event: Mapping[str, Any]) -> str:
        """Takes an event and returns the text that it adds. Events of unknown types add nothing."""
        match event["type"]:
            case "message_start":
                self._message = dict(event["message"])
                self._message["usage"] = dict(self._message.get("usage") or {})
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
                self._pieces[event["index"]] = {}
                return str(event["content_block"].get("text") or "")
            case "content_block_delta":
                return self._add_delta(event["index"], event["delta"])
            case "message_delta":
                self._message |= event["delta"]
                # The counts of a delta are totals, not increments: they replace the earlier ones.
                self._message.setdefault("usage", {}).update(event.get("usage") or {})
        return ""

    def body(self) -> dict[str, Any]:
        """The message as if it had not been streamed."""
        blocks = [self._joined(index) for index in sorted(self._blocks)]
        for block in blocks:
            if "partial_json" in block:
                block["input"] = _input_or_text(block.pop("partial_json"))
        return {**self._message, "content": blocks}

    def _add_delta(self, index: int, delta: Mapping[str, Any]) -> str:
        pieces = self._pieces[index]
        for name in ("text", "thinking", "signature", "partial_json"):
            if name in delta:
                pieces.setdefault(name, []).append(delta[name])
        return str(delta.get("text") or "")

    def _joined(self, index: int) -> dict[str, Any]:
        """A block with the pieces of its texts."""
        block = dict(self._blocks[index])
        for name, pieces in self._pieces[index].items():
            block[name] = "".join([block.get(name) or "", *pieces])
        return block


def _input_or_text(text: str) -> Any:
    """The input of a call, or its text if the text isn't JSON: a cut or broken call is data, and
    the model is told of it.
    """
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return text


def _joined_text(blocks: Sequence[Mapping[str, Any]], kind: str) -> str:
    """The texts of the blocks of a kind, under the name that the kind has too."""
    return "".join(str(block[kind]) for block in blocks if block["type"] == kind)


def _turns(messages: Sequence[Message], origin: str) -> list[dict[str, Any]]:
    """The turns of both sides. Neighbours of one side become one turn, as the API demands: the
    results of several calls are one turn.
    """
    sides = groupby(
        messages, lambda message: "assistant" if message.role == "assistant" else "user"
    )
    return [_turn(side, list(neighbours), origin) for side, neighbours in sides]


def _turn(side: str, messages: list[Message], origin: str) -> dict[str, Any]:
    first = messages[0]
    if len(messages) == 1 and not (first.calls or first.answers or first.attached):
        return {"role": side, "content": first.content}
    blocks = [block for message in messages for block in _blocks(message, origin)]
    return {"role": side, "content": blocks}


def _blocks(message: Message, origin: str) -> list[Any]:
    if message.answers:
        return [{"type": "tool_result", "tool_use_id": message.answers, "content": message.content}]
    blocks: list[Any] = list(map(_content_block, message.parts))
    for n, call in enumerate(message.calls):
        thinking = state_part(call, origin, "thinking")
        # The API demands that a turn with thinking begins with it, before the text.
        blocks = [*thinking, *blocks] if n == 0 else [*blocks, *thinking]
        blocks.append(_use_block(call))
    return blocks


def _use_block(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)}


class _NoSounds(ValueError):
    """The API has no block for sounds."""


def _content_block(part: str | Media) -> dict[str, Any]:
    """A text, a picture or a document as a block: by its URL, as text if the document is one, else
    as base64.
    """
    if not isinstance(part, Media):
        return {"type": "text", "text": part}
    if isinstance(part, Audio):
        fix = "Transcribe it first, or ask another model."
        msg = f"the Messages API takes no sounds, found {part}. {fix}"
        raise _NoSounds(msg)
    block: dict[str, Any] = {"type": "image" if isinstance(part, Image) else "document"}
    if part.url:
        block["source"] = {"type": "url", "url": part.url}
    elif part.media_type.startswith("text/"):
        text = part.data.decode("utf-8", "replace")
        block["source"] = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        data = base64.b64encode(part.data).decode("ascii")
        block["source"] = {"type": "base64", "media_type": part.media_type, "data": data}
    return block | ({"title": part.name} if part.name else {})


def _input(call: ToolCall) -> Any:
    """The arguments as an object, which the API demands; arguments that aren't one are wrapped in
    one as a text.
    """
    try:
        arguments = msgspec.json.decode(call.arguments or "{}")
    except msgspec.DecodeError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"arguments": call.arguments}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool under the API's names. Fields that have them already (``input_schema``,
    ``cache_control``) stay.
    """
    renamed = {"parameters": "input_schema"}
    return {renamed.get(name, name): value for name, value in tool.items()}


def _usage(data: Mapping[str, Any]) -> Usage:
    """The tokens. The API doesn't count input that is read from or written to the cache as
    ``input_tokens``; ``Usage.prompt`` does.
    """
    fresh, read, written = (
        token_count(data.get(name))
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(prompt, token_count(data.get("output_tokens")), read, written)
