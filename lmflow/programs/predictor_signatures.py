"""Checks of the signatures of steps that ask a model."""

from __future__ import annotations

from lmflow.errors import BadSignature
from lmflow.signatures.fields import holds_media, places_media, type_text
from lmflow.signatures.signature import Signature


def check_predictor(signature: Signature) -> None:
    """Raise ``BadSignature`` if no model can be asked for the outputs, or shown the inputs."""
    _check_overlap(signature)
    _check_media(signature)


def _check_overlap(signature: Signature) -> None:
    """Raise ``BadSignature`` if a step both reads and writes a field."""
    inputs = {field.name for field in signature.inputs}
    both = [field.name for field in signature.outputs if field.name in inputs]
    if both:
        text = f"a step can't both read and write {min(both)!r}"
        raise BadSignature(str(signature), text, "Give the output a name of its own.")


def _check_media(signature: Signature) -> None:
    """Raise ``BadSignature`` if a model would have to write media, or can't be given them."""
    _ = signature.for_model
    for field in signature.outputs:
        if holds_media(field.type):
            text = f"no model can write {field.name!r}, {type_text(field.type)}"
            fix = "A reply is text: let a tool make it, or name it by a text."
            raise BadSignature(str(signature), text, fix)
    for field in signature.inputs:
        if not places_media(field.type):
            text = f"{field.name!r} holds a picture, sound or file within an object"
            raise BadSignature(
                str(signature), text, "Give it a field of its own, or a list of them."
            )
