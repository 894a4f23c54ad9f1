"""The JSON adapter: a reply is one JSON object with all outputs.

Endpoints that support schemas are held to the schema of the object.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import Unreadable, check_answered, collect_outputs, in_order, output_names
from lmflow.adapters.json_outputs import outputs_in, read_json_value
from lmflow.adapters.markers import marked_sections, trim
from lmflow.adapters.thinking import without_thinking
from lmflow.signatures.parsing import interpret
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import candidates
from lmflow.values.record import Record, pretty


def _form(signature: Signature) -> str:
    return f"Reply with only a JSON object: {signature.sketch}"


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    names = [field.name for field in signature.outputs if field.name in values]
    return pretty({name: in_order(values[name]) for name in names})


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    reply = without_thinking(text, whole=whole, outputs=output_names(signature))
    check_answered(text, reply)
    try:
        values = outputs_in(signature, candidates(reply, whole=whole))
    except Unreadable:
        raise
    except ValueError as problem:
        return _read_without_json(signature, reply, str(problem), whole)
    return collect_outputs(signature, values, read_json_value)


def _read_without_json(
    signature: Signature,
    text: str,
    problem: str,
    whole: bool,  # noqa: FBT001
) -> Record:
    """Read a reply without JSON: marked sections, or the whole reply as the only output."""
    names = [field.name for field in signature.outputs]
    texts = marked_sections(text, names)
    if not texts and len(names) == 1 and text.strip() and "{" not in text:
        texts = {names[0]: trim(text)}
    if not texts:
        raise Unreadable(problem)
    return collect_outputs(signature, texts, functools.partial(interpret, whole=whole))


def _schema(signature: Signature) -> Record:
    return signature.schema


JSON = Adapter("json", _form, answer=_answer, read=_read, schema=_schema, shipped=True)
