"""Reads the state of one predictor that DSPy saved, as the parameters of a step.

DSPy 2.4 wrote ``signature_instructions`` and neither fields nor metadata; since 2.6 there is a
``signature``. The predictors of DSPy's ``ReAct`` are read into the steps of an agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from lmflow.errors import ForeignFile, LmflowError, listed, short
from lmflow.programs.program import Predict
from lmflow.signatures.fields import Field, nullable
from lmflow.values.record import Record

FIX = "Import it into the program that it was saved from. Nothing was imported."

_NOT_OPTIONS = frozenset({
    "_dspy_lm_class", "model", "model_type", "cache", "cache_in_memory", "num_retries", "provider",
    "finetuning_model", "launch_kwargs", "train_kwargs", "engine", "use_developer_role", "kwargs",
    "rollout_id", "callbacks",
})  # fmt: skip
"""Members of DSPy's LM state that aren't options of a request."""

_PLACES = frozenset({
    "api_base", "base_url", "api_key", "api_version", "model_list", "organization", "headers",
    "extra_headers",
})  # fmt: skip
"""Members that say where requests go and with which key: a file may not choose that."""

_AGENT_INTRO = "You are an Agent."
_AGENT_OUTPUTS = 3
_FINISH = "finish"


@attrs.frozen
class PredictorState:
    """The parameters read from a predictor, by path, and what of it was left out."""

    params: Mapping[str, Any]
    omissions: tuple[str, ...] = ()


def is_agent_step(step: Predict) -> bool:
    """Tell whether a step chooses the calls of an agent: descriptions of tools are parameters."""
    return "tools" in step.slots


def is_old(entry: Any) -> bool:
    """Tell whether an entry is a predictor as DSPy 2.4 and older saved it."""
    return isinstance(entry, Mapping) and "signature_instructions" in entry


def read_predictor(
    name: str, step: Predict, entry: Mapping[str, Any], file: str, *, of_agent: bool = False
) -> PredictorState:
    """Read the parameters of a step from a predictor; ``of_agent`` if it is one of ``ReAct``'s.

    ``ForeignFile`` if the predictor lacks something or has other fields than the step.
    """
    try:
        instruction, fields = _signature(entry)
        demos = [dict(demo) for demo in entry.get("demos") or ()]
        lm = entry.get("lm") if is_old(entry) else entry["lm"]
    except (KeyError, TypeError, ValueError) as error:
        raise ForeignFile(file, f"the predictor `{name}` lacks {error}", FIX) from None
    if lm is not None and not isinstance(lm, Mapping):
        raise ForeignFile(file, f"the lm of the predictor `{name}` is no object", FIX)
    if fields is not None:
        _check_fields(name, step, fields, file, of_agent=of_agent)
    if of_agent:
        instruction = _agent_instruction(step, instruction)
    usable, omissions = _usable_demos(name, step, demos)
    params: dict[str, Any] = {f"{name}.instruction": instruction, f"{name}.demos": usable}
    if lm is not None:
        params |= {f"{name}.model": str(lm.get("model") or ""), f"{name}.options": _options(lm)}
        places = sorted(key for key in _PLACES & lm.keys() if lm[key] is not None)
        omissions += [f"{key} of `{name}`" for key in places]
    try:
        return PredictorState(dict(Record(params)), tuple(omissions))
    except (LmflowError, RecursionError) as error:
        problem = f"the predictor `{name}` holds what no version can ({error!s:.200})"
        raise ForeignFile(file, problem, FIX) from None


def fields_of_step(step: Predict) -> tuple[Field, ...]:
    """The fields of a step in the order in which DSPy writes them."""
    return (*step.signature.inputs, *step.signature.outputs)


def _signature(entry: Mapping[str, Any]) -> tuple[str, list[Any] | None]:
    """The instruction and the fields of a predictor, ``None`` if the file doesn't have them."""
    if is_old(entry):
        extended = entry.get("extended_signature_instructions")
        instruction, fields = extended or entry["signature_instructions"], None
    else:
        signature = entry["signature"]
        instruction, fields = signature["instructions"], list(signature["fields"])
    if not isinstance(instruction, str):
        msg = f"instructions that are a text, found {short(repr(instruction))}"
        raise TypeError(msg)
    return instruction, fields


