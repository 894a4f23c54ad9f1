"""Earlier turns of a conversation, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors.options import HISTORY_OPTIONS, explains_constructor
from lmflow.values.record import Record


@attrs.frozen
class Turn:
    """One exchange: a step's inputs and outputs, by field.

    ``ValueError`` if one side is empty.
    """

    inputs: Record = attrs.field(converter=Record)
    outputs: Record = attrs.field(converter=Record)

    def __attrs_post_init__(self) -> None:
        for name, side in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not side:
                msg = (
                    f"a turn of a history has no {name}: History().then(inputs, outputs) takes both"
                )
                raise ValueError(msg)


@explains_constructor(HISTORY_OPTIONS)
@attrs.frozen
class History:
    """The earlier turns of a conversation, the oldest first.

    A step with an input of this type (``"history: History = {}, question -> answer"``) sends the
    turns as earlier messages.

    Args:
        turns: The turns, the oldest first.

    Example:
        >>> len(History().then({"question": "1 + 1?"}, {"answer": "2"}))
        1
    """

    turns: tuple[Turn, ...] = ()

    def __len__(self) -> int:
        return len(self.turns)

    def then(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> History:
        """Append a turn: ``history.then(trace.inputs, trace.outputs)`` continues a conversation.

        Args:
            inputs: The inputs of the step. Histories among them, typed or as stored JSON, are
                dropped, since this history holds their turns already.
            outputs: The outputs of the step.

        Returns:
            A new history with one more turn.

        Raises:
            ValueError: ``inputs`` (without histories) or ``outputs`` is empty.
        """
        own_inputs = {name: value for name, value in inputs.items() if not _is_history(value)}
        return History((*self.turns, Turn(own_inputs, outputs)))

    def last(self, n: int) -> History:
        """Keep only the newest turns.

        Args:
            n: How many turns to keep.

        Returns:
            A history of at most ``n`` turns.

        Raises:
            ValueError: ``n`` is negative.
        """
        if n < 0:
            msg = f"how many of the newest turns? n is at least 0, found {n}"
            raise ValueError(msg)
        return History(self.turns[-n:] if n else ())


def _is_history(value: Any) -> bool:
    """Tell whether a value is a history, or the JSON object that a store holds of one."""
    if not isinstance(value, Mapping):
        return isinstance(value, History)
    turns = value.get("turns") if value.keys() == {"turns"} else None
    return isinstance(turns, (list, tuple)) and all(
        isinstance(turn, Mapping) and turn.keys() == {"inputs", "outputs"} for turn in turns
    )
