"""Whether a version is better than the start, by all examples on which both were scored."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

CAUTION = 1.28
"""Standard deviations by which a version must be better: nine in ten of a normal belief."""

_EFFECT_SD = 0.08  # prior standard deviation of a version's true difference from the start
_VARIANCE, _VARIANCE_WEIGHT = 0.25, 6  # of differences, and the pairs that this guess is worth


@attrs.frozen
class Verdict:
    """What paired differences say of a version's true difference from the start.

    Attributes:
        difference: The expected difference.
        deviation: Its standard deviation.
        held: The mean difference on held-back examples, ``None`` without any.
        rows: The number of pairs.
        visible: The smallest mean difference that so many pairs would have shown.
    """

    difference: float
    deviation: float
    held: float | None
    rows: int
    visible: float

    @property
    def is_better(self) -> bool:
        """True if the version is better by more than caution asks for, and not worse on held-back
        examples.
        """
        confirmed = self.held is not None and self.held >= 0
        return confirmed and self.difference > max(0.0, CAUTION * self.deviation)

    def __str__(self) -> str:
        held = "" if self.held is None else f", {self.held:+.3f} on the held-back ones"
        return (
            f"expected to differ from the start by {self.difference:+.3f} ± {self.deviation:.3f} on"
            f" {self.rows} examples with both scores{held}; a difference of {self.visible:.3f}"
            " could be seen"
        )


def judge_differences(differences: Sequence[float], held: Sequence[float]) -> Verdict:
    """Judge a version by its differences from the start, those on held-back examples among them.

    The true difference is normal around 0 before anything is seen, so it is shrunk to the start:
    that makes up for the luck by which the best of many candidates was chosen, as long as true
    differences are of that size (Efron 2011, Tweedie's formula and selection bias, section 4).
    """
    rows = len(differences)
    if not rows:
        return Verdict(0.0, _EFFECT_SD, None, 0, math.inf)
    # Few equal differences do not prove that all are equal, so a guess counts for some pairs.
    mean = statistics.fmean(differences)
    squares = math.fsum((value - mean) ** 2 for value in differences)
    variance = (squares + _VARIANCE_WEIGHT * _VARIANCE) / (rows - 1 + _VARIANCE_WEIGHT)
    noise, prior = variance / rows, _EFFECT_SD**2
    share = prior / (prior + noise)
    deviation = math.sqrt(share * noise)
    return Verdict(
        share * mean,
        deviation,
        statistics.fmean(held) if held else None,
        rows,
        CAUTION * deviation / share,
    )
