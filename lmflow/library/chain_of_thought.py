"""Chain of thought: a step that reasons before it answers (Wei et al. 2022, arXiv 2201.11903)."""

from __future__ import annotations

import attrs

from lmflow.programs.program import Predict, check_step
from lmflow.signatures.signature import Field


def chain_of_thought(step: Predict, *, name: str = "reasoning") -> Predict:
    """The same step with one more text output before the others, to think in. Its parameter paths
    stay.
    """
    check_step(step)
    field = Field(name=name, description="think step by step, briefly")
    return attrs.evolve(step, signature=step.signature.prepending(field))
