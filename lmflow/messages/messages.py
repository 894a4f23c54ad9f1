"""What is asked of the outside world and what it answers: requests, replies and failures, with
their keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.values.attributes import lean
from lmflow.values.canonical_text import Form, text_form
from lmflow.values.media import Media, media_of
from lmflow.values.record import canonical


@attrs.frozen
class ToolCall:
    """A call of a tool that a model asks for, ``arguments`` as the model wrote them.

    ``id`` is positional (``call_0``), whatever the provider's was, so that equal conversations have
    equal keys.
    """

    name: str
    arguments: str
    id: str = "call_0"


@attrs.frozen
class Attached:
    """A picture, sound or file in a message: it stands before the character ``at`` of the text."""

    at: int
    media: Media


@attrs.frozen
class Message:
    """One turn of a chat. ``role`` is system, user, assistant or tool.

    ``calls`` are what an assistant asked for; ``answers`` is the id of the call that a tool's turn
    answers; ``attached`` are pictures, sounds and files, in the order in which they stand in the
    text.
    """

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    attached: tuple[Attached, ...] = ()

    @property
    def parts(self) -> tuple[str | Media, ...]:
        """The text and what is attached to it, in order; no part is empty."""
        if not self.attached:
            return (self.content,) if self.content else ()
        ends = [attached.at for attached in self.attached]
        texts = [
            self.content[start:end] for start, end in zip([0, *ends], [*ends, None], strict=True)
        ]
        media: list[str | Media] = [*(attached.media for attached in self.attached), ""]
        pairs: Iterable[tuple[str | Media, str | Media]] = zip(texts, media, strict=True)
        return tuple(part for pair in pairs for part in pair if part)

    @property
    def told(self) -> str:
        """The message as people read it: the text, with what is attached by its name and not as its
        content.
        """
        return "".join(map(str, self.parts)) if self.attached else self.content

    @property
    def form(self) -> Form:
        """The canonical form of what isn't at its default. Most messages are a role and a content,
        written at once.
        """
        if self.calls or self.answers or self.attached:
            return Form(canonical(lean(self)))
        return Form(f'{{"content":{text_form(self.content)},"role":{text_form(self.role)}}}')


_DIGITS = 9  # what is made of logprobs is the same on every machine


def message_of(data: Mapping[str, Any]) -> Message:
    """The message that was stored as JSON values, ``lean`` or whole."""
    more = {"attached": tuple(map(_attached_of, data["attached"]))} if "attached" in data else {}
    return Message(
        **{**data, "calls": tuple(ToolCall(**call) for call in data.get("calls", ())), **more}
    )


def _attached_of(data: Mapping[str, Any]) -> Attached:
    media = data["media"]
    return Attached(data["at"], media if isinstance(media, Media) else media_of(media))


def _shown(message: Message) -> str:
    calls = "".join(f"\n{call.id}: {call.name}({call.arguments})" for call in message.calls)
    return (
        f"[{message.role}{f' {message.answers}' if message.answers else ''}]\n{message.told}{calls}"
    )
