"""The outputs that a step asks for, as its parameters describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.programs.decisions import OUTPUTS
from lmflow.programs.environment import Env
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field
from lmflow.signatures.signature import Signature


def described_signature(step: Predict, params: Env | Mapping[str, Any]) -> Signature:
    """Return the signature that a model is asked for: the step's own, with the descriptions of
    outputs that the parameter ``outputs`` replaces.
    """
    signature = step.signature.for_model
    texts = params.get(f"{step.name}.{OUTPUTS}")
    if not texts:
        return signature
    outputs = tuple(_described(field, texts) for field in signature.outputs)
    return Signature(signature.inputs, outputs)


def _described(field: Field, texts: Mapping[str, str]) -> Field:
    if field.name not in texts:
        return field
    return attrs.evolve(field, description=texts[field.name])
