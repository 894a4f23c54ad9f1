"""The JSON adapter: all outputs are one JSON object, which an endpoint that takes a schema is held
to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.base import Adapter, Unreadable, gathered, spoken
from lmflow.adapters.markers import marked
from lmflow.signatures.parsing import loosened, meant
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import candidates
from lmflow.values.record import Record, pretty


def _form(signature: Signature) -> str:
    return f"Reply with only a JSON object: {signature.sketch}"


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    return pretty(
        {field.name: values[field.name] for field in signature.outputs if field.name in values}
    )


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    text = spoken(text)
    try:
        return gathered(signature, _fields(signature, text, whole), loosened)
    except _NoJson as problem:
        return _read_otherwise(signature, text, str(problem))


class _NoJson(ValueError):
    """There is no JSON in the reply."""


def _fields(signature: Signature, text: str, whole: bool) -> dict[str, Any]:  # noqa: FBT001
    """The first object with one of the outputs; else the first value, where it can be the one
    output.
    """
    names = {field.name for field in signature.outputs}
    values = []
    try:
        for value in candidates(text, whole=whole):
            if isinstance(value, dict) and names & value.keys():
                return {name: held for name, held in value.items() if name in names}
            values.append(value)
    except ValueError as problem:
        if not values:
            raise _NoJson(str(problem)) from None
    if len(names) == 1:
        return {next(iter(names)): values[0]}
    return {}


def _read_otherwise(signature: Signature, text: str, problem: str) -> Record:
    """The outputs of a reply without JSON, in marked sections or, where there is one, bare."""
    names = [field.name for field in signature.outputs]
    found = marked(text, names)
    if not found and len(names) == 1 and text.strip() and "{" not in text:
        found = {names[0]: text.strip()}
    if not found:
        raise Unreadable(problem)
    return gathered(signature, found, meant)


def _schema(signature: Signature) -> Record:
    return signature.schema


def _no_cue(_: Signature) -> str:
    """The form suffices."""
    return ""


JSON = Adapter("json", _form, _no_cue, _answer, _read, _schema)