def _check_fields(
    name: str, step: Predict, fields: list[Any], file: str, *, of_agent: bool
) -> None:
    """Raise ``ForeignFile`` if a predictor's fields aren't those of the step, as far as is known.

    DSPy's own files don't name fields, so that only their number can be compared.
    """
    own = [field.name for field in fields_of_step(step)]
    pairs = zip(fields, own, strict=False)
    names = [field.get("name", name) for field, name in pairs if isinstance(field, dict)]
    if len(fields) == len(own) and names == own:
        return
    if of_agent and len(fields) == _agent_fields(step):
        return
    difference = f"the fields {listed([str(name) for name in names])}"
    if len(fields) != len(own):
        difference = f"{len(fields)} fields"
    problem = f"the predictor for `{name}` has {difference}, the step has {len(own)}: {listed(own)}"
    raise ForeignFile(file, problem, FIX)


def _agent_fields(step: Predict) -> int:
    """How many fields ReAct's predictor has: its outputs, or a reasoning before the answer's."""
    outputs = _AGENT_OUTPUTS if is_agent_step(step) else len(step.signature.outputs) + 1
    return len(step.signature.inputs) + outputs


def _agent_instruction(step: Predict, instruction: str) -> str:
    """The task of ReAct's instruction, with the step's own words on how to go about it.

    What DSPy says of its form of calls and its tool ``finish`` would mislead the model here.
    """
    task = instruction.partition(_AGENT_INTRO)[0].strip()
    how = step.instruction.rpartition("\n\n")[2]
    return f"{task}\n\n{how}" if task else step.instruction


def _usable_demos(
    name: str, step: Predict, demos: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The demonstrations with an output, and a note of how many others there were."""
    outputs = {field.name for field in step.signature.outputs}
    cleaned = [_demo(step, demo) for demo in demos]
    usable = [demo for demo in cleaned if not outputs.isdisjoint(demo)]
    missing = len(cleaned) - len(usable)
    noun = "demonstration" if missing == 1 else "demonstrations"
    return usable, [f"{missing} {noun} of `{name}` without outputs"] if missing else []


def _demo(step: Predict, demo: dict[str, Any]) -> dict[str, Any]:
    """A demonstration without DSPy's marks, and without null where a field can't be null."""
    fields = {field.name: field for field in fields_of_step(step)}
    if is_agent_step(step) and "next_thought" in demo:
        demo = _agent_demo(demo)
    if "rationale" in demo and "reasoning" in fields and "reasoning" not in demo:
        demo = {**demo, "reasoning": demo["rationale"]}
        del demo["rationale"]
    if "augmented" not in fields:
        demo.pop("augmented", None)
    return {
        key: value
        for key, value in demo.items()
        if value is not None or (key in fields and nullable(fields[key].type))
    }


def _agent_demo(demo: dict[str, Any]) -> dict[str, Any]:
    """A demonstration of ReAct's step as an agent's, without the trajectory, which is a text."""
    marks = ("next_thought", "next_tool_name", "next_tool_args", "trajectory")
    inputs = {key: value for key, value in demo.items() if key not in marks}
    tool, arguments = demo.get("next_tool_name"), demo.get("next_tool_args")
    calls = []
    if isinstance(tool, str) and tool != _FINISH:
        calls.append({"name": tool, "arguments": arguments if isinstance(arguments, dict) else {}})
    return {**inputs, "thought": str(demo["next_thought"] or ""), "calls": calls}


def _options(lm: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a request in DSPy's LM state, by their wire names."""
    inner = lm.get("kwargs")
    members = {**(inner if isinstance(inner, Mapping) else {}), **lm}
    names = sorted(members.keys() - _NOT_OPTIONS - _PLACES)
    return {name: members[name] for name in names if members[name] is not None}
