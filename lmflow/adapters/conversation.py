"""Writes the earlier turns of a conversation as messages, in the form of the step's adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import in_class_order, user_message
from lmflow.adapters.truncation import Cut
from lmflow.messages.messages import Message
from lmflow.signatures.codec import convert
from lmflow.signatures.fields import Field, holds_media
from lmflow.signatures.history import History, Turn
from lmflow.signatures.signature import Signature
from lmflow.values.record import EMPTY


def history_messages(
    adapter: Adapter,
    signature: Signature,
    inputs: Mapping[str, Any],
    cuts: Mapping[str, Cut] = EMPTY,
) -> tuple[tuple[Message, ...], str]:
    """Write the messages of the histories among a step's inputs, the oldest first.

    Returns the messages, and a note that the newest turns were left out, which belongs above the
    next message (empty if none were).
    """
    if not signature.histories:
        return (), ""
    messages: list[Message] = []
    media_fields = {field.name: field for field in signature.inputs if holds_media(field.type)}
    # A store keeps the fields of a turn sorted by name: they are shown in the order of the step's.
    order = {field.name: place for place, field in enumerate(signature.inputs)}
    note = ""
    for turn in _turns(signature, inputs, cuts):
        if isinstance(turn, str):
            note = turn
            continue
        names = sorted(turn.inputs, key=lambda name: (order.get(name, len(order)), name))
        fields = tuple(media_fields.get(name) or Field(name=name) for name in names)
        messages += [
            user_message(fields, in_class_order(signature, turn.inputs), note, marks=adapter.marks),
            Message("assistant", _reply(adapter, signature, turn)),
        ]
        note = ""
    return tuple(messages), note


def _turns(
    signature: Signature, inputs: Mapping[str, Any], cuts: Mapping[str, Cut]
) -> Iterator[Turn | str]:
    """List the turns of the histories among the inputs; a note stands in place of omitted ones."""
    for field in signature.histories:
        value = inputs.get(field.name)
        if value is not None:
            history = value if isinstance(value, History) else convert(value, History)
            yield from cuts[field.name].turns(history) if field.name in cuts else history.turns


def _reply(adapter: Adapter, signature: Signature, turn: Turn) -> str:
    """Write a turn's outputs as the step's reply; a turn of another step has fields of its own."""
    if all(field.name in turn.outputs for field in signature.outputs if field.required):
        names = [field.name for field in signature.outputs]
        return adapter.answer(signature, in_class_order(signature, turn.outputs.only(*names)))
    own_outputs = tuple(Field(name=name, type=Any) for name in sorted(turn.outputs))
    return adapter.answer(Signature((), own_outputs), turn.outputs)
