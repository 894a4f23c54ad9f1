"""Requests to models and tools, with the keys that identify them."""

from __future__ import annotations

import attrs

from lmflow.messages.messages import Message, _shown
from lmflow.values.attributes import lean
from lmflow.values.record import Record, digest, pretty, record

CACHED, PURE, LIVE = "cached", "pure", "live"
MODES = (CACHED, PURE, LIVE)
"""How a tool's recorded answers may be used beyond exact replay and resume.

``cached``: at their own address, where the same is asked again. ``pure``: also anywhere else that
asks the same, and for every sample, since the answer depends on the inputs alone. ``live``:
nowhere, the tool is always asked anew.
"""


@attrs.frozen
class ChatRequest:
    """One call of a language model, as it is keyed and recorded.

    ``model`` is ``provider/model`` or empty (the executor's own model); ``endpoint`` is filled in
    by the executor. ``options`` are decoding options by their wire names (``temperature``,
    ``max_tokens``, ``stop``, ``seed``). ``tools`` are what the model may call (name, description,
    parameters as JSON schema); ``schema`` is the JSON schema that the reply must fit, sent where
    the endpoint takes one. ``sample`` tells intended repeats apart; it is sent only as an offset to
    ``seed``.
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
        """The hash of everything that was asked for: no key, timeout or client id."""
        return digest(
            "chat", lean(self) | {"messages": [message.form for message in self.messages]}
        )

    @property
    def attaches(self) -> bool:
        """Whether a picture, sound or file is among its messages."""
        return any(message.attached for message in self.messages)

    def to(self, model: str, endpoint: str) -> ChatRequest:
        """The same, asked of that model there."""
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
        return "\n".join([*head, *(_shown(message) for message in self.messages)])


@attrs.frozen
class EmbedRequest:
    """One call of an embedding model: a vector is asked for each text."""

    texts: tuple[str, ...]
    model: str = ""
    endpoint: str = ""

    @property
    def key(self) -> str:
        """The hash of everything that was asked for."""
        return digest("embed", lean(self))

    def to(self, model: str, endpoint: str) -> EmbedRequest:
        """The same, asked of that model there."""
        return EmbedRequest(self.texts, model, endpoint)

    def __str__(self) -> str:
        return "\n".join(
            [f"model: {self.model}@{self.endpoint}", *(f"text: {text}" for text in self.texts)]
        )


@attrs.frozen
class ToolRequest:
    """One call of a tool. ``identity`` says what its function does (source, version or owner's
    digest).

    ``mode`` is how the tool's recorded answers may be used: no part of what is asked, so neither
    keyed nor kept.
    """

    tool: str
    identity: str
    inputs: Record
    sample: int = 0
    mode: str = attrs.field(default=CACHED, eq=False)

    @property
    def key(self) -> str:
        """The hash of the tool's identity and its inputs."""
        return digest("tool", lean(self))

    def __str__(self) -> str:
        return f"tool: {self.tool} ({self.identity})\ninputs: {pretty(self.inputs)}\nsample: {self.sample}"


ModelRequest = ChatRequest | EmbedRequest


Request = ChatRequest | EmbedRequest | ToolRequest
