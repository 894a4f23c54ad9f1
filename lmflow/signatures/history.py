"""Earlier turns of a conversation, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.values.record import Record


@attrs.frozen
class Turn:
    """What was asked and what was answered, by field. ``ValueError`` where one of the two is empty."""

    inputs: Record = attrs.field(converter=Record)
    outputs: Record = attrs.field(converter=Record)

    def __attrs_post_init__(self) -> None:
        for name, side in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not side:
                msg = (
                    f"a turn of a history has no {name}: History().then(inputs, outputs) takes both"
                )
                raise ValueError(msg)


@attrs.frozen
class History:
    """The earlier turns of a conversation, the oldest first: an input that models read as earlier
    messages.

    ``"history: History = {}, question -> answer"``; what a step is asked next is
    ``history.then(trace.inputs, trace.outputs)``.
    """

    turns: tuple[Turn, ...] = ()

    def __len__(self) -> int:
        return len(self.turns)

    def then(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> History:
        """The history with one more turn. Histories among the inputs are left out, since they are
        told already, also as a store holds them.
        """
        asked = {name: value for name, value in inputs.items() if not _is_history(value)}
        return History((*self.turns, Turn(asked, outputs)))

    def last(self, n: int) -> History:
        """The newest ``n`` turns. ``ValueError`` where ``n`` is negative."""
        if n < 0:
            msg = f"how many of the newest turns? n is at least 0, found {n}"
            raise ValueError(msg)
        return History(self.turns[-n:] if n else ())


def _is_history(value: Any) -> bool:
    """A history, or the JSON object that is stored of one."""
    if not isinstance(value, Mapping):
        return isinstance(value, History)
    turns = value.get("turns") if value.keys() == {"turns"} else None
    return isinstance(turns, (list, tuple)) and all(
        isinstance(turn, Mapping) and turn.keys() == {"inputs", "outputs"} for turn in turns
    )
