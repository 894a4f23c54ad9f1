"""Examples that a job is given, and how often each of them is executed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from lmflow.programs.effects import Pending

Rows = Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]
"""Examples, which may come from a generator that reads them as they are needed."""


def sampled(pending: Pending, label: str, samples: int) -> list[tuple[Pending, str]]:
    """Repeat a pending call ``samples`` times, each with a sample number and a label of its own."""
    check_samples(samples)
    if samples == 1:
        return [(pending, label)]
    return [(pending.sampled(k), f"{label}/n[{k}]") for k in range(samples)]


def check_samples(samples: int) -> None:
    """Raise ``ValueError`` if the number of samples is less than 1."""
    if samples < 1:
        msg = f"samples must be at least 1, found {samples}"
        raise ValueError(msg)
