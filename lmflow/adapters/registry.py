"""The adapters by name, and rules that choose one for a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import attrs

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.chat import CHAT
from lmflow.adapters.structured import JSON
from lmflow.adapters.two_step import TWO_STEP, two_step
from lmflow.adapters.xml import XML
from lmflow.errors import UnknownAdapter, check_kind

ADAPTER = "adapters/5"
"""The version of all messages, recorded with every trace: it changes when any message does."""

ADAPTERS: tuple[Adapter, ...] = (CHAT, JSON, XML, TWO_STEP)

AnyAdapter = str | Adapter
"""An adapter, or the name of one of lmflow's own."""


@attrs.frozen
class AdapterRules:
    """Rules that choose an adapter by the model's name, if neither a parameter nor the step does.

    ``pairs`` hold a pattern of a model's name, as a step names the model, and an adapter's name:
    the first that matches counts. The name "" is the executor's own model. ``known`` are the
    adapters that aren't lmflow's own, which names are looked up in.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    known: tuple[Adapter, ...] = attrs.field(default=(), eq=False)

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


def check_adapters(adapters: Mapping[str, AnyAdapter]) -> Mapping[str, AnyAdapter]:
    """Return the mapping if all its adapters exist, else raise ``UnknownAdapter``."""
    for adapter in adapters.values():
        adapter_of(adapter, known=own_adapters(adapters))
    return dict(adapters)


def own_adapters(adapters: Mapping[str, AnyAdapter] | Iterable[Any]) -> tuple[Adapter, ...]:
    """The adapters among values that are given as values, not by name."""
    values = adapters.values() if isinstance(adapters, Mapping) else adapters
    return tuple(value for value in values if isinstance(value, Adapter))


def adapter_rules(adapters: Mapping[str, AnyAdapter], own: str = "") -> AdapterRules:
    """Make rules of a mapping such as ``{"anthropic/*": "json"}``, in its order.

    ``own`` is the name of the executor's own model, which steps that name no model ask.
    """
    pairs = tuple((pattern, str(adapter)) for pattern, adapter in adapters.items())
    if not pairs:
        return NO_ADAPTER_RULES
    known = own_adapters(adapters)
    own_adapter = AdapterRules(pairs).of(own) if own else ""
    return AdapterRules((("", own_adapter), *pairs) if own_adapter else pairs, known)


def recorded_adapter_rules(
    world: Mapping[str, Any], known: tuple[Adapter, ...] = ()
) -> AdapterRules:
    """Read the rules of a recording; ``known`` are adapters that its names may stand for."""
    pairs = world.get("adapters", ())
    if not pairs and not known:
        return NO_ADAPTER_RULES
    recorded = tuple((str(pattern), str(adapter)) for pattern, adapter in pairs)
    return AdapterRules(recorded, known)


def adapter_of(
    name: AnyAdapter, others: tuple[str, ...] = (), known: Iterable[Adapter] = ()
) -> Adapter:
    """Find an adapter by name; an empty name is chat, and an adapter is returned as it is.

    ``known`` are adapters that aren't lmflow's own. ``UnknownAdapter`` lists all of them, and
    ``others``, the names that the caller takes besides.
    """
    if isinstance(name, Adapter):
        return name
    fix = 'It has a name, adapter="xml", or is made: lf.Adapter(...), lf.two_step(model).'
    check_kind("an adapter", name, str, fix)
    all_known = (*ADAPTERS, *known)
    for adapter in all_known:
        if adapter.ref == (name or CHAT.name):
            return adapter
    kind, colon, model = name.partition(":")
    if kind == TWO_STEP.name and colon:
        return two_step(model)
    raise UnknownAdapter(name, (*others, *dict.fromkeys(adapter.ref for adapter in all_known)))
