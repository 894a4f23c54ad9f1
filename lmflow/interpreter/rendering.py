"""Renders the messages of a step without sending them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.adapters.registry import AnyAdapter, adapter_rules, check_adapters
from lmflow.errors import near
from lmflow.errors.options import RENDER_OPTIONS, explains_options
from lmflow.interpreter.act import Act
from lmflow.interpreter.act_messages import act_messages
from lmflow.interpreter.predict import predict_messages
from lmflow.messages.messages import Message
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Program
from lmflow.values.record import EMPTY, Record
from lmflow.versions.version import Version


@explains_options(RENDER_OPTIONS)
def render(  # noqa: PLR0913 - which step, and under what
    program: Program, inputs: Mapping[str, Any], version: Version | None = None, *, step: str = "",
    model: str = "", adapters: Mapping[str, AnyAdapter] = EMPTY,
) -> tuple[Message, ...]:  # fmt: skip
    """Render the exact messages that a step would send; no model is called.

    Args:
        program: The program with the step.
        inputs: The inputs of the step.
        version: The parameters; ``None`` for the program's defaults.
        step: The name of the step; may be left out if the program has one predictor.
        model: The name of the executor's own model, if ``adapters`` depend on models.
        adapters: The executor's adapters: pattern of a model's name -> adapter, or its name.

    Returns:
        The messages, in order.

    Raises:
        KeyError: There is no such step, or several and none is named.
        MissingInput: An input of the step is missing.
        UnknownInput: The step has no input of that name.

    Example:
        >>> from lmflow import predict
        >>> messages = render(predict("answer", "question -> answer"), {"question": "1 + 1?"})
        >>> [message.role for message in messages]
        ['system', 'user']
    """
    steps = program.predictors
    name = step or (next(iter(steps)) if len(steps) == 1 else "")
    if name not in steps:
        names = ", ".join(steps)
        msg = f"which step? {program} has {names}.{near(name, steps)} Name one, step=..."
        raise KeyError(msg)
    predictor = steps[name]
    params = complete_params(program, version)
    own = {f"{predictor.name}.{slot}": params[f"{name}.{slot}"] for slot in predictor.slots}
    bound = predictor.signature.bind(name, inputs)
    env = Env(Record(own), adapters=adapter_rules(check_adapters(adapters), model))
    if isinstance(predictor, Act):
        return act_messages(predictor, env, bound)
    return predict_messages(predictor, env, bound)
