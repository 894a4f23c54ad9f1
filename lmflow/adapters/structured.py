"""The JSON adapter: a reply is one JSON object with all outputs.

Endpoints that support schemas are held to the schema of the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.base import Adapter, Unreadable, collect_outputs, without_thinking
from lmflow.adapters.markers import marked_sections
from lmflow.signatures.parsing import coerce, interpret
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import candidates
from lmflow.values.record import Record, pretty


def _form(signature: Signature) -> str:
    return f"Reply with only a JSON object: {signature.sketch}"


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    names = [field.name for field in signature.outputs if field.name in values]
    return pretty({name: values[name] for name in names})


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    text = without_thinking(text)
    try:
        return collect_outputs(signature, _fields(signature, text, whole), coerce)
    except _NoJson as problem:
        return _read_without_json(signature, text, str(problem))


class _NoJson(ValueError):
    """A reply holds no JSON."""


def _fields(signature: Signature, text: str, whole: bool) -> dict[str, Any]:  # noqa: FBT001
    """Find the first object with one of the outputs, else the first value as the only output."""
    names = {field.name for field in signature.outputs}
    values = []
    try:
        for value in candidates(text, whole=whole):
            if isinstance(value, dict) and names & value.keys():
                return {name: item for name, item in value.items() if name in names}
            values.append(value)
    except ValueError as problem:
        if not values:
            raise _NoJson(str(problem)) from None
    if len(names) == 1:
        return {next(iter(names)): values[0]}
    return {}


def _read_without_json(signature: Signature, text: str, problem: str) -> Record:
    """Read a reply without JSON: marked sections, or the whole reply as the only output."""
    names = [field.name for field in signature.outputs]
    texts = marked_sections(text, names)
    if not texts and len(names) == 1 and text.strip() and "{" not in text:
        texts = {names[0]: text.strip()}
    if not texts:
        raise Unreadable(problem)
    return collect_outputs(signature, texts, interpret)


def _schema(signature: Signature) -> Record:
    return signature.schema


def _no_cue(_: Signature) -> str:
    """Repeat nothing below the inputs, since the form suffices."""
    return ""


JSON = Adapter("json", _form, _no_cue, _answer, _read, _schema)
