"""Extraction: one value of a type from a text."""

from __future__ import annotations

from typing import Any

from lmflow.programs.factories import predict
from lmflow.programs.program import Predict
from lmflow.signatures.signature import Field, Signature


def extract(
    kind: Any, instruction: str = "", *, name: str = "extract", output: str = "data"
) -> Predict:
    """``text -> data``: what a text says, as a value of the type ``kind``: a frozen attrs class, a
    list of them.

    Cost: 1 call, and 1 more where the reply isn't of that type and is asked for again with what was
    wrong; then it is a ``ParseFailure``, so there is no output that isn't of the type. It is a
    plain step, ``extract``: give it constraints by ``lf.constrain``, demonstrations by its
    parameters.
    """
    text = (
        instruction
        or "Extract what the text says, as JSON of the given form. Leave out what it doesn't say."
    )
    fields = (Field(name="text"),), (Field(name=output, type=kind),)
    return predict(name, Signature(*fields), text, adapter="json")
