"""The random choices of optimizers, seeded by what they depend on."""

from __future__ import annotations

import random
from typing import Any

from lmflow.values.record import digest
from lmflow.versions.version import Version


def randomness(start: Version, name: str, *step: Any) -> random.Random:
    """Make the random generator of one step of an optimizer.

    The seed is a hash of the start version, the optimizer and the step. A generator that is shared
    between steps would make each draw depend on how many were made before it, so a plan that
    skips a step, or is resumed, would propose other candidates.
    """
    seed = int(digest("randomness", [start.id, name, *step])[6:], 16)
    return random.Random(seed)  # noqa: S311 - no secret
