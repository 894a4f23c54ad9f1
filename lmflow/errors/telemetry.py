"""Errors of traces that are sent to other systems, or come from them."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


@attrs.frozen(eq=False)
class TelemetryError(LmflowError):
    """Traces can't be sent or read."""

    problem: str
    fix: str = ""

    template = "{problem}.{fix:spaced}"


@attrs.frozen(eq=False)
class ExportRefused(TelemetryError):
    """A server took no spans. The cursor stays where it was, so that the next export sends them."""


@attrs.frozen(eq=False)
class NotReplayable(TelemetryError):
    """A trace was imported: there is no program that could be run against its calls."""
