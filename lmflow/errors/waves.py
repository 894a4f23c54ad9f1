"""Errors of batch lanes."""

from __future__ import annotations

import attrs

from lmflow.errors.words import LmflowError


@attrs.frozen(eq=False)
class WaveStopped(LmflowError):
    """A wave of batched requests can't go out, or can't be waited for any longer.

    The error ends the run, and no flow can catch it. What was submitted stays at the provider;
    a resumed run finds it again.
    """

    lane: str
    problem: str
    fix: str

    template = "the batch lane {lane}: {problem}. {fix}"
