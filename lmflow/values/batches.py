"""Sequences in batches: ``toolz.partition_all`` with types that both type checkers follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in slices of ``size``, the last one shorter if they don't divide evenly."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
