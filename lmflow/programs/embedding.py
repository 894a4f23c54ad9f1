"""Steps that ask an embedding model for vectors."""

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
"""The default embedding model of indexes and pools."""

MAX_TEXTS_PER_CALL = 64
"""Greatest number of texts in one call."""

_ONE = ("str", "->", "list[float]")
_MANY = ("list[str]", "->", "list[list[float]]")
_FIX = 'Write "text -> vector: list[float]", or "texts: list[str] -> vectors: list[list[float]]".'


@attrs.frozen(slots=False, cache_hash=True, repr=False)
class Embed(Step):
    """A step that asks an embedding model, which is the default of its only parameter."""

    model: str = ""
    timeout: float | None = None
    _kind = "model"

    @property
    def identity(self) -> Any:
        """Name and signature, without the model."""
        return ["Embed", self.name, self.signature.identity]

    @property
    def slots(self) -> Mapping[str, Any]:
        """The model, the only parameter."""
        return {"model": self.model}


def check_signature(signature: Signature) -> Signature:
    """Return the signature if it turns a text into a vector, or texts into vectors.

    ``BadSignature`` otherwise.
    """
    inputs = [type_text(field.type) for field in signature.inputs]
    outputs = [type_text(field.type) for field in signature.outputs]
    if (*inputs, "->", *outputs) not in {_ONE, _MANY}:
        problem = "an embedding step takes one text or a list of texts"
        raise BadSignature(str(signature), problem, _FIX)
    return signature


async def run_embed(step: Embed, env: Env, inputs: Record) -> Record:
    """Ask for the vectors of texts, in order, with one call for each 64 texts and none for none."""
    (value,), (field,) = inputs.values(), step.signature.outputs
    model = env[f"{step.name}.model"]
    if not model:
        fix = (
            'Name one: lf.embed(..., model="local/all-minilm-l6-v2"), '
            f"or the parameter {step.name}.model."
        )
        raise ModelUnavailable(
            "", f"the step {step.name} has none, and an executor's own is for chats", fix
        )
    texts = (value,) if isinstance(value, str) else value
    vectors: list[Vector] = []
    for start in range(0, len(texts), MAX_TEXTS_PER_CALL):
        batch = texts[start : start + MAX_TEXTS_PER_CALL]
        reply = await Call(EmbedRequest(batch, model), timeout=step.timeout)
        _check_count(model, batch, reply.vectors)
        vectors += reply.vectors
    return Record({field.name: vectors[0] if isinstance(value, str) else tuple(vectors)})


def _check_count(model: str, texts: tuple[str, ...], vectors: tuple[Vector, ...]) -> None:
    if len(texts) != len(vectors):
        problem = f"{model} gave {len(vectors)} vectors for {len(texts)} texts"
        raise ModelFailed("bad_reply", problem)
