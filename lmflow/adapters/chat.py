"""The chat adapter: a reply is the only output itself, or several outputs in marked sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.base import (
    Adapter,
    Unreadable,
    collect_outputs,
    sections,
    text_for_model,
    without_thinking,
)
from lmflow.adapters.markers import labelled_sections, marked_sections, text_before_markers
from lmflow.signatures.fields import nullable, unwrap_annotated
from lmflow.signatures.parsing import coerce, interpret
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import load
from lmflow.values.record import Record

_CUE = "Reply with the sections "


def _form(signature: Signature) -> str:
    hints = signature.hints
    if len(hints) == 1:
        return f"Reply with only {hints[0]}." if hints[0] else ""
    shown_form = (
        f"[[{field.name}]]\n{description or '...'}"
        for field, description in zip(signature.outputs, hints, strict=True)
    )
    return "\n".join(["Reply in this form:", *shown_form])


def _cue(signature: Signature) -> str:
    marks = [f"[[{field.name}]]" for field in signature.outputs]
    return f"{_CUE}{', then '.join(marks)}." if len(marks) > 1 else ""


def without_cue(text: str) -> str:
    """Remove the adapter's cue from the end of a user's message."""
    inputs, cue, _ = text.rpartition(f"\n\n{_CUE}")
    return inputs if cue else text


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    if len(signature.outputs) == 1:
        return text_for_model(values[signature.outputs[0].name])
    return sections(signature.outputs, values)


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    text = without_thinking(text)
    if signature.is_single_text and "[[" not in text and "{" not in text:
        return collect_outputs(signature, {signature.outputs[0].name: text.strip()}, _unchanged)
    fields = _json_fields(signature, text)
    if fields:
        return collect_outputs(signature, fields, coerce)

    def read_section(section: str, kind: Any) -> Any:
        if not section and unwrap_annotated(kind)[0] is not str and not nullable(kind):
            msg = "it is empty"
            raise Unreadable(msg)
        return interpret(section, kind, whole=whole)

    return collect_outputs(signature, _output_texts(signature, text), read_section)


def _unchanged(text: str, _: Any) -> str:
    return text


def _output_texts(signature: Signature, text: str) -> dict[str, str]:
    """Find the text of each output: its section, else its label, else the reply if it is the only
    output.
    """
    names = [field.name for field in signature.outputs]
    inputs = [field.name for field in signature.inputs]
    texts = marked_sections(text, names, inputs)
    if not texts and not signature.is_single_text:
        texts = labelled_sections(text, names)
    if not texts and len(names) == 1:
        texts = {names[0]: text_before_markers(text, inputs)}
    return texts


def _json_fields(signature: Signature, text: str) -> dict[str, Any]:
    """Read the outputs of a reply that is one JSON object with all of them and nothing else.

    Some models reply in JSON though sections were asked for.
    """
    if "{" not in text or not text.rstrip("` \n").endswith("}") or text.lstrip()[:1] not in "{`":
        return {}
    try:
        value = load(text)
    except ValueError:
        return {}
    names = {field.name for field in signature.outputs}
    required = {field.name for field in signature.outputs if field.required}
    return value if isinstance(value, dict) and required <= value.keys() <= names else {}


def _no_schema(_: Signature) -> None:
    """Ask for no schema, since sections have none."""


CHAT = Adapter("chat", _form, _cue, _answer, _read, _no_schema)
