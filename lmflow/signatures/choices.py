"""Signatures that choose: one output among fixed values."""

from __future__ import annotations

import functools
from typing import Any, Literal

import attrs

from lmflow.signatures.fields import origin_and_args, unwrap_annotated
from lmflow.signatures.signature import Signature

TRUE, FALSE = "true", "false"
THRESHOLD, WEIGHTS = "threshold", "weights"
"""The slots by which a version may decide how a step that chooses reads its reply."""

_FORMS = {TRUE: ("true", "yes"), FALSE: ("false", "no")}
_FEWEST = 2


@attrs.frozen
class Choice:
    """The output by which a step chooses: its name, and its values as texts, in their order.

    The values of a ``bool`` are ``"true"`` and ``"false"``, in this order.
    """

    name: str
    labels: tuple[str, ...]
    is_bool: bool = False

    @property
    def has_threshold(self) -> bool:
        """Tell whether there are two values, so that a threshold decides between them."""
        return len(self.labels) == _FEWEST

    def label(self, value: Any) -> str:
        """Return the label of an output's value."""
        return (TRUE if value else FALSE) if self.is_bool else str(value)

    def value(self, label: str) -> Any:
        """Return the output's value for a label."""
        return label == TRUE if self.is_bool else label

    def forms(self, label: str) -> tuple[str, ...]:
        """Return the texts that a model writes for a label."""
        return _FORMS[label] if self.is_bool else (label,)


# A version is completed before each execution, so this is asked as often as anything runs.
@functools.lru_cache(maxsize=1024)
def choice_of(signature: Signature) -> Choice | None:
    """Return the choice of a signature; ``None`` unless exactly one output is a ``bool`` or a
    ``Literal`` of two texts or more.
    """
    found = [_choice(field.name, field.type) for field in signature.outputs]
    choices = [choice for choice in found if choice is not None]
    return choices[0] if len(choices) == 1 else None


def decision_slots(signature: Signature) -> tuple[str, ...]:
    """Return the slots of a signature's choice, which have no default: weights of its values, and a
    threshold if there are two.
    """
    choice = choice_of(signature)
    if choice is None:
        return ()
    return (THRESHOLD, WEIGHTS) if choice.has_threshold else (WEIGHTS,)


def _choice(name: str, kind: Any) -> Choice | None:
    bare, _, _ = unwrap_annotated(kind)
    if bare is bool:
        return Choice(name, (TRUE, FALSE), is_bool=True)
    origin, values = origin_and_args(bare)
    are_texts = all(isinstance(value, str) for value in values)
    if origin is Literal and are_texts and len(values) >= _FEWEST:
        return Choice(name, values)
    return None
