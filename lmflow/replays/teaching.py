"""Writes what a teacher's step did as the chat that another version of the step is served with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmflow.errors import ProgramError
from lmflow.interpreter.act import NATIVE, Act
from lmflow.interpreter.act_messages import act_messages, act_reply, described_tools
from lmflow.interpreter.predict import predict_messages, step_adapter
from lmflow.messages.messages import Message
from lmflow.programs.environment import Env
from lmflow.programs.parameters import complete_params
from lmflow.programs.program import Predict, Program
from lmflow.replays.fine_tuning import Chat
from lmflow.values.record import Record
from lmflow.versions.version import Version


def student_params(program: Program, version: Version, steps: tuple[str, ...]) -> Record:
    """Return the parameters that steps are trained and served with: without demonstrations, which
    the weights learn instead, and with the adapter named.

    Raises ``ProgramError`` if a step asks twice, for a free answer first: no chat holds both.
    """
    params = complete_params(program, version)
    changes: dict[str, Any] = {}
    for name in steps:
        step = program.predictors[name]
        changes[f"{name}.demos"] = ()
        if step.nearest:
            changes[f"{name}.pool"] = ()
        if isinstance(step, Act):
            changes[f"{name}.adapter"] = params[f"{name}.adapter"] or NATIVE
            continue
        adapter = step_adapter(step, _own_env(step, name, params))
        if adapter.extraction is not None:
            msg = (
                f"{name} asks by the adapter {adapter.name!r}, whose free answers no chat of a"
                f" teacher holds: version.put({{'{name}.adapter': 'chat'}})"
            )
            raise ProgramError(msg)
        changes[f"{name}.adapter"] = adapter.name
    return params | changes


def student_chat(
    program: Program,
    params: Record,
    step: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> Chat:
    """Return the chat that teaches a step outputs: the prompt that it sends under ``params`` for
    these inputs, and the outputs as its adapter writes them.
    """
    predictor = program.predictors[step]
    env = _own_env(predictor, step, params)
    bound = predictor.signature.bind(step, inputs)
    if isinstance(predictor, Act):
        form = params[f"{step}.adapter"] or NATIVE
        tools = [tool.entry(text) for tool, text in described_tools(predictor, env)]
        shown = tuple(tools) if form == NATIVE else ()
        messages = act_messages(predictor, env, bound)
        return Chat(step, messages, act_reply(predictor, form, outputs), shown)
    text = step_adapter(predictor, env).answer(predictor.signature.for_model, Record(outputs))
    return Chat(step, predict_messages(predictor, env, bound), Message("assistant", text))


def _own_env(step: Predict, name: str, params: Mapping[str, Any]) -> Env:
    """Return the environment of a step under its full name."""
    own = {f"{step.name}.{slot}": params[f"{name}.{slot}"] for slot in step.slots}
    return Env(Record(own))
