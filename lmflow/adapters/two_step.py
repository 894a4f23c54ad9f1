"""The two-step adapter: the model answers in free text, then a second call extracts the outputs.

Reasoning models answer worse if they are held to a form (Tam et al. 2024, arXiv 2408.02442). The
second call may ask another, smaller model, and is recorded, replayed and paid like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter, Extraction
from lmflow.adapters.base import text_for_model
from lmflow.adapters.chat import CHAT
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record

NAME = "two_step"


def two_step(model: str = "") -> Adapter:
    """Make the adapter of two calls: a free answer, then the extraction of the outputs from it.

    Args:
        model: ``provider/model`` that extracts; empty for the model that answers.

    Returns:
        An adapter. Its name, ``two_step`` or ``two_step:provider/model``, is what versions and
        recordings hold.

    Example:
        >>> two_step("openai/MODEL").ref
        'two_step:openai/MODEL'
    """
    return Adapter(
        f"{NAME}:{model}" if model else NAME,
        _form,
        answer=_answer,
        read=_read,
        partial=_nothing,
        extraction=Extraction(CHAT, model),
        shipped=True,
    )


def extraction_model(ref: str) -> str:
    """The model that extracts, by the name of an adapter; empty if it is that of the step."""
    kind, _, model = ref.partition(":")
    return model if kind == NAME else ""


def _form(signature: Signature) -> str:
    """What the answer must hold, in no form: nothing for one text, which any answer is."""
    if signature.is_single_text and not signature.hints[0]:
        return ""
    wanted = [
        f"{field.name.replace('_', ' ')} ({hint})" if hint else field.name.replace("_", " ")
        for field, hint in zip(signature.outputs, signature.hints, strict=True)
    ]
    return f"Answer freely, and state: {'; '.join(wanted)}."


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    present = [field.name for field in signature.outputs if field.name in values]
    if len(signature.outputs) == 1:
        return text_for_model(values[present[0]])
    return "\n\n".join(f"{name}: {text_for_model(values[name])}" for name in present)


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    return CHAT.read(signature, text, whole)


def _nothing(_: Signature, __: str) -> Mapping[str, str]:
    """A free answer holds no output yet."""
    return {}


TWO_STEP = two_step()
