"""The laws of tools."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any, Never

import attrs

from lmflow.errors import check_kind
from lmflow.execution.executor import Executor
from lmflow.messages.requests import LIVE
from lmflow.models.scripted import scripted
from lmflow.programs.tool import Tool
from lmflow.replays.exact import replay
from lmflow.signatures.json_schema import schema_of
from lmflow.testing.laws import LawBroken, check_laws, holds, laws, same
from lmflow.values.record import plain


@attrs.frozen
class ToolCase:
    """A tool, and inputs that it can be called with."""

    tool: Tool
    inputs: Mapping[str, Any]


def check_tool(tool: Tool, /, *extra: Never, **inputs: Any) -> None:
    """Check the laws of a tool. Its function is called a few times with these inputs.

    Args:
        tool: The tool.
        *extra: Nothing; inputs are given by name.
        **inputs: Inputs that it can be called with.

    Raises:
        TypeError: ``tool`` is not a tool, or inputs are given by position.
        LawBroken: The tool breaks a law; the message has the law and what was found.

    Example:
        >>> check_tool(lf.tool("count", "text -> n: int", len, version="1"), text="abc")
        Traceback (most recent call last):
        ...
        lmflow.testing.laws.LawBroken: A tool takes its inputs by name...
    """
    check_kind("a tool", tool, Tool, "Write @lf.tool above an annotated function.")
    if extra:
        names = ", ".join(f"{name}=..." for name in tool.signature.input_names)
        msg = f"check_tool() takes inputs by name. Write check_tool({tool.name}, {names})."
        raise TypeError(msg)
    check_laws(TOOL_LAWS, lambda: ToolCase(tool, inputs))


async def _trace_of(case: ToolCase) -> Any:
    async with Executor(scripted([])) as ex:
        return await ex.run(case.tool(**case.inputs))


async def _its_result_has_the_outputs(case: ToolCase) -> None:
    """A tool takes its inputs by name, and its result fits the outputs of its signature."""
    trace = await _trace_of(case)
    names = [field.name for field in case.tool.signature.outputs]
    same(names, list(trace.outputs), "the names of the outputs")


async def _its_outputs_are_values(case: ToolCase) -> None:
    """The outputs can be stored as JSON, and read back from it equal."""
    trace = await _trace_of(case)
    stored = json.loads(json.dumps(plain(trace.outputs)))
    same(trace.outputs, case.tool.signature.typed(stored), "the outputs read back from JSON")


async def _it_leaves_its_inputs_alone(case: ToolCase) -> None:
    """The inputs that the trace holds are those that the tool was given."""
    before = case.tool.signature.bind(case.tool.name, case.inputs)
    digest = before.digest
    trace = await _trace_of(case)
    same(digest, trace.inputs.digest, "the digest of the inputs")
    recorded = trace.calls[0].request.inputs
    same(digest, recorded.digest, "the digest of the recorded inputs")


async def _equal_inputs_have_equal_answers(case: ToolCase) -> None:
    """A tool whose answers may be used again gives the same answer to the same inputs.

    One that doesn't (a clock, a counter) says so: ``mode="live"``.
    """
    if case.tool.mode == LIVE:
        return
    one, other = await _trace_of(case), await _trace_of(case)
    same(one.outputs, other.outputs, f"the second answer of a {case.tool.mode} tool")


async def _a_replay_calls_nothing(case: ToolCase) -> None:
    """A replay gives the recorded answer, and never runs the function."""
    trace = await _trace_of(case)

    def never(**_: Any) -> Any:
        problem = "the replay ran the function of the tool"
        raise LawBroken(problem)

    silent = attrs.evolve(case.tool, function=attrs.evolve(case.tool.function, call=never))
    same(trace.root, replay(trace, silent).root, "the root of the replay")


def _its_identity_is_stable(case: ToolCase) -> None:
    """The function has an identity, which is in the key of each call, and stays in a pickle."""
    identity = case.tool.function.identity
    holds(identity, "the function has no identity")
    again = attrs.evolve(case.tool)
    same(case.tool.key, again.key, "the key of a copy")
    if not identity.startswith(("version:", "code:", "owner:")):
        try:
            loaded = pickle.loads(pickle.dumps(case.tool))  # noqa: S301 - made here
        except Exception:  # noqa: BLE001 - a function within another has no name to be found by
            return
        same(case.tool.key, loaded.key, "the key of the unpickled tool")


def _a_model_can_be_told_of_it(case: ToolCase) -> None:
    """An agent can offer the tool: its inputs have a JSON schema, and a text describes it."""
    tool = case.tool
    schema = plain(tool.parameters or schema_of(tool.signature.inputs, "taken"))
    same("object", schema.get("type"), "the type of the schema of its inputs")
    names = set(schema.get("properties", {}))
    wanted = {field.name for field in tool.signature.inputs}
    holds(wanted <= names, f"the schema lacks {sorted(wanted - names)}")
    problem = "it has no description: give its function a docstring, or description=..."
    holds(tool.description.strip(), problem)


TOOL_LAWS = laws(
    _its_result_has_the_outputs,
    _its_outputs_are_values,
    _it_leaves_its_inputs_alone,
    _equal_inputs_have_equal_answers,
    _a_replay_calls_nothing,
    _its_identity_is_stable,
    _a_model_can_be_told_of_it,
)
"""The laws of a tool, each of a ``ToolCase``; some of them are awaited."""
