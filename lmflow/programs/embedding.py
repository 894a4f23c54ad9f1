"""A step that asks an embedding model for vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors import BadSignature, ModelFailed, ModelUnavailable
from lmflow.messages.requests import EmbedRequest
from lmflow.programs.effects import Call
from lmflow.programs.environment import Env
from lmflow.programs.program import Step
from lmflow.signatures.parsing import type_text
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record
from lmflow.values.vectors import Vector

MINILM = "local/all-minilm-l6-v2"
"""The embedding model of indexes and pools that name none."""

MOST = 64
"""How many texts one call asks for at most."""

_ONE, _MANY = ("str", "list[float]"), ("list[str]", "list[list[float]]")
_FIX = 'Write "text -> vector: list[float]", or "texts: list[str] -> vectors: list[list[float]]".'


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Embed(Step):
    """A step that asks an embedding model. The model is the default of its one parameter."""

    model: str = ""
    timeout: float | None = None

    @property
    def identity(self) -> Any:
        """Name and signature: the model is not in it."""
        return ["Embed", self.name, self.signature.identity]

    @property
    def slots(self) -> Mapping[str, Any]:
        """The model."""
        return {"model": self.model}


def check_signature(signature: Signature) -> Signature:
    """The signature, if it takes one text and gives a vector, or takes texts and gives vectors.
    ``BadSignature``.
    """
    kinds = tuple(
        tuple(type_text(field.type) for field in side)
        for side in (signature.inputs, signature.outputs)
    )
    if kinds not in {((given,), (made,)) for given, made in (_ONE, _MANY)}:
        raise BadSignature(
            str(signature), "an embedding step takes one text or a list of texts", _FIX
        )
    return signature


async def embedded(step: Embed, env: Env, inputs: Record) -> Record:
    """One call for each 64 texts, in order; the vector of each text. No text asks for nothing."""
    (given,), (field,) = inputs.values(), step.signature.outputs
    model = env[f"{step.name}.model"]
    if not model:
        fix = f'Name one: lf.embed(..., model="local/all-minilm-l6-v2"), or the parameter {step.name}.model.'
        raise ModelUnavailable(
            "", f"the step {step.name} has none, and an executor's own is for chats", fix
        )
    texts = (given,) if isinstance(given, str) else given
    found: list[Vector] = []
    for start in range(0, len(texts), MOST):
        asked = texts[start : start + MOST]
        reply = await Call(EmbedRequest(asked, model), timeout=step.timeout)
        found += _counted(model, asked, reply.vectors)
    return Record({field.name: found[0] if isinstance(given, str) else tuple(found)})


def _counted(model: str, texts: tuple[str, ...], vectors: tuple[Vector, ...]) -> tuple[Vector, ...]:
    if len(texts) != len(vectors):
        raise ModelFailed(
            "bad_reply", f"{model} gave {len(vectors)} vectors for {len(texts)} texts"
        )
    return vectors
