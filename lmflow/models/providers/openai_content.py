"""The content of a message in OpenAI's chats: a text, or parts if something is attached."""

from __future__ import annotations

import base64
from typing import Any

from lmflow.messages.messages import Message
from lmflow.values.media import Audio, Image, Media

_FORMATS = {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}


def content_of(message: Message) -> str | list[dict[str, Any]]:
    """The content of a message: attached content as base64, pictures by URL as their URLs.

    ``NoContent`` if attached content isn't available, and for sounds and files by URL, for which
    the API has no part.
    """
    if not message.attached:
        return message.content
    return [_part(part) for part in message.parts]


def _part(part: str | Media) -> dict[str, Any]:
    if not isinstance(part, Media):
        return {"type": "text", "text": part}
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": part.url or part.data_url}}
    if isinstance(part, Audio):
        format_ = _FORMATS.get(part.media_type) or part.media_type.partition("/")[2]
        data = base64.b64encode(part.data).decode("ascii")
        return {"type": "input_audio", "input_audio": {"data": data, "format": format_}}
    name = {"filename": part.name} if part.name else {}
    return {"type": "file", "file": {**name, "file_data": part.data_url}}
