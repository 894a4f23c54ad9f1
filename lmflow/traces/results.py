"""What executions are begun for and what they come to: plans, failures, and the hash of it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from lmflow.traces.addresses import in_lost_branch
from lmflow.traces.json_form import read_json, record_of_json
from lmflow.values.canonical_text import hash_text, text_form
from lmflow.values.json_fields import JsonFields
from lmflow.values.record import Record, canonical
from lmflow.values.unicode import well_formed

RunKind = Literal[
    "run", "serve", "map", "what_if", "fork", "evaluate", "optimize", "test", "import", "wave"
]


@attrs.frozen
class Failed(JsonFields):
    """The failure of an execution: the class name of the error and its text."""

    json_fields = ("kind", "text")

    kind: str
    text: str

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Failed:
        """Make the failure from the JSON values of ``to_dict``. ``ForeignFile`` if they are not."""
        return read_json("failure", data, lambda fields: cls(**fields))


@attrs.frozen
class PlannedExecution(JsonFields):
    """An execution that a run was started for: all that is needed to start it again.

    Args:
        label: The execution's label in the run.
        inputs: The inputs, by name.
        version: The id of the version.
        sample: The number of the sample.
    """

    json_fields = ("label", "inputs", "version", "sample")

    label: str
    inputs: Record
    version: str
    sample: int = 0

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlannedExecution:
        """Make the plan from the JSON values of ``to_dict``. ``ForeignFile`` if they are not."""
        return read_json(
            "planned execution",
            data,
            lambda fields: cls(**{**fields, "inputs": record_of_json(fields["inputs"])}),
        )


def root_of(
    calls: Iterable[Any], choices: Mapping[str, Any], outputs: Record | None, failure: Failed | None
) -> str:
    """Return the Merkle root of an execution.

    Calls in branches that lost a ``first`` are left out: how far they got before they were stopped
    depends on timing, and the same execution would have another root each time.
    """
    counted = [call for call in calls if not (choices and in_lost_branch(call.address, choices))]
    leaves = sorted([(call.address, _leaf(call)) for call in counted])
    pairs = ",".join([f'[{text_form(address)},"{leaf}"]' for address, leaf in leaves])
    failed_with = None if failure is None else {"kind": failure.kind, "text": failure.text}
    form = (
        f'{{"calls":[{pairs}],"choices":{canonical(choices)},'
        f'"failure":{canonical(failed_with)},"outputs":{canonical(outputs)}}}'
    )
    return hash_text("trace", form)


def _leaf(call: Any) -> str:
    """Return the hash of a call: of its address, its key and what it was answered."""
    answer = call.outcome.content_form
    return hash_text("leaf", f"[{text_form(call.address)},{text_form(call.key)},{answer}]")


def failed(error: BaseException) -> Failed:
    """Return an error as a trace records it: its words are valid Unicode, which views can show."""
    return Failed(type(error).__name__, well_formed(str(error)))
