"""Takes what waits for the writer thread of a store."""

from __future__ import annotations

import contextlib
import queue
from typing import TypeVar

Batch = TypeVar("Batch")


def with_queued(
    first: Batch | None, waiting: queue.SimpleQueue[Batch | None], most: int
) -> tuple[list[Batch], bool]:
    """Take the batches that are queued now, behind one that was taken.

    Args:
        first: The one that was taken; ``None`` is the end of the queue.
        waiting: The queue.
        most: The most batches to return.

    Returns:
        The batches, and whether more may come.
    """
    if first is None:
        return [], False
    batches = [first]
    with contextlib.suppress(queue.Empty):
        while len(batches) < most:
            batch = waiting.get_nowait()
            if batch is None:
                return batches, False
            batches.append(batch)
    return batches, True
