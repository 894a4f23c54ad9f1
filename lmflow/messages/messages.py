"""The turns of a chat, with the tool calls and media in them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from lmflow.values.attributes import LEAN, lean
from lmflow.values.canonical_text import Form, text_form
from lmflow.values.media import Media, media_of
from lmflow.values.record import canonical, freeze
from lmflow.values.unicode import well_formed

Role = Literal["system", "user", "assistant", "tool"]


@attrs.frozen
class ToolCall:
    """A call of a tool that a model requests.

    Args:
        name: The tool's name.
        arguments: The arguments as the model wrote them: JSON, if the model made no mistake.
        id: ``call_0``, ``call_1`` and so on by position, whatever id the provider gave, so that
            equal conversations have equal keys.
        state: Opaque data that the provider wants back with the call, such as a signature.
    """

    name: str = attrs.field(converter=well_formed)
    arguments: str = attrs.field(converter=well_formed)
    id: str = "call_0"
    state: Any = attrs.field(default=None, converter=freeze, eq=False, metadata=LEAN)


@attrs.frozen
class Attached:
    """A picture, sound or file in a message, before the character ``at`` of its text."""

    at: int
    media: Media


@attrs.frozen
class Message:
    """One turn of a chat.

    Args:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: The text of the turn.
        calls: The tool calls that an assistant requests.
        answers: The id of the call that a tool's turn answers.
        attached: Pictures, sounds and files, in the order of their places in the text.
    """

    role: Role
    content: str = attrs.field(converter=well_formed)
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    attached: tuple[Attached, ...] = ()

    @property
    def parts(self) -> tuple[str | Media, ...]:
        """The pieces of the text and the media between them, in order; no part is empty."""
        if not self.attached:
            return (self.content,) if self.content else ()
        parts: list[str | Media] = []
        start = 0
        for attached in self.attached:
            parts += [self.content[start : attached.at], attached.media]
            start = attached.at
        parts.append(self.content[start:])
        return tuple(part for part in parts if part)

    @property
    def readable(self) -> str:
        """The message as people read it: the text, with media by their names, without content."""
        return "".join(map(str, self.parts)) if self.attached else self.content

    @property
    def form(self) -> Form:
        """The canonical form of the fields that differ from their defaults."""
        return self._form

    # Requests share their first messages, and each message is written twice: in its request's key
    # and in the store. The cache is no field, so it is neither compared nor pickled, and libraries
    # that walk over what an object holds leave out what begins with an underscore.
    @functools.cached_property
    def _form(self) -> Form:
        if self.calls or self.answers or self.attached:
            return Form(canonical(lean(self)))
        # Nearly every message is a role and a content: its form is written without sorting fields.
        return Form(f'{{"content":{text_form(self.content)},"role":{text_form(self.role)}}}')


def message_of(data: Mapping[str, Any]) -> Message:
    """The message that was stored as JSON values, with or without the fields at their defaults."""
    fields = dict(data)
    fields["calls"] = tuple(ToolCall(**call) for call in data.get("calls", ()))
    fields["attached"] = tuple(map(_attached_of, data.get("attached", ())))
    return Message(**fields)


def message_text(message: Message) -> str:
    """The message in the text of a request: role, content, calls."""
    answers = f" {message.answers}" if message.answers else ""
    calls = "".join(f"\n{call.id}: {call.name}({call.arguments})" for call in message.calls)
    return f"[{message.role}{answers}]\n{message.readable}{calls}"


def _attached_of(data: Mapping[str, Any]) -> Attached:
    media = data["media"]
    return Attached(data["at"], media if isinstance(media, Media) else media_of(media))
