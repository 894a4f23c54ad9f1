"""Messages and replies in the form that the conventions have for them, and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.errors import BadMedia
from lmflow.messages.messages import Attached, Message, Role, ToolCall
from lmflow.messages.replies import ChatReply
from lmflow.values.json_text import parse
from lmflow.values.media import Audio, File, Image, Media, media_of

_MODALITIES: Mapping[str, type[Media]] = {"image": Image, "audio": Audio, "document": File}
_FINISHES = {"tool_calls": "tool_call"}
_FINISHES_READ = {theirs: ours for ours, theirs in _FINISHES.items()}
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "developer": "system",
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "function": "tool",
}


def dumps(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def message_json(message: Message) -> dict[str, Any]:
    """Return a message as the conventions have it: a role and parts."""
    return {"role": message.role, "parts": message_parts(message)}


def message_parts(message: Message) -> list[dict[str, Any]]:
    """Return the parts of a message: texts, media, tool calls and the answers to them."""
    if message.role == "tool":
        answer = {"type": "tool_call_response", "id": message.answers, "response": message.content}
        return [answer]
    parts = [
        _media_part(part) if isinstance(part, Media) else {"type": "text", "content": part}
        for part in message.parts
    ]
    return [*parts, *map(_call_part, message.calls)]


def reply_json(reply: ChatReply) -> dict[str, Any]:
    """Return a reply as the conventions have it: a message of the assistant that has ended."""
    parts: list[dict[str, Any]] = []
    if reply.reasoning:
        parts.append({"type": "reasoning", "content": reply.reasoning})
    if reply.text:
        parts.append({"type": "text", "content": reply.text})
    if reply.refusal:
        parts.append({"type": "refusal", "content": reply.refusal})
    parts += map(_call_part, reply.calls)
    finish = _FINISHES.get(reply.finish, reply.finish)
    return {"role": "assistant", "parts": parts, "finish_reason": finish}


@attrs.frozen
class ReadMessages:
    """Messages that were read, and what of them could not be: ``problem`` is empty if all could."""

    messages: tuple[Message, ...]
    problem: str = ""


def read_messages(values: Any) -> ReadMessages:
    """Read messages in the conventions' form; nothing is made up for what can't be read."""
    if not isinstance(values, list):
        return ReadMessages((), f"messages are a list, found {type(values).__name__}")
    messages: list[Message] = []
    for value in values:
        try:
            messages += _read_message(value)
        except (KeyError, TypeError, ValueError, AttributeError, BadMedia) as error:
            return ReadMessages(tuple(messages), f"a message can't be read ({error!s:.80})")
    return ReadMessages(tuple(messages))


def read_reply(value: Any) -> ChatReply:
    """Read a reply in the conventions' form.

    Raises:
        ValueError: It has another form.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("parts"), list):
        msg = "a reply is an object with parts"
        raise ValueError(msg)  # noqa: TRY004 - one error for all that can't be read
    texts: dict[str, str] = {"text": "", "reasoning": "", "refusal": ""}
    calls: list[ToolCall] = []
    for part in value["parts"]:
        kind = _part_type(part)
        if kind == "tool_call":
            calls.append(_read_call(part, len(calls)))
        elif kind in texts:
            texts[kind] += _text(part.get("content"))
    finish = str(value.get("finish_reason") or "stop")
    return ChatReply(
        finish=_FINISHES_READ.get(finish, finish),
        calls=tuple(calls),
        text=texts["text"],
        reasoning=texts["reasoning"],
        refusal=texts["refusal"],
    )


def arguments_text(value: Any) -> str:
    """Return the arguments of a tool call as a model would have written them."""
    return value if isinstance(value, str) else dumps({} if value is None else value)


def _call_part(call: ToolCall) -> dict[str, Any]:
    arguments = _object(call.arguments)
    part = {"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments}
    # A model's spacing is part of its reply, which an object would lose.
    return part if arguments_text(arguments) == call.arguments else {**part, "raw": call.arguments}


def _object(text: str) -> Any:
    try:
        value = parse(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _media_part(media: Media) -> dict[str, Any]:
    names = [name for name, kind in _MODALITIES.items() if isinstance(media, kind)]
    part: dict[str, Any] = {"modality": names[0], "mime_type": media.media_type or None}
    if media.name:
        part["name"] = media.name
    if media.url:
        return {"type": "uri", **part, "uri": media.url}
    if media.held:
        content = base64.b64encode(media.data).decode("ascii")
        return {"type": "blob", **part, "content": content}
    return {"type": "file", **part, "file_id": media.digest, "size": media.size}


def _read_message(value: Mapping[str, Any]) -> Iterable[Message]:
    """Read one message; the answers to several tool calls are several messages."""
    role = _ROLES[str(value["role"]).lower()]
    content, attached = "", []
    calls: list[ToolCall] = []
    answers: list[Message] = []
    for part in value["parts"]:
        kind = _part_type(part)
        if kind == "text":
            content += _text(part.get("content"))
        elif kind == "tool_call":
            calls.append(_read_call(part, len(calls)))
        elif kind == "tool_call_response":
            response = part.get("response", part.get("result"))
            text = response if isinstance(response, str) else dumps(response)
            answers.append(Message("tool", text, answers=str(part.get("id") or "")))
        elif kind in {"blob", "uri", "file"}:
            attached.append(Attached(len(content), _read_media(part)))
        elif kind not in {"reasoning", "refusal"}:
            msg = f"a part has the unknown type {kind:.40}"
            raise ValueError(msg)
    if answers:
        return answers
    return [Message(role, content, tuple(calls), attached=tuple(attached))]


def _read_call(part: Mapping[str, Any], position: int) -> ToolCall:
    raw = part.get("raw")
    arguments = raw if isinstance(raw, str) else arguments_text(part.get("arguments"))
    return ToolCall(str(part["name"]), arguments, str(part.get("id") or f"call_{position}"))


def _read_media(part: Mapping[str, Any]) -> Media:
    kind = _MODALITIES.get(str(part.get("modality")), File)
    media_type, name = str(part.get("mime_type") or ""), str(part.get("name") or "")
    if part["type"] == "uri":
        return kind(str(part["uri"]), media_type)
    if part["type"] == "blob":
        content = base64.b64decode(str(part["content"]), validate=True)
        return kind(content, media_type, name=name)
    fields = {"is": kind.__name__, "media_type": media_type, "name": name}
    return media_of({**fields, "digest": part["file_id"], "size": int(part.get("size") or 0)})


def _part_type(part: Any) -> str:
    if not isinstance(part, Mapping):
        msg = f"a part is an object, found {type(part).__name__}"
        raise TypeError(msg)
    return str(part.get("type"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value)
