"""Recipes: how weights are trained, as a value that identifies a job with its data and seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

_PLACES = {"rank", "epochs", "batch", "longest"}


@attrs.frozen(kw_only=True)
class Recipe:
    """How an adapter is trained.

    Args:
        rank: The rank of each module's adapter.
        alpha: The adapter is scaled by alpha / rank.
        rate: The highest learning rate.
        epochs: How often each chat is seen.
        batch: Chats a step.
        longest: The most tokens of a chat.
        bf16: Whether products are computed in bfloat16; it is slower on CPUs without units for it.

    Raises:
        ValueError: A number is out of range.
    """

    rank: int = 16
    alpha: float = 32.0
    rate: float = 1e-3
    epochs: int = 4
    batch: int = 8
    longest: int = 1024
    bf16: bool = False

    def __attrs_post_init__(self) -> None:
        for name in sorted(_PLACES):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                msg = f"a recipe's {name} must be a whole number of 1 or more, found {value!r}"
                raise ValueError(msg)
        for name in ("alpha", "rate"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                msg = f"a recipe's {name} must be a number above 0, found {value!r}"
                raise ValueError(msg)

    def steps(self, chats: int) -> int:
        """Return the number of steps on so many chats."""
        return max(1, math.ceil(chats * self.epochs / self.batch))

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return attrs.asdict(self)


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe of recorded JSON values."""
    return Recipe(**values)
