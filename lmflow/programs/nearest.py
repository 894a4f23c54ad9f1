"""Demonstrations chosen for each input: a step that is shown those of its pool that are nearest to what it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from lmflow.program import Predict
from lmflow.values import Record


def nearest(step: Predict, k: int = 4, *, pool: Iterable[Mapping[str, Any]] = ()) -> Predict:
    """The same step with one more parameter, ``step.pool``: beside its own demonstrations it is shown the ``k`` of the
    pool that are nearest to its inputs, by BM25, the nearest last, never one of the very same inputs.

    The choice is a part of rendering, a pure function of pool and inputs: it costs no call, a replay chooses the same,
    ``lf.render`` shows it, and another pool changes only the calls whose neighbours differ. ``k`` belongs to the
    program, the pool to the version. ``ValueError`` where ``k`` is less than 1.

    Liu et al. 2022, arXiv 2101.06804, section 3; DSPy's ``KNNFewShot``, which bootstraps anew at each call.
    """
    if k < 1:
        msg = f"how many of the nearest? k is at least 1, found {k}"
        raise ValueError(msg)
    return attrs.evolve(step, nearest=k, pool=tuple(Record(demo) for demo in pool))
