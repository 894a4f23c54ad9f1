"""Chain of thought: a step that reasons before it answers (Wei et al. 2022, arXiv 2201.11903)."""

from __future__ import annotations

import attrs

from lmflow.errors.options import STEP_OPTIONS, explains_options
from lmflow.library.checks import check_step
from lmflow.programs.program import Predict
from lmflow.programs.reasoning import STEP_BY_STEP
from lmflow.signatures.fields import Field


@explains_options(STEP_OPTIONS)
def chain_of_thought(step: Predict, *, name: str = "reasoning") -> Predict:
    """Let a step reason before it answers: add a text output before its others.

    Cost: no further call; the reasoning costs its tokens.

    Args:
        step: The step; the paths of its parameters stay.
        name: The name of the output to add.

    Returns:
        The step with the further output.

    Raises:
        TypeError: ``step`` is not a predictor.
        BadSignature: The step already has a field of that name.
    """
    check_step(step)
    field = Field(name=name, description=STEP_BY_STEP)
    return attrs.evolve(step, signature=step.signature.prepending(field))
