"""The environment that a step reads its parameters from, and overlays that change it for one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from lmflow.adapters.registry import NO_CHOICES, Choices
from lmflow.values.record import Record
from lmflow.versions.version import SAMPLES, T


@attrs.frozen
class Added:
    """In an overlay: a text that stands below the parameter's own, whatever that is, instead of
    replacing it.
    """

    text: str


def overlaid(params: Mapping[str, Any], overlay: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values that an overlay gives its paths: ``Added`` texts below those that ``params`` has."""
    return {
        path: "\n\n".join(part for part in (params[path], value.text) if part)
        if isinstance(value, Added)
        else value
        for path, value in overlay.items()
    }


@attrs.frozen
class Env:
    """The parameters that a frame sees: all of them, and the prefix under which its steps look
    theirs up.

    ``sample`` is what its requests carry; samples within samples are numbers of their own. ``made``
    holds what was made of the parameters once, for all executions under them. ``adapters`` are for
    steps that don't say theirs.
    """

    params: Record
    prefix: str = ""
    sample: int = 0
    made: dict[Any, Any] = attrs.field(factory=dict, eq=False, repr=False)
    adapters: Choices = NO_CHOICES

    def __getitem__(self, path: str) -> Any:
        return self.params[self.prefix + path]

    def once(self, what: Any, make: Callable[[], T]) -> T:
        """What ``make`` makes of these parameters for ``what``; it is made once."""
        at = (self.prefix, what)
        if (found := self.made.get(at)) is None:
            found = self.made[at] = make()
        known: T = found
        return known

    def under(self, prefix: str, overlay: Mapping[str, Any], sample: int | None = None) -> Env:
        """The environment of a frame that is renamed, overlaid or sampled; overlay paths are those
        of the program in it.
        """
        if not prefix and not overlay and sample is None:
            return self
        changed = {self.prefix + path: value for path, value in overlay.items()}
        params = self.params | overlaid(self.params, changed) if changed else self.params
        number = self.sample if sample is None else self.sample * SAMPLES + sample
        return Env(
            params, self.prefix + prefix, number, {} if changed else self.made, self.adapters
        )
