"""The step of an agent that asks a model what to call next.

Its parameter ``adapter`` chooses the form of calls: ``native`` function calling, or the text of a
``chat`` or ``json`` reply. Empty is native and, if the endpoint refuses functions, chat from there
on. The refused attempt is recorded, and each turn says in which form it was asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.chat import CHAT
from lmflow.adapters.structured import JSON
from lmflow.errors import UnknownAdapter
from lmflow.interpreter.tools import (
    CallForm,
    ToolDescription,
    ToolUse,
    Turn,
)
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

NATIVE: CallForm = "native"
TEXT: CallForm = "chat"
TRAJECTORY = "trajectory"


@attrs.frozen
class WrittenCall:
    """A call as the text of a reply holds it."""

    name: str
    arguments: dict[str, Any] = attrs.field(factory=dict)


_REPLY_FIELDS = (
    Field(
        name="thought", description="what you know by now and what to do next, briefly", default=""
    ),
    Field(
        name="calls",
        type=list[WrittenCall],
        default=(),
        description="the tools to call now, side by side; [] once you know enough",
    ),
)
_STATED_FIELDS = (_REPLY_FIELDS[0], Field(name="calls", type=list[WrittenCall]))
_OUTPUTS = (
    Field(name="thought"),
    Field(name="calls", type=tuple[ToolUse, ...]),
    Field(name="form", type=CallForm),
    Field(name="problem"),
)


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Act(Predict):
    """A predictor that returns the calls of tools to make next, none once the agent has ended.

    It reads the task's inputs and the ``trajectory``, of which it is shown the last ``keep`` turns,
    with observations cut to ``longest`` characters. The descriptions of the tools are a parameter,
    ``tools``: name -> description.
    """

    toolset: tuple[ToolDescription, ...] = ()
    keep: int | None = None
    longest: int = 0

    @property
    def identity(self) -> Any:
        """Name, the task's inputs, the tools' schemas, and how the trajectory is shortened."""
        inputs, _ = Signature(self.task, _REPLY_FIELDS).identity
        tools = [[tool.name, tool.parameters] for tool in self.toolset]
        return ["Act", self.name, inputs, tools, self.keep, self.longest]

    @property
    def slots(self) -> Mapping[str, Any]:
        """The parameters of a predictor, and the descriptions of the tools."""
        names = ("instruction", "demos", "options", "model", "adapter")
        slots: dict[str, Any] = {name: getattr(self, name) for name in names}
        slots["tools"] = Record({tool.name: tool.description for tool in self.toolset})
        return slots

    @functools.cached_property
    def reply_signature(self) -> Signature:
        """The signature of a reply in text: the inputs, then a thought and calls."""
        return Signature(self.signature.inputs, _REPLY_FIELDS)

    @functools.cached_property
    def stated_signature(self) -> Signature:
        """The signature of a reply in text that states its calls, were it that there are none."""
        return Signature(self.signature.inputs, _STATED_FIELDS)

    @property
    def task(self) -> tuple[Field, ...]:
        """The task's inputs."""
        return tuple(field for field in self.signature.inputs if field.name != TRAJECTORY)


def act_of(  # noqa: PLR0913 - what it is made of
    name: str,
    inputs: tuple[Field, ...],
    instruction: str,
    toolset: tuple[ToolDescription, ...],
    *,
    keep: int | None,
    longest: int,
    **defaults: Any,
) -> Act:
    """Make the step for a task with these inputs.

    ``defaults`` are those of a predictor: options, model, adapter, timeout.
    """
    trajectory = Field(name=TRAJECTORY, type=tuple[Turn, ...], default=())
    # The task comes last, so that it stands nearest to the model's reply.
    signature = Signature((trajectory, *inputs), _OUTPUTS)
    if (adapter := str(defaults.get("adapter") or "")) not in {"", NATIVE}:
        text_adapter(adapter)
    return Act(
        name=name,
        signature=signature,
        instruction=instruction,
        toolset=toolset,
        keep=keep,
        longest=longest,
        **defaults,
    )


def text_adapter(name: str) -> Adapter:
    """Find the adapter of a form of calls in text. ``UnknownAdapter`` lists the forms of calls."""
    for adapter in (CHAT, JSON):
        if adapter.name == name:
            return adapter
    raise UnknownAdapter(name, (NATIVE, CHAT.name, JSON.name))
