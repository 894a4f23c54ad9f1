"""Steps whose long inputs are shown shortened, by a stated policy."""

from __future__ import annotations

from typing import Any, Union

import attrs

from lmflow.adapters.truncation import Cut
from lmflow.errors.composing import BadSignature, UnknownInput
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field, is_history, origin_and_args, unwrap_annotated


def cut(step: Predict, /, **policies: Cut) -> Predict:
    """Show a step its long inputs shortened.

    Cutting is a part of rendering: a pure function of the inputs, whose marker says what was left
    out, so a replay cuts the same and ``lf.render`` shows it. The recorded inputs are whole, the
    recorded messages are what was sent. Texts are cut between words, lists of texts between items,
    histories between turns. The policies belong to the program and its key.

    Args:
        step: The step.
        policies: By input how much of it is shown: ``context=Cut(2000), history=Cut(4000,
            keep="tail")``.

    Returns:
        The step with the policies added to its own.

    Raises:
        UnknownInput: The step has no such input.
        BadSignature: The input is not a text, a list of texts or a history.
    """
    fields = {field.name: field for field in step.signature.inputs}
    for name in policies:
        if name not in fields:
            raise UnknownInput(step.name, name, tuple(fields))
        if not _can_be_cut(fields[name]):
            fix = (
                "Cut a text, a list of texts or a History; make any other shorter before the step."
            )
            raise BadSignature(str(step.signature), f"{name!r} can't be cut", fix)
    return attrs.evolve(step, cuts=step.cuts | policies)


def _can_be_cut(field: Field) -> bool:
    inner = unwrap_annotated(field.type)[0]
    if inner is str or is_history(field):
        return True
    origin, args = origin_and_args(inner)
    allowed: dict[Any, set[Any]] = {list: {str}, tuple: {str, ...}, Union: {str, type(None)}}
    return origin in allowed and set(args) <= allowed[origin]
