"""Lists as trees: rows whose names are paths, below the frames that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any


def with_frames(
    rows: Iterable[Mapping[str, Any]], path_of: Callable[[Mapping[str, Any]], str]
) -> Iterator[dict[str, Any]]:
    """Yield rows in their order, each below the frames of its path: ``round[0]/cand[1]/ex[e1]``.

    A frame is ``{"frame", "depth", "path"}``, a row ``{"leaf", "depth", "item"}``.
    """
    open_frames: Sequence[str] = ()
    for row in rows:
        *frames, leaf = path_of(row).split("/")
        shared = _shared(open_frames, frames)
        for depth in range(shared, len(frames)):
            yield {"frame": frames[depth], "depth": depth, "path": "/".join(frames[: depth + 1])}
        open_frames = frames
        yield {"leaf": leaf, "depth": len(frames), "item": dict(row)}


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the frames that two paths have in common, from the outermost on."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
