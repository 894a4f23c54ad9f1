"""What a step would send, without sending it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.registry import choices_of, known
from lmflow.errors import near
from lmflow.interpreter.act import Act, messages_of
from lmflow.interpreter.predict import render as rendered
from lmflow.messages.messages import Message
from lmflow.programs.environment import Env
from lmflow.programs.program import Program, completed
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import Version


def render(  # noqa: PLR0913 - which step, and under what
    program: Program, inputs: Mapping[str, Any], version: Version | None = None, *, step: str = "", model: str = "",
    adapters: Mapping[str, str] = EMPTY,
) -> tuple[Message, ...]:  # fmt: skip
    """The exact messages that a step of the program would send for these inputs of the step.
    Nothing is called.

    ``step`` may be left out where the program has one predictor; ``model`` and ``adapters`` are
    those of the executor, where its adapters depend on models. Raises ``MissingInput``,
    ``UnknownInput``, ``KeyError`` for an unknown step.
    """
    found = program.predictors
    wanted = step or (next(iter(found)) if len(found) == 1 else "")
    if wanted not in found:
        msg = (
            f"which step? {program} has {', '.join(found)}.{near(wanted, found)} Name one, step=..."
        )
        raise KeyError(msg)
    leaf = found[wanted]
    params = completed(program, version)
    own = {f"{leaf.name}.{slot}": params[f"{wanted}.{slot}"] for slot in leaf.slots}
    given = leaf.signature.bind(wanted, inputs)
    under = Env(Record(own), adapters=choices_of(known(adapters), model))
    return (
        messages_of(leaf, under, given) if isinstance(leaf, Act) else rendered(leaf, under, given)
    )
