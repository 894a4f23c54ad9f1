"""Provider state of a turn: opaque data that a provider wants back with the turn's tool calls.

Gemini's thought signatures, DeepSeek's ``reasoning_content`` and Anthropic's signed thinking are
stored with the calls that they belong to, and sent back unchanged to the endpoint that gave them.
No other endpoint gets them: it couldn't check the signatures, and may refuse unknown fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.messages.messages import ToolCall

_NOTHING: Mapping[str, Any] = {}


def state_of(origin: str, **parts: Any) -> dict[str, Any] | None:
    """The state of a call that an endpoint gave, by the names of its parts; ``None`` if all parts
    are empty.
    """
    present = {name: part for name, part in parts.items() if part}
    return {"origin": origin, **present} if present else None


def state_part(call: ToolCall, origin: str, name: str) -> Any:
    """A part of a call's state, empty if another endpoint gave the state."""
    if call.state is None or call.state["origin"] != origin:
        return _NOTHING
    return call.state.get(name, _NOTHING)
