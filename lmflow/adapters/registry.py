"""The adapters that there are, by name."""

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
"""The version of what is rendered, kept with every trace: it changes when any message does."""

ADAPTERS: tuple[Adapter, ...] = (CHAT, JSON)


@attrs.frozen
class Choices:
    """Which adapter models are asked in where neither a parameter nor its step says so.

    Pairs of a pattern of a model's name, as a step names it, and an adapter's name: the first that
    fits counts. The name "" is the executor's own model.
    """

    pairs: tuple[tuple[str, str], ...] = ()

    def of(self, model: str) -> str:
        """The adapter for a model by its name, empty for none."""
        return next((adapter for pattern, adapter in self.pairs if fnmatchcase(model, pattern)), "")

    @property
    def given(self) -> dict[str, str]:
        """The mapping that says them, for another executor."""
        return {pattern: adapter for pattern, adapter in self.pairs if pattern}

    def to_json(self) -> list[list[str]]:
        """As a recording keeps it."""
        return [list(pair) for pair in self.pairs]


NO_CHOICES = Choices()


def known(adapters: Mapping[str, str]) -> Mapping[str, str]:
    """The mapping, if all its adapters are known. ``UnknownAdapter``."""
    for adapter in adapters.values():
        adapter_of(adapter)
    return dict(adapters)


def choices_of(adapters: Mapping[str, str], own: str = "") -> Choices:
    """The choices that a mapping says, ``{"anthropic/*": "json"}``, in its order, for an executor
    whose own model has that name.
    """
    pairs = tuple(adapters.items())
    mine = Choices(pairs).of(own) if own else ""
    return Choices((("", mine), *pairs) if mine else pairs) if pairs else NO_CHOICES


def choices_in(world: Mapping[str, Any]) -> Choices:
    """The choices that a recording was made with."""
    found = world.get("adapters", ())
    return (
        Choices(tuple((str(pattern), str(adapter)) for pattern, adapter in found))
        if found
        else NO_CHOICES
    )


def adapter_of(name: str, others: tuple[str, ...] = ()) -> Adapter:
    """The adapter of that name, chat for none. ``UnknownAdapter`` names the known ones, and what
    else there may be.
    """
    found = next((adapter for adapter in ADAPTERS if adapter.name == (name or CHAT.name)), None)
    if found is None:
        raise UnknownAdapter(name, (*others, *(adapter.name for adapter in ADAPTERS)))
    return found
