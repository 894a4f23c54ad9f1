"""What a reply carries beside its text, as types of outputs that no model is asked to write."""

from __future__ import annotations

from typing import Any, NewType, get_args

Reasoning = NewType("Reasoning", str)
"""An output that is what the provider shows of the model's thinking; empty where it shows none."""

Confidence = NewType("Confidence", float)
"""An output that says how probable the model found its own reply, from 0 to 1, by the logprobs that came with it."""

BESIDE: tuple[Any, ...] = (Reasoning, Confidence)


def beside(kind: Any) -> Any:
    """Which of these a field's type is, ``None`` for none; ``Annotated`` and ``Optional`` are looked through."""
    if kind in BESIDE:
        return kind
    args = [arg for arg in get_args(kind) if arg is not type(None)]
    return beside(args[0]) if len(args) == 1 or hasattr(kind, "__metadata__") else None
