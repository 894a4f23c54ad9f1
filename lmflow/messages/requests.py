"""Requests to models and tools, with the keys that identify them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, get_args

import attrs

from lmflow.messages.messages import Message, message_text
from lmflow.values.attributes import lean
from lmflow.values.canonical_text import hash_text, text_form
from lmflow.values.kept_forms import kept_form
from lmflow.values.record import Record, canonical, digest, pretty, record
from lmflow.values.unicode import well_formed

ToolMode = Literal["cached", "pure", "live"]
"""How a tool's recorded answers may be used beyond exact replay and resume.

``cached``: for the same request at the same address. ``pure``: for the same request at any address
and in every sample, since the answer depends on the inputs alone. ``live``: never; the tool is
called each time.
"""

CACHED: Final = "cached"
PURE: Final = "pure"
LIVE: Final = "live"
MODES: tuple[ToolMode, ...] = get_args(ToolMode)


@attrs.frozen
class ChatRequest:
    """One call of a language model, as it is keyed and recorded.

    Args:
        messages: The turns of the chat.
        model: ``provider/model``, or empty for the executor's own model.
        endpoint: The server that is called; the executor fills it in.
        options: Decoding options by their wire names (``temperature``, ``max_tokens``, ``stop``,
            ``seed``).
        tools: The tools that the model may call (name, description, parameters as JSON schema).
        schema: The JSON schema that the reply must fit, sent if the endpoint takes one.
        sample: The number of an intended repeat, sent only as an offset to ``seed``.
    """

    messages: tuple[Message, ...]
    model: str = ""
    endpoint: str = ""
    options: Record = attrs.field(factory=Record, converter=record)
    tools: tuple[Record, ...] = ()
    schema: Record | None = None
    sample: int = 0

    @property
    def key(self) -> str:
        """The digest of all fields. API keys, timeouts and client ids aren't part of a request."""
        return hash_text("chat", self.form)

    # Each call writes this form once, so it is written field by field, in the order of the fields'
    # names: of the general encoder's work only the parts that differ between calls remain.
    @property
    def form(self) -> str:
        """The canonical form of the fields that differ from their defaults."""
        messages = ",".join([message.form for message in self.messages])
        parts = [f'"messages":[{messages}]']
        if self.endpoint:
            parts.insert(0, f'"endpoint":{text_form(self.endpoint)}')
        if self.model:
            parts.append(f'"model":{text_form(self.model)}')
        if self.options:
            parts.append(f'"options":{kept_form(self.options)}')
        if self.sample:
            parts.append(f'"sample":{canonical(self.sample)}')
        if self.schema is not None:
            parts.append(f'"schema":{kept_form(self.schema)}')
        if self.tools:
            parts.append(f'"tools":[{",".join(map(kept_form, self.tools))}]')
        return f"{{{','.join(parts)}}}"

    @property
    def attaches(self) -> bool:
        """Tell whether a message has a picture, sound or file attached."""
        return any(message.attached for message in self.messages)

    def to(self, model: str, endpoint: str) -> ChatRequest:
        """Return the request for another model and endpoint."""
        return ChatRequest(
            self.messages, model, endpoint, self.options, self.tools, self.schema, self.sample
        )

    def __str__(self) -> str:
        head = [
            f"model: {self.model}@{self.endpoint}",
            f"options: {pretty(self.options)}",
            f"sample: {self.sample}",
        ]
        head += [f"tool: {pretty(tool)}" for tool in self.tools]
        head += [f"schema: {pretty(self.schema)}"] if self.schema is not None else []
        return "\n".join([*head, *map(message_text, self.messages)])


def _well_formed(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(well_formed, texts))


@attrs.frozen
class EmbedRequest:
    """One call of an embedding model, which gives a vector for each text."""

    texts: tuple[str, ...] = attrs.field(converter=_well_formed)
    model: str = ""
    endpoint: str = ""

    @property
    def key(self) -> str:
        """The digest of all fields."""
        return digest("embed", lean(self))

    def to(self, model: str, endpoint: str) -> EmbedRequest:
        """Return the request for another model and endpoint."""
        return EmbedRequest(self.texts, model, endpoint)

    def __str__(self) -> str:
        return "\n".join(
            [f"model: {self.model}@{self.endpoint}", *(f"text: {text}" for text in self.texts)]
        )


@attrs.frozen
class ToolRequest:
    """One call of a tool.

    Args:
        tool: The tool's name.
        identity: The identity of its function: a hash of its source, a version or its owner's
            digest.
        inputs: The arguments by name.
        sample: The number of an intended repeat.
        mode: How the tool's recorded answers may be used. It isn't part of the request, so it is
            neither keyed nor recorded.
    """

    tool: str
    identity: str
    inputs: Record
    sample: int = 0
    mode: ToolMode = attrs.field(default=CACHED, eq=False)

    @property
    def key(self) -> str:
        """The digest of all fields but ``mode``."""
        return digest("tool", lean(self))

    def __str__(self) -> str:
        inputs = pretty(self.inputs)
        return f"tool: {self.tool} ({self.identity})\ninputs: {inputs}\nsample: {self.sample}"


ModelRequest = ChatRequest | EmbedRequest


Request = ChatRequest | EmbedRequest | ToolRequest
