"""Says where the outputs are, if a trace or run is asked for them directly."""

from __future__ import annotations

from typing import Any, NoReturn


class HasOutputs:
    """Base of traces and runs: it explains an attribute that is missing."""

    def __getattr__(self, name: str) -> NoReturn:
        kind, fields = type(self).__name__, vars(self) if hasattr(self, "__dict__") else {}
        msg = f"{kind!r} object has no attribute {name!r}"
        if not name.startswith("_"):
            msg += _hint(kind.lower(), name, fields)
        raise AttributeError(msg, name=name)


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
