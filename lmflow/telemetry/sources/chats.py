"""Messages in the form of OpenAI's chats, which most systems log, in that of the conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.telemetry.content import dumps
from lmflow.telemetry.sources.otlp_json import objects, text


def chat_messages(value: Any) -> list[dict[str, Any]] | None:
    """Return the messages of what a system logged as input, ``None`` if it logged something else.

    A text is a user's message.
    """
    if isinstance(value, Mapping) and isinstance(value.get("messages"), list):
        value = value["messages"]
    if isinstance(value, str):
        return [_text_message("user", value)]
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        return None
    return [_message(item) for item in value]


def chat_reply(value: Any) -> dict[str, Any] | None:
    """Return the reply of what a system logged as output, ``None`` if it logged something else."""
    finish = "stop"
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list):
        choice = next(objects(value["choices"]), {})
        finish, value = text(choice.get("finish_reason")) or finish, choice.get("message")
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, str):
        return {**_text_message("assistant", value), "finish_reason": finish}
    if not isinstance(value, Mapping) or not {"content", "tool_calls"} & value.keys():
        return None
    return {**_message({"role": "assistant", **value}), "finish_reason": finish}


def as_json(value: Any) -> str:
    """Return a value as an attribute holds it: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else dumps(value)


def _text_message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role, content = text(message.get("role")), message.get("content")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": message.get("tool_call_id")}
        return {"role": role, "parts": [{**answer, "response": content}]}
    parts: list[dict[str, Any]] = []
    if isinstance(content, str):
        parts += [{"type": "text", "content": content}] if content else []
    elif content is not None:
        parts += map(_part, objects(content))
    parts += map(_call, objects(message.get("tool_calls")))
    return {"role": role, "parts": parts}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") in {"text", "input_text", "output_text"}:
        return {"type": "text", "content": text(part.get("text"))}
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else None
    if isinstance(url, str) and url.startswith(("http://", "https://")):
        return {"type": "uri", "modality": "image", "uri": url}
    return {"type": "unreadable"}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else call
    named = {"type": "tool_call", "id": call.get("id"), "name": text(function.get("name"))}
    return {**named, "arguments": function.get("arguments")}
