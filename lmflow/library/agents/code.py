"""Parts of programs whose models write code: code in replies, results, and callable functions."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lmflow.errors.calling import CallError
from lmflow.errors.composing import BadSignature
from lmflow.interpreter.tools import arguments_of, description_of
from lmflow.library.agents.sandbox import Answer, HostCall
from lmflow.programs.program import Program
from lmflow.signatures.signature import Signature
from lmflow.values.record import Record, pretty

WITHOUT = (
    "There are no files, network or packages, only math, re, json, datetime, itertools, functools, "
    "collections, decimal, random; no classes that inherit, no yield."
)
"""The sentence that tells a model what its Python lacks."""

_FENCED = re.compile(r"```[ \t]*(\w*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_PYTHON = frozenset({"python", "py", "python3"})


def code_in(text: str) -> str:
    """Return the code in a reply: the first fenced block of Python, else the first, else all."""
    blocks = [(language.lower(), code) for language, code in _FENCED.findall(text)]
    python = [code for language, code in blocks if language in _PYTHON]
    candidates: list[str] = [*python, *(code for _, code in blocks), text]
    return candidates[0].strip("\n").rstrip()


def result_of(outcome: Mapping[str, Any]) -> str:
    """Return what a run printed and the value of its last line; empty if it has neither."""
    value = outcome["value"]
    shown = value if isinstance(value, str) else pretty(value)
    parts = (outcome["stdout"].strip(), "" if value is None else shown)
    return "\n".join(part for part in parts if part)


async def answer_call(tools: Sequence[Program], call: HostCall) -> Answer:
    """Run the tool that code called: its one output or all by name, or its error in words."""
    tool = next(tool for tool in tools if tool.frame == call.name)
    try:
        outputs = await tool(**call_inputs(tool.signature, call))
    except (CallError, ValueError) as problem:
        return Answer(error=str(problem))
    return Answer(*outputs.values()) if len(outputs) == 1 else Answer(outputs)


def call_inputs(signature: Signature, call: HostCall) -> Record:
    """Return a call's arguments, by place and by name, as inputs of a signature.

    Raises ``ValueError`` if they don't fit.
    """
    names = [field.name for field in signature.inputs]
    if len(call.args) > len(names):
        msg = f"{call.name} takes {len(names)} arguments, found {len(call.args)}"
        raise ValueError(msg)
    by_place = dict(zip(names, call.args, strict=False))
    return arguments_of(signature, {**by_place, **call.named})


def default_goal(signature: Signature) -> str:
    """Return the instruction of a program that was given none."""
    names = ", ".join(field.name.replace("_", " ") for field in signature.outputs)
    return f"Find {names}."


def check_callable(tool: Program, signature: Signature) -> Program:
    """Return a tool that code can call; raise ``BadSignature`` if its name isn't free in it."""
    is_input = any(field.name == tool.frame for field in signature.inputs)
    if is_input or hasattr(builtins, tool.frame):
        problem = f"{tool.frame!r} is a tool, and an input or a function of Python"
        raise BadSignature(str(signature), problem, 'Rename it: tool.named("look_up").')
    return tool


def usage_line(tool: Program) -> str:
    """Return a line that says how a function is called, what it gives and what it does."""
    inputs, outputs = (
        ", ".join(map(str, side)) for side in (tool.signature.inputs, tool.signature.outputs)
    )
    summary = description_of(tool).partition("\n")[0]
    comment = f"  # {summary}" if summary else ""
    return f"{tool.frame}({inputs}) -> {outputs}{comment}"
