"""What stands in a message as OpenAI's chats have it: a text, or parts where something is attached."""

from __future__ import annotations

import base64
from typing import Any

from lmflow.messages.messages import Message
from lmflow.values.media import Audio, Image, Media

_FORMATS = {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}


def content_of(message: Message) -> str | list[dict[str, Any]]:
    """The content of a message, whose attached content is sent as base64 and URLs of pictures as
    they are.

    ``NoContent`` where content isn't here, and for URLs of sounds and files, which have no such
    part.
    """
    if not message.attached:
        return message.content
    return [
        _media(part) if isinstance(part, Media) else {"type": "text", "text": part}
        for part in message.parts
    ]


def _media(media: Media) -> dict[str, Any]:
    if isinstance(media, Image):
        return {"type": "image_url", "image_url": {"url": media.url or media.data_url}}
    if isinstance(media, Audio):
        form = _FORMATS.get(media.media_type) or media.media_type.partition("/")[2]
        data = base64.b64encode(media.data).decode("ascii")
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    named = {"filename": media.name} if media.name else {}
    return {"type": "file", "file": {**named, "file_data": media.data_url}}
