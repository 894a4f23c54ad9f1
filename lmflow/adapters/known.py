"""The adapters that there are, by name."""

from __future__ import annotations

from lmflow.adapters.base import Adapter
from lmflow.adapters.chat import CHAT
from lmflow.adapters.structured import JSON
from lmflow.errors import UnknownAdapter

ADAPTER = "adapters/2"
"""The version of what is rendered, kept with every trace: it changes when any message does."""

ADAPTERS: tuple[Adapter, ...] = (CHAT, JSON)


def adapter_of(name: str, others: tuple[str, ...] = ()) -> Adapter:
    """The adapter of that name, chat for none. ``UnknownAdapter`` names the known ones, and what else there may be."""
    found = next((adapter for adapter in ADAPTERS if adapter.name == (name or CHAT.name)), None)
    if found is None:
        raise UnknownAdapter(name, (*others, *(adapter.name for adapter in ADAPTERS)))
    return found
