"""The chat adapter: a reply is the only output itself, or several outputs in marked sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.adapter import Adapter
from lmflow.adapters.base import (
    Unreadable,
    check_answered,
    collect_outputs,
    output_names,
    sections,
    text_for_model,
)
from lmflow.adapters.fences import unfenced
from lmflow.adapters.json_outputs import opened, outputs_in, read_json_value
from lmflow.adapters.markers import (
    labelled_sections,
    marked_sections,
    only_section,
    text_before_markers,
    trim,
)
from lmflow.adapters.thinking import without_thinking
from lmflow.signatures.fields import nullable, unwrap_annotated
from lmflow.signatures.parsing import interpret
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import load, load_strict
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
    reply = without_thinking(text, whole=whole, outputs=output_names(signature))
    if reply is not text:
        check_answered(text, reply)
    if signature.is_single_text and "[[" not in reply and "{" not in reply:
        return collect_outputs(signature, {signature.outputs[0].name: trim(reply)}, _unchanged)
    values = _json_outputs(signature, reply, whole)
    if values:
        return collect_outputs(signature, values, read_json_value)

    def read_section(section: str, kind: Any) -> Any:
        if not section and unwrap_annotated(kind)[0] is not str and not nullable(kind):
            msg = "it is empty"
            raise Unreadable(msg)
        return interpret(section, kind, whole=whole)

    return collect_outputs(signature, _output_texts(signature, reply), read_section)


def _unchanged(text: str, _: Any) -> str:
    return text


def _output_texts(signature: Signature, text: str) -> dict[str, str]:
    """Find the text of each output: its section, else its label, else the reply if it is the only
    output.
    """
    names = [field.name for field in signature.outputs]
    inputs = [field.name for field in signature.inputs]
    if signature.is_free_text:
        return {names[0]: only_section(text, names[0])}
    texts = marked_sections(text, names, inputs) or labelled_sections(unfenced(text), names)
    if not texts and len(names) == 1:
        texts = {names[0]: text_before_markers(text, inputs)}
    return texts


def _json_outputs(signature: Signature, text: str, whole: bool) -> dict[str, Any]:  # noqa: FBT001
    """Read the outputs of a reply that is JSON with all of them and nothing else.

    Some models reply in JSON though sections were asked for. A text output may be JSON itself, so
    an object counts for it only if it has no other members.
    """
    value = _json_of(text, whole)
    if value is None:
        return {}
    names = set(output_names(signature))
    required = {field.name for field in signature.outputs if field.required}
    if signature.is_free_text:
        return value if isinstance(value, dict) and required <= value.keys() <= names else {}
    try:
        outputs = outputs_in(signature, [value])
    except Unreadable:
        return {}
    return outputs if required <= outputs.keys() else {}


def _json_of(text: str, whole: bool) -> dict[str, Any] | list[Any] | None:  # noqa: FBT001
    """The object or list that a reply is, bare, fenced or in a text; ``None`` if it is none."""
    first, last = text.lstrip()[:1], text.rstrip("` \n")[-1:]
    is_bare, is_quoted = first in "[{`" and last in "]}", first == last == '"'
    if "{" not in text or not (is_bare or is_quoted):
        return None
    try:
        # "[1] {" may begin a numbered list, so a list must be JSON as it stands.
        value = load(text, whole=whole) if first in "{`" else opened(load_strict(text))
    except ValueError:
        return None
    return value if isinstance(value, (dict, list)) else None


CHAT = Adapter("chat", _form, _cue, answer=_answer, read=_read, shipped=True)
