"""Says where the outputs are, if a trace or run is asked for them directly."""

from __future__ import annotations

from typing import Any

from lmflow.errors.missing_attributes import ExplainsAttributes, hint_of


class HasOutputs(ExplainsAttributes):
    """Base of traces and runs: it explains an attribute that is missing."""

    def _attribute_hint(self, name: str) -> str:
        fields = vars(self) if hasattr(self, "__dict__") else {}
        return _hint(type(self).__name__.lower(), name, fields) or hint_of(type(self), name)


def _hint(kind: str, name: str, fields: Any) -> str:
    """Return the line that reads an output; empty if nothing is known of the name."""
    if "items" in fields:
        traces = fields["items"]
        outputs = traces[0][1].outputs if traces else None
        if name == "outputs" or (outputs and name in outputs):
            tail = "" if name == "outputs" else f".{name}"
            return f". Its traces have outputs: {kind}.traces[0].outputs{tail}"
        return ""
    outputs, failure = fields.get("outputs"), fields.get("failure")
    if outputs and name in outputs:
        return f". It is an output: {kind}.outputs.{name}"
    if name in {"answer", "output", "result", "text", "content", "response", "completion"}:
        return f". The outputs are {kind}.outputs" + (f"; it failed: {failure}" if failure else "")
    return ""
