"""The adapters by name, and rules that choose one for a model."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import attrs

from lmflow.adapters.base import Adapter
from lmflow.adapters.chat import CHAT
from lmflow.adapters.structured import JSON
from lmflow.errors import UnknownAdapter

ADAPTER = "adapters/4"
"""The version of all messages, recorded with every trace: it changes when any message does."""

ADAPTERS: tuple[Adapter, ...] = (CHAT, JSON)


@attrs.frozen
class AdapterRules:
    """Rules that choose an adapter by the model's name, if neither a parameter nor the step does.

    ``pairs`` hold a pattern of a model's name, as a step names the model, and an adapter's name:
    the first that matches counts. The name "" is the executor's own model.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    def of(self, model: str) -> str:
        """Find the adapter for a model by the model's name; empty if no rule matches."""
        return next((adapter for pattern, adapter in self.pairs if fnmatchcase(model, pattern)), "")

    @property
    def as_mapping(self) -> dict[str, str]:
        """The mapping that another executor takes to follow the same rules."""
        return {pattern: adapter for pattern, adapter in self.pairs if pattern}

    def to_json(self) -> list[list[str]]:
        """The rules as a recording holds them."""
        return [list(pair) for pair in self.pairs]


NO_ADAPTER_RULES = AdapterRules()


def check_adapters(adapters: Mapping[str, str]) -> Mapping[str, str]:
    """Return the mapping if all its adapters exist, else raise ``UnknownAdapter``."""
    for adapter in adapters.values():
        adapter_of(adapter)
    return dict(adapters)


def adapter_rules(adapters: Mapping[str, str], own: str = "") -> AdapterRules:
    """Make rules of a mapping such as ``{"anthropic/*": "json"}``, in its order.

    ``own`` is the name of the executor's own model, which steps that name no model ask.
    """
    pairs = tuple(adapters.items())
    if not pairs:
        return NO_ADAPTER_RULES
    own_adapter = AdapterRules(pairs).of(own) if own else ""
    return AdapterRules((("", own_adapter), *pairs) if own_adapter else pairs)


def recorded_adapter_rules(world: Mapping[str, Any]) -> AdapterRules:
    """Read the rules under which a recording was made."""
    pairs = world.get("adapters", ())
    if not pairs:
        return NO_ADAPTER_RULES
    return AdapterRules(tuple((str(pattern), str(adapter)) for pattern, adapter in pairs))


def adapter_of(name: str, others: tuple[str, ...] = ()) -> Adapter:
    """Find an adapter by name; an empty name is chat.

    ``UnknownAdapter`` lists the adapters, and ``others``, the names that the caller takes besides.
    """
    for adapter in ADAPTERS:
        if adapter.name == (name or CHAT.name):
            return adapter
    raise UnknownAdapter(name, (*others, *(adapter.name for adapter in ADAPTERS)))
