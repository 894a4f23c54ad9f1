"""Values as bars of text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def histogram(values: Sequence[float], bins: int = 10, width: int = 40) -> str:
    """Values as bars, a line a bin from the least to the greatest (at least 0 to 1); each bin but the last excludes its
    upper end.
    """
    if not values:
        return "no scores"
    low, high = min(0.0, *values), max(1.0, *values)
    certain = all(value in {0.0, 1.0} for value in values)
    bins = 2 if certain else bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / (high - low) * bins))] += 1
    edges = [low + (high - low) * at / bins for at in range(bins + 1)]
    names = ["0", "1"] if certain else [f"{a:.2f} to {b:.2f}" for a, b in itertools.pairwise(edges)]
    wide = max(map(len, names))
    return "\n".join(
        _bar(name.rjust(wide), count, width / max(counts)) for name, count in zip(names, counts, strict=True)
    )


def _bar(name: str, count: int, unit: float) -> str:
    return " ".join(part for part in (f"{name} ", "█" * round(unit * count), str(count)) if part)
