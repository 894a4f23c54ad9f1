"""The environment from which steps read parameters, and overlays that change it for one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from lmflow.adapters.registry import NO_ADAPTER_RULES, AdapterRules
from lmflow.programs.effects import SAMPLES
from lmflow.values.record import Record

T = TypeVar("T")


@attrs.frozen
class AppendedText:
    """In an overlay: a text put below the parameter's own text, instead of replacing it."""

    text: str


def overlay_values(params: Mapping[str, Any], overlay: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve an overlay's values: each ``AppendedText`` joins the text in ``params``."""
    return {path: _overlay_value(params, path, value) for path, value in overlay.items()}


def _overlay_value(params: Mapping[str, Any], path: str, value: Any) -> Any:
    if not isinstance(value, AppendedText):
        return value
    return "\n\n".join(part for part in (params[path], value.text) if part)


@attrs.frozen
class Env:
    """The parameters that a frame sees: all of them, and the prefix of those of its own steps.

    ``sample`` is the sample number of the frame's requests; each sample within a sample has a
    number of its own. ``memo`` holds values derived from the parameters, shared by all executions
    under them. ``adapters`` choose the adapter of steps that name none.
    """

    params: Record
    prefix: str = ""
    sample: int = 0
    memo: dict[Any, Any] = attrs.field(factory=dict, eq=False, repr=False)
    adapters: AdapterRules = NO_ADAPTER_RULES

    def __getitem__(self, path: str) -> Any:
        return self.params[self.prefix + path]

    def get(self, path: str) -> Any:
        """Return a parameter that a version may lack; ``None`` if it does."""
        return self.params.get(self.prefix + path)

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Compute a value derived from these parameters, once per key."""
        prefixed = (self.prefix, key)
        value: T | None = self.memo.get(prefixed)
        if value is None:
            value = self.memo[prefixed] = make()
        return value

    def under(self, prefix: str, overlay: Mapping[str, Any], sample: int | None = None) -> Env:
        """Make the environment of a frame with a name, an overlay or a sample.

        The paths of the overlay are those of the program that runs in the frame.
        """
        if not prefix and not overlay and sample is None:
            return self
        changed = {self.prefix + path: value for path, value in overlay.items()}
        params = self.params | overlay_values(self.params, changed) if changed else self.params
        number = self.sample if sample is None else self.sample * SAMPLES + sample
        memo = {} if changed else self.memo
        return Env(params, self.prefix + prefix, number, memo, self.adapters)
