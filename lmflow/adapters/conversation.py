"""The earlier turns of a conversation as messages, in the form that a step is asked in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmflow.adapters.base import Adapter, turn_of
from lmflow.adapters.truncation import Cut
from lmflow.messages.messages import Message
from lmflow.signatures.codec import convert
from lmflow.signatures.fields import holds_media
from lmflow.signatures.history import History, Turn
from lmflow.signatures.signature import Field, Signature
from lmflow.values.record import EMPTY


def earlier(
    adapter: Adapter,
    signature: Signature,
    inputs: Mapping[str, Any],
    cuts: Mapping[str, Cut] = EMPTY,
) -> tuple[tuple[Message, ...], str]:
    """The messages of the histories among a step's inputs, the oldest first; and what says that the
    newest were left out, which belongs above the next message.
    """
    if not signature.histories:
        return (), ""
    messages: list[Message] = []
    known = {field.name: field for field in signature.inputs if holds_media(field.type)}
    gone = ""
    for turn in _turns(signature, inputs, cuts):
        if isinstance(turn, str):
            gone = turn
            continue
        fields = tuple(known.get(name) or Field(name=name) for name in turn.inputs)
        messages += [
            turn_of(fields, turn.inputs, gone),
            Message("assistant", _answered(adapter, signature, turn)),
        ]
        gone = ""
    return tuple(messages), gone


def _turns(
    signature: Signature, inputs: Mapping[str, Any], cuts: Mapping[str, Cut]
) -> Iterator[Turn | str]:
    """The turns of the histories among the inputs, and what says that some were left out."""
    for field in signature.histories:
        if (history := inputs.get(field.name)) is not None:
            held = history if isinstance(history, History) else convert(history, History)
            yield from cuts[field.name].turns(held) if field.name in cuts else held.turns


def _answered(adapter: Adapter, signature: Signature, turn: Turn) -> str:
    """What the step would have replied; the turn's outputs as they are where it is one of another
    step.
    """
    if all(field.name in turn.outputs for field in signature.outputs if field.required):
        return adapter.answer(signature, turn.outputs)
    return adapter.answer(
        Signature((), tuple(Field(name=name, type=Any) for name in turn.outputs)), turn.outputs
    )
