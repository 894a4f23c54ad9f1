"""The chat adapter: one output is the bare reply, several stand in marked sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.base import Adapter, Unreadable, gathered, sections, shown, spoken
from lmflow.adapters.markers import labelled, marked, unmarked
from lmflow.signatures.fields import nullable, peeled
from lmflow.signatures.parsing import loosened, meant
from lmflow.signatures.signature import Signature
from lmflow.values.json_text import load
from lmflow.values.record import Record

_CUE = "Reply with the sections "


def _form(signature: Signature) -> str:
    hints = signature.hints
    if len(hints) == 1:
        return f"Reply with only {hints[0]}." if hints[0] else ""
    shown_form = (
        f"[[{field.name}]]\n{said or '...'}"
        for field, said in zip(signature.outputs, hints, strict=True)
    )
    return "\n".join(["Reply in this form:", *shown_form])


def _cue(signature: Signature) -> str:
    marks = [f"[[{field.name}]]" for field in signature.outputs]
    return f"{_CUE}{', then '.join(marks)}." if len(marks) > 1 else ""


def uncued(text: str) -> str:
    """What was asked without the cue below it."""
    asked, cue, _ = text.rpartition(f"\n\n{_CUE}")
    return asked if cue else text


def _answer(signature: Signature, values: Mapping[str, Any]) -> str:
    only = signature.outputs[0].name
    return (
        shown(values[only]) if len(signature.outputs) == 1 else sections(signature.outputs, values)
    )


def _read(signature: Signature, text: str, whole: bool) -> Record:  # noqa: FBT001 - the shape of Adapter.read
    text = spoken(text)
    if signature.bare and "[[" not in text and "{" not in text:
        return gathered(signature, {signature.outputs[0].name: text.strip()}, _as_it_is)
    fields = _json_fields(signature, text)
    if fields:
        return gathered(signature, fields, loosened)

    def one(found: str, kind: Any) -> Any:
        if not found and peeled(kind)[0] is not str and not nullable(kind):
            msg = "it is empty"
            raise Unreadable(msg)
        return meant(found, kind, whole=whole)

    return gathered(signature, _found(signature, text), one)


def _as_it_is(found: str, _: Any) -> str:
    return found


def _found(signature: Signature, text: str) -> dict[str, str]:
    """The text of each output: marked, else labelled, else the whole reply where there is one
    output.
    """
    names, inputs = (
        [field.name for field in signature.outputs],
        [field.name for field in signature.inputs],
    )
    found = marked(text, names, inputs) or ({} if signature.bare else labelled(text, names))
    return found or ({names[0]: unmarked(text, inputs)} if len(names) == 1 else {})


def _json_fields(signature: Signature, text: str) -> dict[str, Any]:
    """The outputs where the whole reply is a JSON object of just these, though sections were asked
    for.
    """
    if "{" not in text or not text.rstrip("` \n").endswith("}") or text.lstrip()[:1] not in "{`":
        return {}
    try:
        value = load(text)
    except ValueError:
        return {}
    needed = {field.name for field in signature.outputs if field.required}
    known = {field.name for field in signature.outputs}
    return value if isinstance(value, dict) and needed <= value.keys() <= known else {}


def _no_schema(_: Signature) -> None:
    """Sections have no schema."""


CHAT = Adapter("chat", _form, _cue, _answer, _read, _no_schema)
