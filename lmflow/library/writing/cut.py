"""Steps whose long inputs are shortened by a stated policy."""

from __future__ import annotations

from typing import Any, Union

import attrs

from lmflow.adapters.truncation import Cut
from lmflow.errors import BadSignature, UnknownInput
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field, is_history, parts, peeled


def cut(step: Predict, /, **policies: Cut) -> Predict:
    """The same step, shown its long inputs shortened: ``cut(step, context=Cut(2000),
    history=Cut(4000, keep="tail"))``.

    Cutting is a part of rendering: a pure function of the inputs, whose marker says what was left
    out, so a replay cuts the same and ``lf.render`` shows it. The recorded inputs are whole, the
    recorded messages are what was sent. Texts are cut between words, lists of texts between items,
    histories between turns; at most what ``Cut`` says is shown of each. The policies belong to the
    program and its key. ``UnknownInput`` or ``BadSignature`` where there is no such input, or one
    that is none of the three.
    """
    known = {field.name: field for field in step.signature.inputs}
    for name in policies:
        if name not in known:
            raise UnknownInput(step.name, name, tuple(known))
        if not _cuttable(known[name]):
            fix = (
                "Cut a text, a list of texts or a History; make any other shorter before the step."
            )
            raise BadSignature(str(step.signature), f"{name!r} can't be cut", fix)
    return attrs.evolve(step, cuts=step.cuts | policies)


def _cuttable(field: Field) -> bool:
    inner = peeled(field.type)[0]
    origin, args = parts(inner)
    many: dict[Any, set[Any]] = {list: {str}, tuple: {str, ...}, Union: {str, type(None)}}
    return inner is str or is_history(field) or (origin in many and set(args) <= many[origin])
