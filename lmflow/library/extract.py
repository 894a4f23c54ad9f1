"""Extraction: one value of a type from a text."""

from __future__ import annotations

from typing import Any

from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature


def extract(
    kind: Any, instruction: str = "", *, name: str = "extract", output: str = "data"
) -> Predict:
    """Make a step ``text -> data`` that extracts a value of a type from a text.

    Cost: 1 call, and 1 more if the reply isn't of the type and is asked for again with the problem;
    then it is a ``ParseFailure``, so no output has another type.

    Args:
        kind: The type of the value: a frozen attrs class, a list of them.
        instruction: What to extract; by default what the text says.
        name: The step's name.
        output: The output's name.

    Returns:
        A plain step that replies in JSON. Constrain it by ``lf.constrain``, and give it
        demonstrations by its parameters.

    Raises:
        BadSignature: A model can't write the type.
    """
    text = (
        instruction
        or "Extract what the text says, as JSON of the given form. Leave out what it doesn't say."
    )
    fields = (Field(name="text"),), (Field(name=output, type=kind),)
    return predict(name, Signature(*fields), text, adapter="json")
